/** Messages out of the bytes of a connection, which afterwards belong to whoever comes next. */
import type { Readable } from "node:stream";
import type { Parsed } from "./socks5";

/** Bytes of the longest request there is: each of its parts is bounded by one length byte. */
const LONGEST = 1024;

export class SocksReader {
  private bytes: Buffer = Buffer.alloc(0);
  private wake: () => void = () => undefined;
  private ended = false;
  private readonly onData = (chunk: Buffer) => {
    this.bytes = Buffer.concat([this.bytes, chunk]);
    this.wake();
  };
  private readonly onEnd = () => {
    this.ended = true;
    this.wake();
  };

  constructor(private readonly socket: Readable) {
    socket.on("data", this.onData).on("end", this.onEnd).on("close", this.onEnd);
  }

  /** The next message; undefined: what came is none. */
  async take<T>(parse: (buf: Uint8Array) => Parsed<T>): Promise<T | undefined> {
    for (;;) {
      const parsed = parse(this.bytes);
      if (parsed === "bad" || (parsed === "more" && (this.ended || this.bytes.length > LONGEST))) return undefined;
      if (parsed !== "more") {
        this.bytes = this.bytes.subarray(parsed.length);
        return parsed.value;
      }
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }

  /** What was read too far is read again by the next. */
  release(): void {
    this.socket.pause();
    this.socket.off("data", this.onData).off("end", this.onEnd).off("close", this.onEnd);
    if (this.bytes.length > 0) this.socket.unshift(this.bytes);
  }
}
