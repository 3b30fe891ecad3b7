/** What a stack is made of: its surroundings, which are passed in, and its bounds. */
import type { TcpLimits } from "./tcp/limits";
import type { Memory } from "./tcp/memory";

/** An address in text form (`10.1.2.3`, or IPv6 as RFC 5952 has it) and a port. */
export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

/** What can become of a connection, datagram or echo request, named as Node names it. */
export type NetworkErrorCode =
  | "ECONNREFUSED"
  | "ECONNRESET"
  | "ECONNABORTED"
  | "ETIMEDOUT"
  | "EHOSTUNREACH"
  | "ENETUNREACH"
  | "EMSGSIZE"
  | "EADDRINUSE"
  | "EADDRNOTAVAIL"
  | "ENOBUFS";

/** Ones' complement sum of bytes as big-endian words, added to `sum`; see `addSum` of runtime/dataplane/inet.ts. */
export type SumBytes = (sum: number, buf: Uint8Array, off: number, len: number) => number;

export interface StackOptions {
  /** IPv4 and IPv6 addresses as texts; `setAddresses` changes them. The first of a family is the source of what has none. */
  readonly addresses: readonly string[];
  /** Bytes of the longest packet, 576 (1280 with IPv6) to 65535. */
  readonly mtu: number;
  /**
   * Takes a packet, copied before the call returns; the same meaning as `PacketPipe.send`.
   * @param segment 0: a whole packet with right checksums. Else a TCP packet of up to 64 KiB to be split into segments of this many
   *   bytes of payload, whose checksum field holds the sum of its pseudo header.
   * @returns false where there is no room: the packet is not taken, and `drained` follows.
   */
  readonly output: (buf: Uint8Array, off: number, len: number, segment: number) => boolean;
  /** `output` takes segments. @default true */
  readonly segments?: boolean;
  /** Milliseconds that never go back. */
  readonly now: () => number;
  /** So many unpredictable bytes. */
  readonly random: (bytes: number) => Uint8Array;
  /** Has `run` called soon, after what runs now. @default queueMicrotask */
  readonly schedule?: (run: () => void) => void;
  /** Has `run` called once others had their turn. @default schedule, else setImmediate */
  readonly later?: (run: () => void) => void;
  /** Takes packets to any unicast address, for the handlers `onConnect`, `onDatagram` and `onEcho`. @default false */
  readonly transparent?: boolean;
  /** @default addSum of runtime/dataplane/inet.ts */
  readonly sum?: SumBytes;
  readonly limits?: Partial<StackLimits>;
  readonly tcp?: Partial<TcpLimits>;
  /** What the memory of this stack's connections is a part of. @default nothing: they have their own bound only */
  readonly memory?: Memory;
}

export interface StackLimits {
  /** UDP sockets. @default 4096 */
  readonly udpSockets: number;
  /** Datagrams under reassembly. @default 64 */
  readonly reassemblies: number;
  /** The same of one source address. @default 16 */
  readonly reassembliesPerSource: number;
  /** Bytes of all fragments that wait. @default 4194304 */
  readonly reassemblyBytes: number;
  /** Milliseconds that the first fragment waits for the last (RFC 8200 section 4.5). @default 30000 */
  readonly reassemblyTime: number;
  /** ICMP errors, and with another allowance echo replies, a second (RFC 4443 section 2.4 f). @default 100 and 1000 */
  readonly icmpErrorsPerSecond: number;
  readonly echoRepliesPerSecond: number;
  /** Echo requests that wait for their reply. @default 1024 */
  readonly pings: number;
  /** Destinations whose path MTU is remembered. @default 1024 */
  readonly paths: number;
}

export const DEFAULT_LIMITS: StackLimits = {
  udpSockets: 4096,
  reassemblies: 64,
  reassembliesPerSource: 16,
  reassemblyBytes: 4 << 20,
  reassemblyTime: 30_000,
  icmpErrorsPerSecond: 100,
  echoRepliesPerSecond: 1000,
  pings: 1024,
  paths: 1024,
};
