/** ICMP and ICMPv6 (RFC 792, 1191, 4443): echo replies in place, and errors about a packet. */
import { FIRST_FRAGMENT, Headers, WHOLE } from "./headers";
import {
  addSum,
  checksum,
  destinationOffset,
  headerLength,
  isLaterFragment,
  isUnicast,
  PROTO_ICMP,
  PROTO_ICMPV6,
  protocolOf,
  pseudoSum,
  putU16,
  sourceOffset,
  swapAddresses,
  u16,
  writeHeader,
} from "./inet";

export type IcmpError =
  | "network-unreachable"
  | "host-unreachable"
  | "protocol-unreachable"
  | "port-unreachable"
  | "prohibited"
  | "too-big"
  | "time-exceeded"
  | "reassembly-timeout";

/** Type and code for IPv4 and IPv6. */
const CODES: Record<IcmpError, { v4: readonly [number, number]; v6: readonly [number, number] }> = {
  "network-unreachable": { v4: [3, 0], v6: [1, 0] },
  "host-unreachable": { v4: [3, 1], v6: [1, 3] },
  // ICMPv6 calls it a parameter problem.
  "protocol-unreachable": { v4: [3, 2], v6: [4, 1] },
  "port-unreachable": { v4: [3, 3], v6: [1, 4] },
  // RFC 1812 section 5.2.7.1: communication administratively prohibited.
  prohibited: { v4: [3, 13], v6: [1, 1] },
  "too-big": { v4: [3, 4], v6: [2, 0] },
  "time-exceeded": { v4: [11, 0], v6: [3, 0] },
  "reassembly-timeout": { v4: [11, 1], v6: [3, 1] },
};

/** Largest error packet: RFC 1812 section 4.3.2.3 for IPv4, the minimum MTU for IPv6. */
const MAX_ERROR = { 4: 576, 6: 1280 } as const;
export const MAX_ICMP_ERROR = 1280;

/** Turns an echo request into its reply. @returns false where it is none; then nothing changed. */
export function echoReply(buf: Uint8Array, off: number, len: number, family: 4 | 6): boolean {
  if (isLaterFragment(buf, off, family)) return false;
  const at = off + headerLength(buf, off, family);
  if (at + 8 > off + len) return false;
  const request = family === 4 ? 8 : 128;
  const reply = family === 4 ? 0 : 129;
  if (protocolOf(buf, off, family) !== (family === 4 ? PROTO_ICMP : PROTO_ICMPV6) || buf[at] !== request) return false;
  swapAddresses(buf, off, family);
  buf[at] = reply;
  // RFC 1624: HC' = ~(~HC + ~m + m'), so a request that was damaged on the way stays recognizable as such.
  putU16(buf, at + 2, checksum((~u16(buf, at + 2) & 0xffff) + (~(request << 8) & 0xffff) + (reply << 8)));
  if (family === 4) {
    const old = u16(buf, off + 8);
    buf[off + 8] = 64;
    putU16(buf, off + 10, checksum((~u16(buf, off + 10) & 0xffff) + (~old & 0xffff) + u16(buf, off + 8)));
  } else buf[off + 7] = 64;
  return true;
}

const headers = new Headers();

/** Whether RFC 1122 (3.2.2) and RFC 4443 (2.4) allow an error about this packet; not where its headers do not tell. */
function mayAnswer(buf: Uint8Array, off: number, len: number, family: 4 | 6): boolean {
  if (!isUnicast(buf, sourceOffset(off, family), family) || !isUnicast(buf, destinationOffset(off, family), family))
    return false;
  // As a quoted one: of its transport header there may be no more than the 8 bytes that an error needs.
  const kind = headers.readQuoted(buf, off, off + len);
  if ((kind !== WHOLE && kind !== FIRST_FRAGMENT) || headers.transport > headers.end) return false;
  return family === 6 || headers.protocol !== PROTO_ICMP || headers.flags !== 0;
}

/**
 * Writes an error about `buf[off, off+len)`, to its sender.
 * @param from 4 or 16 bytes, the packet's family.
 * @param out where to write; has room for MAX_ICMP_ERROR bytes.
 * @param detail for `too-big` the MTU; for `protocol-unreachable` of IPv6 the offset of the byte that names the protocol.
 * @returns its length; 0 where no error may be sent.
 */
export function icmpError(
  kind: IcmpError,
  buf: Uint8Array,
  off: number,
  len: number,
  family: 4 | 6,
  from: Uint8Array,
  out: Uint8Array,
  outOff: number,
  detail = 0,
): number {
  if (!mayAnswer(buf, off, len, family)) return 0;
  const header = family === 4 ? 20 : 40;
  const quoted = Math.min(len, MAX_ERROR[family] - header - 8);
  const at = outOff + header;
  out.set(buf.subarray(off, off + quoted), at + 8);
  const source = sourceOffset(off, family);
  const to = buf.slice(source, source + from.length);
  writeHeader(out, outOff, from, to, family === 4 ? PROTO_ICMP : PROTO_ICMPV6, 8 + quoted);
  const [type, code] = family === 4 ? CODES[kind].v4 : CODES[kind].v6;
  out.fill(0, at, at + 8);
  out[at] = type;
  out[at + 1] = code;
  // The low 16 bits lie at the same place in all (RFC 1191 section 4, RFC 4443 sections 3.2 and 3.4).
  if (kind === "too-big" || (kind === "protocol-unreachable" && family === 6)) putU16(out, at + 6, detail);
  const start = family === 4 ? 0 : pseudoSum(out, outOff, 6, PROTO_ICMPV6, 8 + quoted);
  putU16(out, at + 2, checksum(addSum(start, out, at, 8 + quoted)));
  return header + 8 + quoted;
}
