/**
 * Consecutive TCP segments of a flow to one big packet, under the conditions of Linux' GRO (net/core/gro.c, ipv4/af_inet.c,
 * ipv4/tcp_offload.c): the same headers but for length, identification, sequence, PSH and checksum, equal payloads of which the
 * last may be shorter, and every checksum verified. Anything else passes as it came. The order within a flow stays.
 */

import { VNET_HEADER_BYTES } from "../native/packet-io";
import { fold, type PacketKernels } from "./checksum";
import { PROTO_TCP, pseudoSum, putU16, u16 } from "./inet";
import { GSO_TCP4, GSO_TCP6, writeSegmentedHeader } from "./vnet-header";

/** Flows that may be under way at once, and segments in one packet. */
const MAX_FLOWS = 16;
export const MAX_SEGMENTS = 64;
const MAX_PACKET = 65535;

const TCP_CHECKSUM = 16;
const PSH = 0x08;
const ACK = 0x10;
const ECE = 0x40;
const DF = 0x40;

/** A packet in the making. */
class Flow {
  family: 4 | 6 = 4;
  /** Offset of its first packet, whose header becomes that of all. */
  first = 0;
  /** IP and TCP header, bytes; where TCP begins. */
  header = 0;
  transport = 0;
  /** Payload of each segment but the last. */
  segment = 0;
  length = 0;
  nextSequence = 0;
  flags = 0;
  count = 0;
  /** Offsets and lengths: first the first packet with room for a virtio header, then the payloads of the others. */
  readonly offsets = new Int32Array(MAX_SEGMENTS);
  readonly lengths = new Int32Array(MAX_SEGMENTS);
}

export interface CoalescerSink {
  /** A packet as it came. */
  single(off: number, len: number): void;
  /** A virtio header and a packet, in pieces. */
  pieces(offsets: Int32Array, lengths: Int32Array, count: number): void;
}

export class Coalescer {
  private readonly flows = Array.from({ length: MAX_FLOWS }, () => new Flow());
  /** The first so many are in use, the oldest first. */
  private used = 0;
  private readonly view: DataView;

  /** Packets lie in `bytes`, each with VNET_HEADER_BYTES before it that may be written to. */
  constructor(
    private readonly bytes: Uint8Array,
    private readonly kernels: PacketKernels,
    private readonly sink: CoalescerSink,
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
    const plain =
      family === 4
        ? bytes[off] === 0x45 && bytes[off + 9] === PROTO_TCP && (u16(bytes, off + 6) & 0x3fff) === 0
        : bytes[off + 6] === PROTO_TCP;
    if (!plain || transport + 20 > len) {
      this.sink.single(off, len);
      return;
    }
    const header = transport + (bytes[off + transport + 12] >>> 4) * 4;
    const at = this.find(family, off, transport);
    const flags = bytes[off + transport + 13];
    const mayHold =
      header >= transport + 20 && header < len && (flags & ~(PSH | ECE)) === ACK && this.verify(family, off, len);
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
    this.begin(family, off, len, transport, header, flags);
  }

  /** Hands over all that is held. */
  flush(): void {
    const { used } = this;
    this.used = 0;
    for (let i = 0; i < used; i++) this.emit(this.flows[i]);
  }

  private begin(family: 4 | 6, off: number, len: number, transport: number, header: number, flags: number): void {
    const flow = this.flows[this.used++];
    flow.family = family;
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

  private append(flow: Flow, off: number, len: number, flags: number): void {
    const payload = len - flow.header;
    flow.offsets[flow.count] = off + flow.header;
    flow.lengths[flow.count] = payload;
    flow.count++;
    flow.length += payload;
    flow.nextSequence = (flow.nextSequence + payload) >>> 0;
    flow.flags |= flags & PSH;
  }

  /** The flow with these addresses and ports; -1: none. */
  private find(family: 4 | 6, off: number, transport: number): number {
    const addresses = family === 4 ? 12 : 8;
    const length = family === 4 ? 8 : 32;
    for (let i = 0; i < this.used; i++) {
      const { family: other, first } = this.flows[i];
      if (other !== family || this.word(first + transport) !== this.word(off + transport)) continue;
      if (this.same(first + addresses, off + addresses, length)) return i;
    }
    return -1;
  }

  /** May this segment be joined to the flow? */
  private follows(flow: Flow, off: number, len: number, header: number, flags: number): boolean {
    const { first, transport, count } = flow;
    const payload = len - header;
    if (header !== flow.header || payload > flow.segment || flow.length + payload > MAX_PACKET) return false;
    if (this.view.getUint32(off + transport + 4) !== flow.nextSequence || ((flags ^ flow.flags) & ECE) !== 0)
      return false;
    // Acknowledgement, window, urgent pointer, options.
    if (this.word(first + transport + 8) !== this.word(off + transport + 8)) return false;
    if (u16(this.bytes, first + transport + 14) !== u16(this.bytes, off + transport + 14)) return false;
    if (u16(this.bytes, first + transport + 18) !== u16(this.bytes, off + transport + 18)) return false;
    if (!this.same(first + transport + 20, off + transport + 20, header - transport - 20)) return false;
    return flow.family === 4 ? this.followsIpv4(first, off, count) : this.followsIpv6(first, off);
  }

  private followsIpv4(first: number, off: number, count: number): boolean {
    const { bytes } = this;
    // Service, flags, hops.
    if (bytes[first + 1] !== bytes[off + 1] || bytes[first + 6] !== bytes[off + 6]) return false;
    if (bytes[first + 8] !== bytes[off + 8]) return false;
    // Counted up, or with DF all the same.
    const ahead = (u16(bytes, off + 4) - u16(bytes, first + 4)) & 0xffff;
    return ahead === (count & 0xffff) || (ahead === 0 && (bytes[off + 6] & DF) !== 0);
  }

  private followsIpv6(first: number, off: number): boolean {
    // Traffic class and flow label, hops.
    return this.word(first) === this.word(off) && this.bytes[first + 7] === this.bytes[off + 7];
  }

  /** Are the checksums of the packet right? */
  private verify(family: 4 | 6, off: number, len: number): boolean {
    const { kernels } = this;
    if (family === 4 && kernels.sum(off, 20) !== 0xffff) return false;
    const transport = family === 4 ? 20 : 40;
    return fold(this.pseudo(family, off, len - transport) + kernels.sum(off + transport, len - transport)) === 0xffff;
  }

  private pseudo(family: 4 | 6, off: number, length: number): number {
    return family === 4
      ? pseudoSum(this.bytes, off, 4, PROTO_TCP, length)
      : this.kernels.sum(off + 8, 32) + PROTO_TCP + length;
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
    bytes[first + transport + 13] |= flow.flags;
    // The pseudo header's share alone: the segments were verified, the kernel need not sum them again.
    putU16(bytes, first + transport + TCP_CHECKSUM, fold(this.pseudo(family, first, flow.length - transport)));
    const kind = family === 4 ? GSO_TCP4 : GSO_TCP6;
    const at = first - VNET_HEADER_BYTES;
    writeSegmentedHeader(bytes, at, kind, flow.header, flow.segment, transport, TCP_CHECKSUM);
    this.sink.pieces(flow.offsets, flow.lengths, flow.count);
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
