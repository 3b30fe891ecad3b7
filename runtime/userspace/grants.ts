/**
 * Ports on loopback that lead to one destination, once: for programs that can be made to connect elsewhere but not to speak to a proxy.
 * The port is open to every process of the machine until somebody connects: only the account that asked for it is let through.
 */
import * as net from "node:net";
import type { Duplex } from "node:stream";
import { accountOfPeer } from "./accounts";
import { splice } from "./splice";

/** Milliseconds in which the asker must connect. */
const WAIT = 10_000;
/** Milliseconds that a connection whose asker has gone gets to end in order. */
const PARTING = 1000;

export interface Grant {
  readonly address: string;
  readonly port: number;
  /** The destination's numeric address. */
  readonly remote: string;
}

const LOOPBACK = "127.0.0.1";

/** Opens a port for a connection that exists. @param asker the socket on which it was asked for. */
export function grant(asker: net.Socket, stream: Duplex & { remoteAddress?: string }): Promise<Grant> {
  const account = accountOfPeer(asker);
  return new Promise((resolve, reject) => {
    const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (socket) => {
      socket.on("error", () => undefined);
      const there = accountOfPeer(socket);
      // From another address, or closed within the moment: whoever it was cannot be known, so it neither gets nor ends anything.
      if (there === "gone" || there !== account) socket.destroy();
      else {
        clearTimeout(timer);
        server.close();
        splice(socket, stream);
      }
    });
    const end = () => {
      clearTimeout(timer);
      server.close();
      stream.end();
      stream.resume();
      setTimeout(() => stream.destroy(), PARTING).unref();
    };
    const timer = setTimeout(end, WAIT);
    stream.on("error", () => server.close());
    server.once("error", (error) => {
      end();
      reject(error);
    });
    server.listen(0, LOOPBACK, () => {
      const { port } = server.address() as net.AddressInfo;
      resolve({ address: LOOPBACK, port, remote: stream.remoteAddress ?? LOOPBACK });
    });
  });
}
