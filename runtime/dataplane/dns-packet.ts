/** DNS over UDP at the packet level: the question in a packet to the DNS address, and the packet of its answer. */
import type { DnsQuestion } from "./gateway-types";
import {
  addSum,
  checksum,
  destinationOffset,
  headerLength,
  isFragment,
  PROTO_TCP,
  PROTO_UDP,
  protocolOf,
  pseudoSum,
  putU16,
  sourceOffset,
  u16,
  writeHeader,
} from "./inet";

const DNS_PORT = 53;
const UDP_HEADER = 8;

/** The UDP message to port 53; undefined: something else; `damaged`: not to be answered. */
export function dnsQuestion(
  buf: Uint8Array,
  off: number,
  len: number,
  family: 4 | 6,
): DnsQuestion | "damaged" | undefined {
  if (protocolOf(buf, off, family) !== PROTO_UDP || isFragment(buf, off, family)) return undefined;
  const udp = off + headerLength(buf, off, family);
  const end = off + len;
  if (udp + UDP_HEADER > end) return "damaged";
  if (u16(buf, udp + 2) !== DNS_PORT) return undefined;
  const length = u16(buf, udp + 4);
  if (length < UDP_HEADER || udp + length > end) return "damaged";
  // Over IPv4 a checksum of 0 says that there is none (RFC 768); IPv6 always has one.
  if (family === 6 || u16(buf, udp + 6) !== 0)
    if (checksum(addSum(pseudoSum(buf, off, family, PROTO_UDP, length), buf, udp, length)) !== 0) return "damaged";
  const size = family === 4 ? 4 : 16;
  const source = sourceOffset(off, family);
  const destination = destinationOffset(off, family);
  return {
    from: buf.slice(source, source + size),
    fromPort: u16(buf, udp),
    to: buf.slice(destination, destination + size),
    message: buf.slice(udp + UDP_HEADER, udp + length),
  };
}

/** Bytes of the packet that carries an answer of `message` bytes. */
export function dnsAnswerLength(question: DnsQuestion, message: number): number {
  return (question.from.length === 4 ? 20 : 40) + UDP_HEADER + message;
}

/** Writes the packet of an answer at `buf[off]`. */
export function writeDnsAnswer(buf: Uint8Array, off: number, question: DnsQuestion, message: Uint8Array): void {
  const family = question.from.length === 4 ? 4 : 6;
  const length = UDP_HEADER + message.length;
  const udp = off + writeHeader(buf, off, question.to, question.from, PROTO_UDP, length);
  putU16(buf, udp, DNS_PORT);
  putU16(buf, udp + 2, question.fromPort);
  putU16(buf, udp + 4, length);
  putU16(buf, udp + 6, 0);
  buf.set(message, udp + UDP_HEADER);
  const sum = addSum(pseudoSum(buf, off, family, PROTO_UDP, length), buf, udp, length);
  putU16(buf, udp + 6, checksum(sum) || 0xffff);
}

/** A TCP packet to port 53, or a later fragment of one: it has no port, and who made it is told by whoever joins the fragments. */
export function isDnsOverTcp(buf: Uint8Array, off: number, len: number, family: 4 | 6): boolean {
  let protocol = protocolOf(buf, off, family);
  let tcp = off + headerLength(buf, off, family);
  if (family === 6 && protocol === 44) {
    if (len < 48) return false;
    protocol = buf[off + 40];
    if ((u16(buf, off + 42) & 0xfff8) !== 0) return protocol === PROTO_TCP;
    tcp += 8;
  }
  if (protocol !== PROTO_TCP) return false;
  if (family === 4 && (u16(buf, off + 6) & 0x1fff) !== 0) return true;
  return tcp + 4 <= off + len && u16(buf, tcp + 2) === DNS_PORT;
}
