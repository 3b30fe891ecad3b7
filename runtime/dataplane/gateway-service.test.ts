/** Service addresses in the switch: who gets a connection, and what its client sees. */
import fc from "fast-check";
import type { ServiceConfig } from "./config";
import { Headers } from "./headers";
import { putU16 } from "./inet";
import { completeChecksum } from "./rewrite";
import {
  ACK,
  complete,
  datagram,
  type End,
  echo,
  FIN,
  fault,
  RST,
  SYN,
  tcp,
  unreachable,
} from "./testing/flow-packets";
import { TestLink, type TestPeer, world } from "./testing/switch-world";

type Behind = readonly [last: number, healthy?: boolean, distance?: number];

const service = (...backends: Behind[]): ServiceConfig => ({
  id: "s",
  addresses: ["10.0.0.200", "fd00::200"],
  backends: backends.map(([last, healthy = true, distance = 0]) => ({
    addresses: [`10.0.0.${last}`, `fd00::${last}`],
    healthy,
    distance,
  })),
});

/** 10.0.0.3 and .4 are apps here, .20 and .21 on other hosts, .30 and .31 attached peers. */
function withService(...backends: Behind[]) {
  const w = world();
  w.gateway.setServices([service(...backends)]);
  return w;
}

const v4 = (bytes: Uint8Array, at: number) => bytes.slice(at, at + 4).join(".");
/** `from:port>to:port flags` of an IPv4 packet with right checksums. */
function said(bytes: Uint8Array): string {
  expect(fault(bytes)).toBeUndefined();
  const port = (at: number) => (bytes[at] << 8) | bytes[at + 1];
  const flags = bytes[9] === 6 ? ` ${bytes[33]}` : "";
  return `${v4(bytes, 12)}:${port(20)}>${v4(bytes, 16)}:${port(22)}${flags}`;
}

const C = "10.0.0.3:40000";
const S = "10.0.0.200:80";

test("a connection goes to a backend on another host and back, and to one on this host", () => {
  const w = withService([20]);
  w.link(w.a, tcp(C, S, SYN));
  expect(w.sent.map((s) => [s.to, said(s.packet)])).toEqual([["east-host", "10.0.0.3:40000>10.0.0.20:80 2"]]);
  w.peer(w.east, tcp("10.0.0.20:80", C, SYN | ACK));
  expect(w.a.got.map(said)).toEqual(["10.0.0.200:80>10.0.0.3:40000 18"]);
  w.gateway.setServices([service([4])]);
  w.link(w.a, tcp(C, S, ACK));
  w.link(w.a, tcp("10.0.0.3:40001", S, SYN));
  expect([said(w.sent[1].packet), w.b.got.map(said)]).toEqual([
    "10.0.0.3:40000>10.0.0.20:80 16",
    ["10.0.0.3:40001>10.0.0.4:80 2"],
  ]);
  w.link(w.b, tcp("10.0.0.4:80", "10.0.0.3:40001", SYN | ACK));
  expect(said(w.a.got[1])).toBe("10.0.0.200:80>10.0.0.3:40001 18");
});

test("from an attached peer and from the own stack, not from another host", () => {
  const w = withService([4]);
  const stack = new TestLink("stack", ["10.0.0.9"]);
  w.gateway.setLinks([w.a, w.b], stack);
  w.peer(w.laptop, tcp("10.0.0.30:5000", S, SYN));
  w.link(stack, tcp("10.0.0.9:5000", S, SYN));
  w.peer(w.east, tcp("10.0.0.20:5000", S, SYN));
  expect(w.b.got.map(said)).toEqual(["10.0.0.30:5000>10.0.0.4:80 2", "10.0.0.9:5000>10.0.0.4:80 2"]);
  expect(w.gateway.drops["gateway-address"]).toBe(1);
  w.link(w.b, tcp("10.0.0.4:80", "10.0.0.30:5000", SYN | ACK));
  w.link(w.b, tcp("10.0.0.4:80", "10.0.0.9:5000", SYN | ACK));
  expect([said(w.sent[0].packet), said(stack.got[0])]).toEqual([
    "10.0.0.200:80>10.0.0.30:5000 18",
    "10.0.0.200:80>10.0.0.9:5000 18",
  ]);
  // A peer to a backend on another host: one hop less.
  w.gateway.setServices([service([20])]);
  w.peer(w.laptop, tcp("10.0.0.30:5001", S, SYN));
  expect([said(w.sent[1].packet), w.sent[1].packet[8]]).toEqual(["10.0.0.30:5001>10.0.0.20:80 2", 63]);
});

test("UDP, echo and IPv6 as well", () => {
  const w = withService([4]);
  w.link(w.a, datagram("10.0.0.3:9", "10.0.0.200:53"));
  w.link(w.b, datagram("10.0.0.4:53", "10.0.0.3:9"));
  w.link(w.a, echo("10.0.0.3:9", "10.0.0.200"));
  w.link(w.b, echo("10.0.0.4", "10.0.0.3:9", "reply"));
  w.link(w.a, tcp("fd00::0003#40000", "fd00::0200#80", SYN));
  // The test's own way of writing addresses is hexadecimal.
  expect(w.b.got.map(fault)).toEqual([undefined, undefined, undefined]);
  expect([said(w.a.got[0]), v4(w.a.got[1], 12), w.b.got[2].slice(24, 40).at(-1)]).toEqual([
    "10.0.0.200:53>10.0.0.3:9",
    "10.0.0.200",
    4,
  ]);
  w.link(w.b, tcp("fd00::0004#80", "fd00::0003#40000", SYN | ACK));
  expect([fault(w.a.got[2]), [...w.a.got[2].slice(22, 24)]]).toEqual([undefined, [2, 0]]);
});

test("nothing behind it: refused at once", () => {
  const w = withService();
  w.link(w.a, tcp(C, S, SYN));
  w.link(w.a, datagram(C, S));
  expect([said(w.a.got[0]), w.a.got[1][20], w.a.got[1][21]]).toEqual([`${S}>${C} ${RST | ACK}`, 3, 3]);
  expect(w.a.drops["no-backend"]).toBe(2);
});

test("a backend that turned unhealthy gets no new connections and keeps its old ones; datagrams leave it", () => {
  const w = withService([20], [4, false]);
  w.link(w.a, tcp(C, S, SYN));
  w.peer(w.east, tcp("10.0.0.20:80", C, SYN | ACK));
  w.link(w.a, datagram(C, S));
  w.peer(w.east, datagram("10.0.0.20:80", C));
  w.gateway.setServices([service([20, false], [4])]);
  w.link(w.a, tcp(C, S, ACK));
  w.link(w.a, datagram(C, S));
  w.link(w.a, tcp("10.0.0.3:40001", S, SYN));
  expect([w.sent.length, w.b.got.map(said)]).toEqual([4, ["10.0.0.3:40001>10.0.0.4:80 2"]]);
  w.advance(30_000);
  w.link(w.a, tcp(C, S, ACK));
  w.link(w.a, datagram(C, S));
  expect([w.sent.length, w.b.got.map(said)[1]]).toEqual([5, "10.0.0.3:40000>10.0.0.4:80"]);
});

describe("another backend is tried", () => {
  const backends = [[4], [20, true, 1], [21, true, 2]] as const;

  test("when the client asks again, not when its question was doubled on the way", () => {
    const w = withService(...backends);
    w.link(w.a, tcp(C, S, SYN));
    w.link(w.a, tcp(C, S, SYN));
    w.advance(1000);
    w.link(w.a, tcp(C, S, SYN));
    w.advance(2000);
    w.link(w.a, tcp(C, S, SYN));
    w.advance(4000);
    w.link(w.a, tcp(C, S, SYN));
    expect([w.b.got.length, w.sent.map((s) => s.to)]).toEqual([3, ["east-host", "west-host"]]);
    w.link(w.b, tcp("10.0.0.4:80", C, SYN | ACK));
    w.advance(8000);
    w.link(w.a, tcp(C, S, SYN));
    expect([w.b.got.length, said(w.a.got[0])]).toEqual([4, `${S}>${C} 18`]);
  });

  test("at once when it refuses as the first answer; when all did, the client is told", () => {
    const w = withService(...backends);
    w.link(w.a, tcp(C, S, SYN));
    w.link(w.b, tcp("10.0.0.4:80", C, RST | ACK));
    expect([w.a.got, w.sent.map((s) => said(s.packet))]).toEqual([[], [`${C}>10.0.0.20:80 2`]]);
    w.peer(w.east, tcp("10.0.0.20:80", C, RST | ACK));
    w.peer(w.west, tcp("10.0.0.21:80", C, RST | ACK));
    expect([w.sent.map((s) => s.to), w.a.got.map(said)]).toEqual([
      ["east-host", "west-host"],
      [`${S}>${C} ${RST | ACK}`],
    ]);
  });

  test("not when it answered before", () => {
    const w = withService(...backends);
    w.link(w.a, tcp(C, S, SYN));
    w.link(w.b, tcp("10.0.0.4:80", C, SYN | ACK));
    w.link(w.b, tcp("10.0.0.4:80", C, RST));
    expect([w.a.got.map(said), w.sent]).toEqual([[`${S}>${C} 18`, `${S}>${C} 4`], []]);
  });

  test("at once when it cannot be reached, be it told by its host or found here; with datagrams too", () => {
    const w = withService([77], [4, true, 1]);
    w.link(w.a, tcp(C, S, SYN));
    w.link(w.a, datagram(C, S));
    expect([w.b.got.map(said), w.a.got]).toEqual([[`${C}>10.0.0.4:80 2`, `${C}>10.0.0.4:80`], []]);
    const sent = w.b.got[1];
    w.link(w.b, unreachable("10.0.0.4", sent));
    // That was the last: the client sees an error about what it sent itself, from whom it sent it to.
    const error = w.a.got[0];
    expect([fault(error), v4(error, 12), v4(error, 28 + 16)]).toEqual([undefined, "10.0.0.200", "10.0.0.200"]);
    expect(fault(error.slice(28))).toBeUndefined();
  });

  test("with a SYN that its sender's kernel left unfinished", () => {
    const w = withService([77], [20, true, 1]);
    const syn = tcp(C, S, SYN);
    const headers = new Headers();
    headers.read(syn, 0, syn.length);
    // The pseudo header's share alone.
    putU16(syn, 36, 0);
    let sum = 6 + 20;
    for (let i = 12; i < 20; i += 2) sum += (syn[i] << 8) | syn[i + 1];
    putU16(syn, 36, (sum & 0xffff) + (sum >>> 16));
    const buf = new Uint8Array(8192);
    buf.set(syn, 4096);
    let left = 1;
    const offload = {
      count: 1,
      largest: syn.length,
      next: (at: number) => {
        if (left-- === 0) return 0;
        buf.copyWithin(at, 4096, 4096 + syn.length);
        const made = new Headers();
        made.read(buf, at, syn.length);
        completeChecksum(made, buf);
        return syn.length;
      },
    };
    w.gateway.fromLink(w.a, buf, 4096, syn.length, offload);
    expect(w.sent.map((s) => said(s.packet))).toEqual([`${C}>10.0.0.20:80 2`]);
  });
});

describe("a client that is a backend itself", () => {
  test("gets another one", () => {
    const w = withService([3], [20, true, 5]);
    for (let i = 0; i < 20; i++) w.link(w.a, tcp(`10.0.0.3:${1000 + i}`, S, SYN));
    expect([w.sent.length, w.a.got]).toEqual([20, []]);
  });

  test("or, as the only one, itself, whatever the policy", () => {
    const w = withService([3]);
    w.gateway.setPolicy({ closed: ["10.0.0.3/32"], rules: [] });
    w.link(w.a, tcp(C, S, SYN));
    w.link(w.a, tcp("10.0.0.3:80", "10.0.0.200:40000", SYN | ACK));
    w.link(w.a, tcp(C, S, ACK));
    expect(w.a.got.map(said)).toEqual([
      "10.0.0.200:40000>10.0.0.3:80 2",
      `${S}>${C} 18`,
      "10.0.0.200:40000>10.0.0.3:80 16",
    ]);
    w.link(w.a, datagram(C, S));
    const got = w.a.got[3];
    w.link(w.a, unreachable("10.0.0.3", got));
    const error = w.a.got[4];
    expect([fault(error), v4(error, 12), v4(error, 28 + 12), v4(error, 28 + 16)]).toEqual([
      undefined,
      "10.0.0.200",
      "10.0.0.3",
      "10.0.0.200",
    ]);
  });
});

test("an error of the client about an answer reaches the backend as one about what it sent", () => {
  const w = withService([4]);
  w.link(w.a, datagram(C, S));
  w.link(w.b, datagram("10.0.0.4:80", C));
  w.link(w.a, unreachable("10.0.0.3", w.a.got[0]));
  const error = w.b.got[1];
  expect([fault(error), v4(error, 16), v4(error, 28 + 12), fault(error.slice(28))]).toEqual([
    undefined,
    "10.0.0.4",
    "10.0.0.4",
    undefined,
  ]);
});

test("fragments go where the first one went, in both directions", () => {
  const w = withService([4]);
  const fragments = (from: End, to: End) => {
    const first = datagram(from, to, new Uint8Array(32));
    putU16(first, 6, 0x2000);
    const later = first.slice(0, 36);
    putU16(later, 6, 5);
    putU16(later, 2, later.length);
    return [complete(first), complete(later)];
  };
  const [first, later] = fragments(C, S);
  w.link(w.a, later);
  expect(w.a.drops.fragment).toBe(1);
  for (const one of [first, later]) w.link(w.a, one);
  for (const one of fragments("10.0.0.4:80", C)) w.link(w.b, one);
  expect([w.b.got.map((p) => v4(p, 16)), w.a.got.map((p) => v4(p, 12))]).toEqual([
    ["10.0.0.4", "10.0.0.4"],
    ["10.0.0.200", "10.0.0.200"],
  ]);
});

test("the policy judges the backend, and refuses in the service's name", () => {
  const w = withService([20]);
  const rule = { from: ["10.0.0.4/32"], to: ["10.0.0.20/32"], protocol: "tcp" as const, ports: [[80, 80]] as const };
  w.gateway.setPolicy({ closed: ["10.0.0.20/32", "10.0.0.4/32", "10.0.0.3/32"], rules: [rule] });
  w.link(w.a, tcp(C, S, SYN));
  w.link(w.a, datagram(C, S));
  expect([said(w.a.got[0]), w.a.got[1][21], v4(w.a.got[1], 28 + 16), w.sent]).toEqual([
    `${S}>${C} ${RST | ACK}`,
    13,
    "10.0.0.200",
    [],
  ]);
  w.link(w.b, tcp("10.0.0.4:1000", S, SYN));
  w.peer(w.east, tcp("10.0.0.20:80", "10.0.0.4:1000", SYN | ACK));
  expect([w.sent.length, w.b.got.map(said)]).toEqual([1, ["10.0.0.200:80>10.0.0.4:1000 18"]]);
  w.gateway.setPolicy({ closed: ["10.0.0.20/32", "10.0.0.4/32"], rules: [] });
  w.link(w.b, tcp("10.0.0.4:1000", S, ACK));
  w.peer(w.east, tcp("10.0.0.20:80", "10.0.0.4:1000", ACK));
  expect([w.sent.length, w.b.got.slice(1).map(said)]).toEqual([1, ["10.0.0.200:80>10.0.0.4:1000 4"]]);
});

test("two services with one backend, from the same port: each keeps its own answers", () => {
  const w = world();
  const other = { ...service([4], [20]), id: "t", addresses: ["10.0.0.201"] };
  w.gateway.setServices([service([4]), other]);
  w.link(w.a, tcp(C, S, SYN));
  w.link(w.a, tcp(C, "10.0.0.201:80", SYN));
  expect([w.b.got.length, w.sent.length]).toEqual([1, 1]);
  w.link(w.b, tcp("10.0.0.4:80", C, SYN | ACK));
  w.peer(w.east, tcp("10.0.0.20:80", C, SYN | ACK));
  expect(w.a.got.map(said)).toEqual([`${S}>${C} 18`, `10.0.0.201:80>${C} 18`]);
});

test("random traffic: all that leaves has right checksums, a flow keeps its backend, answers come from the service", () => {
  const clients = ["10.0.0.3", "10.0.0.30"] as const;
  const step = fc.tuple(
    fc.constantFrom(...clients),
    fc.integer({ min: 1, max: 6 }),
    fc.constantFrom("tcp", "udp", "echo"),
    fc.uint8Array({ maxLength: 9 }),
    fc.integer({ min: 0, max: 60_000 }),
    fc.constantFrom(ACK, ACK, ACK | FIN),
  );
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 60 }), (steps) => {
      const w = withService([4], [20], [21, true, 0], [30, true, 1]);
      const kept = new Map<string, string>();
      for (const [client, port, kind, data, ms, flags] of steps) {
        w.advance(ms / 1000);
        const from = `${client}:${port}`;
        const seen = `${kind} ${from}`;
        const opens = kind === "tcp" && !kept.has(seen);
        const packet =
          kind === "tcp"
            ? tcp(from, S, opens ? SYN : flags, data)
            : kind === "udp"
              ? datagram(from, S, data)
              : echo(from, "10.0.0.200");
        const links = w.b.got.length;
        const tunnels = w.sent.length;
        if (client === "10.0.0.3") w.link(w.a, packet);
        else w.peer(w.laptop, packet);
        const out = w.b.got[links] ?? w.sent[tunnels].packet;
        expect(fault(out)).toBeUndefined();
        const backend = v4(out, 16);
        expect(["10.0.0.4", "10.0.0.20", "10.0.0.21"]).toContain(backend);
        if (kept.has(seen)) expect(backend).toBe(kept.get(seen));
        kept.set(seen, backend);
        const [back, to] = [`${backend}:80`, from];
        const answer =
          kind === "tcp"
            ? tcp(back, to, opens ? SYN | ACK : flags, data)
            : kind === "udp"
              ? datagram(back, to, data)
              : echo(backend, to, "reply");
        const [before, beforeSent] = [w.a.got.length, w.sent.length];
        if (backend === "10.0.0.4") w.link(w.b, answer);
        else w.peer((backend === "10.0.0.20" ? w.east : w.west) as TestPeer, answer);
        const arrived = client === "10.0.0.3" ? w.a.got[before] : w.sent[beforeSent].packet;
        expect([fault(arrived), v4(arrived, 12), v4(arrived, 16)]).toEqual([undefined, "10.0.0.200", client]);
      }
    }),
    { numRuns: 150 },
  );
});

test("hostile packets to and from a service: never a fault, and what leaves is what came", () => {
  const w = withService([4], [20]);
  w.gateway.setPolicy({ closed: ["10.0.0.4/32"], rules: [] });
  const seeds = [
    tcp(C, S, SYN),
    datagram(C, S),
    echo("10.0.0.3:5", "10.0.0.200"),
    unreachable("10.0.0.3", tcp(S, C, ACK)),
    unreachable("10.0.0.3", tcp(S, C, ACK), 28),
    tcp("10.0.0.4:80", C, SYN | ACK),
  ];
  fc.assert(
    fc.property(
      fc.constantFrom(...seeds),
      fc.array(fc.tuple(fc.nat(80), fc.nat(255)), { maxLength: 4 }),
      fc.nat(90),
      (seed, changes, length) => {
        const packet = Uint8Array.from(seed);
        for (const [at, value] of changes) packet[at % packet.length] = value;
        w.link(w.a, packet.slice(0, length));
        w.link(w.a, packet);
        w.link(w.b, packet);
        w.peer(w.laptop, packet);
        w.peer(w.east, packet);
      },
    ),
    { numRuns: 3000 },
  );
});
