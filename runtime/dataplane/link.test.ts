/** A TUN link at a kernel that gives hostile headers and refuses writes: the system calls alone are made up. */
import { randomBytes } from "node:crypto";
import * as fc from "fast-check";
import { Errno } from "../native/errno";
import { loadKernels } from "../native/kernels";
import { PacketIo, type TunDevice, VNET_HEADER_BYTES } from "../native/packet-io";
import { PAGES, reception } from "./buffers";
import { countedDrops, newDrops } from "./drops";
import type { Offload, SwitchLink } from "./gateway";
import { newLinkContext, TunLink } from "./link";
import type { Switch } from "./switch";
import { tcpPacket } from "./testing/tcp-packet";
import { GSO_TCP4, GSO_UDP, NEEDS_CHECKSUM, writeSegmentedHeader } from "./vnet-header";

const OUT = reception(7);

/** The memory and checks of the real one; what a device gives and takes is told by the test. */
class ScriptedIo extends PacketIo {
  readonly reads: Uint8Array[] = [];
  readonly written: Uint8Array[] = [];
  writes = 0;
  /** A negative errno for writes of one packet, and of joined ones. */
  refuse: (packet: Uint8Array) => number = () => 0;
  refuseJoined = 0;
  private pieces: [number, number][] = [];

  override prepareTun(): TunDevice {
    return { header: VNET_HEADER_BYTES, udpSegments: true };
  }

  override read(_fd: number, off: number, len: number): number {
    const next = this.reads.shift();
    if (next === undefined) return -Errno.EAGAIN;
    expect(next.length).toBeLessThanOrEqual(len);
    this.bytes.set(next, off);
    return next.length;
  }

  override write(_fd: number, off: number, len: number): number {
    this.writes++;
    const packet = this.bytes.slice(off + VNET_HEADER_BYTES, off + len);
    const refused = this.refuse(packet);
    if (refused < 0) return refused;
    this.written.push(packet);
    return len;
  }

  override setPiece(index: number, off: number, len: number): void {
    super.setPiece(index, off, len);
    this.pieces[index] = [off, len];
  }

  override writePieces(_fd: number, count: number): number {
    this.writes++;
    if (this.refuseJoined < 0) return this.refuseJoined;
    const parts = this.pieces.slice(0, count).map(([off, len]) => this.bytes.slice(off, off + len));
    this.written.push(Buffer.concat(parts).subarray(VNET_HEADER_BYTES));
    return 1;
  }

  override close(): number {
    return 0;
  }
}

function newLink(): { io: ScriptedIo; link: TunLink } {
  const io = new ScriptedIo(PAGES);
  const context = newLinkContext(io.bytes, loadKernels(io.native));
  const config = { id: "app", source: { kind: "open", name: "warren0" }, addresses: ["10.0.0.4"] } as const;
  const link = TunLink.open(io, context, config, () => 5);
  if (typeof link === "string") throw new Error(link);
  return { io, link };
}

/** Counts what it is given, and takes an unfinished packet apart as the gateway does. */
class CountingSwitch implements Switch<never> {
  readonly drops = newDrops();
  packets = 0;
  segments = 0;

  constructor(private readonly io: PacketIo) {}

  setLinks(): void {}
  fromPeer(): void {}
  answerDns(): boolean {
    return false;
  }

  fromLink(_link: SwitchLink, _buf: Uint8Array, _off: number, _available: number, offload?: Offload): void {
    this.packets++;
    if (offload === undefined) return;
    for (let n = offload.next(OUT); n > 0; n = offload.next(OUT)) {
      expect(n).toBeLessThanOrEqual(offload.largest);
      expect(OUT + n).toBeLessThan(this.io.bytes.length);
      this.segments++;
    }
  }
}

/** Hands consecutive segments over as a gateway does with packets of peers. */
function deliver(io: ScriptedIo, link: TunLink, count: number): Uint8Array[] {
  const packets = Array.from({ length: count }, (_, i) =>
    tcpPacket({ family: 4, sequence: 1000 * i, payload: randomBytes(1000), id: i }),
  );
  packets.forEach((packet, i) => {
    const at = reception(0) + i * 1200;
    io.bytes.set(packet, at);
    expect(link.deliverLasting(io.bytes, at, packet.length)).toBe(true);
    link.tx++;
  });
  link.flush();
  return packets;
}

test("consecutive segments are written as one packet", () => {
  const { io, link } = newLink();
  deliver(io, link, 20);
  expect([io.writes, io.written.length, link.tx]).toEqual([1, 1, 20]);
});

test("a joined packet that the kernel refuses is written packet by packet; only what it refuses then is lost", () => {
  const { io, link } = newLink();
  io.refuseJoined = -Errno.EINVAL;
  const packets = deliver(io, link, 20);
  expect(io.written).toEqual(packets);
  expect([link.tx, countedDrops(link.drops)]).toEqual([20, {}]);
  io.written.length = 0;
  io.refuse = (packet) => (packet[5] % 4 === 3 ? -Errno.EINVAL : 0);
  const more = deliver(io, link, 20);
  expect(io.written).toEqual(more.filter((_, i) => i % 4 !== 3));
  expect([link.tx, countedDrops(link.drops)]).toEqual([35, { "link-down": 5 }]);
});

test.each([
  ["down", Errno.EIO, undefined],
  ["gone", Errno.EBADFD, "EBADFD"],
])("a device that is %s is not tried packet by packet; all are counted", (_name, errno, lost) => {
  const { io, link } = newLink();
  io.refuseJoined = -errno;
  io.refuse = () => -errno;
  deliver(io, link, 20);
  expect([io.writes, link.tx, countedDrops(link.drops), link.lost]).toEqual([1, 0, { "link-down": 20 }, lost]);
});

/** What a read gives: a header and a packet. */
function read(packet: Uint8Array, header: (buf: Uint8Array) => void): Uint8Array {
  const out = new Uint8Array(VNET_HEADER_BYTES + packet.length);
  header(out);
  out.set(packet, VNET_HEADER_BYTES);
  return out;
}

const big = tcpPacket({ family: 4, sequence: 1, payload: new Uint8Array(5000) });
const segmented = (kind: number, segment: number, start: number, field: number) =>
  read(big, (buf) => writeSegmentedHeader(buf, 0, kind, 52, segment, start, field));

test.each<[string, Uint8Array]>([
  ["nothing but a header", new Uint8Array(VNET_HEADER_BYTES)],
  ["less than a header", new Uint8Array(3)],
  ["segments of 0 bytes", segmented(GSO_TCP4, 0, 20, 16)],
  ["segments too small", segmented(GSO_TCP4, 1, 20, 16)],
  ["a kind that does not fit the packet", segmented(GSO_UDP, 1000, 20, 6)],
  ["an unknown kind", segmented(9, 1000, 20, 16)],
  ["a checksum behind the end", segmented(GSO_TCP4, 1000, 65535, 65535)],
  ["a checksum inside the IP header", segmented(GSO_TCP4, 1000, 2, 16)],
  ["segments without a checksum to be done", segmented(GSO_TCP4, 1000, 20, 16).fill(0, 0, 1)],
  ["a packet cut off behind its header", segmented(GSO_TCP4, 1000, 20, 16).subarray(0, 40)],
  ["a checksum to be done in no IP packet", read(new Uint8Array(60), (buf) => buf.fill(NEEDS_CHECKSUM, 0, 1))],
])("a read of %s is dropped and counted", (_name, bytes) => {
  const { io, link } = newLink();
  const to = new CountingSwitch(io);
  io.reads.push(bytes, segmented(GSO_TCP4, 1000, 20, 16));
  link.receive(to);
  expect([countedDrops(link.drops), to.packets, to.segments]).toEqual([{ malformed: 1 }, 1, 5]);
});

test("whatever a kernel gives is either passed on or counted, and the link goes on", () => {
  const { io, link } = newLink();
  const bytes = fc.uint8Array({ maxLength: 3000 });
  const shaped = fc
    .tuple(
      fc.uint8Array({ minLength: 10, maxLength: 10 }),
      fc.constantFrom(0, 1, 3, 4, 5, 0x81),
      fc.integer({ min: 0, max: 5052 }),
    )
    .map(([header, kind, length]) =>
      read(big.subarray(0, length), (buf) => {
        buf.set(header);
        buf[0] &= 3;
        buf[1] = kind;
      }),
    );
  fc.assert(
    fc.property(fc.array(fc.oneof(bytes, shaped), { maxLength: 60 }), (reads) => {
      const to = new CountingSwitch(io);
      const before = link.drops.malformed;
      io.reads.push(...reads);
      link.receive(to);
      expect(to.packets + link.drops.malformed - before).toBe(reads.length);
      expect(link.lost).toBeUndefined();
    }),
    { numRuns: 200 },
  );
});
