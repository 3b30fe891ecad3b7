/** Another address in a packet, with every checksum brought along (RFC 1624): a packet that was damaged stays recognizable as such. */
import { fold } from "./checksum";
import { type Headers, LATER_FRAGMENT, MALFORMED } from "./headers";
import {
  addSum,
  checksum,
  destinationOffset,
  PROTO_ICMP,
  PROTO_TCP,
  PROTO_UDP,
  putU16,
  sourceOffset,
  u16,
} from "./inet";

const TCP_CHECKSUM = 16;
const UDP_CHECKSUM = 6;
const ICMP_CHECKSUM = 2;

export type Side = "source" | "destination";

/**
 * Writes an address into the packet at `buf[off]`.
 * @param headers of this packet; not changed.
 * @param words at `from`: the address, in one or four.
 * @param partial the transport checksum field holds the pseudo header's share alone.
 * @returns the ones' complement sum of all changes to the packet's bytes, for who has summed over them.
 */
export function rewriteAddress(
  headers: Headers,
  buf: Uint8Array,
  off: number,
  side: Side,
  words: Int32Array,
  from: number,
  partial: boolean,
): number {
  const { family } = headers;
  const at = side === "source" ? sourceOffset(off, family) : destinationOffset(off, family);
  let change = 0;
  for (let i = 0; i < (family === 4 ? 1 : 4); i++) {
    const word = words[from + i];
    change += replace(buf, at + 4 * i, word >>> 16) + replace(buf, at + 4 * i + 2, word & 0xffff);
  }
  change = fold(change);
  let total = change;
  if (family === 4) total += replace(buf, off + 10, checksum((~u16(buf, off + 10) & 0xffff) + change));
  const field = checksumField(headers);
  if (field >= 0) total += amend(headers.protocol, buf, field, change, partial);
  return fold(total);
}

/** Writes an address into the packet that an ICMP error quotes. @param quoted of that packet, which begins at `buf[at]`. */
export function rewriteQuoted(
  headers: Headers,
  quoted: Headers,
  buf: Uint8Array,
  at: number,
  side: Side,
  words: Int32Array,
  from: number,
): void {
  const change = rewriteAddress(quoted, buf, at, side, words, from, false);
  const field = headers.transport + ICMP_CHECKSUM;
  putU16(buf, field, checksum((~u16(buf, field) & 0xffff) + change));
}

/** Makes a checksum whole that holds the pseudo header's share alone. */
export function completeChecksum(headers: Headers, buf: Uint8Array): void {
  const field = checksumField(headers);
  if (field < 0) return;
  const { transport, end, protocol } = headers;
  putU16(buf, field, udpZero(protocol, checksum(addSum(0, buf, transport, end - transport))));
}

/** Where the checksum lies that covers the addresses too; -1: there is none, or not in this packet. */
function checksumField({ kind, family, protocol, transport, end }: Headers): number {
  if (kind === LATER_FRAGMENT || kind === MALFORMED) return -1;
  const offset =
    protocol === PROTO_TCP
      ? TCP_CHECKSUM
      : protocol === PROTO_UDP
        ? UDP_CHECKSUM
        : protocol === PROTO_ICMP && family === 6
          ? ICMP_CHECKSUM
          : -1;
  return offset < 0 || transport + offset + 2 > end ? -1 : transport + offset;
}

/** @returns the change as `replace` does */
function amend(protocol: number, buf: Uint8Array, field: number, change: number, partial: boolean): number {
  const old = u16(buf, field);
  if (partial) return replace(buf, field, fold(old + change));
  // RFC 768: there is none.
  if (protocol === PROTO_UDP && old === 0) return 0;
  return replace(buf, field, udpZero(protocol, checksum((~old & 0xffff) + change)));
}

function udpZero(protocol: number, sum: number): number {
  return protocol === PROTO_UDP && sum === 0 ? 0xffff : sum;
}

/** Writes a word. @returns what that adds to a ones' complement sum over it */
function replace(buf: Uint8Array, at: number, word: number): number {
  const change = (~u16(buf, at) & 0xffff) + word;
  putU16(buf, at, word);
  return change;
}
