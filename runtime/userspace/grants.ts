/**
 * Ports on loopback that lead to one destination, once: for programs that can be made to connect elsewhere but not to speak to a proxy.
 * The port is open to every process of the machine until somebody connects: only the account that asked for it is let through.
 */
import * as fs from "node:fs";
import * as net from "node:net";
import type { Duplex } from "node:stream";
import { reset, splice } from "./splice";

/** Milliseconds in which the asker must connect. */
const WAIT = 10_000;

export interface Grant {
  readonly address: string;
  readonly port: number;
  /** The destination's numeric address. */
  readonly remote: string;
}

const LOOPBACK = "127.0.0.1";

/** Opens a port for a connection that exists. @param asker the socket on which it was asked for. */
export function grant(asker: net.Socket, stream: Duplex & { remoteAddress?: string }): Promise<Grant> {
  const account = accountOf(asker);
  return new Promise((resolve, reject) => {
    const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (socket) => {
      socket.on("error", () => undefined);
      if (accountOf(socket) !== account) {
        socket.destroy();
        return;
      }
      clearTimeout(timer);
      server.close();
      splice(socket, stream);
    });
    const giveUp = () => {
      server.close();
      reset(stream);
    };
    const timer = setTimeout(giveUp, WAIT);
    stream.on("error", () => server.close());
    server.once("error", (error) => {
      clearTimeout(timer);
      giveUp();
      reject(error);
    });
    server.listen(0, LOOPBACK, () => {
      const { port } = server.address() as net.AddressInfo;
      resolve({ address: LOOPBACK, port, remote: stream.remoteAddress ?? LOOPBACK });
    });
  });
}

/** The uid of the other end of a loopback connection; undefined where the system does not tell. */
export function accountOf(socket: net.Socket): number | undefined {
  if (process.platform !== "linux" || !socket.remotePort) return undefined;
  const end = (port: number) => `0100007F:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const key = ` ${end(socket.remotePort)} ${end(socket.localPort!)} `;
  const line = fs
    .readFileSync("/proc/net/tcp", "latin1")
    .split("\n")
    .find((candidate) => candidate.includes(key));
  const uid = line?.trim().split(/\s+/)[7];
  return uid === undefined ? undefined : Number(uid);
}
