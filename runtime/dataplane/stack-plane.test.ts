/** Links that end in stacks of this process, through whole data planes with a real tunnel between their hosts. */
import { describeNeeding } from "../../test/support/needs";
import { sleep, waitFor } from "../../test/support/wait";
import { TestRandom } from "../wireguard/testing/random";
import type { DataPlaneApi } from "./api";
import { fold } from "./checksum";
import type { DataPlaneConfig } from "./config";
import { DataPlane } from "./dataplane";
import { pseudoSum, putU16 } from "./inet";
import { PortableDataPlane } from "./portable";
import type { PacketRing } from "./ring";
import { faultOf } from "./testing/pcap";
import { type Arrived, connectHosts, record, STACK_MTU, untilConnected } from "./testing/stack-network";
import { PSH, tcpPacket } from "./testing/tcp-packet";

const HEADER = { 4: 20 + 32, 6: 40 + 32 };

/** A packet of up to 64 KiB as a stack leaves it: the checksum field holds the sum of the pseudo header. */
function unfinished(family: 4 | 6, sequence: number, payload: Uint8Array, toLast = 4): Uint8Array {
  const packet = tcpPacket({ family, sequence, payload, flags: 16 | PSH });
  const header = family === 4 ? 20 : 40;
  packet[header - 1] = toLast;
  if (family === 4) {
    let sum = 0;
    putU16(packet, 10, 0);
    for (let i = 0; i < 20; i += 2) sum += (packet[i] << 8) | packet[i + 1];
    putU16(packet, 10, ~fold(sum) & 0xffff);
  }
  putU16(packet, header + 16, fold(pseudoSum(packet, 0, family, 6, packet.length - header)));
  return packet;
}

/** What TCP made of it, in order of sequence; faulty packets are an error. */
function stream(arrived: readonly Arrived[], family: 4 | 6): Uint8Array {
  const parts: Uint8Array[] = [];
  let next: number | undefined;
  for (const { packet, segment } of arrived) {
    const at = family === 4 ? 20 : 40;
    const sequence = new DataView(packet.buffer).getUint32(at + 4);
    const payload = packet.subarray(HEADER[family]);
    if (next !== undefined && sequence !== next) throw new Error(`sequence ${sequence} instead of ${next}`);
    next = sequence + payload.length;
    const fault = segment === 0 ? faultOf(packet, STACK_MTU) : undefined;
    if (fault !== undefined) throw new Error(fault);
    if (segment > 0 && HEADER[family] + segment > STACK_MTU) throw new Error(`segments of ${segment}`);
    parts.push(payload);
  }
  return Buffer.concat(parts);
}

type Start = (log: (line: string) => void) => Promise<DataPlaneApi>;
const native: Start = (log) => DataPlane.start({ log, threads: 1 });
const threads: Start = (log) => DataPlane.start({ log, threads: 2 });
const portable: Start = (log) => PortableDataPlane.start({ log });

/** How `.3` and `.5`, and how `.4` is served; the same: by one plane. */
const ways: readonly [name: string, start: Start, other: Start | undefined][] = [
  ["natively", native, undefined],
  ["natively in two threads", threads, undefined],
  ["portably", portable, undefined],
  ["natively with a portable host", native, portable],
  ["portably with a native host", portable, native],
];

describeNeeding(["linux"], "links with a stack", () => {
  describe.each(ways)("%s", (_name, start, startOther) => {
    let plane: DataPlaneApi;
    let other: DataPlaneApi;
    let configs: readonly DataPlaneConfig[];
    const logged: string[] = [];

    const dropped = async (link: string): Promise<Readonly<Record<string, number>>> =>
      (await plane.status()).links.find(({ id }) => id === link)!.dropped;

    beforeAll(async () => {
      plane = await start((line) => logged.push(line));
      other = startOther === undefined ? plane : await startOther((line) => logged.push(line));
      configs = await connectHosts(plane, other);
      await untilConnected(plane, other);
    });

    afterAll(async () => {
      await plane?.stop();
      await other?.stop();
      expect(logged).toEqual([]);
    });

    test.each([4, 6] as const)(
      "IPv%d: a big packet crosses the tunnel in segments, and arrives joined",
      async (family) => {
        const arrived = record(other.pipe("w")!);
        let rounds = 0;
        other.pipe("w")!.onRoundEnd = () => rounds++;
        const payload = new TestRandom(family).bytes(60000);
        const segment = STACK_MTU - HEADER[family];
        const packet = unfinished(family, 100, payload);
        expect(plane.pipe("e")!.send(packet, 0, packet.length, segment)).toBe(true);
        await waitFor("all of it", () => stream(arrived, family).length >= payload.length);
        expect(Buffer.compare(stream(arrived, family), payload)).toBe(0);
        expect(arrived.length).toBeLessThan(Math.ceil(payload.length / segment));
        expect(arrived.some((one) => one.segment === segment)).toBe(true);
        expect(rounds).toBeGreaterThan(0);
      },
    );

    test("between two stacks of one host it passes whole", async () => {
      const arrived = record(plane.pipe("t")!);
      const packet = unfinished(4, 100, new TestRandom(1).bytes(65000), 5);
      plane.pipe("e")!.send(packet, 0, packet.length, 1368);
      await waitFor("it", () => arrived.length > 0);
      expect(arrived).toEqual([{ packet, segment: 1368 }]);
    });

    test("a small packet stays as it is; the buffer may be used again at once", async () => {
      const arrived = record(other.pipe("w")!);
      const packet = tcpPacket({ family: 6, sequence: 5, payload: Uint8Array.from([1, 2, 3]) });
      const buffer = new Uint8Array(500);
      buffer.set(packet, 9);
      plane.pipe("e")!.send(buffer, 9, packet.length, 0);
      buffer.fill(0);
      await waitFor("it", () => arrived.length > 0);
      expect(arrived).toEqual([{ packet, segment: 0 }]);
    });

    test("what does not have the link's source, or is not what it says to be, is dropped and counted", async () => {
      const pipe = plane.pipe("e")!;
      const arrived = record(other.pipe("w")!);
      const wrong = tcpPacket({ family: 4, sequence: 1, payload: new Uint8Array(10) });
      wrong[15] = 9;
      pipe.send(wrong, 0, wrong.length, 0);
      const big = unfinished(4, 1, new Uint8Array(5000));
      big[15] = 9;
      pipe.send(big, 0, big.length, 1368);
      const good = unfinished(4, 1, new Uint8Array(5000));
      const malformed: [Uint8Array, number, number][] = [
        [good, 30, 1368],
        [good, 4000, 1368],
        [good, 52, 1368],
        [good, good.length, 1],
        [Uint8Array.of(0x45), 1, 0],
        [Uint8Array.of(0x45), 1, 1368],
        [new Uint8Array(3000), 3000, 1000],
        [new TestRandom(4).bytes(3000).fill(0x4f, 0, 1), 3000, 1000],
      ];
      for (const [packet, length, segment] of malformed) pipe.send(packet, 0, length, segment);
      const udp = unfinished(4, 1, new Uint8Array(5000));
      udp[9] = 17;
      pipe.send(udp, 0, udp.length, 1368);
      await waitFor("the counters", async () => (await dropped("e")).malformed === malformed.length + 1);
      expect((await dropped("e")).source).toBe(1 + Math.ceil(5000 / 1368));
      expect(arrived).toEqual([]);
      for (const [off, length, segment] of [
        [0, 0, 0],
        [0, -1, 0],
        [0, Number.NaN, 0],
        [-1, 10, 0],
        [0, good.length + 1, 0],
        [good.length, 1, 0],
        [0, 10, -1],
        [0, 10, 65536],
      ])
        expect(() => pipe.send(good, off, length, segment)).toThrow(RangeError);
    });

    test("random bytes as packets, with any segment, do no harm", async () => {
      const random = new TestRandom(77);
      const pipe = plane.pipe("e")!;
      for (let i = 0; i < 1500; i++) {
        const length = 1 + Math.floor(random.number() * (i % 10 ? 120 : 9000));
        const packet = i % 3 ? unfinished(random.number() < 0.5 ? 4 : 6, i, random.bytes(100)) : random.bytes(length);
        for (let k = 0; k < 3; k++)
          packet[Math.floor(random.number() * Math.min(60, packet.length))] = random.number() * 256;
        const segment = i % 4 ? Math.floor(random.number() * 2000) : 0;
        while (!pipe.send(packet, 0, packet.length, segment)) await sleep(1);
      }
      const arrived = record(other.pipe("w")!);
      const packet = tcpPacket({ family: 4, sequence: 4, payload: Uint8Array.of(1) });
      pipe.send(packet, 0, packet.length, 0);
      await waitFor("a good one after them", () => arrived.some((one) => Buffer.compare(one.packet, packet) === 0));
    });

    test("a full pipe refuses, and tells when there is room", async () => {
      const pipe = plane.pipe("e")!;
      const arrived = record(plane.pipe("t")!);
      const packet = unfinished(4, 1, new Uint8Array(60000), 5);
      let drained = 0;
      pipe.onDrain = () => drained++;
      let refused = 0;
      for (let i = 0; i < 400 && refused === 0; i++) if (!pipe.send(packet, 0, packet.length, 1368)) refused++;
      expect(refused).toBe(1);
      await waitFor("room", () => drained > 0);
      expect(pipe.send(packet, 0, packet.length, 1368)).toBe(true);
      pipe.onDrain = () => {};
      // What was sent is through when this is: nothing of it is counted later.
      const last = tcpPacket({ family: 4, sequence: 77, payload: Uint8Array.of(1) });
      last[19] = 5;
      await waitFor("the last", () => {
        if (arrived.some((one) => Buffer.compare(one.packet, last) === 0)) return true;
        pipe.send(last, 0, last.length, 0);
        return false;
      });
      await waitFor("quiet", async () => {
        const before = arrived.length;
        await sleep(20);
        return arrived.length === before;
      });
    });

    test("a stack that does not read loses the oldest, which is counted", async () => {
      const before = (await plane.status()).links.find(({ id }) => id === "t")!;
      const arrived = record(plane.pipe("t")!);
      const pipe = plane.pipe("e")!;
      if (!(plane instanceof DataPlane)) return; // one thread reads and writes
      const pause = new Int32Array(new SharedArrayBuffer(4));
      const payload = new Uint8Array(50000);
      const count = 60;
      for (let i = 0; i < count; i++) {
        const packet = unfinished(4, i, payload, 5);
        // This thread does not look at its events here, so nothing reads.
        while (!pipe.send(packet, 0, packet.length, 1368)) Atomics.wait(pause, 0, 0, 1);
      }
      // Nor before the engine has taken all: while a stack reads, it is the newest that finds no room.
      const { fromStack } = pipe as unknown as { fromStack: PacketRing };
      while (!fromStack.empty) Atomics.wait(pause, 0, 0, 1);
      Atomics.wait(pause, 0, 0, 50);
      const last = () => arrived.map(({ packet }) => new DataView(packet.buffer).getUint32(24));
      await waitFor("the last", () => last().includes(count - 1));
      const got = last();
      expect(got.length).toBeLessThan(count);
      expect(got).toEqual(Array.from({ length: got.length }, (_, i) => count - got.length + i));
      const after = (await plane.status()).links.find(({ id }) => id === "t")!;
      const segments = Math.ceil(payload.length / 1368);
      expect(after.dropped.queue - (before.dropped.queue ?? 0)).toBe((count - got.length) * segments);
      expect(after.tx - before.tx).toBe(got.length * segments);
    });

    test("a fault of a stack is a line in the log; the next packet arrives", async () => {
      const arrived = record(other.pipe("w")!);
      const take = other.pipe("w")!.onPacket;
      let fault = true;
      other.pipe("w")!.onPacket = (...args) => {
        if (fault) {
          fault = false;
          throw new Error("boom");
        }
        take(...args);
      };
      for (let i = 0; i < 2; i++) {
        const packet = tcpPacket({ family: 4, sequence: i, payload: Uint8Array.of(i), port: 1000 + i });
        plane.pipe("e")!.send(packet, 0, packet.length, 0);
      }
      await waitFor("the second", () => arrived.length === 1);
      expect(logged.splice(0).map((line) => line.split("\n")[0])).toEqual([
        "A packet for w was dropped by a fault: Error: boom",
      ]);
    });

    test("a question of a stack to the DNS address is answered", async () => {
      plane.onDns(async ({ gateway, from, message }) =>
        Buffer.concat([Buffer.from(`${gateway} ${from} `), Buffer.from(message)]),
      );
      const arrived = record(plane.pipe("e")!);
      const question = tcpPacket({ family: 4, sequence: 0, payload: new Uint8Array(0), options: new Uint8Array(0) });
      // A UDP message of four bytes in the place of a TCP header, without a checksum.
      const packet = question.slice(0, 32);
      packet[3] = 32;
      packet[9] = 17;
      packet[19] = 2;
      packet.set([0x30, 0x39, 0, 53, 0, 12, 0, 0, 1, 2, 3, 4], 20);
      plane.pipe("e")!.send(packet, 0, packet.length, 0);
      await waitFor("the answer", () => arrived.length > 0);
      expect(Buffer.from(arrived[0].packet.subarray(28)).toString("latin1")).toBe("net/ord 10.0.0.3 \x01\x02\x03\x04");
    });

    test("the gateway's own stack is a link of its own", async () => {
      const [config] = configs;
      const stack = { id: "own", source: { kind: "stack" as const }, addresses: ["10.0.0.9"] };
      const gateways = config.gateways.map((one) =>
        one.id === "net/ord" ? { ...one, ranges: ["10.0.0.0/24", "fd00::/64"], stack } : one,
      );
      expect((await plane.apply({ ...config, gateways })).problems).toEqual([]);
      const own = record(plane.pipe("own")!);
      const app = record(plane.pipe("e")!);
      const packet = unfinished(4, 1, new Uint8Array(3000), 9);
      plane.pipe("e")!.send(packet, 0, packet.length, 1368);
      await waitFor("it", () => own.length > 0);
      expect(own).toEqual([{ packet, segment: 1368 }]);
      const back = tcpPacket({ family: 4, sequence: 4, payload: Uint8Array.of(1) });
      [back[15], back[19]] = [9, 3];
      plane.pipe("own")!.send(back, 0, back.length, 0);
      await waitFor("the answer", () => app.length > 0);
      expect(Buffer.compare(app[0].packet, back)).toBe(0);
    });

    test("a pipe lasts as long as its link", async () => {
      const [config] = configs;
      const e = plane.pipe("e");
      const t = plane.pipe("t")!;
      const without = config.gateways.map((one) => ({ ...one, links: one.links.filter(({ id }) => id !== "t") }));
      await plane.apply({ ...config, gateways: without });
      expect([plane.pipe("t"), plane.pipe("own"), plane.pipe("e")]).toEqual([undefined, undefined, e]);
      const packet = tcpPacket({ family: 4, sequence: 4, payload: Uint8Array.of(1) });
      expect(t.send(packet, 0, packet.length, 0)).toBe(false);
      await plane.apply(config);
      const again = plane.pipe("t");
      expect(again).toBeDefined();
      expect(again).not.toBe(t);
      await plane.stop();
      expect([plane.pipe("e"), e?.send(packet, 0, packet.length, 0)]).toEqual([undefined, false]);
    });
  });
});
