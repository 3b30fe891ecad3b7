/** A link whose far end is a TCP/IP stack of this process: two rings in place of a TUN device. See stack-pipe.ts for that end. */
import { VNET_HEADER_BYTES } from "../native/packet-io";
import type { Bells } from "./bells";
import { FROM_LINK, OUTGOING, offsetIn } from "./buffers";
import { Coalescer, type CoalescerSink } from "./coalesce";
import type { LinkConfig } from "./config";
import { newDrops, type Offload } from "./gateway";
import { familyOf, headerLength } from "./inet";
import { type EngineLink, type LinkContext, parseAddresses, READ_BATCH, READ_BATCH_BYTES } from "./link";
import { PacketRing, type RingMemory } from "./ring";
import type { Switch } from "./switch";
import { GSO_TCP4, GSO_TCP6, writeSegmentedHeader } from "./vnet-header";

/** Bytes of each ring: towards the stack what it may leave unread before packets are dropped, and from it what it is not made to wait for. */
export const TO_STACK_BYTES = 1 << 20;
export const FROM_STACK_BYTES = 1 << 19;

const TCP_CHECKSUM = 16;

/** Tells who has the stack that it has packets, or room; its bell is `index`. */
export interface StackBell {
  readonly bells: Bells;
  /** Called where the stack's side sleeps. */
  readonly wake: () => void;
}

export class StackLink implements EngineLink {
  readonly id: string;
  readonly source: string;
  addresses: readonly Uint8Array[];
  egress = false;
  rx = 0;
  tx = 0;
  readonly drops = newDrops();
  lost: string | undefined;
  private readonly toStack: PacketRing;
  private readonly fromStack: PacketRing;
  private readonly coalescer: Coalescer;

  /** @param index of its bell */
  constructor(
    private readonly context: LinkContext,
    config: LinkConfig,
    readonly index: number,
    rings: { readonly toStack: RingMemory; readonly fromStack: RingMemory },
    private readonly bell: StackBell,
    private readonly onClose: (link: StackLink) => void,
  ) {
    this.id = config.id;
    this.source = JSON.stringify(config.source);
    this.addresses = parseAddresses(config.addresses);
    this.toStack = new PacketRing(rings.toStack);
    this.fromStack = new PacketRing(rings.fromStack);
    const { bytes } = context;
    const sink: CoalescerSink = {
      single: (off, len) => {
        this.push(bytes, off, len, 0, 1);
      },
      pieces: (offsets, lengths, count) => {
        this.pushPieces(offsets, lengths, count);
        return true;
      },
    };
    this.coalescer = new Coalescer(bytes, context.kernels, sink, false);
  }

  configure({ addresses, egress }: LinkConfig): void {
    this.addresses = parseAddresses(addresses);
    this.egress = egress === true;
  }

  deliver(buf: Uint8Array, off: number, len: number, offload?: Offload): boolean {
    if (this.lost !== undefined) return false;
    if (offload === undefined) this.push(buf, off, len, 0, 1);
    else if (this.context.vnet.kind === GSO_TCP4 || this.context.vnet.kind === GSO_TCP6)
      this.push(buf, off, len, this.context.vnet.segment, offload.count);
    else
      for (let n = offload.next(OUTGOING); n > 0; n = offload.next(OUTGOING))
        this.push(this.context.bytes, OUTGOING, n, 0, 1);
    return true;
  }

  deliverLasting(buf: Uint8Array, off: number, len: number): boolean {
    const { bytes, holding } = this.context;
    const at = offsetIn(bytes, buf, off);
    if (at < 0) return this.deliver(buf, off, len);
    if (this.lost !== undefined) return false;
    const before = this.coalescer.empty;
    this.coalescer.add(at, len);
    if (before && !this.coalescer.empty) holding.push(this);
    return true;
  }

  flush(): void {
    this.coalescer.flush();
  }

  private push(buf: Uint8Array, off: number, len: number, segment: number, count: number): void {
    if (!this.makeRoom(len, count)) return;
    this.toStack.push(buf, off, len, segment, count);
    this.ring();
  }

  /** A joined packet; its first piece begins with a virtio header. */
  private pushPieces(offsets: Int32Array, lengths: Int32Array, count: number): void {
    const { bytes, kernels } = this.context;
    const header = offsets[0];
    // Put together by the kernel: a copy of it costs a sixth of what one between two arrays does.
    let end = OUTGOING - VNET_HEADER_BYTES;
    for (let i = 0; i < count; i++) {
      kernels.copy(end, offsets[i], lengths[i]);
      end += lengths[i];
    }
    this.push(bytes, OUTGOING, end - OUTGOING, bytes[header + 4] | (bytes[header + 5] << 8), count);
  }

  /** A stack that does not keep up loses the oldest; while it is reading, the newest. Counted as packets of the wire. */
  private makeRoom(len: number, count: number): boolean {
    while (this.toStack.reserve(len) < 0) {
      const oldest = this.toStack.dropOldest();
      const dropped = oldest === 0 ? count : oldest;
      // The switch counts as delivered what was taken.
      this.tx -= dropped;
      this.drops.queue += dropped;
      if (oldest === 0) return false;
    }
    return true;
  }

  private ring(): void {
    if (this.bell.bells.ring(this.index)) this.bell.wake();
  }

  receive<P>(to: Switch<P>): void {
    const { bytes, splitter } = this.context;
    const { fromStack } = this;
    let total = 0;
    for (let i = 0; i < READ_BATCH && total < READ_BATCH_BYTES && this.lost === undefined && fromStack.peek(); i++) {
      const { length, segment } = fromStack;
      fromStack.copyTo(bytes, FROM_LINK);
      fromStack.release();
      total += length;
      if (segment === 0) to.fromLink(this, bytes, FROM_LINK, length);
      else if (this.prepare(length, segment)) to.fromLink(this, bytes, FROM_LINK, length, splitter);
      else this.drops.malformed++;
    }
    if (fromStack.satisfied()) this.ring();
  }

  /** Packets of the stack wait. */
  get ready(): boolean {
    return !this.fromStack.empty;
  }

  /** Writes the virtio header that a TUN device would have given, for the splitter and for links that take the packet whole. */
  private prepare(length: number, segment: number): boolean {
    const { bytes, splitter, vnet } = this.context;
    const family = familyOf(bytes, FROM_LINK);
    const transport = family === 4 ? headerLength(bytes, FROM_LINK, 4) : 40;
    if (transport + 20 > length) return false;
    const header = transport + (bytes[FROM_LINK + transport + 12] >>> 4) * 4;
    const at = FROM_LINK - VNET_HEADER_BYTES;
    writeSegmentedHeader(bytes, at, family === 4 ? GSO_TCP4 : GSO_TCP6, header, segment, transport, TCP_CHECKSUM);
    vnet.read(bytes, at);
    return splitter.prepare(FROM_LINK, length, vnet);
  }

  close(): void {
    if (this.lost !== undefined) return;
    this.lost = "closed";
    this.onClose(this);
  }
}
