/** A packet pipe whose other end is a TUN device, and so the kernel's TCP/IP: read in this process, on a memory of its own. */
import { addSum, checksum } from "../../dataplane/inet";
import type { PacketPipe } from "../../dataplane/pipe";
import { GSO_NONE, GSO_TCP4, GSO_TCP6, VnetHeader, writeSegmentedHeader } from "../../dataplane/vnet-header";
import { Errno, errnoName } from "../../native/errno";
import { FIRST_FREE_OFFSET } from "../../native/native-memory";
import { PacketIo, VNET_HEADER_BYTES } from "../../native/packet-io";

const IN = FIRST_FREE_OFFSET;
const OUT = IN + 0x20000;
const ROOM = 0x11000;
/** Packets of one round. */
const ROUND = 64;
/** Milliseconds of asking again and again after the last packet; then once a millisecond. */
const BUSY = 5;

export class TunPipe implements PacketPipe {
  readonly id = "tun";
  onPacket: PacketPipe["onPacket"] = () => {};
  onRoundEnd: PacketPipe["onRoundEnd"] = () => {};
  onDrain: PacketPipe["onDrain"] = () => {};
  private readonly io = new PacketIo(8);
  private readonly vnet = new VnetHeader();
  private readonly fd: number;
  private readonly header: number;
  private lastPacket = 0;
  private full = false;
  private closed = false;

  /** @param netns path of the namespace to open the device in */
  constructor(name: string, netns: string, withVnetHeader: boolean) {
    this.fd = this.io.openTun(name, netns, withVnetHeader);
    if (this.fd < 0) throw new Error(`TUN device ${name}: ${errnoName(this.fd)}`);
    const device = this.io.prepareTun(this.fd);
    if (typeof device === "number") throw new Error(`TUN device ${name}: ${errnoName(device)}`);
    this.header = device.header;
    this.round();
  }

  send(buf: Uint8Array, off: number, len: number, segment: number): boolean {
    const { io, header } = this;
    io.bytes.set(buf.subarray(off, off + len), OUT + VNET_HEADER_BYTES);
    const at = OUT + VNET_HEADER_BYTES - header;
    if (header > 0) {
      io.bytes.fill(0, at, at + header);
      if (segment > 0) {
        const family = buf[off] >>> 4 === 4 ? 4 : 6;
        const ip = family === 4 ? 20 : 40;
        const headers = ip + (buf[off + ip + 12] >>> 4) * 4;
        const kind = len - headers <= segment ? GSO_NONE : family === 4 ? GSO_TCP4 : GSO_TCP6;
        writeSegmentedHeader(io.bytes, at, kind, headers, kind === GSO_NONE ? 0 : segment, ip, 16);
      }
    } else if (segment > 0) throw new Error("a segment for a device without virtio headers");
    const written = io.write(this.fd, at, header + len);
    if (written === -Errno.EAGAIN) {
      this.full = true;
      return false;
    }
    if (written < 0) throw new Error(`write to TUN: ${errnoName(written)}`);
    return true;
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.io.close(this.fd);
  }

  private round(): void {
    if (this.closed) return;
    if (this.full) {
      this.full = false;
      this.onDrain();
    }
    let count = 0;
    while (count < ROUND && !this.closed && this.take()) count++;
    if (this.closed) return;
    if (count > 0) {
      this.lastPacket = performance.now();
      this.onRoundEnd();
    }
    if (performance.now() - this.lastPacket < BUSY) setImmediate(() => this.round());
    else setTimeout(() => this.round(), 1);
  }

  private take(): boolean {
    const { io, vnet, header } = this;
    const got = io.read(this.fd, IN, ROOM);
    if (got < 0) {
      if (got !== -Errno.EAGAIN) this.close();
      return false;
    }
    const at = IN + header;
    let segment = 0;
    if (header > 0) {
      vnet.read(io.bytes, IN);
      if (vnet.kind === GSO_TCP4 || vnet.kind === GSO_TCP6) segment = vnet.segment;
      else if (vnet.needsChecksum) {
        const start = at + vnet.checksumStart;
        const field = start + vnet.checksumOffset;
        const sum = checksum(addSum(0, io.bytes, start, got - header - vnet.checksumStart)) || 0xffff;
        io.bytes[field] = sum >>> 8;
        io.bytes[field + 1] = sum & 255;
      }
    }
    this.onPacket(io.bytes, at, got - header, segment);
    return true;
  }
}
