/** What a gateway's switch meets: links of apps, the WireGuard device, questions, packets that are unfinished. P identifies a peer. */
import type { SendResult } from "../wireguard/types";
import type { Drops } from "./drops";

/** A packet that its sender's kernel left unfinished: the packets that come of it. */
export interface Offload {
  /** How many, and the bytes of the longest. */
  readonly count: number;
  readonly largest: number;
  /**
   * Writes the next one at `at`. Addresses of the big packet may be rewritten before the first; its checksum field, which holds the
   * pseudo header's share alone, must have been brought along.
   * @returns its length; 0: there is none
   */
  next(at: number): number;
}

/** An app's link, or the gateway's own stack, as the switch sees it. */
export interface SwitchLink {
  readonly id: string;
  /** Of 4 or 16 bytes each. */
  readonly addresses: readonly Uint8Array[];
  /** Packets to addresses outside the network go to the gateway's own stack. @default false */
  readonly egress?: boolean;
  /** Packets from the app and to it. */
  rx: number;
  tx: number;
  readonly drops: Drops;
  /**
   * Gives the app a packet.
   * @param offload where it is unfinished; its virtio header lies before it.
   * @returns false where its device does not take it.
   */
  deliver(buf: Uint8Array, off: number, len: number, offload?: Offload): boolean;
  /** As `deliver`, of a packet that stays where it is until the end of the round, and may be joined with those after it. */
  deliverLasting(buf: Uint8Array, off: number, len: number): boolean;
}

/** The WireGuard device as the switch sees it. */
export interface Tunnel<P> {
  /** Where, in the memory that packets of links lie in, to make a packet that shall be sent next without a copy. */
  place(): number;
  /** Encrypts and sends to the peer that has the destination. */
  send(buf: Uint8Array, off: number, len: number): SendResult;
  /** As `send`, to a peer that was looked up. */
  sendTo(peer: P, buf: Uint8Array, off: number, len: number): SendResult;
  /** The peer that has the destination of the packet at `buf[off]`. */
  destinationOf(buf: Uint8Array, off: number): P | undefined;
  /** The peer that has its source. */
  sourceOf(buf: Uint8Array, off: number): P | undefined;
  /** True for another host's gateway, false for a peer that is attached to this one. */
  isGateway(peer: P): boolean;
}

/** A question that came to the DNS address over UDP. */
export interface DnsQuestion {
  /** 4 or 16 bytes: the asker's, and the DNS address that was asked. */
  readonly from: Uint8Array;
  readonly fromPort: number;
  readonly to: Uint8Array;
  readonly message: Uint8Array;
}

export interface GatewayOptions<P> {
  readonly id: string;
  readonly mtu: number;
  readonly gatewayIps: readonly Uint8Array[];
  readonly dnsIps: readonly Uint8Array[];
  readonly tunnel: Tunnel<P>;
  /** Where own packets are made: 64 bytes of room on either side of `scratchSize` bytes at `scratchOffset`. */
  readonly scratch: Uint8Array;
  readonly scratchOffset: number;
  readonly scratchSize: number;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  /** Spreads what others could choose to collide: hashes of flows. 32 bits. @default 0 */
  readonly seed?: number;
  /** @returns false where it cannot be taken now. */
  readonly onDns: (question: DnsQuestion) => boolean;
}
