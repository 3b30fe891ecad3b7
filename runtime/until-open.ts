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

/**
 * @returns the socket, whose errors are the caller's from then on; one that does not open, or breaks before the caller can
 *   know of it, is destroyed.
 */
export async function untilOpen<S extends Duplex>(socket: S, wait: Wait): Promise<S> {
  await opened(socket, wait);
  if (socket.errored) throw socket.errored;
  return socket;
}

function opened(socket: Duplex, { timeout, late, signal, aborted }: Wait): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      socket.removeListener("error", fail);
    };
    const fail = (error: Error) => {
      settle();
      socket.on("error", nobody);
      socket.destroy();
      reject(error);
    };
    const abort = () => fail(aborted(signal!));
    const timer = setTimeout(() => fail(late()), timeout);
    socket.on("error", fail);
    socket.once("connect", () => {
      settle();
      // Who waits goes on later in this turn of the event loop: an error that comes first has nobody to hear it.
      socket.on("error", nobody);
      setImmediate(() => socket.off("error", nobody));
      resolve();
    });
    if (signal?.aborted) abort();
    else signal?.addEventListener("abort", abort);
  });
}

function nobody(): void {}
