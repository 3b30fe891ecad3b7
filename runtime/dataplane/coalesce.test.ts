import { randomBytes } from "node:crypto";
import { plainKernels } from "./checksum";
import { Coalescer, type CoalescerSink, MAX_SEGMENTS } from "./coalesce";
import { addSum, checksum, pseudoSum, putU16, writeHeader } from "./inet";
import { Splitter } from "./split";
import { faultOf } from "./testing/pcap";
import { ACK, CWR, ECE, FIN, finish, PSH, SYN, type TcpFields, tcpPacket } from "./testing/tcp-packet";
import { VnetHeader } from "./vnet-header";

const SIZE = 1000;

interface Written {
  readonly packet: Uint8Array;
  /** Undefined: a packet as it came. */
  readonly header?: VnetHeader;
}

/** What comes of these packets in one round. */
function coalesce(packets: readonly Uint8Array[], udp = true, taken = true): Written[] {
  const bytes = new Uint8Array(packets.reduce((sum, p) => sum + p.length + 64, 4096));
  const out: Written[] = [];
  const sink: CoalescerSink = {
    single: (off, len) => out.push({ packet: bytes.slice(off, off + len) }),
    pieces: (offsets, lengths, count) => {
      if (!taken) return false;
      const parts = Array.from({ length: count }, (_, i) => bytes.slice(offsets[i], offsets[i] + lengths[i]));
      const whole = Buffer.concat(parts);
      const header = new VnetHeader();
      header.read(whole, 0);
      out.push({ packet: Uint8Array.from(whole.subarray(10)), header });
      return true;
    },
  };
  const coalescer = new Coalescer(bytes, plainKernels(bytes), sink, udp);
  let at = 1024;
  for (const packet of packets) {
    bytes.set(packet, at);
    coalescer.add(at, packet.length);
    at += packet.length + 48;
  }
  coalescer.flush();
  expect(coalescer.empty).toBe(true);
  return out;
}

/** The packets that a kernel would make of it. */
function undone({ packet, header }: Written): Uint8Array[] {
  if (header === undefined) return [packet];
  const bytes = new Uint8Array(200_000);
  bytes.set(packet, 64);
  const splitter = new Splitter(bytes, plainKernels(bytes));
  expect(splitter.prepare(64, packet.length, header)).toBe(true);
  const out: Uint8Array[] = [];
  for (let n = splitter.next(100_000); n > 0; n = splitter.next(100_000)) out.push(bytes.slice(100_000, 100_000 + n));
  return out;
}

function stream(family: 4 | 6, sizes: readonly number[], more: (i: number) => Partial<TcpFields> = () => ({})) {
  let sequence = 0xffffff00;
  return sizes.map((size, i) => {
    const fields = { family, sequence, payload: randomBytes(size), id: 65530 + i, ...more(i) };
    sequence = (sequence + size) >>> 0;
    return tcpPacket(fields);
  });
}

const lengths = (written: readonly Written[]) =>
  written.map((w) => (w.header === undefined ? "single" : undone(w).length));

describe.each([4, 6] as const)("IPv%i", (family) => {
  test("segments in a row become one packet, from which the same segments come", () => {
    const packets = stream(family, [SIZE, SIZE, SIZE, 300], (i) => (i === 3 ? { flags: ACK | PSH } : {}));
    const written = coalesce(packets);
    expect(lengths(written)).toEqual([4]);
    expect(undone(written[0])).toEqual(packets);
  });

  test.each<[string, Partial<TcpFields>]>([
    ["acknowledgement", { acknowledgement: 8 }],
    ["window", { window: 501 }],
    ["options", { options: Uint8Array.from([1, 1, 8, 10, 0, 0, 0, 2, 0, 0, 0, 2]) }],
    ["length of options", { options: new Uint8Array(0) }],
    ["service", { tos: 2 }],
    ["hops", { ttl: 63 }],
    ["ECE", { flags: ACK | ECE }],
    ["CWR", { flags: ACK | CWR }],
    ["AE", { reserved: 1 }],
    ["reserved bit", { reserved: 8 }],
    ["a hole", { sequence: 5 }],
  ])("a different %s ends the packet", (_name, change) => {
    const packets = stream(family, [SIZE, SIZE, SIZE, SIZE], (i) => (i === 2 ? change : {}));
    const written = coalesce(packets);
    expect(written[0].header).toBeDefined();
    expect(undone(written[0])).toEqual(packets.slice(0, 2));
    expect(written.flatMap(undone)).toEqual(packets);
  });

  test.each([
    ["FIN", FIN | ACK],
    ["SYN", SYN],
    ["no ACK", 0],
  ])("%s passes alone, behind what came before it", (_name, flags) => {
    const packets = stream(family, [SIZE, SIZE, SIZE], (i) => (i === 2 ? { flags } : {}));
    expect(lengths(coalesce(packets))).toEqual([2, "single"]);
  });

  test("PSH, or a shorter segment, is the last; a longer one begins anew; an empty one passes", () => {
    const push = stream(family, [SIZE, SIZE, SIZE, SIZE], (i) => (i === 1 ? { flags: ACK | PSH } : {}));
    expect(coalesce(push).map(undone)).toEqual([push.slice(0, 2), push.slice(2)]);
    const short = stream(family, [SIZE, 10, 10, 10]);
    expect(coalesce(short).map(undone)).toEqual([short.slice(0, 2), short.slice(2)]);
    const long = stream(family, [10, 10, SIZE, SIZE]);
    expect(coalesce(long).map(undone)).toEqual([long.slice(0, 2), long.slice(2)]);
    expect(lengths(coalesce(stream(family, [SIZE, 0, SIZE])))).toEqual(["single", "single", "single"]);
  });

  test("a wrong checksum is passed on as it is and never joined", () => {
    const packets = stream(family, [SIZE, SIZE, SIZE, SIZE, SIZE]);
    packets[2][packets[2].length - 1] ^= 1;
    const written = coalesce(packets);
    expect(lengths(written)).toEqual([2, "single", 2]);
    expect(written.flatMap(undone)).toEqual(packets);
    const first = stream(family, [SIZE, SIZE]);
    first[0][60] ^= 1;
    expect(coalesce(first).flatMap(undone)).toEqual(first);
  });

  test("a joined packet that is not taken comes apart again into the very same packets", () => {
    const packets = stream(family, [SIZE, SIZE, SIZE, 301], (i) => (i === 3 ? { flags: ACK | PSH } : {}));
    expect(lengths(coalesce(packets))).toEqual([4]);
    expect(coalesce(packets, true, false)).toEqual(packets.map((packet) => ({ packet })));
  });

  test("flows are kept apart, each in its order", () => {
    const a = stream(family, [SIZE, SIZE, SIZE]);
    const b = stream(family, [SIZE, SIZE, SIZE], () => ({ port: 40001 }));
    const written = coalesce(a.flatMap((packet, i) => [packet, b[i]]));
    expect(written.map(undone)).toEqual([a, b]);
    const many = Array.from({ length: 40 }, (_, n) => stream(family, [SIZE, SIZE], () => ({ port: 1000 + n })));
    const out = coalesce([0, 1].flatMap((i) => many.map((flow) => flow[i]))).flatMap(undone);
    for (const flow of many) expect(out.filter((p) => flow.some((q) => Buffer.compare(p, q) === 0))).toEqual(flow);
    expect(out.length).toBe(80);
  });

  test("no packet is longer than 65,535 bytes or has more segments than one call takes", () => {
    const full = coalesce(stream(family, new Array(60).fill(1368)));
    expect(full.map((w) => w.packet.length <= 65535)).toEqual([true, true]);
    expect(full.flatMap(undone).length).toBe(60);
    const small = coalesce(stream(family, new Array(100).fill(8)));
    expect(lengths(small)).toEqual([MAX_SEGMENTS, 100 - MAX_SEGMENTS]);
  });
});

describe.each([4, 6] as const)("UDP over IPv%i", (family) => {
  const start = family === 4 ? 20 : 40;
  const datagrams = (sizes: readonly number[], port = 5000) =>
    sizes.map((size) => {
      const out = new Uint8Array(start + 8 + size);
      const address = (last: number) =>
        family === 4 ? Uint8Array.from([10, 0, 0, last]) : Uint8Array.from([0xfd, ...new Array(14).fill(0), last]);
      writeHeader(out, 0, address(3), address(4), 17, 8 + size);
      if (family === 4) {
        out[6] = 0x40;
        putU16(out, 10, 0);
        putU16(out, 10, checksum(addSum(0, out, 0, 20)));
      }
      putU16(out, start, port);
      putU16(out, start + 2, 53);
      putU16(out, start + 4, 8 + size);
      out.set(randomBytes(size), start + 8);
      const sum = addSum(pseudoSum(out, 0, family, 17, 8 + size), out, start, 8 + size);
      putU16(out, start + 6, checksum(sum) || 0xffff);
      return out;
    });

  /** With DF Linux leaves the identification as it is; what splits counts it up. */
  const withoutIdentification = (packet: Uint8Array) => {
    const out = Uint8Array.from(packet);
    if (family === 4) out.fill(0, 4, 6).fill(0, 10, 12);
    return out;
  };

  test("equal datagrams become one, the last may be shorter; flows are kept apart", () => {
    const a = datagrams([1200, 1200, 1200, 40]);
    const b = datagrams([1200, 1200], 5001);
    const written = coalesce([a[0], b[0], a[1], b[1], a[2], a[3]]);
    expect(lengths(written)).toEqual([4, 2]);
    const all = written.flatMap(undone);
    expect(all.map((packet) => faultOf(packet, 1420))).toEqual(new Array(6).fill(undefined));
    expect(all.map(withoutIdentification)).toEqual([...a, ...b].map(withoutIdentification));
  });

  test("joined datagrams that are not taken come apart again", () => {
    const packets = datagrams([1201, 1201, 1201, 40]);
    expect(coalesce(packets, true, false)).toEqual(packets.map((packet) => ({ packet })));
  });

  test("never with a wrong checksum, none, another length, nothing in it, or where the kernel cannot", () => {
    const damage = (change: (packet: Uint8Array) => void) => {
      const packets = datagrams([500, 500, 500, 500]);
      change(packets[1]);
      const written = coalesce(packets);
      expect(lengths(written)).toEqual(["single", "single", 2]);
      expect(written.slice(0, 2).map(({ packet }) => packet)).toEqual(packets.slice(0, 2));
    };
    damage((packet) => {
      packet[start + 20] ^= 1;
    });
    damage((packet) => packet.fill(0, start + 6, start + 8));
    damage((packet) => putU16(packet, start + 4, 20));
    const some = datagrams([500, 0, 500, 500]);
    expect(lengths(coalesce(some))).toEqual(["single", "single", 2]);
    expect(coalesce(datagrams([500, 500]), false).length).toBe(2);
  });
});

test("IPv4 identification counts up, or stays with DF; other jumps, options, fragments and bad headers are not joined", () => {
  const ids = (...list: number[]) =>
    lengths(coalesce(stream(4, new Array(list.length).fill(SIZE), (i) => ({ id: list[i] }))));
  expect(ids(7, 7, 9)).toEqual([2, "single"]);
  expect(ids(7, 7, 8, 9)).toEqual([2, 2]);
  expect(ids(7, 8, 7)).toEqual([2, "single"]);
  expect(ids(65535, 0, 1)).toEqual([3]);
  expect(lengths(coalesce(stream(4, [SIZE, SIZE, SIZE], () => ({ id: 7 }))))).toEqual([3]);
  expect(lengths(coalesce(stream(4, [SIZE, SIZE], () => ({ id: 7, df: false }))))).toEqual(["single", "single"]);
  expect(lengths(coalesce(stream(4, [SIZE, SIZE], (i) => ({ df: i === 0 }))))).toEqual(["single", "single"]);
  expect(lengths(coalesce(stream(4, [SIZE, SIZE], (i) => ({ id: 2 * i }))))).toEqual(["single", "single"]);
  const fragments = stream(4, [SIZE, SIZE]);
  for (const packet of fragments) {
    packet[6] = 0x20;
    finish(packet);
  }
  expect(lengths(coalesce(fragments))).toEqual(["single", "single"]);
  const bad = stream(4, [SIZE, SIZE]);
  bad[1][10] ^= 1;
  expect(coalesce(bad).map(({ packet }) => packet)).toEqual(bad);
});

test.each([4, 6] as const)(
  "fragments, options and extension headers over IPv%i do not overtake what is held between their addresses",
  (family) => {
    const plain = stream(family, [SIZE, SIZE, SIZE, SIZE]);
    const other = stream(family, [SIZE, SIZE]).map((packet) => {
      packet[family === 4 ? 19 : 39] = 9;
      finish(packet);
      return packet;
    });
    const odd =
      family === 4
        ? [Uint8Array.from(plain[0]).fill(0x20, 6, 7), Uint8Array.from(plain[0]).fill(0x46, 0, 1)]
        : [0, 43, 44, 51, 60, 135].map((next) => Uint8Array.from(plain[0]).fill(next, 6, 7));
    for (const packet of odd) {
      const written = coalesce([other[0], plain[0], plain[1], packet, plain[2], plain[3], other[1]]);
      expect(written.map(undone)).toEqual([plain.slice(0, 2), [packet], other, plain.slice(2)]);
    }
  },
);

test("anything else passes at once, untouched", () => {
  const odd: Uint8Array[] = [
    Uint8Array.from([0x45]),
    randomBytes(40).fill(0x45, 0, 1),
    randomBytes(60).fill(0x60, 0, 1),
    Uint8Array.from(
      tcpPacket({ family: 4, sequence: 1, payload: new Uint8Array(0), options: new Uint8Array(0) }),
    ).slice(0, 39),
  ].map((bytes) => Uint8Array.from(bytes));
  // A TCP header that says to be longer than the packet, and one shorter than can be.
  for (const offset of [0xf0, 0x10]) {
    const packet = tcpPacket({ family: 4, sequence: 1, payload: new Uint8Array(4), options: new Uint8Array(0) });
    packet[32] = offset;
    odd.push(packet);
  }
  expect(coalesce(odd).map(({ packet }) => packet)).toEqual(odd);
});
