/** A super-segment to the packets that it stands for, in the plainest way; and the other finishing of packets, for tests. */
import { addSum, checksum, headerLength, pseudoSum, putU16, u16 } from "../../dataplane/inet";

/** Packets of at most `segment` bytes of payload, each with right checksums. 0: a copy as it is. */
export function splitSegments(packet: Uint8Array, segment: number): Uint8Array[] {
  if (segment === 0) return [packet.slice()];
  const family = packet[0] >>> 4 === 4 ? 4 : 6;
  const ip = headerLength(packet, 0, family);
  const header = ip + (packet[ip + 12] >>> 4) * 4;
  const parts: Uint8Array[] = [];
  const sequence = u16(packet, ip + 4) * 65536 + u16(packet, ip + 6);
  for (let at = header; at < packet.length || at === header; at += segment) {
    const end = Math.min(at + segment, packet.length);
    const part = new Uint8Array(header + end - at);
    part.set(packet.subarray(0, header));
    part.set(packet.subarray(at, end), header);
    const number = (sequence + at - header) >>> 0;
    putU16(part, ip + 4, number >>> 16);
    putU16(part, ip + 6, number & 0xffff);
    // FIN and PSH on the last, CWR on the first.
    if (end < packet.length) part[ip + 13] &= ~0x09;
    if (at > header) part[ip + 13] &= ~0x80;
    finish(part);
    parts.push(part);
  }
  return parts;
}

/** Writes lengths and checksums of an IP packet that carries TCP. */
export function finish(packet: Uint8Array): void {
  const family = packet[0] >>> 4 === 4 ? 4 : 6;
  const ip = headerLength(packet, 0, family);
  if (family === 4) {
    putU16(packet, 2, packet.length);
    putU16(packet, 10, 0);
    putU16(packet, 10, checksum(addSum(0, packet, 0, ip)));
  } else putU16(packet, 4, packet.length - 40);
  const length = packet.length - ip;
  putU16(packet, ip + 16, 0);
  putU16(packet, ip + 16, checksum(addSum(pseudoSum(packet, 0, family, 6, length), packet, ip, length)));
}
