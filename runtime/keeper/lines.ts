/** Text lines out of a byte stream. */
import { StringDecoder } from "node:string_decoder";

/** Characters; nothing that the protocol carries comes near. */
const LONGEST = 4 << 20;

/** @returns a function that takes chunks and calls `onLine` for each whole line. It throws RangeError on an endless one. */
export function lineReader(onLine: (line: string) => void): (chunk: Buffer) => void {
  const decoder = new StringDecoder("utf8");
  let rest = "";
  return (chunk) => {
    rest += decoder.write(chunk);
    for (let at = rest.indexOf("\n"); at >= 0; at = rest.indexOf("\n")) {
      const line = rest.slice(0, at);
      rest = rest.slice(at + 1);
      if (line.length > 0) onLine(line);
    }
    if (rest.length > LONGEST) throw new RangeError("a line without end");
  };
}
