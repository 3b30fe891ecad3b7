/** An app's TUN device as a link of the switch. */
import ipaddr from "ipaddr.js";
import { Errno, errnoName } from "../native/errno";
import { type PacketIo, type TunDevice, VNET_HEADER_BYTES } from "../native/packet-io";
import { FROM_LINK, inMemory, OUTGOING, offsetIn, PACKET_ROOM } from "./buffers";
import type { PacketKernels } from "./checksum";
import { Coalescer, type CoalescerSink } from "./coalesce";
import type { LinkConfig } from "./config";
import { newDrops, type Offload, type SwitchLink } from "./gateway";
import { Splitter } from "./split";
import type { Switch } from "./switch";
import { clearHeader, VnetHeader } from "./vnet-header";

/** Packets, and bytes, handled before others get their turn. */
export const READ_BATCH = 64;
export const READ_BATCH_BYTES = 8 * 65536;

/** @returns a descriptor, or a sentence on why there is none. */
export type OpenLink = (source: LinkConfig["source"]) => number | string;

/** What links share: the memory they read into, and the list of those that hold packets until the end of the round. */
export interface LinkContext {
  readonly bytes: Uint8Array;
  readonly kernels: PacketKernels;
  readonly splitter: Splitter;
  /** Of the packet that the splitter was given last. */
  readonly vnet: VnetHeader;
  readonly holding: EngineLink[];
}

export function newLinkContext(bytes: Uint8Array, kernels: PacketKernels): LinkContext {
  return { bytes, kernels, splitter: new Splitter(bytes, kernels), vnet: new VnetHeader(), holding: [] };
}

/** A link as the engine sees it. */
export interface EngineLink extends SwitchLink {
  /** Its configured source as JSON. */
  readonly source: string;
  /** Why its far end is gone; such a link takes part in nothing any more. */
  readonly lost: string | undefined;
  /** Takes over all but the source. */
  configure(config: LinkConfig): void;
  /** Hands waiting packets to the switch, a bounded number. */
  receive<P>(to: Switch<P>): void;
  /** Gives its far end what is held; at the end of each round. */
  flush(): void;
  close(): void;
}

export class TunLink implements EngineLink {
  readonly id: string;
  readonly source: string;
  addresses: readonly Uint8Array[];
  egress = false;
  rx = 0;
  tx = 0;
  readonly drops = newDrops();
  lost: string | undefined;
  private readonly coalescer: Coalescer;
  /** Bytes in front of each packet: 0 or a virtio header. */
  private readonly header: number;

  private constructor(
    private readonly io: PacketIo,
    private readonly context: LinkContext,
    config: LinkConfig,
    readonly fd: number,
    device: TunDevice,
    addresses: readonly Uint8Array[],
  ) {
    this.header = device.header;
    this.id = config.id;
    this.source = JSON.stringify(config.source);
    this.addresses = addresses;
    const sink: CoalescerSink = {
      single: (off, len) => {
        if (!this.deliver(this.io.bytes, off, len)) this.countLost(1);
      },
      pieces: (offsets, lengths, count) => {
        for (let i = 0; i < count; i++) this.io.setPiece(i, offsets[i], lengths[i]);
        const result = this.io.writePieces(this.fd, count);
        if (this.written(result)) return true;
        // A device that is gone or down takes them one by one no more than together.
        if (this.lost === undefined && result !== -Errno.EIO) return false;
        this.countLost(count);
        return true;
      },
    };
    this.coalescer = new Coalescer(context.bytes, context.kernels, sink, device.udpSegments);
  }

  /** @returns the link, or a sentence on why it cannot be. */
  static open(io: PacketIo, context: LinkContext, config: LinkConfig, open: OpenLink): TunLink | string {
    const addresses = parseAddresses(config.addresses);
    const fd = open(config.source);
    if (typeof fd === "string") return fd;
    const device = io.prepareTun(fd);
    if (typeof device === "number") {
      io.close(fd);
      return `The descriptor of link ${config.id} is no TUN device that can be used (${errnoName(device)}).`;
    }
    return new TunLink(io, context, config, fd, device, addresses);
  }

  configure({ addresses, egress }: LinkConfig): void {
    this.addresses = parseAddresses(addresses);
    this.egress = egress === true;
  }

  deliver(buf: Uint8Array, off: number, len: number, offload?: Offload): boolean {
    if (this.lost !== undefined) return false;
    if (offload !== undefined && this.header === 0) return this.deliverFinished(offload);
    const at = inMemory(this.io, buf, off, len) - this.header;
    // Of an unfinished packet the header says what is left to do, to this kernel as to us.
    if (this.header > 0 && offload === undefined) clearHeader(this.io.bytes, at);
    return this.written(this.io.write(this.fd, at, len + this.header));
  }

  deliverLasting(buf: Uint8Array, off: number, len: number): boolean {
    const at = this.header === 0 ? -1 : offsetIn(this.io.bytes, buf, off);
    if (at < 0) return this.deliver(buf, off, len);
    if (this.lost !== undefined) return false;
    const { holding } = this.context;
    const before = this.coalescer.empty;
    this.coalescer.add(at, len);
    if (before && !this.coalescer.empty) holding.push(this);
    return true;
  }

  flush(): void {
    this.coalescer.flush();
  }

  /** Packets that were counted as delivered when they were held. */
  private countLost(count: number): void {
    this.tx -= count;
    this.drops["link-down"] += count;
  }

  private deliverFinished(offload: Offload): boolean {
    let all = true;
    for (let len = offload.next(OUTGOING); len > 0; len = offload.next(OUTGOING))
      if (!this.written(this.io.write(this.fd, OUTGOING, len))) all = false;
    return all;
  }

  private written(result: number): boolean {
    if (result >= 0) return true;
    // Merely down, it answers EIO; gone with its namespace, one of these.
    if (result === -Errno.EBADFD || result === -Errno.ENODEV || result === -Errno.EBADF) this.lost = errnoName(result);
    return false;
  }

  receive<P>(to: Switch<P>): void {
    const { splitter, vnet } = this.context;
    const start = FROM_LINK - this.header;
    let bytes = 0;
    for (let i = 0; i < READ_BATCH && bytes < READ_BATCH_BYTES && this.lost === undefined; i++) {
      const got = this.io.read(this.fd, start, PACKET_ROOM + VNET_HEADER_BYTES);
      if (got < 0) {
        if (got !== -Errno.EAGAIN && got !== -Errno.EINTR) this.lost = errnoName(got);
        return;
      }
      if (got <= this.header) {
        this.drops.malformed++;
        continue;
      }
      bytes += got;
      const len = got - this.header;
      if (this.header > 0) vnet.read(this.io.bytes, start);
      if (this.header === 0 || vnet.complete) to.fromLink(this, this.io.bytes, FROM_LINK, len);
      else if (splitter.prepare(FROM_LINK, len, vnet)) to.fromLink(this, this.io.bytes, FROM_LINK, len, splitter);
      else this.drops.malformed++;
    }
  }

  close(): void {
    if (this.lost === undefined) this.lost = "closed";
    this.io.close(this.fd);
  }
}

export function parseAddresses(texts: readonly string[]): Uint8Array[] {
  return texts.map((text) => Uint8Array.from(ipaddr.parse(text).toByteArray()));
}
