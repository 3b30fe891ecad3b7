/**
 * One big packet of a kernel to the packets that go on the wire, as Linux would make them (net/ipv4/tcp_offload.c, udp_offload.c):
 * identification counted up, FIN and PSH on the last only, CWR on the first only, checksums complete.
 */
import { fold, type PacketKernels, without } from "./checksum";
import { familyOf, headerLength, isFragment, PROTO_TCP, PROTO_UDP, packetLength, pseudoSum, putU16, u16 } from "./inet";
import { GSO_NONE, GSO_TCP4, GSO_TCP6, GSO_UDP, type VnetHeader } from "./vnet-header";

const TCP_CHECKSUM = 16;
const UDP_CHECKSUM = 6;
const TCP_FLAGS = 13;
const FIN_PSH = 0x09;
const CWR = 0x80;
/** TCP_MIN_GSO_SIZE and UDP_MAX_SEGMENTS of Linux. */
const MIN_TCP_SEGMENT = 8;
const MAX_UDP_SEGMENTS = 128;
/** IPv6 extension headers before the transport header, bytes. */
const MAX_EXTENSIONS = 256;

export class Splitter {
  /** How many packets come of it. */
  count = 0;
  /** Bytes of the longest of them. */
  largest = 0;
  private index = 0;
  private off = 0;
  private length = 0;
  private family: 4 | 6 = 4;
  private kind = GSO_NONE;
  private segment = 0;
  /** From the packet's start: the transport header, and the payload. */
  private transport = 0;
  private header = 0;
  private checksumOffset = 0;
  private sequence = 0;
  private identification = 0;
  /** Sums of what is equal in all packets. */
  private ipSum = 0;
  private transportSum = 0;

  constructor(
    private readonly bytes: Uint8Array,
    private readonly kernels: PacketKernels,
  ) {}

  /**
   * Takes the packet at `off`, with something left to do by its header.
   * @returns false where header and packet do not fit each other; nothing may be done with it then.
   */
  prepare(off: number, available: number, vnet: VnetHeader): boolean {
    const { bytes } = this;
    this.index = 0;
    this.count = 0;
    const length = packetLength(bytes, off, available);
    if (length < 0 || !vnet.needsChecksum) return false;
    const family = familyOf(bytes, off);
    const ipHeader = headerLength(bytes, off, family);
    const transport = vnet.checksumStart;
    if (transport < ipHeader || transport > ipHeader + MAX_EXTENSIONS) return false;
    if (transport + vnet.checksumOffset + 2 > length) return false;
    this.off = off;
    this.length = length;
    this.family = family;
    this.kind = vnet.kind;
    this.transport = transport;
    this.checksumOffset = vnet.checksumOffset;
    if (vnet.kind === GSO_NONE) {
      this.count = 1;
      this.largest = length;
      return true;
    }
    return this.prepareSegments(vnet, ipHeader);
  }

  private prepareSegments(vnet: VnetHeader, ipHeader: number): boolean {
    const { bytes, off, length, family, transport } = this;
    const tcp = vnet.kind === GSO_TCP4 || vnet.kind === GSO_TCP6;
    if (!tcp && vnet.kind !== GSO_UDP) return false;
    if (tcp && (vnet.kind === GSO_TCP4) !== (family === 4)) return false;
    const protocol = tcp ? PROTO_TCP : PROTO_UDP;
    if (isFragment(bytes, off, family) || vnet.checksumOffset !== (tcp ? TCP_CHECKSUM : UDP_CHECKSUM)) return false;
    // Only IPv6 has headers in between, and then another number stands here.
    if (transport === ipHeader && bytes[off + (family === 4 ? 9 : 6)] !== protocol) return false;
    if (family === 4 && transport !== ipHeader) return false;
    if (transport + (tcp ? 20 : 8) > length) return false;
    const transportHeader = tcp ? (bytes[off + transport + 12] >>> 4) * 4 : 8;
    const header = transport + transportHeader;
    const payload = length - header;
    if ((tcp && transportHeader < 20) || payload <= 0 || vnet.segment < (tcp ? MIN_TCP_SEGMENT : 1)) return false;
    const count = Math.ceil(payload / vnet.segment);
    if (!tcp && count > MAX_UDP_SEGMENTS) return false;
    this.count = count;
    this.largest = header + Math.min(vnet.segment, payload);
    this.segment = vnet.segment;
    this.header = header;
    return true;
  }

  /** What is equal in all packets; once somebody wants the first, for until then addresses may change. */
  private sumHeaders(): void {
    const { bytes, off, family, transport, header } = this;
    const tcp = this.kind !== GSO_UDP;
    const protocol = tcp ? PROTO_TCP : PROTO_UDP;
    const at = off + transport;
    if (family === 4) {
      this.identification = u16(bytes, off + 4);
      let sum = this.kernels.sum(off, headerLength(bytes, off, 4));
      for (const word of IPV4_CHANGING) sum = without(sum, u16(bytes, off + word));
      this.ipSum = fold(sum);
    }
    let sum = this.kernels.sum(at, header - transport) + pseudoSum(bytes, off, family, protocol, 0);
    for (const word of tcp ? TCP_CHANGING : UDP_CHANGING) sum = without(sum, u16(bytes, at + word));
    this.transportSum = fold(sum);
    if (tcp) this.sequence = ((u16(bytes, at + 4) << 16) | u16(bytes, at + 6)) >>> 0;
  }

  /** Begins anew. */
  rewind(): void {
    this.index = 0;
  }

  /** Writes the next packet at `at`, apart from the big one. @returns its length; 0: that was all */
  next(at: number): number {
    if (this.index >= this.count) return 0;
    const index = this.index++;
    if (this.kind === GSO_NONE) return this.completed(at);
    if (index === 0) this.sumHeaders();
    const { bytes, kernels, header, transport, off } = this;
    const from = header + index * this.segment;
    const payload = Math.min(this.segment, this.length - from);
    const length = header + payload;
    kernels.copy(at, off, header);
    kernels.copy(at + header, off + from, payload);
    if (this.family === 4) {
      const identification = (this.identification + index) & 0xffff;
      putU16(bytes, at + 2, length);
      putU16(bytes, at + 4, identification);
      putU16(bytes, at + 10, ~fold(this.ipSum + length + identification) & 0xffff);
    } else putU16(bytes, at + 4, length - 40);
    const t = at + transport;
    let sum = this.transportSum + (length - transport) + kernels.sum(at + header, payload);
    if (this.kind === GSO_UDP) {
      putU16(bytes, t + 4, length - transport);
      sum += length - transport;
    } else {
      const sequence = (this.sequence + index * this.segment) >>> 0;
      putU16(bytes, t + 4, sequence >>> 16);
      putU16(bytes, t + 6, sequence & 0xffff);
      if (index < this.count - 1) bytes[t + TCP_FLAGS] &= ~FIN_PSH;
      if (index > 0) bytes[t + TCP_FLAGS] &= ~CWR;
      sum += (sequence >>> 16) + (sequence & 0xffff) + u16(bytes, t + TCP_FLAGS - 1);
    }
    putU16(bytes, t + this.checksumOffset, this.finished(fold(sum)));
    return length;
  }

  /** The whole packet with its checksum: the field holds the pseudo header's share already. */
  private completed(at: number): number {
    const { bytes, kernels, transport } = this;
    kernels.copy(at, this.off, this.length);
    const sum = kernels.sum(at + transport, this.length - transport);
    putU16(bytes, at + transport + this.checksumOffset, this.finished(sum));
    return this.length;
  }

  /** A sum as it is written: 0 in a UDP header would say that there is none (RFC 768); TCP knows no such case. */
  private finished(sum: number): number {
    const checksum = ~sum & 0xffff;
    return checksum === 0 && this.checksumOffset === UDP_CHECKSUM ? 0xffff : checksum;
  }
}

/** Offsets of the words that differ from segment to segment. */
const IPV4_CHANGING = [2, 4, 10] as const;
const TCP_CHANGING = [4, 6, 12, TCP_CHECKSUM] as const;
const UDP_CHANGING = [4, UDP_CHECKSUM] as const;
