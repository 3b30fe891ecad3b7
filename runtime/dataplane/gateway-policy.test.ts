/** The policy in the switch: where it is asked, who is told, and what it does not touch. */
import type { PolicyConfig } from "./config";
import { u16 } from "./inet";
import { ACK, datagram, echo, fault, RST, SYN, tcp } from "./testing/flow-packets";
import { packet, TestLink, udp, world } from "./testing/switch-world";

/** The app 10.0.0.4, the other host's 10.0.0.20 and the peer 10.0.0.30 are closed; 10.0.0.3 and 10.0.0.21 may reach their TCP port 80. */
const POLICY: PolicyConfig = {
  closed: ["10.0.0.4/32", "10.0.0.20/32", "10.0.0.30/32"],
  rules: [
    {
      from: ["10.0.0.3/32", "10.0.0.21/32"],
      to: ["10.0.0.4/32", "10.0.0.20/32", "10.0.0.30/32"],
      protocol: "tcp",
      ports: [[80, 80]],
    },
  ],
};

function closed(policy: PolicyConfig | undefined = POLICY) {
  const w = world();
  w.gateway.setPolicy(policy);
  return w;
}

const flags = (bytes: Uint8Array) => bytes[33];

test("at the sending host: what is allowed goes out, the rest is refused so that it ends at once", () => {
  const w = closed();
  w.link(w.a, tcp("10.0.0.3:40000", "10.0.0.20:80", SYN));
  w.link(w.a, tcp("10.0.0.3:40000", "10.0.0.4:80", SYN));
  expect([w.sent.map((s) => s.to), w.b.got.length]).toEqual([["east-host"], 1]);
  w.link(w.a, tcp("10.0.0.3:40000", "10.0.0.20:81", SYN, undefined, 0xffffffff));
  w.link(w.a, tcp("10.0.0.3:40000", "10.0.0.20:82", ACK, new Uint8Array(5)));
  w.link(w.a, datagram("10.0.0.3:40000", "10.0.0.20:80"));
  w.link(w.a, tcp("10.0.0.3:40000", "10.0.0.20:83", RST));
  expect([w.sent.length, w.a.drops.policy, w.a.got.length]).toEqual([1, 4, 3]);
  const [syn, ack, icmp] = w.a.got;
  expect(w.a.got.map(fault)).toEqual([undefined, undefined, undefined]);
  expect([syn.slice(12, 20), u16(syn, 20), u16(syn, 22), flags(syn)]).toEqual([
    Uint8Array.from([10, 0, 0, 20, 10, 0, 0, 3]),
    81,
    40000,
    RST | ACK,
  ]);
  // What is acknowledged is the SYN: one behind the last sequence number is the first.
  expect([...syn.slice(28, 32)]).toEqual([0, 0, 0, 0]);
  expect([flags(ack), ...ack.slice(24, 28)]).toEqual([RST, 0, 0, 0, 77]);
  expect([icmp[20], icmp[21]]).toEqual([3, 13]);
});

test("over IPv6 too", () => {
  const w = closed({ closed: ["fd00::20/128"], rules: [] });
  w.link(w.a, tcp("fd00::0003#40000", "fd00::0020#80", SYN));
  w.link(w.a, datagram("fd00::0003#40000", "fd00::0020#80"));
  expect([w.sent, w.a.got.map(fault)]).toEqual([[], [undefined, undefined]]);
  expect([w.a.got[0][53], w.a.got[1][40], w.a.got[1][41]]).toEqual([RST | ACK, 1, 1]);
});

test("at the receiving host: packets of another host that are not allowed are dropped without a word, answers pass", () => {
  const w = closed();
  w.peer(w.east, tcp("10.0.0.20:40000", "10.0.0.4:80", SYN));
  w.peer(w.east, datagram("10.0.0.20:40000", "10.0.0.30:80"));
  expect([w.b.got, w.sent, w.gateway.drops.policy]).toEqual([[], [], 2]);
  w.peer(w.west, tcp("10.0.0.21:40000", "10.0.0.4:80", SYN));
  w.peer(w.west, tcp("10.0.0.21:40000", "10.0.0.30:80", SYN));
  expect([w.b.got.length, w.sent.map((s) => s.to)]).toEqual([1, ["laptop"]]);
  w.link(w.b, tcp("10.0.0.4:80", "10.0.0.21:40000", SYN | ACK));
  expect(w.sent.map((s) => s.to)).toEqual(["laptop", "west-host"]);
});

test("attached peers: refused through their tunnel, and answered where they may ask", () => {
  const w = closed();
  w.peer(w.laptop, tcp("10.0.0.30:40000", "10.0.0.4:80", SYN));
  expect(w.sent.map((s) => [s.to, flags(s.packet)])).toEqual([["laptop", RST | ACK]]);
  w.peer(w.phone, datagram("10.0.0.31:4", "10.0.0.20:4"));
  expect(w.sent.map((s) => s.to)).toEqual(["laptop", "phone"]);
  w.peer(w.laptop, tcp("10.0.0.30:40000", "10.0.0.3:80", SYN));
  w.link(w.a, tcp("10.0.0.3:80", "10.0.0.30:40000", SYN | ACK));
  expect([w.a.got.length, w.sent.at(-1)!.to]).toEqual([1, "laptop"]);
});

test("the gateway and DNS addresses answer everyone", () => {
  const w = closed({ closed: ["10.0.0.0/24"], rules: [] });
  w.link(w.a, echo("10.0.0.3:7", "10.0.0.1"));
  w.link(w.a, packet("10.0.0.3", "10.0.0.2", 17, udp(53, Uint8Array.from([1]))));
  w.gateway.answerDns(w.questions[0], Uint8Array.from([2]));
  w.peer(w.laptop, echo("10.0.0.30:7", "10.0.0.2"));
  expect([w.a.got.length, w.sent.length]).toEqual([2, 1]);
});

test("the own stack reaches everyone and gets its answers; the world outside is not judged", () => {
  const w = closed({ closed: ["10.0.0.0/24"], rules: [] });
  const stack = new TestLink("stack", ["10.0.0.9"]);
  const free = new TestLink("free", ["10.0.0.5"]);
  free.egress = true;
  w.gateway.setLinks([w.a, free], stack);
  w.gateway.setRanges(["10.0.0.0/24"]);
  w.link(stack, tcp("10.0.0.9:40000", "10.0.0.3:80", SYN));
  w.link(w.a, tcp("10.0.0.3:80", "10.0.0.9:40000", SYN | ACK));
  w.link(stack, tcp("10.0.0.9:40000", "10.0.0.20:80", SYN));
  w.peer(w.east, tcp("10.0.0.20:80", "10.0.0.9:40000", SYN | ACK));
  w.link(free, tcp("10.0.0.5:40000", "192.0.2.7:443", SYN));
  w.link(stack, tcp("192.0.2.7:443", "10.0.0.5:40000", SYN | ACK));
  expect([w.a.got.length, stack.got.length, free.got.length, w.sent.length]).toEqual([1, 3, 1, 1]);
});

test("a change applies to running flows, in both directions, and its end opens everything", () => {
  const w = closed();
  const forth = tcp("10.0.0.3:40000", "10.0.0.20:80", ACK);
  const back = tcp("10.0.0.20:80", "10.0.0.3:40000", ACK);
  w.link(w.a, tcp("10.0.0.3:40000", "10.0.0.20:80", SYN));
  w.peer(w.east, back);
  expect([w.sent.length, w.a.got.length]).toEqual([1, 1]);
  w.gateway.setPolicy({ ...POLICY, rules: [] });
  w.link(w.a, forth);
  w.peer(w.east, back);
  expect([w.sent.length, w.a.got.map(flags)]).toEqual([1, [ACK, RST]]);
  w.gateway.setPolicy(undefined);
  w.link(w.a, forth);
  w.peer(w.east, back);
  expect([w.sent.length, w.a.got.length]).toEqual([2, 3]);
});

test("a flood of what is not allowed gets answers at a bounded rate", () => {
  const w = closed();
  for (let i = 0; i < 500; i++) w.link(w.a, tcp(`10.0.0.3:${i + 1}`, "10.0.0.20:81", SYN));
  expect([w.a.drops.policy, w.a.got.length]).toEqual([500, 50]);
});
