/** Errors of connections and sockets, in the form that Node's own have. */
import type { Endpoint, NetworkErrorCode } from "./options";

const WORDS: Readonly<Record<NetworkErrorCode, string>> = {
  ECONNREFUSED: "connection refused",
  ECONNRESET: "connection reset by the peer",
  ECONNABORTED: "connection ended on this side",
  ETIMEDOUT: "no answer in time",
  EHOSTUNREACH: "no way to this host",
  ENETUNREACH: "no way to this network",
  EMSGSIZE: "message too long",
  EADDRINUSE: "address and port are in use",
  EADDRNOTAVAIL: "not an address of this stack",
  ENOBUFS: "a limit of the stack is reached",
};

export class NetworkError extends Error {
  readonly address: string | undefined;
  readonly port: number | undefined;

  /** @param syscall `connect`, `listen`, `bind`, `read`, `send`: what Node would have called */
  constructor(
    readonly code: NetworkErrorCode,
    readonly syscall: string,
    about?: Endpoint,
    options?: { cause?: unknown },
  ) {
    const where =
      about === undefined ? "" : ` ${about.address.includes(":") ? `[${about.address}]` : about.address}:${about.port}`;
    super(`${syscall} ${code}${where}: ${WORDS[code]}`, options);
    this.name = "NetworkError";
    this.address = about?.address;
    this.port = about?.port;
  }
}
