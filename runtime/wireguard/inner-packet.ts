/** The little that WireGuard looks at in an inner packet. */

const IPV4_HEADER = 20;
const IPV6_HEADER = 40;

/** Is there a whole IP header at `buf[off, off+len)`? */
export function hasIpHeader(buf: Uint8Array, off: number, len: number): boolean {
  const version = len > 0 ? buf[off] >>> 4 : 0;
  return (version === 4 && len >= IPV4_HEADER) || (version === 6 && len >= IPV6_HEADER);
}

/** The length that the packet itself gives, or 0 where it is no IP packet or says to be longer than `len` bytes. */
export function innerLength(buf: Uint8Array, off: number, len: number): number {
  if (!hasIpHeader(buf, off, len)) return 0;
  const ipv4 = buf[off] >>> 4 === 4;
  const length = ipv4 ? (buf[off + 2] << 8) | buf[off + 3] : IPV6_HEADER + ((buf[off + 4] << 8) | buf[off + 5]);
  return length > len || (ipv4 && length < IPV4_HEADER) ? 0 : length;
}
