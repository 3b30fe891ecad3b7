/** DNS over a stream (RFC 1035 section 4.2.2, RFC 7766): each message behind its length in two bytes, answers as they come. */
import type { Duplex } from "node:stream";
import type { DnsHandler } from "../dataplane/config";

export interface StreamOptions {
  /** Milliseconds without a question after which the connection ends (RFC 7766 section 6.2.3). @default 10000 */
  readonly idle?: number;
  /** Questions of one connection that are answered at once; the rest is read when there is room. @default 16 */
  readonly maxInFlight?: number;
}

const LENGTH_BYTES = 2;
/** The header of a message: what is shorter is none, and who sends it does not speak DNS. */
const SHORTEST = 12;

/** Answers on a connection to the DNS address until either side ends it. */
export function serveDnsStream(
  duplex: Duplex,
  gateway: string,
  from: string,
  handler: DnsHandler,
  options: StreamOptions = {},
): void {
  const { idle = 10_000, maxInFlight = 16 } = options;
  let got: Buffer = Buffer.alloc(0);
  let inFlight = 0;
  let ended = false;
  const close = (): void => {
    clearTimeout(timer);
    duplex.destroy();
  };
  // Also of one that takes no answers: its questions then are not read, and no new one comes.
  const timer = setTimeout(close, idle);

  const answer = async (message: Uint8Array): Promise<void> => {
    const reply = await handler({ gateway, from, message, stream: true }).catch(() => undefined);
    inFlight--;
    if (duplex.destroyed) return;
    // Over UDP this is silence; here nothing that follows would make sense.
    if (reply === undefined) {
      close();
      return;
    }
    const framed = Buffer.allocUnsafe(LENGTH_BYTES + reply.length);
    framed.writeUInt16BE(reply.length, 0);
    framed.set(reply, LENGTH_BYTES);
    duplex.write(framed);
    proceed();
  };
  const proceed = (): void => {
    while (inFlight < maxInFlight && !duplex.writableNeedDrain && !duplex.destroyed) {
      if (got.length < LENGTH_BYTES) break;
      const end = LENGTH_BYTES + got.readUInt16BE(0);
      if (end < LENGTH_BYTES + SHORTEST) {
        close();
        return;
      }
      if (got.length < end) break;
      const message = got.subarray(LENGTH_BYTES, end);
      got = got.subarray(end);
      inFlight++;
      timer.refresh();
      void answer(message);
    }
    if (ended && inFlight === 0) {
      clearTimeout(timer);
      duplex.end();
    } else if (inFlight >= maxInFlight || duplex.writableNeedDrain) duplex.pause();
    else duplex.resume();
  };

  duplex.on("data", (chunk: Buffer) => {
    got = got.length === 0 ? chunk : Buffer.concat([got, chunk]);
    proceed();
  });
  duplex.on("drain", proceed);
  duplex.on("end", () => {
    ended = true;
    proceed();
  });
  duplex.on("error", close);
  duplex.on("close", () => clearTimeout(timer));
}
