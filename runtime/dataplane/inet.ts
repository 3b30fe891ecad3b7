/** IPv4, IPv6 and UDP headers as offsets into a packet, and the Internet checksum. */

export const PROTO_ICMP = 1;
export const PROTO_TCP = 6;
export const PROTO_UDP = 17;
export const PROTO_ICMPV6 = 58;

export function u16(buf: Uint8Array, off: number): number {
  return (buf[off] << 8) | buf[off + 1];
}

export function putU16(buf: Uint8Array, off: number, value: number): void {
  buf[off] = value >>> 8;
  buf[off + 1] = value & 0xff;
}

/**
 * Checks the IP header at `buf[off]` against the bytes that are there.
 * @returns the packet's length by its own header, at most `len`; -1: no IP packet.
 */
export function packetLength(buf: Uint8Array, off: number, len: number): number {
  if (len < 20) return -1;
  const version = buf[off] >>> 4;
  if (version === 4) {
    const header = (buf[off] & 15) * 4;
    const total = u16(buf, off + 2);
    return header < 20 || total < header || total > len ? -1 : total;
  }
  if (version !== 6 || len < 40) return -1;
  const total = 40 + u16(buf, off + 4);
  return total > len ? -1 : total;
}

/** The family of a packet that `packetLength` accepted. */
export function familyOf(buf: Uint8Array, off: number): 4 | 6 {
  return buf[off] >>> 4 === 4 ? 4 : 6;
}

export function sourceOffset(off: number, family: 4 | 6): number {
  return family === 4 ? off + 12 : off + 8;
}

export function destinationOffset(off: number, family: 4 | 6): number {
  return family === 4 ? off + 16 : off + 24;
}

export function headerLength(buf: Uint8Array, off: number, family: 4 | 6): number {
  return family === 4 ? (buf[off] & 15) * 4 : 40;
}

/** The protocol right behind the header; IPv6 extension headers are not skipped. */
export function protocolOf(buf: Uint8Array, off: number, family: 4 | 6): number {
  return buf[family === 4 ? off + 9 : off + 6];
}

/** True where the packet has no transport header of its own: any fragment but the first. */
export function isLaterFragment(buf: Uint8Array, off: number, family: 4 | 6): boolean {
  if (family === 4) return (u16(buf, off + 6) & 0x1fff) !== 0;
  return buf[off + 6] === 44 && (u16(buf, off + 42) & 0xfff8) !== 0;
}

/** True for any fragment, the first included. */
export function isFragment(buf: Uint8Array, off: number, family: 4 | 6): boolean {
  return family === 4 ? (u16(buf, off + 6) & 0x3fff) !== 0 : buf[off + 6] === 44;
}

/** True where the network may not split the packet: IPv4 with DF, and IPv6. */
export function mustNotFragment(buf: Uint8Array, off: number, family: 4 | 6): boolean {
  return family === 6 || (buf[off + 6] & 0x40) !== 0;
}

/** IPv4 224.0.0.0/4 and 255.255.255.255 and 0.0.0.0/8; IPv6 ff00::/8 and `::`. */
export function isUnicast(buf: Uint8Array, addressOff: number, family: 4 | 6): boolean {
  if (family === 4) return buf[addressOff] !== 0 && buf[addressOff] < 224;
  if (buf[addressOff] === 0xff) return false;
  for (let i = 0; i < 16; i++) if (buf[addressOff + i] !== 0) return true;
  return false;
}

/** The views of the last two memories that long sums were of: making one costs more than what it saves. */
let view: DataView | undefined;
let otherView: DataView | undefined;

function viewOf(buffer: ArrayBufferLike): DataView {
  if (view?.buffer === buffer) return view;
  const other = otherView;
  otherView = view;
  view = other?.buffer === buffer ? other : new DataView(buffer);
  return view;
}

/** Adds bytes to a ones' complement sum; from a `sum` below 2^31 comes one below 2^32 for any packet. */
export function addSum(sum: number, buf: Uint8Array, off: number, len: number): number {
  if (len >= LONG_SUM) return addLongSum(sum, buf, off, len);
  const end = off + (len & ~1);
  for (let i = off; i < end; i += 2) sum += (buf[i] << 8) | buf[i + 1];
  return len & 1 ? sum + (buf[end] << 8) : sum;
}

/** Bytes from which on four at once are faster. */
const LONG_SUM = 128;

/** Words of four bytes: 2^16 is 1 in ones' complement, so their halves may be added at the end. */
function addLongSum(sum: number, buf: Uint8Array, off: number, len: number): number {
  const words = viewOf(buf.buffer);
  let at = buf.byteOffset + off;
  const end = at + len;
  let wide = 0;
  for (; at + 16 <= end; at += 16)
    wide += words.getUint32(at) + words.getUint32(at + 4) + words.getUint32(at + 8) + words.getUint32(at + 12);
  const low = wide >>> 0;
  const folded = (low >>> 16) + (low & 0xffff) + Math.floor(wide / 0x100000000);
  return addSum(sum + folded, buf, at - buf.byteOffset, end - at);
}

/** Folds a sum and complements it: the value of a checksum field. */
export function checksum(sum: number): number {
  while (sum > 0xffff) sum = (sum % 0x10000) + Math.floor(sum / 0x10000);
  return ~sum & 0xffff;
}

/** The sum of the pseudo header in front of `length` bytes of this protocol. */
export function pseudoSum(buf: Uint8Array, off: number, family: 4 | 6, protocol: number, length: number): number {
  return addSum(protocol + length, buf, sourceOffset(off, family), family === 4 ? 8 : 32);
}

/**
 * Writes a fresh 20- or 40-byte header; addresses of 4 or 16 bytes.
 * @param identification and `fragment` (flags and offset): IPv4 only
 */
export function writeHeader(
  buf: Uint8Array,
  off: number,
  source: Uint8Array,
  destination: Uint8Array,
  protocol: number,
  payload: number,
  identification = 0,
  fragment = 0,
): number {
  if (source.length === 4) {
    buf.fill(0, off, off + 20);
    buf[off] = 0x45;
    putU16(buf, off + 2, 20 + payload);
    putU16(buf, off + 4, identification & 0xffff);
    putU16(buf, off + 6, fragment);
    buf[off + 8] = 64;
    buf[off + 9] = protocol;
    buf.set(source, off + 12);
    buf.set(destination, off + 16);
    putU16(buf, off + 10, checksum(addSum(0, buf, off, 20)));
    return 20;
  }
  buf.fill(0, off, off + 8);
  buf[off] = 0x60;
  putU16(buf, off + 4, payload);
  buf[off + 6] = protocol;
  buf[off + 7] = 64;
  buf.set(source, off + 8);
  buf.set(destination, off + 24);
  return 40;
}

/**
 * One hop less to live, with the IPv4 checksum brought along (RFC 1624).
 * @returns false where the packet has no hop left; then it is unchanged.
 */
export function decrementTtl(buf: Uint8Array, off: number, family: 4 | 6): boolean {
  if (family === 6) {
    if (buf[off + 7] <= 1) return false;
    buf[off + 7]--;
    return true;
  }
  if (buf[off + 8] <= 1) return false;
  buf[off + 8]--;
  const sum = u16(buf, off + 10) + 0x100;
  putU16(buf, off + 10, (sum & 0xffff) + (sum >>> 16));
  return true;
}

/** Exchanges source and destination; checksums stay right. */
export function swapAddresses(buf: Uint8Array, off: number, family: 4 | 6): void {
  const size = family === 4 ? 4 : 16;
  const a = sourceOffset(off, family);
  for (let i = 0; i < size; i++) {
    const byte = buf[a + i];
    buf[a + i] = buf[a + size + i];
    buf[a + size + i] = byte;
  }
}
