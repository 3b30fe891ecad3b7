import type { Offload } from "./gateway";
import { addSum, checksum, packetLength, pseudoSum, putU16, u16 } from "./inet";
import { ip, packet, udp, world } from "./testing/switch-world";

const DATA = Uint8Array.from([1, 2, 3, 4, 5, 6, 7, 8, 9]);
const icmpOf = (bytes: Uint8Array) => {
  const v4 = bytes[0] >> 4 === 4;
  const at = v4 ? 20 : 40;
  const start = v4 ? 0 : pseudoSum(bytes, 0, 6, 58, bytes.length - 40);
  expect(packetLength(bytes, 0, bytes.length)).toBe(bytes.length);
  expect(checksum(addSum(start, bytes, at, bytes.length - at))).toBe(0);
  if (v4) expect(checksum(addSum(0, bytes, 0, 20))).toBe(0);
  return { type: bytes[at], code: bytes[at + 1], mtu: u16(bytes, at + 6), quoted: bytes.slice(at + 8) };
};

describe("an unfinished packet from a link, from which three come", () => {
  /** Gives the gateway a packet whose parts are made on demand. */
  function unfinished(w: ReturnType<typeof world>, to: string, sizes: readonly number[], protocol = 6) {
    const parts = sizes.map((size) => packet("10.0.0.3", to, protocol, new Uint8Array(size)));
    const big = packet("10.0.0.3", to, protocol, new Uint8Array(3000));
    const buf = new Uint8Array(8192);
    buf.set(big, 4096);
    let made = 0;
    const offload: Offload = {
      count: parts.length,
      largest: Math.max(...parts.map((part) => part.length)),
      next: (at) => {
        const part = parts[made++];
        if (part === undefined) return 0;
        buf.set(part, at);
        return part.length;
      },
    };
    w.gateway.fromLink(w.a, buf, 4096, big.length, offload);
    return { parts, big, offload, made: () => made };
  }

  test("goes into the tunnel part by part", () => {
    const w = world();
    const { parts } = unfinished(w, "10.0.0.20", [1000, 1000, 900]);
    expect(w.sent).toEqual(parts.map((part) => ({ to: "east-host", packet: part })));
    expect(w.a.rx).toBe(3);
  });

  test("goes to another link of the host as it is", () => {
    const w = world();
    const { big, offload, made } = unfinished(w, "10.0.0.4", [1000, 1000, 900]);
    expect([w.b.got, w.b.unfinished, w.b.tx, made()]).toEqual([[big], [offload], 3, 0]);
  });

  test("is too big by its parts, not by itself; what nobody takes is counted by its parts", () => {
    const w = world({ mtu: 1280 });
    unfinished(w, "10.0.0.20", [1000, 1000, 1000]);
    expect(w.sent.length).toBe(3);
    const dontFragment = packet("10.0.0.3", "10.0.0.20", 6, new Uint8Array(3000));
    dontFragment[6] = 0x40;
    const buf = new Uint8Array(8192);
    buf.set(dontFragment, 4096);
    const offload = { count: 3, largest: 1400, next: () => 0 };
    w.gateway.fromLink(w.a, buf, 4096, dontFragment.length, offload);
    expect([w.a.drops["too-big"], icmpOf(w.a.got[0]).mtu]).toEqual([3, 1280]);
    unfinished(w, "10.0.0.99", [10, 10, 10]);
    expect(w.a.drops["no-peer"]).toBe(3);
    w.b.up = false;
    unfinished(w, "10.0.0.4", [10, 10, 10]);
    expect(w.b.drops["link-down"]).toBe(3);
  });

  test("is refused at the gateway's addresses part by part", () => {
    const w = world();
    unfinished(w, "10.0.0.1", [100, 100, 50], 17);
    expect(w.a.drops["gateway-address"]).toBe(3);
    expect(w.a.got.map((bytes) => icmpOf(bytes))).toMatchObject(new Array(3).fill({ type: 3, code: 3 }));
  });
});

describe("a packet from a link", () => {
  test("to another link of the host is switched without a cipher, unchanged", () => {
    const w = world();
    const p = packet("10.0.0.3", "10.0.0.4", 17, udp(9, DATA));
    w.link(w.a, p);
    expect(w.b.got).toEqual([p]);
    expect(w.sent).toEqual([]);
    expect([w.a.rx, w.b.tx]).toEqual([1, 1]);
  });

  test("to another host goes into the tunnel, IPv4 and IPv6", () => {
    const w = world();
    w.link(w.a, packet("10.0.0.3", "10.0.0.20", 6, DATA));
    w.link(w.a, packet("fd00::0003", "fd00::0020", 6, DATA));
    expect(w.sent.map((s) => s.to)).toEqual(["east-host", "east-host"]);
  });

  test("with another's source is dropped and counted", () => {
    const w = world();
    for (const from of ["10.0.0.4", "10.0.0.1", "10.0.0.20", "8.8.8.8"])
      w.link(w.a, packet(from, "10.0.0.4", 17, udp(9, DATA)));
    w.link(w.a, packet("fd00::0004", "fd00::0020", 17, udp(9, DATA)));
    expect(w.a.drops.source).toBe(5);
    expect([w.a.got, w.b.got, w.sent]).toEqual([[], [], []]);
  });

  test("that nobody has: ICMP unreachable back to its sender, counted", () => {
    const w = world();
    const p = packet("10.0.0.3", "10.0.0.99", 17, udp(9, DATA));
    w.link(w.a, p);
    expect(w.a.drops["no-peer"]).toBe(1);
    expect(icmpOf(w.a.got[0])).toMatchObject({ type: 3, code: 1, quoted: p });
    expect(w.a.got[0].slice(12, 20)).toEqual(Uint8Array.from([10, 0, 0, 1, 10, 0, 0, 3]));
    w.link(w.a, packet("fd00::0003", "fd00::0099", 17, udp(9, DATA)));
    expect(icmpOf(w.a.got[1])).toMatchObject({ type: 1, code: 3 });
  });

  test("errors about errors, fragments and at an unbounded rate are not sent", () => {
    const w = world();
    w.link(w.a, packet("10.0.0.3", "10.0.0.99", 1, Uint8Array.from([3, 1, 0, 0, 0, 0, 0, 0])));
    const fragment = packet("10.0.0.3", "10.0.0.99", 17, udp(9, DATA));
    putU16(fragment, 6, 5);
    w.link(w.a, fragment);
    expect(w.a.got).toEqual([]);
    for (let i = 0; i < 500; i++) w.link(w.a, packet("10.0.0.3", "10.0.0.99", 17, udp(9, DATA)));
    expect(w.a.got.length).toBe(50);
    w.advance(1000);
    w.link(w.a, packet("10.0.0.3", "10.0.0.99", 17, udp(9, DATA)));
    expect(w.a.got.length).toBe(51);
  });

  test("to multicast, broadcast, nothing or itself is dropped", () => {
    const w = world();
    for (const to of ["224.0.0.1", "255.255.255.255", "0.0.0.0"]) w.link(w.a, packet("10.0.0.3", to, 17, DATA));
    expect(w.a.drops.multicast).toBe(3);
    w.link(w.a, packet("10.0.0.3", "10.0.0.3", 17, DATA));
    expect(w.a.drops.loop).toBe(1);
    expect(w.sent).toEqual([]);
  });

  test("echo to .1 and .2 is answered", () => {
    const w = world();
    const echo = Uint8Array.from([8, 0, 0, 0, 1, 2, 0, 1, 9, 9, 9]);
    w.link(w.a, packet("10.0.0.3", "10.0.0.1", 1, echo));
    w.link(w.a, packet("10.0.0.3", "10.0.0.2", 1, echo));
    expect(w.a.got.map((p) => [p[15], p[19]])).toEqual([
      [1, 3],
      [2, 3],
    ]);
    for (const p of w.a.got) expect(icmpOf(p)).toMatchObject({ type: 0, quoted: Uint8Array.from([9, 9, 9]) });
    w.link(w.a, packet("fd00::0003", "fd00::0002", 58, Uint8Array.from([128, 0, 0, 0, 0, 1, 0, 1, 7])));
    expect(icmpOf(w.a.got[2])).toMatchObject({ type: 129 });
  });

  test("anything else to .1 is answered with port unreachable", () => {
    const w = world();
    w.link(w.a, packet("10.0.0.3", "10.0.0.1", 17, udp(53, DATA)));
    w.link(w.a, packet("10.0.0.3", "10.0.0.2", 17, udp(54, DATA)));
    expect(w.a.got.map((p) => icmpOf(p)).map(({ type, code }) => [type, code])).toEqual([
      [3, 3],
      [3, 3],
    ]);
    expect(w.questions).toEqual([]);
  });

  test("a question to .2 reaches the DNS handler and its answer the asker", () => {
    const w = world();
    w.link(w.a, packet("10.0.0.3", "10.0.0.2", 17, udp(53, DATA)));
    expect(w.questions).toEqual([{ from: ip("10.0.0.3"), fromPort: 4000, to: ip("10.0.0.2"), message: DATA }]);
    expect(w.gateway.answerDns(w.questions[0], Uint8Array.from([5, 5, 5]))).toBe(true);
    const reply = w.a.got[0];
    expect([u16(reply, 20), u16(reply, 22), reply.slice(28)]).toEqual([53, 4000, Uint8Array.from([5, 5, 5])]);
    expect(checksum(addSum(pseudoSum(reply, 0, 4, 17, 11), reply, 20, 11))).toBe(0);
    expect(w.gateway.answerDns(w.questions[0], new Uint8Array(1400))).toBe(false);
  });

  test("more questions than can wait, and one with a wrong checksum, are dropped", () => {
    const w = world({ dns: false });
    w.link(w.a, packet("10.0.0.3", "10.0.0.2", 17, udp(53, DATA)));
    expect(w.a.drops["dns-queue"]).toBe(1);
    const damaged = packet("10.0.0.3", "10.0.0.2", 17, udp(53, DATA));
    putU16(damaged, 26, 0x1234);
    w.link(w.a, damaged);
    expect(w.a.drops.malformed).toBe(1);
  });

  test("too big for the way out: the MTU is told where the packet may not be split", () => {
    const w = world({ mtu: 1300 });
    const big = packet("10.0.0.3", "10.0.0.20", 17, udp(9, new Uint8Array(1380)));
    big[6] = 0x40;
    putU16(big, 10, 0);
    putU16(big, 10, checksum(addSum(0, big, 0, 20)));
    w.link(w.a, big);
    expect(icmpOf(w.a.got[0])).toMatchObject({ type: 3, code: 4, mtu: 1300 });
    w.link(w.a, packet("fd00::0003", "fd00::0020", 17, udp(9, new Uint8Array(1380))));
    expect(icmpOf(w.a.got[1])).toMatchObject({ type: 2, code: 0, mtu: 1300 });
    expect(w.a.drops["too-big"]).toBe(2);
    w.link(w.a, packet("10.0.0.3", "10.0.0.20", 17, udp(9, new Uint8Array(1380))));
    expect(w.sent.length).toBe(1);
  });

  test("to a device that is down is counted there", () => {
    const w = world();
    w.b.up = false;
    w.link(w.a, packet("10.0.0.3", "10.0.0.4", 17, DATA));
    expect(w.b.drops["link-down"]).toBe(1);
  });
});

describe("a packet from a peer", () => {
  test("reaches the app", () => {
    const w = world();
    const p = packet("10.0.0.20", "10.0.0.3", 6, DATA);
    w.peer(w.east, p);
    expect(w.a.got).toEqual([p]);
  });

  test(".1 and .2 answer attached peers and not another host's gateway", () => {
    const w = world();
    const echo = Uint8Array.from([8, 0, 0, 0, 1, 2, 0, 1]);
    w.peer(w.laptop, packet("10.0.0.30", "10.0.0.1", 1, echo));
    expect(w.sent.map((s) => s.to)).toEqual(["laptop"]);
    w.peer(w.east, packet("10.0.0.20", "10.0.0.1", 1, echo));
    w.peer(w.east, packet("10.0.0.20", "10.0.0.2", 17, udp(53, DATA)));
    expect(w.sent.length).toBe(1);
    expect(w.gateway.drops["gateway-address"]).toBe(2);
    w.peer(w.laptop, packet("10.0.0.30", "10.0.0.2", 17, udp(53, DATA)));
    expect(w.questions.length).toBe(1);
    w.gateway.answerDns(w.questions[0], DATA);
    expect(w.sent.map((s) => s.to)).toEqual(["laptop", "laptop"]);
  });

  test("goes on to another peer with one hop less", () => {
    const w = world();
    w.peer(w.laptop, packet("10.0.0.30", "10.0.0.31", 6, DATA, 9));
    w.peer(w.laptop, packet("10.0.0.30", "10.0.0.20", 6, DATA));
    w.peer(w.east, packet("10.0.0.20", "10.0.0.30", 6, DATA));
    expect(w.sent.map((s) => s.to)).toEqual(["phone", "east-host", "laptop"]);
    expect(w.sent[0].packet[8]).toBe(8);
    expect(checksum(addSum(0, w.sent[0].packet, 0, 20))).toBe(0);
  });

  test("never goes back where it came from, nor from gateway to gateway", () => {
    const w = world();
    w.peer(w.laptop, packet("10.0.0.30", "10.0.0.30", 6, DATA));
    w.peer(w.east, packet("10.0.0.20", "10.0.0.21", 6, DATA));
    expect(w.sent).toEqual([]);
    expect(w.gateway.drops.loop).toBe(2);
  });

  test("with no hop left: time exceeded", () => {
    const w = world();
    w.peer(w.laptop, packet("10.0.0.30", "10.0.0.31", 6, DATA, 1));
    expect(w.sent.map((s) => s.to)).toEqual(["laptop"]);
    expect(icmpOf(w.sent[0].packet)).toMatchObject({ type: 11, code: 0 });
    expect(w.gateway.drops.ttl).toBe(1);
  });

  test("to nobody: counted, and told to an attached peer only", () => {
    const w = world();
    w.peer(w.east, packet("10.0.0.20", "10.0.0.77", 6, DATA));
    expect(w.sent).toEqual([]);
    w.peer(w.laptop, packet("10.0.0.30", "10.0.0.77", 6, DATA));
    expect(icmpOf(w.sent[0].packet)).toMatchObject({ type: 3, code: 1 });
    expect(w.gateway.drops["no-route"]).toBe(2);
  });
});

test("damaged and random packets never throw and never pass with a foreign source", () => {
  const w = world();
  let seed = 12345;
  const random = () => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return seed >>> 8;
  };
  const good = [
    packet("10.0.0.3", "10.0.0.2", 17, udp(53, DATA)),
    packet("10.0.0.3", "10.0.0.4", 1, Uint8Array.from([8, 0, 0, 0, 0, 0, 0, 0])),
    packet("fd00::0003", "fd00::0002", 58, Uint8Array.from([128, 0, 0, 0, 0, 0, 0, 0])),
    packet("10.0.0.3", "10.0.0.20", 6, DATA),
  ];
  for (let i = 0; i < 20000; i++) {
    let p = Uint8Array.from(good[i % good.length]);
    for (let n = random() % 4; n > 0; n--) p[random() % p.length] = random();
    if (random() % 2) p = p.slice(0, random() % (p.length + 1));
    w.link(w.a, p);
    w.peer(w.laptop, p);
    w.peer(w.east, p);
  }
  expect(w.a.drops.malformed).toBeGreaterThan(0);
});

test("links that go are forgotten", () => {
  const w = world();
  w.gateway.setLinks([w.a]);
  w.link(w.a, packet("10.0.0.3", "10.0.0.4", 17, DATA));
  expect(w.b.got).toEqual([]);
  expect(w.a.drops["no-peer"]).toBe(1);
});
