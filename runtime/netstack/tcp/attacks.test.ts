import * as fc from "fast-check";
import type { Connection } from "./connection";
import { MOST_ENTRIES, MOST_SEGMENTS } from "./flight";
import { ACK, FIN, RST, SYN } from "./testing/network";
import { MSS_1360, RawPeer, SACK_OK, sackOf, stamps } from "./testing/raw-peer";

describe("resets (RFC 5961 section 3)", () => {
  test("the exact sequence number ends the connection, one within the window is challenged, one outside is dropped", () => {
    const peer = new RawPeer();
    const watcher = peer.accept();
    const { drops } = peer.node.tcp.counters;
    peer.send({ flags: RST, seq: 2 });
    expect(peer.brief()).toEqual(["ACK 1:1+0"]);
    peer.send({ flags: RST, seq: 0 });
    peer.send({ flags: RST, seq: 1 + 131_072 * 2 });
    peer.send({ flags: RST, seq: -70_000 });
    expect(peer.brief()).toEqual([]);
    expect(drops["invalid-reset"]).toBe(4);
    expect(watcher.connection.state).toBe("established");
    peer.send({ flags: RST, seq: 1 });
    peer.take();
    expect(watcher.events).toEqual(["connected", "ECONNRESET", "closed"]);
  });

  test("what came before the reset can still be read", () => {
    const peer = new RawPeer();
    const watcher = peer.accept();
    peer.send({ seq: 1, ack: 1, payload: 100 });
    peer.send({ flags: RST, seq: 101 });
    peer.take();
    expect(watcher.received.length).toBe(100);
    expect(watcher.error?.code).toBe("ECONNRESET");
    expect(peer.node.tcp.stats().memory).toBe(0);
  });
});

test("a SYN on an established connection is challenged and changes nothing (RFC 5961 section 4)", () => {
  const peer = new RawPeer();
  const { connection } = peer.accept();
  for (const seq of [1, 50, -50_000]) {
    peer.send({ flags: SYN, seq });
    expect(peer.brief()).toEqual(["ACK 1:1+0"]);
  }
  expect(connection.state).toBe("established");
  expect(peer.node.tcp.counters.drops["invalid-syn"]).toBe(3);
});

test("an acknowledgment of what was never sent, or long ago, is challenged and its data is dropped (RFC 5961 section 5)", () => {
  const peer = new RawPeer();
  const watcher = peer.accept();
  peer.send({ seq: 1, ack: 2, payload: 10 });
  expect(peer.brief()).toEqual(["ACK 1:1+0"]);
  peer.send({ seq: 1, ack: 1 - 70_000, payload: 10 });
  expect(peer.brief()).toEqual(["ACK 1:1+0"]);
  expect(watcher.received.length).toBe(0);
  expect(peer.node.tcp.counters.drops["invalid-ack"]).toBe(2);
});

test("challenge acknowledgments are limited for each connection (RFC 5961 section 7)", () => {
  const peer = new RawPeer();
  peer.accept();
  let answered = 0;
  for (let i = 0; i < 1000; i++) {
    peer.send({ flags: SYN, seq: 5 });
    answered += peer.take().length;
  }
  expect(answered).toBe(10);
  expect(peer.node.tcp.counters.drops["challenge-limit"]).toBe(990);
  peer.run(1000);
  peer.send({ flags: SYN, seq: 5 });
  expect(peer.take()).toHaveLength(1);
});

describe("old segments (PAWS, RFC 7323 section 5)", () => {
  const open = () => {
    const peer = new RawPeer();
    const watcher = peer.accept([...MSS_1360, ...stamps(1000, 0)]);
    peer.send({ seq: 1, ack: 1, options: stamps(5000, 0), payload: 10 });
    peer.take();
    return { peer, watcher };
  };

  test("an old timestamp is dropped and answered, a newer one taken", () => {
    const { peer, watcher } = open();
    peer.send({ seq: 11, ack: 1, options: stamps(4999, 0), payload: 10 });
    expect(peer.brief()).toEqual(["ACK 1:11+0"]);
    expect(peer.node.tcp.counters.drops.paws).toBe(1);
    peer.send({ seq: 11, ack: 1, options: stamps(5000, 0), payload: 10 });
    peer.take();
    expect(watcher.received.length).toBe(20);
  });

  test("a segment without timestamp is dropped, but a RST is not", () => {
    const { peer, watcher } = open();
    peer.send({ seq: 11, ack: 1, payload: 10 });
    expect(watcher.received.length).toBe(10);
    peer.send({ flags: RST, seq: 11 });
    peer.take();
    expect(watcher.error?.code).toBe("ECONNRESET");
  });

  test("a forged segment, with an acknowledgment of what was never sent, does not make the peer's own ones old", () => {
    const { peer, watcher } = open();
    peer.send({ seq: -1000, ack: 1 << 30, options: stamps(5000 + 0x7fff_0000, 0), payload: 1400 });
    expect(peer.node.tcp.counters.drops["invalid-ack"]).toBe(1);
    peer.send({ seq: 11, ack: 1, options: stamps(5001, 0), payload: 10 });
    peer.take();
    expect(watcher.received.length).toBe(20);
    expect(peer.node.tcp.counters.drops.paws).toBe(0);
  });

  test("after 24 days of silence an old timestamp says nothing", () => {
    const { peer, watcher } = open();
    peer.network.now += 25 * 24 * 3600 * 1000;
    peer.send({ seq: 11, ack: 1, options: stamps(4000, 0), payload: 10 });
    peer.take();
    expect(watcher.received.length).toBe(20);
  });

  test("timestamps wrap", () => {
    const peer = new RawPeer();
    const watcher = peer.accept([...MSS_1360, ...stamps(0xffff_fff0, 0)]);
    peer.send({ seq: 1, ack: 1, options: stamps(0xffff_fff5, 0), payload: 1 });
    peer.send({ seq: 2, ack: 1, options: stamps(3, 0), payload: 1 });
    peer.take();
    expect(watcher.received.length).toBe(2);
  });
});

describe("half-open floods", () => {
  test("of one source: bounded, the others are served", () => {
    const peer = new RawPeer({ limits: { halfOpenPerSource: 20, backlog: 100 } });
    peer.node.tcp.listen({ port: 80, onConnection: () => {} });
    for (let i = 0; i < 5000; i++) {
      peer.send({ flags: SYN, seq: 0, sourcePort: 1024 + i });
      peer.take();
    }
    expect(peer.node.tcp.stats()).toMatchObject({ halfOpen: 20, connections: 20 });
    expect(peer.node.tcp.counters.drops.backlog).toBe(4980);
    peer.send({ flags: SYN, seq: 0, host: 99 });
    expect(peer.brief()).toEqual(["SYN,ACK 0:1+0"]);
    peer.run(130_000);
    expect(peer.node.tcp.stats()).toMatchObject({ halfOpen: 0, connections: 0, memory: 0 });
    expect(peer.node.tcp.nextTimer()).toBe(Number.POSITIVE_INFINITY);
  });

  test("of many sources: the oldest handshakes give way, and a peer that answers at once gets through", () => {
    const peer = new RawPeer({ limits: { backlog: 50 } });
    let accepted = 0;
    peer.node.tcp.listen({ port: 80, onConnection: () => accepted++ });
    for (let i = 0; i < 3000; i++) {
      peer.send({ flags: SYN, seq: 0, sourcePort: 1024 + i, host: i % 200 });
      if (i % 100 !== 99) continue;
      peer.take();
      peer.send({ flags: SYN, seq: 0, sourcePort: 999, host: 250 });
      peer.take();
      peer.send({ seq: 1, ack: 1, sourcePort: 999, host: 250 });
      peer.take();
      peer.send({ flags: RST, seq: 1, sourcePort: 999, host: 250 });
    }
    expect(accepted).toBe(30);
    expect(peer.node.tcp.stats().halfOpen).toBeLessThanOrEqual(50);
  });

  test("of waiting SYNs that nobody accepts: bounded, and forgotten after their time", () => {
    const peer = new RawPeer({ limits: { pendingSyns: 30, halfOpenPerSource: 100 } });
    let gone = 0;
    peer.node.tcp.onSyn = (syn) => {
      syn.onGone = () => gone++;
    };
    for (let i = 0; i < 100; i++) peer.send({ flags: SYN, seq: 0, sourcePort: 1024 + i });
    expect(peer.brief()).toEqual([]);
    expect(peer.node.tcp.stats().pendingSyns).toBe(30);
    peer.run(61_000);
    expect(gone).toBe(30);
    expect(peer.node.tcp.stats().pendingSyns).toBe(0);
    expect(peer.node.tcp.nextTimer()).toBe(Number.POSITIVE_INFINITY);
  });
});

test("no more connections than the limit, in or out", () => {
  const peer = new RawPeer({ limits: { connections: 3 } });
  peer.node.tcp.listen({ port: 80, onConnection: () => {} });
  for (let i = 0; i < 5; i++) peer.send({ flags: SYN, seq: 0, sourcePort: 1024 + i });
  expect(peer.take()).toHaveLength(3);
  expect(peer.node.tcp.counters.drops.limit).toBe(2);
  expect(() => peer.node.tcp.connect({ address: peer.network.b.address, port: 9 })).toThrow(
    expect.objectContaining({ code: "ENOBUFS" }),
  );
});

test("urgent data is data like any other (RFC 6093)", () => {
  const peer = new RawPeer();
  const watcher = peer.accept();
  peer.send({ flags: ACK | 32, seq: 1, ack: 1, payload: Buffer.from("urgent") });
  peer.take();
  expect(watcher.received.toString()).toBe("urgent");
});

test("small pieces behind small gaps do not cost memory without end", () => {
  const peer = new RawPeer();
  peer.accept([...MSS_1360, ...SACK_OK]);
  for (let i = 0; i < 5000; i++) {
    peer.send({ seq: 3 + i * 10, ack: 1, payload: 1 });
    peer.take();
  }
  expect(peer.node.tcp.counters.drops.memory).toBe(5000 - 256);
  expect(peer.node.tcp.stats().memory).toBeLessThanOrEqual(131_072);
});

describe("SACK in small pieces (CVE-2019-11478)", () => {
  /** A sender with as much in flight as it may have, in segments of `mss` bytes; `at` is where it begins. */
  const loaded = (mss: number) => {
    const peer = new RawPeer();
    const { connection } = peer.accept([2, 4, mss >> 8, mss & 255, 1, 3, 3, 14, ...SACK_OK]);
    const write = () => {
      while (connection.write(Buffer.alloc(60_000)));
    };
    connection.handlers.writable = write;
    write();
    let top = 1;
    let at = 1;
    for (let round = 0; round < 16; round++) {
      at = top;
      peer.send({ seq: 1, ack: at });
      for (const sent of peer.take()) top = Math.max(top, sent.seq + sent.length);
      peer.run(1);
    }
    const sack = (...ranges: [number, number][]) => {
      peer.send({ seq: 1, ack: at, options: sackOf(peer.iss, ...ranges) });
      return (connection as Connection).flight.count;
    };
    return { peer, connection, at, top, sack };
  };

  test("single bytes are not believed, and cut nothing", () => {
    const { connection, at, top, sack } = loaded(1360);
    expect(top - at).toBeGreaterThan(4_000_000);
    const before = connection.stats().bytesInFlight;
    let entries = 0;
    for (let p = at + 2; p + 10 < top; p += 400) {
      entries = Math.max(entries, sack([p, p + 1], [p + 2, p + 3], [p + 4, p + 5], [p + 6, p + 7]));
    }
    expect(entries).toBeLessThan(100);
    expect(connection.stats().bytesInFlight).toBe(before);
  });

  test.each([536, 48])("every second segment of %d bytes: so many pieces and no more, and all of it arrives", (mss) => {
    const { peer, connection, at, top, sack } = loaded(mss);
    let entries = 0;
    for (let p = at + mss; p + mss < top; p += 2 * mss) entries = Math.max(entries, sack([p, p + mss]));
    expect(entries).toBeGreaterThan(2000);
    expect(entries).toBeLessThanOrEqual(MOST_ENTRIES);
    expect(top - at).toBeLessThanOrEqual(MOST_SEGMENTS * mss);
    connection.handlers.writable = undefined;
    connection.end();
    let acked = at;
    for (let round = 0; round < 200 && connection.state !== "fin-wait-2"; round++) {
      for (const { seq, length, flags } of peer.take()) {
        if (seq <= acked) acked = Math.max(acked, top, seq + length + (flags & FIN));
      }
      peer.send({ seq: 1, ack: acked });
      peer.run(1);
    }
    expect(connection.state).toBe("fin-wait-2");
    expect(peer.node.tcp.stats().memory).toBe(0);
  });
});

test("small writes that nobody acknowledges: so many of them, then the rest waits", () => {
  const peer = new RawPeer();
  const { connection } = peer.accept(MSS_1360);
  for (let i = 0; i < 5000; i++) {
    connection.write(Buffer.alloc(2));
    peer.node.tcp.flush();
  }
  expect(peer.take()).toHaveLength(MOST_ENTRIES);
  peer.send({ seq: 1, ack: 3 });
  expect(peer.take()).toMatchObject([{ length: 2 * (5000 - MOST_ENTRIES) }]);
});

test("scarce memory: what is out of order is not kept, what is in order is", () => {
  const peer = new RawPeer({ limits: { memory: 4096 } });
  const watcher = peer.accept();
  watcher.reading = false;
  peer.send({ seq: 1, ack: 1, payload: 1300 });
  peer.send({ seq: 1301, ack: 1, payload: 1300 });
  peer.send({ seq: 3901, ack: 1, payload: 1300 });
  expect(peer.node.tcp.counters.drops.memory).toBe(1);
  expect(peer.take().pop()).toMatchObject({ ack: 2601 });
  watcher.reading = true;
  watcher.read();
  expect(watcher.received.length).toBe(2600);
});

test("exhausted memory: in order, too, nothing is added to what is unread; who reads goes on in small steps", () => {
  const peer = new RawPeer({ limits: { memory: 4096 } });
  const watcher = peer.accept();
  watcher.reading = false;
  peer.send({ seq: 1, ack: 1, payload: 1300 });
  peer.send({ seq: 1301, ack: 1, payload: 1300 });
  peer.send({ seq: 2601, ack: 1, payload: 1300 });
  expect(peer.node.tcp.stats()).toMatchObject({ memory: 2048 + 4096, drops: { memory: 1 } });
  expect(peer.take().pop()).toMatchObject({ ack: 2601 });
  watcher.reading = true;
  watcher.read();
  // Others hold all there is.
  peer.node.tcp.memory.charge(10_000);
  peer.send({ seq: 2601, ack: 1, payload: 60_000, flags: ACK | FIN });
  expect(peer.take().pop()).toMatchObject({ ack: 2601 + 2048 });
  peer.send({ seq: 2601 + 2048, ack: 1, payload: 60_000 - 2048 });
  expect(peer.take().pop()).toMatchObject({ ack: 2601 + 4096 });
  peer.node.tcp.memory.charge(-10_000);
  peer.send({ seq: 2601 + 4096, ack: 1, payload: 60_000 - 4096 });
  expect(peer.take().pop()).toMatchObject({ ack: 62_602 });
  expect(watcher.received.length).toBe(62_600);
});

test("exhausted memory: a reader that goes on says so at once, and only where something was turned away", () => {
  const peer = new RawPeer({ limits: { memory: 4096 } });
  const watcher = peer.accept();
  watcher.reading = false;
  peer.send({ seq: 1, ack: 1, payload: 1300 });
  peer.take();
  watcher.read();
  expect(peer.take()).toEqual([]);
  peer.send({ seq: 1301, ack: 1, payload: 1300 });
  peer.node.tcp.memory.charge(10_000);
  peer.send({ seq: 2601, ack: 1, payload: 1300 });
  expect(peer.node.tcp.counters.drops.memory).toBe(1);
  peer.take();
  watcher.read();
  const [update, ...more] = peer.take();
  expect([update, more]).toMatchObject([{ ack: 2601, length: 0 }, []]);
  expect(update!.window).toBeGreaterThanOrEqual(2048);
  // It is no news any more.
  watcher.read();
  expect(peer.take()).toEqual([]);
  peer.send({ seq: 2601, ack: 1, payload: 1300 });
  peer.take();
  watcher.read();
  expect(peer.take()).toEqual([]);
  expect(watcher.received.length).toBe(3900);
  peer.node.tcp.memory.charge(-10_000);
});

test("random segments: nothing breaks, nothing is believed that should not be, nothing leaks", () => {
  const segment = fc.record({
    flags: fc.integer({ min: 0, max: 63 }),
    seq: fc.oneof(fc.integer({ min: -5, max: 40 }), fc.integer()),
    ack: fc.oneof(fc.integer({ min: -5, max: 40 }), fc.integer()),
    window: fc.constantFrom(0, 1, 100, 65_535),
    options: fc.oneof(
      fc.constant<number[]>([]),
      fc.constant<number[]>(MSS_1360),
      fc.array(fc.integer({ min: 0, max: 255 }), { minLength: 4, maxLength: 40 }).map((a) => a.slice(0, a.length & ~3)),
    ),
    payload: fc.constantFrom(0, 0, 1, 10, 1400, 60_000),
    wait: fc.constantFrom(0, 0, 50, 3000),
    act: fc.constantFrom("none", "none", "write", "end", "read", "close"),
  });
  fc.assert(
    fc.property(fc.boolean(), fc.array(segment, { maxLength: 40 }), (active, segments) => {
      const peer = new RawPeer({ limits: { receiveBuffer: 200_000 } });
      peer.node.tcp.listen({ port: 81, onConnection: () => {} });
      const watcher = active ? peer.open() : peer.accept();
      peer.take();
      for (const { wait, act, ...s } of segments) {
        peer.send(s);
        if (act === "write") watcher.connection.write(Buffer.alloc(3000));
        else if (act === "end") watcher.connection.end();
        else if (act === "close") watcher.connection.close();
        else if (act === "read") watcher.read();
        peer.run(wait);
        for (const sent of peer.take()) expect(sent.flags & (SYN | FIN)).not.toBe(SYN | FIN);
      }
      watcher.connection.abort();
      peer.run(200_000);
      watcher.read();
      expect(peer.node.tcp.stats()).toMatchObject({ connections: 0, halfOpen: 0, memory: 0 });
      peer.run(100_000);
      expect(peer.node.tcp.nextTimer()).toBe(Number.POSITIVE_INFINITY);
    }),
    { numRuns: 150 },
  );
});
