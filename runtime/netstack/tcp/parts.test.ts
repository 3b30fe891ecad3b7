import * as fc from "fast-check";
import { Cubic } from "./cubic";
import { Flight, LOST, SACKED } from "./flight";
import { HalfSipHash } from "./halfsiphash";
import { Memory } from "./memory";
import { ReceiveBuffer } from "./receive-buffer";
import { Rtt } from "./rtt";
import { parseSegment, Segment, writeHeader, writeSack, writeSynOptions, writeTimestamps } from "./segment";
import { SendBuffer } from "./send-buffer";
import { timestampBefore, unwrap } from "./sequence";
import { Timed, Timers } from "./timers";

describe("sequence numbers", () => {
  test("unwrap finds the nearest number, on both sides of the wrap", () => {
    expect(unwrap(5, 0xffff_fff0)).toBe(2 ** 32 + 5);
    expect(unwrap(0xffff_fff0, 2 ** 32 + 5)).toBe(0xffff_fff0);
    expect(unwrap(0xffff_ffff, 3)).toBe(-1);
  });
  test("every number near another survives the wire", () => {
    const near = fc.integer({ min: 0, max: 2 ** 50 });
    fc.assert(
      fc.property(near, fc.integer({ min: -(2 ** 31) + 1, max: 2 ** 31 - 1 }), (at, step) => {
        expect(unwrap((at + step) >>> 0, at)).toBe(at + step);
      }),
    );
  });
  test("timestamps compare as serial numbers", () => {
    expect(timestampBefore(0xffff_ffff, 1)).toBe(true);
    expect(timestampBefore(1, 0xffff_ffff)).toBe(false);
    expect(timestampBefore(7, 7)).toBe(false);
  });
});

describe("header and options", () => {
  test("what is written is read", () => {
    const buf = new Uint8Array(100);
    let options = writeSynOptions(buf, 25, 1380, 7, true);
    options += writeTimestamps(buf, 25 + options, 0xdeadbeef, 42);
    writeHeader(buf, 5, 4000, 80, -1, 2 ** 32 + 9, 0x12, 1234, options);
    const s = new Segment();
    expect(parseSegment(s, buf, 5, 20 + options + 7)).toBe(true);
    expect(s).toMatchObject({
      remotePort: 4000,
      localPort: 80,
      sequence: 0xffff_ffff,
      acknowledgment: 9,
      flags: 0x12,
      window: 1234,
      mss: 1380,
      windowScale: 7,
      sackPermitted: true,
      timestamps: true,
      timestamp: 0xdeadbeef,
      timestampEcho: 42,
      length: 7,
      payload: 25 + options,
    });
    const edges = Float64Array.of(2 ** 32 + 1, 2 ** 32 + 2, 30, 40);
    const sack = writeSack(buf, 25, edges, 2);
    writeHeader(buf, 5, 1, 2, 0, 0, 16, 0, sack);
    expect(parseSegment(s, buf, 5, 20 + sack)).toBe(true);
    expect([...s.sack.subarray(0, 4)]).toEqual([1, 2, 30, 40]);
    expect(s).toMatchObject({ sackCount: 2, timestamps: false });
  });

  const header = (offset: number, ...options: number[]) => {
    const bytes = new Uint8Array(20 + options.length);
    bytes.set([0, 1, 0, 2]);
    bytes[12] = offset << 4;
    bytes[13] = 2;
    bytes.set(options, 20);
    return bytes;
  };
  test.each([
    ["19 bytes", header(5).subarray(0, 19)],
    ["a data offset below 5", header(4)],
    ["a data offset beyond the segment", header(6)],
    ["port 0", new Uint8Array(20).fill(80, 12, 13)],
    ["an option of length 0", header(6, 8, 0, 0, 0)],
    ["an option of length 1", header(6, 99, 1, 0, 0)],
    ["an option that runs over", header(6, 99, 5, 0, 0)],
    ["an option without length", header(6, 1, 1, 1, 99)],
    ["an MSS of length 3", header(6, 2, 3, 0, 0)],
    ["a SACK of length 4", header(6, 5, 4, 0, 0)],
  ])("refused: %s", (_name, bytes) => {
    expect(parseSegment(new Segment(), bytes, 0, bytes.length)).toBe(false);
  });
  test("accepted: options that are not known, padding behind the end of the list, a scale above 14", () => {
    const s = new Segment();
    expect(parseSegment(s, header(7, 99, 4, 1, 2, 0, 77, 0, 0), 0, 28)).toBe(true);
    expect(parseSegment(s, header(6, 3, 3, 200, 0), 0, 24)).toBe(true);
    expect(s.windowScale).toBe(14);
  });
  test("random bytes: never beyond the segment", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
        const s = new Segment();
        if (!parseSegment(s, bytes, 0, bytes.length)) return;
        expect(s.payload + s.length).toBe(bytes.length);
        expect(s.length).toBeGreaterThanOrEqual(0);
        expect(s.sackCount).toBeLessThanOrEqual(4);
      }),
      { numRuns: 2000 },
    );
  });
});

test("HalfSipHash-2-4: the reference implementation's vector for the key 00..07 and no input", () => {
  const hash = new HalfSipHash(Uint8Array.of(0, 1, 2, 3, 4, 5, 6, 7));
  hash.begin();
  expect(hash.finish() >>> 0).toBe(0x5b9f35a9);
});

test("send buffer: any mix of writes, releases and copies gives the bytes that were written", () => {
  const step = fc.oneof(
    fc.record({ write: fc.constantFrom(1, 100, 600, 2047, 2048, 5000, 40_000) }),
    fc.record({ release: fc.double({ min: 0, max: 1, noNaN: true }) }),
    fc.record({ from: fc.double({ min: 0, max: 1, noNaN: true }), length: fc.double({ min: 0, max: 1, noNaN: true }) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const memory = new Memory(1e9);
      const buffer = new SendBuffer(1000, memory);
      let all = Buffer.alloc(0);
      for (const s of steps) {
        if ("write" in s) {
          const chunk = Buffer.alloc(s.write, all.length & 0xff);
          buffer.push(Buffer.from(chunk));
          all = Buffer.concat([all, chunk]);
        } else if ("release" in s) {
          buffer.release(buffer.start + Math.floor(s.release * buffer.length));
        } else {
          const from = buffer.start + Math.floor(s.from * buffer.length);
          const length = Math.floor(s.length * (buffer.end - from));
          if (length === 0) continue;
          const out = new Uint8Array(length + 2);
          buffer.copy(from, length, out, 1);
          expect(all.subarray(from - 1000, from - 1000 + length).equals(out.subarray(1, 1 + length))).toBe(true);
        }
        expect(memory.used).toBe(buffer.length);
      }
    }),
    { numRuns: 100 },
  );
});

test("reassembly: pieces in any order, overlapping, with reads between, against an array of what has arrived", () => {
  const SIZE = 3000;
  const step = fc.record({
    start: fc.integer({ min: 0, max: SIZE - 1 }),
    length: fc.integer({ min: 1, max: 900 }),
    read: fc.boolean(),
  });
  const stream = Buffer.from(Array.from({ length: SIZE }, (_, i) => (i * 7 + (i >> 8)) & 0xff));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const memory = new Memory(1e9);
      const buffer = new ReceiveBuffer(0, memory);
      const arrived = new Array<boolean>(SIZE).fill(false);
      const out: Buffer[] = [];
      for (const { start, length, read } of [...steps, { start: 0, length: SIZE, read: true }]) {
        const from = Math.max(start, buffer.next);
        const to = Math.min(SIZE, start + length);
        if (to > from) {
          expect(buffer.insert(from, stream, from, to - from)).toBe(true);
          arrived.fill(true, from, to);
        }
        let next = 0;
        while (next < SIZE && arrived[next]) next++;
        expect(buffer.next).toBe(next);
        const ranges: [number, number][] = [];
        for (let i = next; i < SIZE; i++) {
          if (arrived[i] && !arrived[i - 1]) ranges.push([i, i]);
          if (arrived[i]) ranges[ranges.length - 1][1] = i + 1;
        }
        expect(buffer.starts.map((s, i) => [s, buffer.ends[i]])).toEqual(ranges);
        if (read)
          for (let chunk = buffer.take(); chunk !== undefined; chunk = buffer.take()) out.push(Buffer.from(chunk));
      }
      expect(Buffer.concat(out).equals(stream)).toBe(true);
      buffer.drop();
      expect(memory.used).toBe(0);
    }),
    { numRuns: 150 },
  );
});

test("lent parts stay as they are until they are given back; then their blocks are used again, by whoever needs some", () => {
  const step = fc.record({
    which: fc.integer({ min: 0, max: 2 }),
    length: fc.integer({ min: 1, max: 60_000 }),
    ahead: fc.boolean(),
    read: fc.constantFrom("lend", "take", "nothing"),
    giveBack: fc.integer({ min: 0, max: 4 }),
  });
  const PERIOD = 1 << 17;
  const streams = [0, 1, 2].map((which) =>
    Buffer.from(Array.from({ length: 2 * PERIOD }, (_, i) => (i * 31 + (i >> 9) + which * 77) & 0xff)),
  );
  fc.assert(
    fc.property(fc.array(step, { minLength: 40, maxLength: 120 }), (steps) => {
      const whole = new Memory(1e9);
      const sides = [0, 1, 2].map((which) => {
        const memory = new Memory(1e9, whole);
        return { which, memory, buffer: new ReceiveBuffer(0, memory), lent: [] as { part: Buffer; start: number }[] };
      });
      const check = (which: number, part: Buffer, start: number): void => {
        const at = start % PERIOD;
        expect(part.equals(streams[which].subarray(at, at + part.length))).toBe(true);
      };
      const insert = (which: number, start: number, length: number): void =>
        expect(sides[which].buffer.insert(start, streams[which], start % PERIOD, length)).toBe(true);
      for (const { which, length, ahead, read, giveBack } of steps) {
        const { buffer, lent } = sides[which];
        const { next } = buffer;
        if (ahead) insert(which, next + 10, length);
        insert(which, next, Math.max(10, length));
        for (let start = buffer.read; read !== "nothing"; start = buffer.read) {
          const part = read === "lend" ? buffer.lend() : buffer.take();
          if (part === undefined) break;
          check(which, part, start);
          if (read === "lend") lent.push({ part, start });
        }
        for (let i = 0; i < giveBack && lent.length > 0; i++) {
          const { part, start } = lent.shift()!;
          check(which, part, start);
          buffer.giveBack(part);
        }
      }
      for (const { which, lent } of sides) for (const { part, start } of lent) check(which, part, start);
      for (const { buffer, memory } of sides) {
        buffer.drop();
        expect(memory.used).toBe(0);
      }
      expect(whole.used).toBe(0);
    }),
    { numRuns: 50 },
  );
});

test("what a reader takes is its own: no longer counted, and never written again", () => {
  const memory = new Memory(1e9);
  const buffer = new ReceiveBuffer(0, memory);
  const parts: Buffer[] = [];
  for (let i = 0; i < 40; i++) {
    buffer.insert(buffer.next, Buffer.alloc(50_000, i), 0, 50_000);
    // Some of the same block was lent, and is given back.
    const lent = i % 3 === 0 ? buffer.lend() : undefined;
    for (let part = buffer.take(); part !== undefined; part = buffer.take()) parts.push(part);
    if (lent !== undefined) buffer.giveBack(lent);
    expect(memory.used).toBeLessThanOrEqual(1 << 16);
  }
  expect(new Set(parts.map(({ buffer: { byteLength } }) => byteLength)).has(1 << 16)).toBe(true);
  for (const part of parts) expect(part.equals(Buffer.alloc(part.length, part[0]))).toBe(true);
});

test("a reader that gives back what it was lent needs two blocks, however much arrives", () => {
  const memory = new Memory(1e9);
  const buffer = new ReceiveBuffer(0, memory);
  const packet = Buffer.alloc(50_000);
  const seen = new Set<ArrayBufferLike>();
  let total = 0;
  for (let i = 0; i < 400; i++) {
    buffer.insert(buffer.next, packet, 0, packet.length);
    for (let part = buffer.lend(); part !== undefined; part = buffer.lend()) {
      if (i > 10) seen.add(part.buffer);
      total += part.length;
      buffer.giveBack(part);
    }
  }
  expect(total).toBe(400 * packet.length);
  expect(seen.size).toBeLessThanOrEqual(2);
  // The block that is being filled.
  expect(memory.used).toBeLessThanOrEqual(1 << 16);
  // What was given back late, or after the end, is nobody's business any more.
  buffer.insert(buffer.next, packet, 0, packet.length);
  const late = buffer.lend()!;
  buffer.drop();
  buffer.giveBack(late);
  expect(memory.used).toBe(0);
});

test("flight: its counters are those of a list of bytes with flags", () => {
  const step = fc.record({
    kind: fc.constantFrom("push", "ack", "sack", "lose", "resend"),
    a: fc.double({ min: 0, max: 1, noNaN: true }),
    b: fc.integer({ min: 1, max: 20 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const flight = new Flight();
      let una = 0;
      let nxt = 0;
      for (const { kind, a, b } of steps) {
        if (kind === "push") {
          flight.push(nxt, nxt + b, 0, 1);
          nxt += b;
        } else if (kind === "ack") {
          const ack = Math.min(nxt, una + Math.floor(a * b));
          while (flight.count > 0 && flight.start(0) < ack) flight.removeHead(ack);
          una = ack;
        } else if (flight.count > 0) {
          const i = Math.min(flight.count - 1, Math.floor(a * flight.count));
          if (flight.end(i) - flight.start(i) > b) flight.split(i, flight.start(i) + b);
          if (flight.flags(i) & SACKED) continue;
          if (kind === "sack") flight.markSacked(i);
          else if (kind === "lose") flight.markLost(i);
          else if (flight.flags(i) & LOST) flight.markResent(i, 1, 1);
        }
        let position = una;
        let firstLost = -1;
        let sacked = 0;
        let lost = 0;
        let resent = 0;
        let entries = 0;
        for (let i = 0; i < flight.count; i++) {
          expect(flight.start(i)).toBe(position);
          position = flight.end(i);
          const length = position - flight.start(i);
          if (flight.flags(i) & 1) {
            sacked += length;
            entries++;
          }
          if (flight.flags(i) & 2) lost += length;
          if (flight.flags(i) & 4) resent += length;
          if (firstLost < 0 && (flight.flags(i) & 7) === LOST) firstLost = i;
        }
        expect(position).toBe(nxt);
        expect(flight.firstLost()).toBe(firstLost);
        expect([flight.sackedBytes, flight.lostBytes, flight.resentBytes, flight.sackedEntries]).toEqual([
          sacked,
          lost,
          resent,
          entries,
        ]);
        expect(flight.inFlight).toBe(nxt - una - sacked - lost + resent);
      }
    }),
    { numRuns: 200 },
  );
});

test("flight: what was sent knows where its segments met, however it is cut", () => {
  const flight = new Flight();
  const around = (i: number, position: number) => [flight.segmentTo(i, position), flight.segmentFrom(i, position)];
  flight.push(500, 4000, 0, 1000);
  expect(around(0, 500)).toEqual([500, 500]);
  expect(around(0, 501)).toEqual([500, 1500]);
  expect(around(0, 1500)).toEqual([1500, 1500]);
  // The last segment is shorter.
  expect(around(0, 3999)).toEqual([3500, 4000]);
  expect(around(0, 9000)).toEqual([4000, 4000]);
  flight.removeHead(700);
  expect(around(0, 1499)).toEqual([700, 1500]);
  flight.split(0, 2000);
  expect(around(0, 1999)).toEqual([1500, 2000]);
  expect(around(1, 2100)).toEqual([2000, 2500]);
  flight.markLost(0);
  flight.markResent(0, 1, 400);
  expect(around(0, 1200)).toEqual([1100, 1500]);
  expect(around(1, 2600)).toEqual([2500, 3500]);
});

test("timers: run in order of time, moved and removed ones too", () => {
  class Item extends Timed {
    due = Number.POSITIVE_INFINITY;
    constructor(readonly ran: Item[]) {
      super();
    }
    onTime(now: number): number {
      if (this.due > now) return this.due;
      this.ran.push(this);
      return Number.POSITIVE_INFINITY;
    }
  }
  const step = fc.record({ i: fc.integer({ min: 0, max: 19 }), at: fc.integer({ min: 0, max: 100 }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), fc.integer({ min: 0, max: 100 }), (steps, end) => {
      const ran: Item[] = [];
      const timers = new Timers();
      const items = Array.from({ length: 20 }, () => new Item(ran));
      for (const { i, at } of steps) {
        if (at % 10 === 0) {
          timers.remove(items[i]);
          items[i].due = Number.POSITIVE_INFINITY;
        } else {
          items[i].due = at;
          timers.at(items[i], at);
        }
      }
      const due = items.filter((item) => item.due <= end);
      for (let now = 0; now <= end; now++) timers.run(now);
      expect(new Set(ran)).toEqual(new Set(due));
      for (let i = 1; i < ran.length; i++) expect(ran[i].due).toBeGreaterThanOrEqual(ran[i - 1].due);
    }),
  );
});

test("retransmission timer: RFC 6298", () => {
  const rtt = new Rtt();
  expect(rtt.rto).toBe(1000);
  rtt.sample(100, 0);
  expect(rtt.rto).toBe(300);
  rtt.sample(100, 1);
  expect(rtt.rto).toBe(250);
  rtt.backOff();
  rtt.backOff();
  expect(rtt.rto).toBe(1000);
  for (let i = 0; i < 20; i++) rtt.backOff();
  expect(rtt.rto).toBe(60_000);
  rtt.settle();
  for (let i = 0; i < 50; i++) rtt.sample(1, i);
  expect(rtt.rto).toBe(200);
});

test("CUBIC: initial window 10, slow start, back to 0.7, concave return to the old window within K seconds", () => {
  const cubic = new Cubic(1000);
  expect(cubic.window).toBe(10_000);
  cubic.acknowledged(10_000, 0, 50);
  expect(cubic.window).toBe(20_000);
  cubic.window = 1_000_000;
  cubic.congestion(1_000_000);
  cubic.window = cubic.threshold;
  expect(cubic.window).toBeCloseTo(700_000);
  // K = cbrt(300 / 0.4) = 9.09 s (RFC 9438 equation 2).
  let before = cubic.window;
  for (let now = 0; now <= 9100; now += 50) {
    cubic.acknowledged(cubic.window, now, 50);
    expect(cubic.window).toBeGreaterThanOrEqual(before);
    before = cubic.window;
  }
  expect(cubic.window / 1_000_000).toBeCloseTo(1, 1);
  cubic.undo();
  expect(cubic.threshold).toBe(Number.POSITIVE_INFINITY);
});

test("memory has a bound of its own and that of the whole it is a part of", () => {
  const whole = new Memory(1000);
  const [one, other] = [new Memory(600, whole), new Memory(600, whole)];
  one.charge(600);
  expect([one.scarce, one.exhausted, other.scarce, whole.scarce]).toEqual([true, false, false, false]);
  one.charge(300);
  expect([one.exhausted, other.exhausted]).toEqual([true, false]);
  other.charge(599);
  expect([whole.used, other.used, other.scarce, other.exhausted]).toEqual([1499, 599, true, false]);
  other.charge(1);
  expect(other.exhausted).toBe(true);
  one.charge(-900);
  expect([whole.used, one.scarce, other.scarce]).toEqual([600, false, true]);
  other.charge(-600);
  expect([whole.used, other.scarce]).toEqual([0, false]);
});
