/** An app's TUN device as a link of the switch. */
import ipaddr from "ipaddr.js";
import { Errno, errnoName, type PacketIo, VNET_HEADER_BYTES } from "../native/packet-io";
import { FROM_LINK, inMemory, PACKET_ROOM } from "./buffers";
import type { LinkConfig } from "./config";
import { type Gateway, newDrops, type SwitchLink } from "./gateway";

/** Packets handled before others get their turn. */
const READ_BATCH = 64;

/** @returns a descriptor, or a sentence on why there is none. */
export type OpenLink = (source: LinkConfig["source"]) => number | string;

export class TunLink implements SwitchLink {
  readonly id: string;
  readonly source: string;
  addresses: readonly Uint8Array[];
  rx = 0;
  tx = 0;
  readonly drops = newDrops();
  /** Why the device is gone; such a link takes part in nothing any more. */
  lost: string | undefined;

  private constructor(
    private readonly io: PacketIo,
    config: LinkConfig,
    readonly fd: number,
    /** Bytes in front of each packet: 0 or a virtio header. */
    private readonly header: number,
    addresses: readonly Uint8Array[],
  ) {
    this.id = config.id;
    this.source = JSON.stringify(config.source);
    this.addresses = addresses;
  }

  /** @returns the link, or a sentence on why it cannot be. */
  static open(io: PacketIo, config: LinkConfig, open: OpenLink): TunLink | string {
    const addresses = parseAddresses(config.addresses);
    const fd = open(config.source);
    if (typeof fd === "string") return fd;
    const header = io.prepareTun(fd);
    if (header < 0) {
      io.close(fd);
      return `The descriptor of link ${config.id} is no TUN device that can be used (${errnoName(header)}).`;
    }
    return new TunLink(io, config, fd, header, addresses);
  }

  setAddresses(texts: readonly string[]): void {
    this.addresses = parseAddresses(texts);
  }

  deliver(buf: Uint8Array, off: number, len: number): boolean {
    if (this.lost !== undefined) return false;
    const at = inMemory(this.io, buf, off, len) - this.header;
    if (this.header > 0) this.io.bytes.fill(0, at, at + this.header);
    const written = this.io.write(this.fd, at, len + this.header);
    if (written >= 0) return true;
    // Merely down, it answers EIO; gone with its namespace, one of these.
    if (written === -Errno.EBADFD || written === -Errno.ENODEV || written === -Errno.EBADF)
      this.lost = errnoName(written);
    return false;
  }

  /** Hands waiting packets to the gateway, a bounded number. */
  receive<P>(gateway: Gateway<P>): void {
    const start = FROM_LINK - this.header;
    for (let i = 0; i < READ_BATCH && this.lost === undefined; i++) {
      const got = this.io.read(this.fd, start, PACKET_ROOM + VNET_HEADER_BYTES);
      if (got < 0) {
        if (got !== -Errno.EAGAIN && got !== -Errno.EINTR) this.lost = errnoName(got);
        return;
      }
      if (got <= this.header) continue;
      gateway.fromLink(this, this.io.bytes, FROM_LINK, got - this.header);
    }
  }

  close(): void {
    if (this.lost === undefined) this.lost = "closed";
    this.io.close(this.fd);
  }
}

function parseAddresses(texts: readonly string[]): Uint8Array[] {
  return texts.map((text) => Uint8Array.from(ipaddr.parse(text).toByteArray()));
}
