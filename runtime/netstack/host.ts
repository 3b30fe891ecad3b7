/** What the protocols of a stack share. */
import { checksum } from "../dataplane/inet";
import type { AddressTexts } from "./address";
import type { Drops } from "./drops";
import type { StackLimits } from "./options";
import type { IpPacket } from "./packet";
import type { PathMtus } from "./path-mtu";
import type { Transmitter } from "./transmit";

export interface Host {
  readonly transparent: boolean;
  readonly limits: StackLimits;
  readonly drops: Drops;
  readonly texts: AddressTexts;
  readonly paths: PathMtus;
  readonly transmitter: Transmitter;
  now(): number;
  random(bytes: number): Uint8Array;
  /** Ones' complement sum, not complemented. */
  sum(sum: number, buf: Uint8Array, off: number, len: number): number;
  /** Is the address at `buf[off]` one of ours? */
  owns(buf: Uint8Array, off: number, family: 4 | 6): boolean;
  /** Our address for packets to this one. */
  sourceFor(destination: Uint8Array): Uint8Array | undefined;
}

/** True where the checksum of the transport header, pseudo header included, is right. */
export function checksumHolds(host: Host, packet: IpPacket, protocol: number, length: number): boolean {
  const { buf, source, family, transport } = packet;
  const pseudo = host.sum(protocol + length, buf, source, family === 4 ? 8 : 32);
  return checksum(host.sum(pseudo, buf, transport, length)) === 0;
}
