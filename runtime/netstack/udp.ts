/** UDP (RFC 768): sockets, and datagrams to any address for a transparent stack. */
import type { Endpoint, NetworkErrorCode } from "./options";

/** A datagram whose bytes are valid during the call. */
export type DatagramHandler = (from: Endpoint, to: Endpoint, data: Uint8Array) => void;

export interface UdpHandler {
  onDatagram: DatagramHandler;
  /** An earlier datagram to `to` did not arrive (ICMP): ECONNREFUSED, EHOSTUNREACH, EMSGSIZE; EADDRNOTAVAIL: the address went. */
  onError?: (code: NetworkErrorCode, to: Endpoint | undefined) => void;
}

export interface UdpEndpoint {
  readonly local: Endpoint;
  readonly remote: Endpoint | undefined;
  /** From here on only datagrams of this peer come in, and `send` needs no address. */
  connect(remote: Endpoint): void;
  /** @returns as `Stack.sendDatagram`. @throws NetworkError EMSGSIZE, EADDRNOTAVAIL */
  send(data: Uint8Array, to?: Endpoint): boolean;
  close(): void;
}
