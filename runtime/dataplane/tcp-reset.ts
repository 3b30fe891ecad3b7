/** The answer to a TCP segment that nobody takes: RST (RFC 9293 section 3.10.7.1). */
import { type Headers, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN, WHOLE } from "./headers";
import {
  addSum,
  checksum,
  destinationOffset,
  PROTO_TCP,
  pseudoSum,
  putU16,
  sourceOffset,
  u16,
  writeHeader,
} from "./inet";

const TCP_HEADER = 20;

/**
 * Writes it at `out[outOff]`, in the name of whom the segment was for.
 * @param headers of the segment at `buf[off]`.
 * @returns its length; 0 where the segment is to have no answer
 */
export function tcpReset(headers: Headers, buf: Uint8Array, off: number, out: Uint8Array, outOff: number): number {
  const { family, flags, transport, end } = headers;
  if (headers.kind !== WHOLE || headers.protocol !== PROTO_TCP || (flags & TCP_RST) !== 0) return 0;
  const size = family === 4 ? 4 : 16;
  const source = sourceOffset(off, family);
  const destination = destinationOffset(off, family);
  const tcp =
    outOff +
    writeHeader(
      out,
      outOff,
      buf.subarray(destination, destination + size),
      buf.subarray(source, source + size),
      PROTO_TCP,
      TCP_HEADER,
    );
  out.fill(0, tcp, tcp + TCP_HEADER);
  putU16(out, tcp, u16(buf, transport + 2));
  putU16(out, tcp + 2, u16(buf, transport));
  out[tcp + 12] = (TCP_HEADER / 4) << 4;
  if ((flags & TCP_ACK) !== 0) {
    out.set(buf.subarray(transport + 8, transport + 12), tcp + 4);
    out[tcp + 13] = TCP_RST;
  } else {
    const payload = end - transport - (buf[transport + 12] >>> 4) * 4;
    const controls = ((flags & TCP_SYN) !== 0 ? 1 : 0) + ((flags & TCP_FIN) !== 0 ? 1 : 0);
    const sequence = u16(buf, transport + 4) * 0x10000 + u16(buf, transport + 6);
    const next = (sequence + payload + controls) >>> 0;
    putU16(out, tcp + 8, next >>> 16);
    putU16(out, tcp + 10, next & 0xffff);
    out[tcp + 13] = TCP_RST | TCP_ACK;
  }
  const sum = addSum(pseudoSum(out, outOff, family, PROTO_TCP, TCP_HEADER), out, tcp, TCP_HEADER);
  putU16(out, tcp + 16, checksum(sum));
  return tcp - outOff + TCP_HEADER;
}
