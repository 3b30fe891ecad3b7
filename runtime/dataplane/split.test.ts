import { randomBytes } from "node:crypto";
import * as fc from "fast-check";
import { plainKernels } from "./checksum";
import { addSum, checksum, pseudoSum, putU16, writeHeader } from "./inet";
import { Splitter } from "./split";
import { faultOf } from "./testing/pcap";
import { ACK, CWR, ECE, FIN, PSH, tcpPacket } from "./testing/tcp-packet";
import { GSO_NONE, GSO_TCP4, GSO_TCP6, GSO_UDP, VnetHeader, writeSegmentedHeader } from "./vnet-header";

const AT = 256;
const OUT = 80_000;

/** A memory with a packet as a kernel hands it over, and what comes of it; undefined: it was refused. */
function split(packet: Uint8Array, header: Partial<VnetHeader>): Uint8Array[] | undefined {
  const bytes = new Uint8Array(160_000);
  bytes.set(packet, AT);
  const splitter = new Splitter(bytes, plainKernels(bytes));
  const vnet = Object.assign(new VnetHeader(), { needsChecksum: true }, header);
  if (!splitter.prepare(AT, packet.length, vnet)) return undefined;
  const packets: Uint8Array[] = [];
  for (let n = splitter.next(OUT); n > 0; n = splitter.next(OUT)) packets.push(bytes.slice(OUT, OUT + n));
  expect(packets.length).toBe(splitter.count);
  expect(Math.max(...packets.map((p) => p.length))).toBe(splitter.largest);
  expect(Buffer.compare(bytes.subarray(AT, AT + packet.length), packet)).toBe(0);
  return packets;
}

/** The pseudo header's share, where a kernel leaves the rest to be done. */
function unfinished(packet: Uint8Array, field: number): Uint8Array {
  const out = Uint8Array.from(packet);
  const family = out[0] >>> 4 === 4 ? 4 : 6;
  const header = family === 4 ? 20 : 40;
  const protocol = out[family === 4 ? 9 : 6];
  putU16(out, header + field, ~checksum(pseudoSum(out, 0, family, protocol, out.length - header)) & 0xffff);
  return out;
}

describe.each([4, 6] as const)("TCP over IPv%i", (family) => {
  const start = family === 4 ? 20 : 40;
  const kind = family === 4 ? GSO_TCP4 : GSO_TCP6;

  test("a big packet becomes exactly the packets that TCP would have sent", () => {
    const size = 1368;
    const payload = randomBytes(4 * size + 100);
    const flags = ACK | PSH | FIN | ECE | CWR;
    const sequence = 0xfffff000;
    const big = unfinished(tcpPacket({ family, sequence, payload, flags, id: 0xfffe }), 16);
    const got = split(big, { kind, segment: size, checksumStart: start, checksumOffset: 16 });
    const want = [0, 1, 2, 3, 4].map((i) =>
      tcpPacket({
        family,
        sequence: (sequence + i * size) >>> 0,
        payload: payload.subarray(i * size, (i + 1) * size),
        flags: ACK | ECE | (i === 0 ? CWR : 0) | (i === 4 ? PSH | FIN : 0),
        id: 0xfffe + i,
      }),
    );
    expect(got).toEqual(want);
  });

  test("one packet without its checksum gets it", () => {
    for (const length of [0, 1, 2, 1000, 1367]) {
      const whole = tcpPacket({ family, sequence: 1, payload: randomBytes(length) });
      const header = { kind: GSO_NONE, checksumStart: start, checksumOffset: 16 };
      expect(split(unfinished(whole, 16), header)).toEqual([whole]);
    }
  });

  test("a checksum that comes to 0 is written as 0, like Linux does", () => {
    // The payload's first word makes up for all the rest.
    const payload = new Uint8Array(1000);
    const without = tcpPacket({ family, sequence: 1, payload });
    payload.set(without.subarray(start + 16, start + 18));
    const whole = tcpPacket({ family, sequence: 1, payload });
    expect([whole[start + 16], whole[start + 17]]).toEqual([0, 0]);
    const alone = { kind: GSO_NONE, checksumStart: start, checksumOffset: 16 };
    expect(split(unfinished(whole, 16), alone)).toEqual([whole]);
    expect(split(unfinished(whole, 16), { ...alone, kind, segment: 1368 })).toEqual([whole]);
  });

  test.each<[string, Partial<VnetHeader>]>([
    ["a size of 0", { segment: 0 }],
    ["the other family", { kind: family === 4 ? GSO_TCP6 : GSO_TCP4 }],
    ["an unknown kind", { kind: 7 }],
    ["UDP on a TCP packet", { kind: GSO_UDP, checksumOffset: 6 }],
    ["a checksum elsewhere", { checksumOffset: 6 }],
    ["a start inside the IP header", { checksumStart: 12 }],
    ["a start behind the end", { checksumStart: 60_000 }],
    ["no checksum to be done", { needsChecksum: false }],
  ])("refuses a header with %s", (_name, wrong) => {
    const big = tcpPacket({ family, sequence: 1, payload: new Uint8Array(5000) });
    const header = { kind, segment: 1000, checksumStart: start, checksumOffset: 16 };
    expect(split(big, header)).toHaveLength(5);
    expect(split(big, { ...header, ...wrong })).toBeUndefined();
  });
});

test("UDP: datagrams of equal length, the last may be shorter", () => {
  const payload = randomBytes(3200);
  for (const family of [4, 6] as const) {
    const start = family === 4 ? 20 : 40;
    const big = new Uint8Array(start + 8 + payload.length);
    const address = (last: number) =>
      family === 4 ? Uint8Array.from([10, 0, 0, last]) : Uint8Array.from([0xfd, ...new Array(14).fill(0), last]);
    writeHeader(big, 0, address(3), address(4), 17, 8 + payload.length);
    big.set([0x10, 0, 0, 53], start);
    big.set(payload, start + 8);
    const got = split(big, { kind: GSO_UDP, segment: 1000, checksumStart: start, checksumOffset: 6 })!;
    expect(got.map((p) => p.length - start - 8)).toEqual([1000, 1000, 1000, 200]);
    expect(got.map((p) => faultOf(p, 1420))).toEqual([undefined, undefined, undefined, undefined]);
    expect(Buffer.compare(Buffer.concat(got.map((p) => p.subarray(start + 8))), payload)).toBe(0);
    expect(got.map((p) => (p[start + 4] << 8) | p[start + 5])).toEqual([1008, 1008, 1008, 208]);
    expect(split(big, { kind: GSO_UDP, segment: 10, checksumStart: start, checksumOffset: 6 })).toBeUndefined();
  }
});

test("UDP: a checksum that comes to 0 is written as 65535, for 0 would say that there is none", () => {
  const packet = new Uint8Array(20 + 8 + 100);
  writeHeader(packet, 0, Uint8Array.from([10, 0, 0, 3]), Uint8Array.from([10, 0, 0, 4]), 17, 108);
  packet.set([0x10, 0, 0, 53, 0, 108], 20);
  putU16(packet, 28, checksum(addSum(pseudoSum(packet, 0, 4, 17, 108), packet, 20, 108)));
  const alone = { kind: GSO_NONE, checksumStart: 20, checksumOffset: 6 };
  for (const header of [alone, { ...alone, kind: GSO_UDP, segment: 1000 }]) {
    const [got] = split(unfinished(packet, 6), header)!;
    expect([got[26], got[27]]).toEqual([0xff, 0xff]);
    expect(faultOf(got, 1420)).toBeUndefined();
  }
});

test("whatever headers say, nothing is read or written outside", () => {
  const u16 = fc.integer({ min: 0, max: 65535 });
  const header = fc.record({
    needsChecksum: fc.boolean(),
    kind: fc.constantFrom(0, 1, 3, 4, 5, 9),
    segment: fc.oneof(u16, fc.integer({ min: 0, max: 1500 })),
    checksumStart: fc.oneof(u16, fc.constantFrom(20, 40, 48)),
    checksumOffset: fc.oneof(u16, fc.constantFrom(6, 16)),
  });
  const damage = fc.array(fc.tuple(fc.integer({ min: 0, max: 99 }), fc.integer({ min: 0, max: 255 })), {
    maxLength: 4,
  });
  fc.assert(
    fc.property(
      header,
      damage,
      fc.integer({ min: 1, max: 3000 }),
      fc.constantFrom(4, 6),
      (fields, bytes, length, family) => {
        const packet = tcpPacket({ family: family as 4 | 6, sequence: 9, payload: new Uint8Array(2900) }).slice(
          0,
          length,
        );
        for (const [at, value] of bytes) if (at < packet.length) packet[at] = value;
        split(packet, fields);
      },
    ),
    { numRuns: 400 },
  );
});

test("the header of a big packet reads as it was written", () => {
  const bytes = new Uint8Array(16).fill(0xaa);
  writeSegmentedHeader(bytes, 2, GSO_TCP6, 72, 1348, 40, 16);
  expect(Buffer.from(bytes.subarray(2, 12)).toString("hex")).toBe("01044800440528001000");
  const header = new VnetHeader();
  header.read(bytes, 2);
  expect({ ...header }).toEqual({ needsChecksum: true, kind: 4, segment: 1348, checksumStart: 40, checksumOffset: 16 });
  expect(checksum(addSum(0, bytes, 0, 0))).toBe(0xffff);
});
