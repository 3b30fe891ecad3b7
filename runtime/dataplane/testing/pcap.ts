/** What tcpdump wrote of a TUN device: the packets, and whether they are whole. */
import { addSum, checksum, familyOf, headerLength, isFragment, packetLength, pseudoSum } from "../inet";

const FILE_HEADER = 24;
const RECORD_HEADER = 16;

/** The packets of a file of raw IP packets. */
export function packetsOf(pcap: Uint8Array): Uint8Array[] {
  const view = new DataView(pcap.buffer, pcap.byteOffset, pcap.byteLength);
  const packets: Uint8Array[] = [];
  for (let at = FILE_HEADER; at + RECORD_HEADER <= pcap.length; ) {
    const length = view.getUint32(at + 8, true);
    if (at + RECORD_HEADER + length > pcap.length) break;
    packets.push(pcap.subarray(at + RECORD_HEADER, at + RECORD_HEADER + length));
    at += RECORD_HEADER + length;
  }
  return packets;
}

/** What is wrong with the lengths or checksums of a TCP, UDP or ICMP packet; undefined: nothing. */
export function faultOf(packet: Uint8Array, mtu: number): string | undefined {
  const length = packetLength(packet, 0, packet.length);
  if (length !== packet.length) return `${packet.length} bytes say to be ${length}`;
  if (length > mtu) return `${length} bytes are more than ${mtu}`;
  const family = familyOf(packet, 0);
  const at = headerLength(packet, 0, family);
  if (family === 4 && checksum(addSum(0, packet, 0, at)) !== 0) return "wrong IPv4 header checksum";
  if (isFragment(packet, 0, family)) return undefined;
  const protocol = packet[family === 4 ? 9 : 6];
  if (protocol !== 6 && protocol !== 17) return undefined;
  const sum = pseudoSum(packet, 0, family, protocol, length - at);
  return checksum(addSum(sum, packet, at, length - at)) === 0 ? undefined : `wrong checksum of protocol ${protocol}`;
}
