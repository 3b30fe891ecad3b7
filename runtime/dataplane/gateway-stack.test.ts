/** The gateway's own stack in the switch: what reaches it, and in whose name it may speak. */
import { putU16 } from "./inet";
import { ip, packet, TestLink, udp, type WorldOptions, world } from "./testing/switch-world";

const tcp = (from: number, to: number): Uint8Array => {
  const out = new Uint8Array(20);
  putU16(out, 0, from);
  putU16(out, 2, to);
  out[12] = 0x50;
  out[13] = 2;
  return out;
};

function withStack(options: WorldOptions = {}) {
  const w = world(options);
  const stack = new TestLink("stack", ["10.0.0.9", "fd00::0009"]);
  const free = new TestLink("free", ["10.0.0.5", "fd00::0005"]);
  free.egress = true;
  w.gateway.setLinks([w.a, w.b, free], stack);
  w.gateway.setRanges(["10.0.0.0/24", "fd00::/64"]);
  return { ...w, stack, free };
}

const toEast = ["10.0.0.20", "10.0.0.9"] as const;

describe("the own stack gets", () => {
  test("what is for its addresses, from apps, attached peers and other hosts", () => {
    const w = withStack();
    const sent = [
      packet("10.0.0.3", "10.0.0.9", 6, tcp(1000, 80)),
      packet("10.0.0.30", "10.0.0.9", 17, udp(5, ip("1.2.3.4"))),
      packet(...toEast, 6, tcp(1000, 80)),
    ];
    w.link(w.a, sent[0]);
    w.peer(w.laptop, sent[1]);
    w.peer(w.east, sent[2]);
    expect(w.stack.got).toEqual(sent);
    expect(w.stack.tx).toBe(3);
  });

  test("TCP to port 53 of the DNS address, from apps and attached peers, and fragments of it", () => {
    const w = withStack();
    const fragment = packet("10.0.0.3", "10.0.0.2", 6, tcp(7, 7));
    putU16(fragment, 6, 100);
    const v6 = packet("fd00::0003", "fd00::0002", 44, Uint8Array.from([6, 0, 0, 1, 0, 0, 0, 1, ...tcp(1000, 53)]));
    const sent = [packet("10.0.0.3", "10.0.0.2", 6, tcp(1000, 53)), fragment, v6];
    for (const one of sent) w.link(w.a, one);
    const fromPeer = packet("10.0.0.30", "10.0.0.2", 6, tcp(1000, 53));
    w.peer(w.laptop, fromPeer);
    expect(w.stack.got).toEqual([...sent, fromPeer]);
  });

  test("not: other ports of the DNS address, UDP, the gateway address, DNS from another host", () => {
    const w = withStack();
    w.link(w.a, packet("10.0.0.3", "10.0.0.2", 6, tcp(1000, 54)));
    w.link(w.a, packet("10.0.0.3", "10.0.0.2", 17, udp(53, ip("1.2.3.4"))));
    w.link(w.a, packet("10.0.0.3", "10.0.0.1", 6, tcp(1000, 53)));
    w.link(w.a, packet("10.0.0.3", "10.0.0.2", 6, tcp(1000, 53).slice(0, 3)));
    w.peer(w.east, packet("10.0.0.20", "10.0.0.2", 6, tcp(1000, 53)));
    expect(w.stack.got).toEqual([]);
    expect([w.questions.length, w.gateway.drops["gateway-address"], w.a.drops["gateway-address"]]).toEqual([1, 1, 3]);
  });

  test("what a link with egress sends outside, whole where it is unfinished", () => {
    const w = withStack();
    const sent = [
      packet("10.0.0.5", "192.0.2.7", 6, tcp(1000, 443)),
      packet("10.0.0.5", "192.168.1.1", 17, udp(9, ip("1.2.3.4"))),
      packet("fd00::0005", "fd00::0007", 6, tcp(1, 2)),
    ];
    sent[2].set(Uint8Array.from([0x20, 1, 0xd, 0xb8]), 24);
    for (const one of sent) w.link(w.free, one);
    expect(w.stack.got).toEqual(sent);
    const big = new Uint8Array(8192);
    const unfinished = packet("10.0.0.5", "192.0.2.7", 6, new Uint8Array(3000));
    big.set(unfinished, 4096);
    const offload = { count: 3, largest: 1040, next: () => 0 };
    w.gateway.fromLink(w.free, big, 4096, unfinished.length, offload);
    expect([w.stack.unfinished.at(-1), w.stack.tx]).toEqual([offload, 6]);
  });

  test("nothing of a link without egress: prohibited; nor what nobody has inside, or what is no far end", () => {
    const w = withStack();
    w.link(w.a, packet("10.0.0.3", "192.0.2.7", 6, tcp(1000, 443)));
    expect([w.a.drops.egress, w.a.got[0][20], w.a.got[0][21]]).toEqual([1, 3, 13]);
    for (const to of ["10.0.0.77", "127.0.0.1"]) w.link(w.free, packet("10.0.0.5", to, 6, tcp(1000, 443)));
    w.link(w.free, packet("fd00::0005", "fd00::0077", 6, tcp(1000, 443)));
    const linkLocal = packet("fd00::0005", "fd00::0077", 6, tcp(1000, 443));
    linkLocal.set([0xfe, 0x80], 24);
    w.link(w.free, linkLocal);
    w.peer(w.laptop, packet("10.0.0.30", "192.0.2.7", 6, tcp(1000, 443)));
    expect([w.stack.got, w.free.drops["no-peer"], w.gateway.drops["no-route"]]).toEqual([[], 4, 1]);
  });

  test("without a stack an address outside is one that nobody has", () => {
    const w = withStack();
    w.gateway.setLinks([w.a, w.free]);
    w.link(w.free, packet("10.0.0.5", "192.0.2.7", 6, tcp(1000, 443)));
    expect([w.free.got[0][20], w.free.got[0][21]]).toEqual([3, 1]);
  });
});

describe("the own stack may send", () => {
  test("as itself to everyone", () => {
    const w = withStack();
    w.link(w.stack, packet("10.0.0.9", "10.0.0.3", 6, tcp(80, 1000)));
    w.link(w.stack, packet("10.0.0.9", "10.0.0.20", 6, tcp(80, 1000)));
    w.link(w.stack, packet("10.0.0.9", "10.0.0.30", 6, tcp(80, 1000)));
    expect([w.a.got.length, w.sent.map((s) => s.to)]).toEqual([1, ["east-host", "laptop"]]);
  });

  test("as the DNS address to apps and attached peers only", () => {
    const w = withStack();
    for (const to of ["10.0.0.3", "10.0.0.30", "10.0.0.20", "10.0.0.77", "10.0.0.9", "192.0.2.7"])
      w.link(w.stack, packet("10.0.0.2", to, 6, tcp(53, 1000)));
    expect([w.a.got.length, w.sent.map((s) => s.to), w.stack.drops.source]).toEqual([1, ["laptop"], 4]);
  });

  test("as somebody outside to links with egress only; never as a member, the gateway address or an app", () => {
    const w = withStack();
    w.link(w.stack, packet("192.0.2.7", "10.0.0.5", 6, tcp(443, 1000)));
    expect(w.free.got.length).toBe(1);
    for (const [from, to] of [
      ["192.0.2.7", "10.0.0.3"],
      ["192.0.2.7", "10.0.0.30"],
      ["192.0.2.7", "10.0.0.20"],
      ["192.0.2.7", "10.0.0.9"],
      ["127.0.0.1", "10.0.0.5"],
      ["10.0.0.1", "10.0.0.5"],
      ["10.0.0.3", "10.0.0.5"],
      ["10.0.0.20", "10.0.0.5"],
      ["10.0.0.77", "10.0.0.5"],
    ])
      w.link(w.stack, packet(from, to, 6, tcp(443, 1000)));
    expect([w.free.got.length, w.a.got, w.sent, w.stack.drops.source]).toEqual([1, [], [], 9]);
  });

  test("nothing bigger than the network takes", () => {
    const w = withStack({ mtu: 1280 });
    const big = packet("fd00::0002", "fd00::0003", 6, new Uint8Array(1300));
    w.link(w.stack, big);
    expect([w.a.got, w.stack.drops["too-big"]]).toEqual([[], 1]);
  });

  test("a question of its own to the DNS address, and gets the answer", () => {
    const w = withStack();
    w.link(w.stack, packet("10.0.0.9", "10.0.0.2", 17, udp(53, ip("1.2.3.4"))));
    w.gateway.answerDns(w.questions[0], ip("5.6.7.8"));
    expect(w.stack.got.length).toBe(1);
  });
});
