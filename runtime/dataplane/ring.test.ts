import * as path from "node:path";
import { Worker } from "node:worker_threads";
import { describeNeeding } from "../../test/support/needs";
import { TestRandom } from "../wireguard/testing/random";
import { Bells, MAX_STACK_LINKS } from "./bells";
import { MAX_RECORD, PacketRing } from "./ring";

const CAPACITY = 1 << 19;

/** Both ends of one ring, as two threads have them. */
function pair(start = 0) {
  const memory = PacketRing.create(CAPACITY, false);
  const control = new Int32Array(memory);
  // Tail and head.
  control[0] = control[16] = start;
  return { writer: new PacketRing(memory), reader: new PacketRing(memory) };
}

test.each([0, 0x7fffff00, -256])(
  "any schedule of writing, reading and dropping keeps order and bytes (positions from %d on)",
  (start) => {
    const random = new TestRandom(start + 5);
    const { writer, reader } = pair(start);
    const held: { bytes: Uint8Array; segment: number; count: number }[] = [];
    const to = new Uint8Array(MAX_RECORD + 32);
    let refused = 0;
    for (let step = 0; step < 2500; step++) {
      const what = random.number();
      if (what < 0.6) {
        const large = random.number() < 0.3;
        const length = 1 + Math.floor(random.number() * (large ? MAX_RECORD - 1 : 300));
        const bytes = new Uint8Array(length).fill(step & 255);
        bytes[0] = step >>> 8;
        bytes[length - 1] ^= 0x55;
        const segment = Math.floor(random.number() * 65536);
        const count = 1 + Math.floor(random.number() * 64);
        if (writer.push(bytes, 0, length, segment, count)) held.push({ bytes, segment, count });
        else {
          refused++;
          // What was refused found more than the rest of the ring in use, wherever the end of the ring lies.
          expect(writer.used + 2 * (length + 16)).toBeGreaterThan(CAPACITY);
        }
      } else if (what < 0.95) {
        const oldest = held.shift();
        expect(reader.peek()).toBe(oldest !== undefined);
        if (oldest === undefined) continue;
        to.fill(0xee, 0, reader.length + 32);
        reader.copyTo(to, 16);
        expect([reader.length, reader.segment, reader.count]).toEqual([
          oldest.bytes.length,
          oldest.segment,
          oldest.count,
        ]);
        expect(Buffer.compare(to.subarray(16, 16 + reader.length), oldest.bytes)).toBe(0);
        expect([to[15], to[16 + reader.length]]).toEqual([0xee, 0xee]);
        reader.release();
      } else {
        const locked = random.number() < 0.3 && reader.lock();
        expect(writer.dropOldest()).toBe(locked ? 0 : (held.shift()?.count ?? 0));
        if (locked) reader.unlock();
      }
      expect(reader.empty).toBe(held.length === 0);
    }
    expect(refused).toBeGreaterThan(3);
  },
);

test("a packet without bytes, or longer than any, is refused with an error", () => {
  const { writer } = pair();
  for (const length of [0, -1, MAX_RECORD + 1, Number.NaN, 2 ** 32])
    expect(() => writer.push(new Uint8Array(MAX_RECORD + 1), 0, length, 0, 1)).toThrow(RangeError);
  expect(() => PacketRing.create(1 << 17, true)).toThrow(RangeError);
  expect(() => PacketRing.create(1_000_000, false)).toThrow(RangeError);
});

test("a length that no writer wrote is no packet", () => {
  const memory = PacketRing.create(CAPACITY, false);
  const [writer, reader] = [new PacketRing(memory), new PacketRing(memory)];
  writer.push(new Uint8Array(100), 0, 100, 0, 1);
  new Uint32Array(memory)[64] = MAX_RECORD + 1;
  expect(() => reader.peek()).toThrow(/damaged/);
});

test("the writer hears once of room that it asked for", () => {
  const { writer, reader } = pair();
  const packet = new Uint8Array(60000);
  while (writer.push(packet, 0, packet.length, 0, 1));
  writer.want();
  expect(reader.satisfied()).toBe(false);
  while (reader.peek()) reader.release();
  expect([reader.satisfied(), reader.satisfied()]).toEqual([true, false]);
});

describeNeeding(["linux"], "two threads", () => {
  test("every packet that was not dropped arrives once, whole and in order", async () => {
    const shared = PacketRing.create(CAPACITY, true);
    const done = new Int32Array(new SharedArrayBuffer(8));
    const total = 60000;
    const code = `
    const { workerData } = require("node:worker_threads");
    const { PacketRing } = require(${JSON.stringify(path.join(__dirname, "../../dist/runtime/dataplane/ring.js"))});
    const ring = new PacketRing(workerData.shared);
    const packet = new Uint8Array(65535);
    const view = new DataView(packet.buffer);
    for (let i = 0; i < ${total}; i++) {
      const length = 8 + (Math.imul(i, 7919) >>> 0) % (i % 50 ? 1400 : 60000);
      view.setUint32(0, i);
      packet[length - 1] = i;
      while (!ring.push(packet, 0, length, i & 0xffff, 1)) Atomics.add(workerData.done, 1, ring.dropOldest());
    }
    Atomics.store(workerData.done, 0, 1);`;
    const worker = new Worker(code, { eval: true, workerData: { shared, done } });
    const reader = new PacketRing(shared);
    const view = new DataView(reader.bytes.buffer, reader.bytes.byteOffset, reader.bytes.byteLength);
    let last = -1;
    let got = 0;
    let wrong = 0;
    for (;;) {
      const ended = Atomics.load(done, 0) === 1;
      if (reader.lock()) {
        while (reader.peek()) {
          const i = view.getUint32(reader.offset);
          const length = 8 + ((Math.imul(i, 7919) >>> 0) % (i % 50 ? 1400 : 60000));
          if (i <= last || reader.length !== length || reader.segment !== (i & 0xffff)) wrong++;
          if (reader.bytes[reader.offset + length - 1] !== (i & 255)) wrong++;
          last = i;
          got++;
          reader.release();
          if (got % 64 === 0) break;
        }
        reader.unlock();
      }
      if (ended && reader.empty) break;
      await new Promise((resolve) => setImmediate(resolve));
    }
    await worker.terminate();
    expect([wrong, got + done[1], last]).toEqual([0, total, total - 1]);
  });
});

test("bells: each that was rung is heard once; a sleeper must be woken, once", () => {
  const shared = Bells.create();
  const [listener, other, elsewhere] = [
    new Bells(shared, "engine"),
    new Bells(shared, "engine"),
    new Bells(shared, "stack"),
  ];
  const heard = () => {
    const all: number[] = [];
    listener.begin();
    for (let index = listener.take(); index >= 0; index = listener.take()) all.push(index);
    return all;
  };
  expect(listener.sleep()).toBe(true);
  expect([other.ring(31), other.ring(0), other.ring(32)]).toEqual([true, false, false]);
  expect(other.ring(MAX_STACK_LINKS - 1)).toBe(false);
  expect(listener.sleep()).toBe(false);
  // Awake by its own doing: nobody has to wake it.
  expect(other.ring(31)).toBe(false);
  elsewhere.begin();
  expect(elsewhere.take()).toBe(-1);
  expect(heard()).toEqual([0, 31, 32, MAX_STACK_LINKS - 1]);
  expect(heard()).toEqual([]);
  expect(listener.sleep()).toBe(true);
});
