import * as fc from "fast-check";
import { connected, crossed, Network, pattern, sendAll, type Watcher, withoutOptions } from "./testing/network";

const SACK_PERMITTED = 4;
const TIMESTAMPS = 8;
const WINDOW_SCALE = 3;

/** What can happen on the way and at the ends; the oracle is that every byte arrives once and in order, and that both sides close. */
const schedule = fc.record({
  seed: fc.integer({ min: 1, max: 1 << 30 }),
  loss: fc.constantFrom(0, 0.01, 0.05, 0.2),
  duplicates: fc.constantFrom(0, 0.02, 0.2),
  delay: fc.constantFrom(0.1, 5, 80),
  jitter: fc.constantFrom(0, 1, 40),
  mtu: fc.constantFrom(108, 296, 576, 1420, 9000),
  whole: fc.boolean(),
  family: fc.constantFrom(4 as const, 6 as const),
  without: fc.subarray([SACK_PERMITTED, TIMESTAMPS, WINDOW_SCALE]),
  up: fc.constantFrom(0, 1, 1000, 40_000),
  down: fc.constantFrom(0, 1, 1000, 40_000),
  chunk: fc.constantFrom(1, 7, 100, 3000, 40_000),
  receiveBuffer: fc.constantFrom(300, 2000, 100_000),
  linkCapacity: fc.constantFrom(3, 100_000),
  pauses: fc.boolean(),
  /** Neither listens: both connect, and the SYNs cross. */
  crossing: fc.boolean(),
});

function play(s: typeof schedule extends fc.Arbitrary<infer T> ? T : never): void {
  const network = new Network({
    seed: String(s.seed),
    mtu: s.mtu,
    whole: s.whole,
    family: s.family,
    // TIME-WAIT outlasts every row of lost FINs: after it, a last FIN is answered with a RST.
    limits: {
      receiveBuffer: s.receiveBuffer,
      initialReceiveBuffer: Math.min(s.receiveBuffer, 4000),
      timeWaitTime: 10_000_000,
    },
  });
  let state = s.seed;
  const random = () => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return (state >>> 8) / 0x7fffff;
  };
  network.alter = withoutOptions(...s.without);
  network.fate = () => {
    if (random() < s.loss) return { arrivals: [] };
    const arrivals = [s.delay + random() * s.jitter];
    if (random() < s.duplicates) arrivals.push(s.delay + random() * s.jitter * 2);
    return { arrivals };
  };
  const open = s.crossing ? crossed : connected;
  const { client, server } = open(network, { connectTimeout: 1_000_000, userTimeout: 1_000_000 });
  const up = pattern(s.up, 1);
  const down = pattern(s.down, 2);
  // Where the bytes are few enough, they may be written one by one.
  sendAll(client, up, s.up > 1000 ? Math.max(100, s.chunk) : s.chunk);
  sendAll(server, down, s.down > 1000 ? Math.max(100, s.chunk) : s.chunk);
  const done = (watcher: Watcher) => watcher.events.includes("closed");
  const end = network.now + 3_600_000;
  while (!(done(client) && done(server)) && network.now < end) {
    for (const node of [network.a, network.b]) {
      node.capacity = s.linkCapacity;
      node.tcp.drained();
    }
    if (s.pauses) {
      for (const watcher of [client, server]) {
        watcher.reading = random() < 0.3;
        if (watcher.reading) watcher.read();
      }
    }
    network.run(s.pauses || s.linkCapacity < 10 ? 20 + random() * 200 : 10_000);
  }
  for (const [watcher, sent] of [
    [client, down],
    [server, up],
  ] as const) {
    expect(watcher.error).toBeUndefined();
    expect(watcher.received.length).toBe(sent.length);
    expect(watcher.received.equals(sent)).toBe(true);
    expect(watcher.events).toEqual(expect.arrayContaining(["finished", "end", "closed"]));
    expect(watcher.events.filter((event) => event === "closed")).toHaveLength(1);
    expect(watcher.events[watcher.events.length - 1]).toBe("closed");
  }
  for (const node of [network.a, network.b]) {
    const stats = node.tcp.stats();
    expect(stats.connections).toBe(0);
    expect(stats.halfOpen).toBe(0);
    expect(stats.memory).toBe(0);
  }
}

test("random schedules: every byte once and in order, and both sides close", () => {
  fc.assert(fc.property(schedule, play), { numRuns: Number(process.env.WARREN_TCP_RUNS ?? 100) });
});
