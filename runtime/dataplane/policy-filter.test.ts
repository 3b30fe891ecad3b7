/** The policy on packets: against a slow oracle over random flows and policies, and what is promised one by one. */
import fc from "fast-check";
import type { PolicyConfig } from "./config";
import { Headers } from "./headers";
import { putU16 } from "./inet";
import { Policy } from "./policy";
import { PolicyFilter } from "./policy-filter";
import { ACK, complete, datagram, type End, echo, FIN, RST, SYN, tcp, unreachable } from "./testing/flow-packets";
import { type Protocol, policies, slowly } from "./testing/policy-oracle";
import { ip } from "./testing/switch-world";

function filterOf(config: PolicyConfig, options: { flows?: number; fragments?: number } = {}) {
  const filter = new PolicyFilter(new Policy(config), { seed: 1, ...options });
  const headers = new Headers();
  let now = 0;
  return {
    filter,
    wait: (ms: number) => {
      now += ms;
    },
    policy: (next: PolicyConfig) => filter.setPolicy(new Policy(next)),
    judge: (packet: Uint8Array) => {
      headers.read(packet, 0, packet.length);
      return filter.judge(headers, packet, now);
    },
  };
}

/** Only 10.0.0.3 may reach TCP port 80 of 10.0.0.4. */
const ONE: PolicyConfig = {
  closed: ["10.0.0.4/32", "10.0.0.3/32"],
  rules: [{ from: ["10.0.0.3/32"], to: ["10.0.0.4/32"], protocol: "tcp", ports: [[80, 80]] }],
};
const NOBODY: PolicyConfig = { closed: ["10.0.0.4/32", "10.0.0.3/32"], rules: [] };
const [C, S] = ["10.0.0.3:40000", "10.0.0.4:80"] as const;

interface Flow {
  readonly from: End;
  readonly to: End;
  readonly protocol: Protocol;
  answered: boolean;
  closing: number;
}

/** Without time: nothing is ever over. */
class Oracle {
  private flows: Flow[] = [];

  constructor(public config: PolicyConfig) {}

  private allows({ from, to, protocol }: { from: End; to: End; protocol: Protocol }): boolean {
    const [a, b] = [from.split(":"), to.split(":")];
    return slowly(this.config, ip(a[0]), ip(b[0]), protocol, Number(b[1]));
  }

  judge(from: End, to: End, protocol: Protocol, flags: number): boolean {
    const packet = { from, to, protocol };
    const same = (a: End, b: End) => this.flows.find((f) => f.protocol === protocol && f.from === a && f.to === b);
    const forth = same(from, to);
    const flow = forth ?? same(to, from);
    const fresh = (one: typeof packet, answered: boolean) => {
      this.flows = this.flows.filter((f) => f !== flow);
      const added = { ...one, answered, closing: 0 };
      this.flows.push(added);
      return added;
    };
    if (flow === undefined) {
      if (protocol === "tcp" && (flags & (SYN | ACK)) !== SYN) {
        const reversed = { from: to, to: from, protocol };
        const [isClient, toClient] = [from, to].map((end) => Number(end.split(":")[1]) >= 32768);
        const back = (flags & SYN) !== 0 || (toClient && !isClient);
        if (!this.allows(back ? reversed : packet)) return false;
        if (!back && isClient === toClient && !this.allows(reversed)) return false;
        close(fresh(back ? reversed : packet, true), back, flags);
        return true;
      }
      if (!this.allows(packet)) return false;
      if (protocol !== "icmp" || flags === 0) fresh(packet, false);
      return true;
    }
    const reversed = forth === undefined;
    const cut = !this.allows(flow);
    if (protocol === "tcp") {
      const opens = (flags & (SYN | ACK)) === SYN;
      if (opens && (cut || (reversed ? flow.answered : flow.closing !== 0))) {
        if (!this.allows(packet)) return false;
        fresh(packet, false);
        return true;
      }
      if (cut) return false;
      if (reversed) flow.answered = true;
      close(flow, reversed, flags);
      return true;
    }
    if (cut) return false;
    if (protocol === "icmp" && (flags === 1) !== reversed) return this.allows(packet);
    return true;
  }
}

function close(flow: Flow, reversed: boolean, flags: number): void {
  if (flags & RST) flow.closing |= 4;
  if (flags & FIN) flow.closing |= reversed ? 2 : 1;
}

test("random flows under random policies that change: what passes is what an oracle lets pass", () => {
  const end = fc.tuple(fc.integer({ min: 1, max: 4 }), fc.constantFrom(3, 7, 40000, 50000));
  const step = fc.oneof(
    { weight: 1, arbitrary: policies },
    {
      weight: 25,
      arbitrary: fc.tuple(
        end,
        end,
        fc.constantFrom<Protocol>("tcp", "tcp", "udp", "icmp"),
        fc.constantFrom(SYN, SYN, SYN | ACK, ACK, ACK | FIN, RST),
        fc.boolean(),
      ),
    },
  );
  fc.assert(
    fc.property(policies, fc.array(step, { minLength: 50, maxLength: 150 }), (first, steps) => {
      const f = filterOf(first);
      const oracle = new Oracle(first);
      for (const one of steps) {
        if (!Array.isArray(one)) {
          f.policy(one);
          oracle.config = one;
          continue;
        }
        const [[a, p], [b, q], protocol, tcpFlags, reply] = one;
        if (a === b) continue;
        const [port, other] = protocol === "icmp" ? [p, p] : [p, q];
        const [from, to] = [`10.0.0.${a}:${port}`, `10.0.0.${b}:${other}`];
        const packet =
          protocol === "tcp"
            ? tcp(from, to, tcpFlags)
            : protocol === "udp"
              ? datagram(from, to)
              : echo(from, to, reply ? "reply" : "request");
        const flags = protocol === "tcp" ? tcpFlags : reply ? 1 : 0;
        expect(f.judge(packet) === "pass").toBe(oracle.judge(from, to, protocol, flags));
      }
    }),
    { numRuns: 120 },
  );
});

test("only what a rule allows may start; its answers pass, and nothing else", () => {
  const f = filterOf(ONE);
  expect(f.judge(tcp(S, C, SYN | ACK))).toBe("pass");
  const g = filterOf(ONE);
  expect(g.judge(tcp("10.0.0.5:40000", S, SYN))).toBe("policy");
  expect(g.judge(tcp("10.0.0.3:40000", "10.0.0.4:81", SYN))).toBe("policy");
  expect(g.judge(datagram(C, S))).toBe("policy");
  expect(g.judge(tcp(S, C, SYN))).toBe("policy");
  expect(g.judge(tcp(C, S, SYN))).toBe("pass");
  expect(g.judge(tcp(S, C, SYN | ACK))).toBe("pass");
  expect(g.judge(tcp(C, S, ACK))).toBe("pass");
  expect(g.judge(tcp(S, "10.0.0.3:40001", SYN))).toBe("policy");
  // Nobody is behind the closed ones' backs: an open one may be reached by anyone.
  expect(g.judge(tcp(S, "10.0.0.9:1", SYN))).toBe("pass");
});

test("a change cuts running flows, also those from before there was a policy; a rule that comes back opens them again", () => {
  const f = filterOf(ONE);
  for (const packet of [tcp(C, S, SYN), tcp(S, C, SYN | ACK), tcp(C, S, ACK)]) expect(f.judge(packet)).toBe("pass");
  f.policy(NOBODY);
  for (const packet of [tcp(C, S, ACK), tcp(S, C, ACK), tcp(C, S, SYN)]) expect(f.judge(packet)).toBe("policy");
  f.wait(200_000);
  expect(f.judge(tcp(S, C, ACK))).toBe("policy");
  f.policy(ONE);
  for (const packet of [tcp(C, S, ACK), tcp(S, C, ACK)]) expect(f.judge(packet)).toBe("pass");
  // The client is open to all: its server may not go on all the same.
  const onlyServer = filterOf({ closed: ["10.0.0.4/32"], rules: [] });
  expect(onlyServer.judge(tcp(S, C, ACK))).toBe("policy");
  expect(onlyServer.judge(tcp(C, S, ACK))).toBe("policy");
});

test("after a restart what is allowed goes on from the middle, whoever speaks first", () => {
  expect(filterOf(ONE).judge(tcp(S, C, ACK))).toBe("pass");
  expect(filterOf(ONE).judge(tcp(C, S, ACK))).toBe("pass");
  expect(filterOf(NOBODY).judge(tcp(S, C, ACK))).toBe("policy");
});

test("times: an open connection lives two hours, a datagram's answers five minutes, an echo's one", () => {
  const config = { closed: ["10.0.0.3/32"], rules: [] };
  const f = filterOf(config);
  const exchange = (forth: Uint8Array, back: Uint8Array, quiet: number) => {
    expect([f.judge(back), f.judge(forth), f.judge(back)]).toEqual(["policy", "pass", "pass"]);
    f.wait(quiet - 1);
    expect(f.judge(back)).toBe("pass");
    f.wait(quiet);
    expect(f.judge(back)).toBe("policy");
  };
  exchange(datagram(C, S), datagram(S, C), 300_000);
  exchange(echo("10.0.0.3:9", "10.0.0.4"), echo("10.0.0.4", "10.0.0.3:9", "reply"), 60_000);
  const g = filterOf(config);
  const lives = (ms: number) => [g.filter.flows.count(ms - 1), g.filter.flows.count(ms)];
  g.judge(tcp(C, S, SYN));
  expect(lives(240_000)).toEqual([1, 0]);
  g.judge(tcp(S, C, SYN | ACK));
  expect(lives(7_440_000)).toEqual([1, 0]);
  g.judge(tcp(S, C, ACK | FIN));
  expect(lives(7_440_000)).toEqual([1, 0]);
  g.judge(tcp(C, S, ACK | FIN));
  expect(lives(240_000)).toEqual([1, 0]);
});

test("an error passes only to who sent what it is about, and only about what passed", () => {
  const f = filterOf(ONE);
  const sent = tcp(C, S, SYN);
  const about = (packet: Uint8Array, quoted?: number) => unreachable("10.0.0.4", packet, quoted);
  expect(f.judge(about(sent))).toBe("policy");
  f.judge(sent);
  expect(f.judge(about(sent, 28))).toBe("pass");
  expect(f.judge(about(sent, 27))).toBe("policy");
  expect(f.judge(about(tcp("10.0.0.3:40001", S, SYN)))).toBe("policy");
  const toAnother = about(sent);
  toAnother.set(ip("10.0.0.4"), 16);
  expect(f.judge(complete(toAnother))).toBe("policy");
  // About an answer, to the one who gave it.
  expect(f.judge(unreachable("10.0.0.3", tcp(S, C, SYN | ACK)))).toBe("pass");
  f.policy(NOBODY);
  expect(f.judge(about(sent))).toBe("policy");
});

test("fragments go with the first one, in its direction only, and each is its own", () => {
  const f = filterOf({ ...ONE, rules: [{ ...ONE.rules[0], protocol: "udp" }] });
  const fragments = (from: End, to: End, id: number) => {
    const first = datagram(from, to, new Uint8Array(32));
    putU16(first, 4, id);
    putU16(first, 6, 0x2000);
    const later = first.slice(0, 36);
    putU16(later, 6, 5);
    return { first: complete(first), later };
  };
  const good = fragments(C, S, 7);
  expect(f.judge(good.later)).toBe("fragment");
  expect(f.judge(good.first)).toBe("pass");
  expect([f.judge(good.later), f.judge(fragments(C, S, 8).later)]).toEqual(["pass", "fragment"]);
  expect(f.judge(fragments(S, C, 7).later)).toBe("fragment");
  const bad = fragments(C, "10.0.0.4:81", 9);
  expect([f.judge(bad.first), f.judge(bad.later)]).toEqual(["policy", "fragment"]);
  f.wait(15_000);
  expect(f.judge(good.later)).toBe("fragment");
});

test("IPv6 with headers in between is judged by what is behind them; with too many of them it is malformed", () => {
  const f = filterOf({
    closed: ["fd00::4/128"],
    rules: [{ from: ["fd00::3/128"], to: ["fd00::4/128"], protocol: "tcp", ports: [[80, 80]] }],
  });
  const extended = (port: number, count: number) => {
    const plain = tcp("fd00::0003#4000", `fd00::0004#${port}`, SYN);
    const options = new Uint8Array(8 * count);
    for (let i = 0; i < count; i++) options[8 * i] = i === count - 1 ? 6 : 60;
    const out = Uint8Array.from([...plain.slice(0, 40), ...options, ...plain.slice(40)]);
    out[6] = 60;
    putU16(out, 4, out.length - 40);
    return out;
  };
  expect([f.judge(extended(80, 1)), f.judge(extended(81, 2)), f.judge(extended(80, 8))]).toEqual([
    "pass",
    "policy",
    "pass",
  ]);
  expect(f.judge(extended(80, 9))).toBe("malformed");
});

test("hostile packets: cut short anywhere, bytes changed; never a fault, and never past a closed door", () => {
  const f = filterOf(NOBODY, { flows: 64, fragments: 16 });
  const seeds = [
    tcp(C, S, SYN),
    datagram("10.0.0.9:1", S),
    echo("10.0.0.9:5", "10.0.0.4"),
    unreachable("10.0.0.9", tcp(S, "10.0.0.9:7", ACK)),
    tcp("fd00::0003#4", "fd00::0004#5", ACK),
    unreachable("fd00::0003", datagram("fd00::0004#4", "fd00::0003#5")),
  ];
  fc.assert(
    fc.property(
      fc.constantFrom(...seeds),
      fc.array(fc.tuple(fc.nat(200), fc.nat(255)), { maxLength: 4 }),
      fc.nat(120),
      (seed, changes, length) => {
        const packet = Uint8Array.from(seed);
        // Behind the addresses, so that the ends stay who they are.
        const start = packet[0] >>> 4 === 4 ? 20 : 40;
        for (const [at, value] of changes) packet[start + (at % (packet.length - start))] = value;
        const cut = packet.slice(0, Math.max(start, length));
        if (start === 20) putU16(cut, 2, cut.length);
        else putU16(cut, 4, cut.length - 40);
        const verdict = f.judge(cut);
        if (start === 20) expect(verdict).not.toBe("pass");
      },
    ),
    { numRuns: 3000 },
  );
  expect(f.judge(tcp(C, S, SYN).slice(0, 39))).toBe("malformed");
});
