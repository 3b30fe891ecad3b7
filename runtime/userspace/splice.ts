/** Joins two byte streams into one connection. */
import * as net from "node:net";
import type { Duplex } from "node:stream";
import * as tls from "node:tls";
import { TcpStream } from "../netstack/streams";

/** RST where the stream is a TCP connection, so that the other end learns that it was no orderly end; else just the end. */
export function reset(stream: Duplex): void {
  const connection = stream as Duplex & { resetAndDestroy?: () => unknown };
  // A reset of a socket that is still connecting, or gone, is an error of its own.
  if (stream.destroyed) return;
  try {
    if (connection.resetAndDestroy) {
      connection.resetAndDestroy();
      return;
    }
  } catch {
    // Node's sockets throw where they are no TCP connection themselves: a UNIX socket, TLS.
  }
  stream.destroy();
}

/**
 * Bytes go both ways, each at the pace of its reader; the end of one way leaves the other open; what breaks one side resets the other.
 * Both must be `allowHalfOpen`.
 * @param onClosed called once, when both are gone.
 */
export function splice(a: Duplex, b: Duplex, onClosed: () => void = () => undefined): void {
  if (a.destroyed || b.destroyed) {
    // One went while the other came about: its events are over.
    for (const stream of [a, b]) {
      stream.on("error", () => undefined);
      reset(stream);
    }
    onClosed();
    return;
  }
  let open = 2;
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    from.on("error", () => reset(to));
    from.on("close", () => {
      // An end in order was passed on by the pipe; anything else was none.
      if (!from.readableEnded || !from.writableFinished) reset(to);
      if (--open === 0) onClosed();
    });
    if (to instanceof TcpStream) to.chunksAreFinal = true;
    if (from instanceof TcpStream && isPlainSocket(to) && from.readableLength === 0) from.relayTo(to);
    else from.pipe(to);
  }
}

/** One that has given bytes to the kernel when it says that they are written. */
function isPlainSocket(stream: Duplex): stream is net.Socket {
  return stream instanceof net.Socket && !(stream instanceof tls.TLSSocket);
}
