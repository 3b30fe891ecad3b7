/** Messages out of the bytes of a connection. What follows a message stays in the connection, for whoever comes next. */
import type { Readable } from "node:stream";
import type { Parsed } from "./socks5";

/** Bytes of the longest request there is: each of its parts is bounded by one length byte. */
const LONGEST = 1024;

/**
 * The next message; undefined: what came is none.
 * @param socket paused before and after, so that it holds no more than its own buffer while nobody waits for a message.
 */
export function takeMessage<T>(socket: Readable, parse: (buf: Uint8Array) => Parsed<T>): Promise<T | undefined> {
  if (socket.readableEnded || socket.destroyed) return Promise.resolve(undefined);
  return new Promise((resolve) => {
    let bytes: Buffer = Buffer.alloc(0);
    const done = (message?: T) => {
      socket.pause();
      socket.off("data", onData).off("end", onEnd).off("close", onEnd);
      resolve(message);
    };
    const onEnd = () => done();
    const onData = (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      const parsed = parse(bytes);
      if (parsed === "bad" || (parsed === "more" && bytes.length > LONGEST)) return done();
      if (parsed === "more") return;
      done(parsed.value);
      // In this turn: after the end of a connection nothing can be put back.
      if (bytes.length > parsed.length) socket.unshift(bytes.subarray(parsed.length));
    };
    socket.on("data", onData).on("end", onEnd).on("close", onEnd);
    socket.resume();
  });
}
