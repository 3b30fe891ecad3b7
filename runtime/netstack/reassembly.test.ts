import { seededRandom } from "../../test/support/programs/random";
import { newDrops } from "./drops";
import { DEFAULT_LIMITS, type StackLimits } from "./options";
import { IpPacket } from "./packet";
import { Reassembler } from "./reassembly";
import { fragment, fragmentsOf, udpPacket } from "./testing/lab";

const DATA = Uint8Array.from({ length: 3000 }, (_, i) => (i * 7) >>> 3);

class Bench {
  readonly drops = newDrops();
  readonly timedOut: Uint8Array[] = [];
  readonly reassembler: Reassembler;
  private readonly packet = new IpPacket();

  constructor(limits: Partial<StackLimits> = {}) {
    this.reassembler = new Reassembler({ ...DEFAULT_LIMITS, ...limits }, this.drops, (quote) =>
      this.timedOut.push(quote),
    );
  }

  /** The packet that this fragment completes. */
  add(bytes: Uint8Array, now = 0): Uint8Array | undefined {
    if (this.packet.read(bytes, 0, bytes.length) !== undefined || !this.packet.fragment) throw new Error("no fragment");
    const length = this.reassembler.add(this.packet, now);
    return length === 0 ? undefined : this.reassembler.packet.slice(0, length);
  }

  addAll(list: readonly Uint8Array[]): Uint8Array[] {
    return list.map((bytes) => this.add(bytes)).filter((whole) => whole !== undefined);
  }

  get counted(): Record<string, number> {
    return Object.fromEntries(Object.entries(this.drops).filter(([, count]) => count > 0));
  }
}

/** The packet as it was before it was cut: IPv4 fragments leave their identification behind. */
function whole(packet: Uint8Array, id: number): Uint8Array {
  const [only] = fragmentsOf(packet, 65528, id);
  return packet[0] >>> 4 === 4 ? only : packet;
}

describe.each([4, 6] as const)("fragments of IPv%s", (family) => {
  const packet = udpPacket(family, [1, 2], DATA);

  it.each([8, 16, 1000, 1480, 3000])("of %i bytes become the packet that was cut, in whatever order", (share) => {
    const random = seededRandom(share);
    for (let round = 0; round < 5; round++) {
      const bench = new Bench();
      const parts = fragmentsOf(packet, share, round);
      // Each may come twice.
      const order = parts.flatMap((part) => (random() < 0.3 ? [part, part] : [part]));
      for (let i = order.length - 1; i > 0; i--) {
        const j = Math.floor(random() * (i + 1));
        [order[i], order[j]] = [order[j], order[i]];
      }
      const made = bench.addAll(order);
      expect(made.length).toBeGreaterThan(0);
      for (const one of made) expect(Buffer.from(one).equals(whole(packet, round))).toBe(true);
      expect(bench.drops["fragment-overlap"]).toBe(0);
    }
  });

  it("that overlap cost the datagram, also what comes later of it", () => {
    const payload = packet.subarray(family === 4 ? 20 : 40);
    const cut = (from: number, to: number) => fragment(packet, from, payload.subarray(from, to), to < payload.length);
    for (const second of [
      cut(8, 1008),
      cut(992, 2000),
      cut(0, 1008),
      fragment(packet, 0, new Uint8Array(1000), true),
    ]) {
      const bench = new Bench();
      expect(bench.addAll([cut(0, 1000), second, cut(0, 1000), cut(1000, payload.length)])).toEqual([]);
      expect(bench.drops["fragment-overlap"]).toBe(4);
      expect(bench.reassembler.size.bytes).toBe(0);
    }
    // Two ends, and a piece behind the end.
    const bench = new Bench();
    bench.addAll([cut(2000, payload.length), fragment(packet, 2000 + 8, payload.subarray(8, 16), false)]);
    expect(bench.drops["fragment-overlap"]).toBe(2);
    const other = new Bench();
    other.addAll([cut(1000, 2000), fragment(packet, 8, payload.subarray(0, 80), false)]);
    expect(other.drops["fragment-overlap"]).toBe(2);
  });

  it("that would make more than a packet holds, or are no multiple of 8 bytes, are nothing", () => {
    const bench = new Bench();
    bench.add(fragment(packet, 65528, DATA.subarray(0, 800), false));
    bench.add(fragment(packet, 0, DATA.subarray(0, 13), true));
    bench.add(fragment(packet, 0, DATA.subarray(0, 0), true));
    expect(bench.counted).toEqual({ "fragment-invalid": 3 });
    expect(bench.reassembler.size).toEqual({ datagrams: 0, bytes: 0 });
  });

  it("that wait too long are given up, and their sender hears of it where the first one came", () => {
    const bench = new Bench();
    const [first] = fragmentsOf(packet, 1000, 1);
    const [, second] = fragmentsOf(packet, 1000, 2);
    bench.add(first, 100);
    bench.add(second, 200);
    expect(bench.reassembler.nextTimer()).toBe(30_100);
    bench.reassembler.tick(30_099);
    expect(bench.reassembler.size.datagrams).toBe(2);
    bench.reassembler.tick(30_200);
    expect(bench.reassembler.size).toEqual({ datagrams: 0, bytes: 0 });
    expect(bench.timedOut).toEqual([first]);
    expect(bench.counted).toEqual({ "fragment-timeout": 2 });
    expect(bench.reassembler.nextTimer()).toBe(Number.POSITIVE_INFINITY);
  });

  it("take no more room than they may: in number, of one source, in bytes", () => {
    const bench = new Bench({ reassemblies: 8, reassembliesPerSource: 4, reassemblyBytes: 20_000 });
    const from = (host: number, id: number) => {
      const address = family === 4 ? `10.0.9.${host}` : `fd00::9:${host}`;
      return fragmentsOf(udpPacket(family, [1, 2], DATA, { from: address }), 1000, id)[0];
    };
    for (let id = 0; id < 20; id++) bench.add(from(1, id));
    expect(bench.reassembler.size.datagrams).toBe(4);
    for (let host = 2; host < 30; host++) bench.add(from(host, 1));
    expect(bench.reassembler.size.datagrams).toBe(8);
    for (let i = 0; i < 2000; i++) bench.add(fragment(packet, 8 * (i % 300) * 2 + 8, DATA.subarray(0, 8), true, i % 7));
    expect(bench.reassembler.size.bytes).toBeLessThanOrEqual(20_000);
    expect(bench.drops["fragment-limit"]).toBeGreaterThan(0);
  });
});

it("what is random never breaks the reassembler, and leaves nothing after its time", () => {
  const random = seededRandom(9);
  const bench = new Bench();
  for (let i = 0; i < 20_000; i++) {
    const packet = udpPacket(random() < 0.5 ? 4 : 6, [1, 2], DATA.subarray(0, 8));
    const size = Math.floor(random() * 40) + 1;
    const at = Math.floor(random() * 10) * 8;
    bench.add(fragment(packet, at, DATA.subarray(0, size), random() < 0.7 || at === 0, Math.floor(random() * 50)), i);
  }
  bench.reassembler.tick(1e9);
  expect(bench.reassembler.size).toEqual({ datagrams: 0, bytes: 0 });
});
