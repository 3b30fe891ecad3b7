/** A connection on its way, as a promise. */
import type { Duplex } from "node:stream";

export interface Wait {
  /** Milliseconds. */
  readonly timeout: number;
  /** Why it fails then. */
  readonly late: () => Error;
  readonly signal?: AbortSignal | undefined;
  /** Why it fails where the signal fires. */
  readonly aborted: (signal: AbortSignal) => Error;
}

/** @returns the socket, whose errors are the caller's from then on; one that does not open is destroyed. */
export function untilOpen<S extends Duplex>(socket: S, { timeout, late, signal, aborted }: Wait): Promise<S> {
  return new Promise((resolve, reject) => {
    const settle = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      socket.removeListener("error", fail);
    };
    const fail = (error: Error) => {
      settle();
      socket.on("error", () => undefined);
      socket.destroy();
      reject(error);
    };
    const abort = () => fail(aborted(signal!));
    const timer = setTimeout(() => fail(late()), timeout);
    socket.on("error", fail);
    socket.once("connect", () => {
      settle();
      resolve(socket);
    });
    if (signal?.aborted) abort();
    else signal?.addEventListener("abort", abort);
  });
}
