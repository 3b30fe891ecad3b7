/**
 * Consecutive TCP segments, or UDP datagrams, of a flow to one big packet, under the conditions of Linux' GRO (net/core/gro.c,
 * ipv4/af_inet.c, ipv4/tcp_offload.c, ipv4/udp_offload.c): the same headers but for length, identification, sequence, PSH and
 * checksum, equal payloads of which the last may be shorter, and every checksum verified. Anything else passes as it came. The order
 * within a flow stays, also of its packets with IP options, extension headers or fragments, which let go what is held between their
 * addresses.
 */

import { VNET_HEADER_BYTES } from "../native/packet-io";
import { fold, type PacketKernels } from "./checksum";
import { PROTO_TCP, PROTO_UDP, pseudoSum, putU16, u16 } from "./inet";
import { GSO_TCP4, GSO_TCP6, GSO_UDP, writeSegmentedHeader } from "./vnet-header";

/** Flows that may be under way at once, and segments in one packet. */
const MAX_FLOWS = 16;
export const MAX_SEGMENTS = 64;
const MAX_PACKET = 65535;

const TCP_HEADER = 20;
const TCP_CHECKSUM = 16;
const UDP_HEADER = 8;
const UDP_CHECKSUM = 6;
const PSH = 0x08;
const ACK = 0x10;
const ECE = 0x40;
const DF = 0x40;

/** A packet in the making. */
class Flow {
  family: 4 | 6 = 4;
  protocol = PROTO_TCP;
  /** Offset of its first packet, whose header becomes that of all. */
  first = 0;
  /** All headers, bytes; where TCP or UDP begins. */
  header = 0;
  transport = 0;
  /** Payload of each segment but the last. */
  segment = 0;
  length = 0;
  nextSequence = 0;
  flags = 0;
  /** IPv4: the identification stays as it is; the second packet decides. */
  fixedIdentification = false;
  count = 0;
  /** Offsets and lengths: first the first packet with room for a virtio header, then the payloads of the others. */
  readonly offsets = new Int32Array(MAX_SEGMENTS);
  readonly lengths = new Int32Array(MAX_SEGMENTS);
}

export interface CoalescerSink {
  /** A packet as it came. */
  single(off: number, len: number): void;
  /**
   * A virtio header and a packet, in pieces.
   * @returns false where it is not taken: then its packets come one by one.
   */
  pieces(offsets: Int32Array, lengths: Int32Array, count: number): boolean;
}

export class Coalescer {
  private readonly flows = Array.from({ length: MAX_FLOWS }, () => new Flow());
  /** The first so many are in use, the oldest first. */
  private used = 0;
  private readonly view: DataView;

  /**
   * Packets lie in `bytes`, each with VNET_HEADER_BYTES before it that may be written to.
   * @param udp the kernel that gets the packets takes several datagrams as one, too.
   */
  constructor(
    private readonly bytes: Uint8Array,
    private readonly kernels: PacketKernels,
    private readonly sink: CoalescerSink,
    private readonly udp: boolean,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Nothing is held. */
  get empty(): boolean {
    return this.used === 0;
  }

  /** Takes a whole IP packet, which stays where it is until `flush`. */
  add(off: number, len: number): void {
    const { bytes } = this;
    const family = bytes[off] >>> 4 === 4 ? 4 : 6;
    const transport = family === 4 ? 20 : 40;
    // IPv4 without options or fragments, IPv6 without extension headers.
    const plain = family === 6 || (bytes[off] === 0x45 && (u16(bytes, off + 6) & 0x3fff) === 0);
    const protocol = bytes[family === 4 ? off + 9 : off + 6];
    const tcp = protocol === PROTO_TCP;
    const known = tcp || (protocol === PROTO_UDP && this.udp);
    if (!plain || !known || transport + (tcp ? TCP_HEADER : UDP_HEADER) > len) {
      if (!plain || (family === 6 && isExtension(protocol))) this.releaseBetween(family, off);
      this.sink.single(off, len);
      return;
    }
    const flags = tcp ? bytes[off + transport + 13] : 0;
    const header = transport + (tcp ? (bytes[off + transport + 12] >>> 4) * 4 : UDP_HEADER);
    const mayHold =
      header < len &&
      (tcp
        ? header >= transport + TCP_HEADER && (flags & ~(PSH | ECE)) === ACK
        : u16(bytes, off + transport + 4) === len - transport && u16(bytes, off + transport + UDP_CHECKSUM) !== 0) &&
      this.verify(family, protocol, off, len);
    const at = this.find(family, protocol, off, transport);
    if (at >= 0) {
      const flow = this.flows[at];
      if (mayHold && this.follows(flow, off, len, header, flags)) {
        this.append(flow, off, len, flags);
        if (len - header < flow.segment || (flags & PSH) !== 0 || flow.count === MAX_SEGMENTS) this.release(at);
        return;
      }
      this.release(at);
    }
    if (!mayHold || (flags & PSH) !== 0) {
      this.sink.single(off, len);
      return;
    }
    if (this.used === MAX_FLOWS) this.release(0);
    const flow = this.flows[this.used++];
    flow.family = family;
    flow.protocol = protocol;
    flow.first = off;
    flow.header = header;
    flow.transport = transport;
    flow.segment = len - header;
    flow.length = len;
    flow.nextSequence = (this.view.getUint32(off + transport + 4) + flow.segment) >>> 0;
    flow.flags = flags;
    flow.count = 1;
    flow.offsets[0] = off - VNET_HEADER_BYTES;
    flow.lengths[0] = len + VNET_HEADER_BYTES;
  }

  /** Hands over all that is held. */
  flush(): void {
    const { used } = this;
    this.used = 0;
    for (let i = 0; i < used; i++) this.emit(this.flows[i]);
  }

  private append(flow: Flow, off: number, len: number, flags: number): void {
    const payload = len - flow.header;
    flow.offsets[flow.count] = off + flow.header;
    flow.lengths[flow.count] = payload;
    if (flow.count++ === 1) flow.fixedIdentification = u16(this.bytes, off + 4) === u16(this.bytes, flow.first + 4);
    flow.length += payload;
    flow.nextSequence = (flow.nextSequence + payload) >>> 0;
    flow.flags |= flags & PSH;
  }

  /** Hands over what is held between the addresses of this packet. */
  private releaseBetween(family: 4 | 6, off: number): void {
    const addresses = family === 4 ? 12 : 8;
    const length = family === 4 ? 8 : 32;
    for (let i = this.used - 1; i >= 0; i--) {
      const flow = this.flows[i];
      if (flow.family === family && this.same(flow.first + addresses, off + addresses, length)) this.release(i);
    }
  }

  /** The flow with these addresses and ports; -1: none. */
  private find(family: 4 | 6, protocol: number, off: number, transport: number): number {
    const addresses = family === 4 ? 12 : 8;
    const length = family === 4 ? 8 : 32;
    for (let i = 0; i < this.used; i++) {
      const flow = this.flows[i];
      if (flow.family !== family || flow.protocol !== protocol) continue;
      if (this.word(flow.first + transport) !== this.word(off + transport)) continue;
      if (this.same(flow.first + addresses, off + addresses, length)) return i;
    }
    return -1;
  }

  /** May this packet be joined to the flow? */
  private follows(flow: Flow, off: number, len: number, header: number, flags: number): boolean {
    const payload = len - header;
    if (header !== flow.header || payload > flow.segment || flow.length + payload > MAX_PACKET) return false;
    if (flow.protocol === PROTO_TCP && !this.followsTcp(flow, off, flags)) return false;
    return flow.family === 4 ? this.followsIpv4(flow, off) : this.followsIpv6(flow.first, off);
  }

  private followsTcp(
    { first, transport, nextSequence, header, flags: before }: Flow,
    off: number,
    flags: number,
  ): boolean {
    const a = first + transport;
    const b = off + transport;
    if (this.view.getUint32(b + 4) !== nextSequence || ((flags ^ before) & ECE) !== 0) return false;
    // Acknowledgement, window, urgent pointer, options.
    if (this.word(a + 8) !== this.word(b + 8) || u16(this.bytes, a + 14) !== u16(this.bytes, b + 14)) return false;
    if (u16(this.bytes, a + 18) !== u16(this.bytes, b + 18)) return false;
    // AE and the reserved bits, beside the length of the header.
    if (this.bytes[a + 12] !== this.bytes[b + 12]) return false;
    return this.same(a + TCP_HEADER, b + TCP_HEADER, header - transport - TCP_HEADER);
  }

  private followsIpv4({ first, count, fixedIdentification }: Flow, off: number): boolean {
    const { bytes } = this;
    // Service, flags, hops.
    if (bytes[first + 1] !== bytes[off + 1] || bytes[first + 6] !== bytes[off + 6]) return false;
    if (bytes[first + 8] !== bytes[off + 8]) return false;
    // Counted up, or with DF all the same, but not now one and now the other.
    const ahead = (u16(bytes, off + 4) - u16(bytes, first + 4)) & 0xffff;
    if (count > 1) return ahead === (fixedIdentification ? 0 : count);
    return ahead === 1 || (ahead === 0 && (bytes[off + 6] & DF) !== 0);
  }

  private followsIpv6(first: number, off: number): boolean {
    // Traffic class and flow label, hops.
    return this.word(first) === this.word(off) && this.bytes[first + 7] === this.bytes[off + 7];
  }

  /** Are the checksums of the packet right? */
  private verify(family: 4 | 6, protocol: number, off: number, len: number): boolean {
    const { kernels } = this;
    if (family === 4 && kernels.sum(off, 20) !== 0xffff) return false;
    const transport = family === 4 ? 20 : 40;
    const pseudo = this.pseudo(family, protocol, off, len - transport);
    return fold(pseudo + kernels.sum(off + transport, len - transport)) === 0xffff;
  }

  private pseudo(family: 4 | 6, protocol: number, off: number, length: number): number {
    return family === 4
      ? pseudoSum(this.bytes, off, 4, protocol, length)
      : this.kernels.sum(off + 8, 32) + protocol + length;
  }

  /** Hands over a flow and forgets it. */
  private release(index: number): void {
    const flow = this.flows[index];
    this.emit(flow);
    this.used--;
    for (let i = index; i < this.used; i++) this.flows[i] = this.flows[i + 1];
    this.flows[this.used] = flow;
  }

  private emit(flow: Flow): void {
    const { bytes } = this;
    const { first, family, transport } = flow;
    if (flow.count === 1) {
      this.sink.single(first, flow.length);
      return;
    }
    if (family === 4) {
      putU16(bytes, first + 2, flow.length);
      putU16(bytes, first + 10, 0);
      putU16(bytes, first + 10, ~this.kernels.sum(first, 20) & 0xffff);
    } else putU16(bytes, first + 4, flow.length - 40);
    const tcp = flow.protocol === PROTO_TCP;
    if (tcp) bytes[first + transport + 13] |= flow.flags;
    else putU16(bytes, first + transport + 4, flow.length - transport);
    const checksumOffset = tcp ? TCP_CHECKSUM : UDP_CHECKSUM;
    // The pseudo header's share alone: the packets were verified, the kernel need not sum them again.
    const share = fold(this.pseudo(family, flow.protocol, first, flow.length - transport));
    putU16(bytes, first + transport + checksumOffset, share);
    const kind = !tcp ? GSO_UDP : family === 4 ? GSO_TCP4 : GSO_TCP6;
    const at = first - VNET_HEADER_BYTES;
    writeSegmentedHeader(bytes, at, kind, flow.header, flow.segment, transport, checksumOffset);
    if (!this.sink.pieces(flow.offsets, flow.lengths, flow.count)) this.emitOneByOne(flow);
  }

  /** The packets as they came: of the first the headers were changed, all others lie as they did. */
  private emitOneByOne({ first, family, protocol, transport, header, offsets, lengths, count }: Flow): void {
    const { bytes } = this;
    const length = lengths[0] - VNET_HEADER_BYTES;
    const tcp = protocol === PROTO_TCP;
    if (family === 4) {
      putU16(bytes, first + 2, length);
      putU16(bytes, first + 10, 0);
      putU16(bytes, first + 10, ~this.kernels.sum(first, 20) & 0xffff);
    } else putU16(bytes, first + 4, length - 40);
    // With PSH it would have been the last.
    if (tcp) bytes[first + transport + 13] &= ~PSH;
    else putU16(bytes, first + transport + 4, length - transport);
    const field = first + transport + (tcp ? TCP_CHECKSUM : UDP_CHECKSUM);
    putU16(bytes, field, 0);
    const pseudo = this.pseudo(family, protocol, first, length - transport);
    const checksum = ~fold(pseudo + this.kernels.sum(first + transport, length - transport)) & 0xffff;
    putU16(bytes, field, checksum === 0 && !tcp ? 0xffff : checksum);
    this.sink.single(first, length);
    for (let i = 1; i < count; i++) this.sink.single(offsets[i] - header, lengths[i] + header);
  }

  private word(at: number): number {
    return this.view.getInt32(at);
  }

  /** @param len a multiple of 4 */
  private same(a: number, b: number, len: number): boolean {
    for (let i = 0; i < len; i += 4) if (this.view.getInt32(a + i) !== this.view.getInt32(b + i)) return false;
    return true;
  }
}

/** Does another header come next in this IPv6 packet? Hop by hop, routing, fragment, authentication, destination, mobility. */
function isExtension(next: number): boolean {
  return next === 0 || next === 43 || next === 44 || next === 51 || next === 60 || next === 135;
}
