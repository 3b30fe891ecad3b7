import fc from "fast-check";
import { parseEndpoint } from "./endpoint";
import { innerLength } from "./inner-packet";
import { FakeNetwork } from "./testing/fake-network";
import { ipPacket } from "./testing/ip-packet";
import { connectedPair } from "./testing/pair";
import { paddedLength } from "./transport";

describe("(c) 16: allowed IPs at work", () => {
  test("a packet goes to the peer with the longest range; without one the sender hears so", () => {
    const net = new FakeNetwork();
    const a = net.node("192.0.2.1:1000");
    const b = net.node("192.0.2.2:2000");
    const c = net.node("192.0.2.3:3000");
    net.connect(a, "10.0.0.1/32", b, "10.0.0.0/24");
    net.connect(a, "10.0.0.1/32", c, "10.0.0.3/32");
    expect(a.sendText("10.0.0.1", "10.0.0.2", "to b")).toBe("staged");
    expect(a.sendText("10.0.0.1", "10.0.0.3", "to c")).toBe("staged");
    expect(a.sendText("10.0.0.1", "10.0.1.1", "to nobody")).toBe("no-peer");
    expect(a.send(ipPacket("fd00::1", "fd00::2", "to nobody"))).toBe("no-peer");
    net.run(100);
    expect([b.texts, c.texts]).toEqual([["to b"], ["to c"]]);
  });

  test("a source that another peer's longer range covers is dropped", () => {
    const { net, a, b, ba, toB } = connectedPair();
    b.device.updatePeer(ba.publicKey, { allowedIps: ["10.0.0.0/24"] });
    toB("allowed");
    net.run(10);
    const c = net.node("192.0.2.3:3000");
    b.device.addPeer({ publicKey: c.device.publicKey, allowedIps: ["10.0.0.1/32"], persistentKeepalive: 0 });
    toB("taken");
    net.run(10);
    expect(b.texts).toEqual(["allowed"]);
    expect(b.device.drops.source).toBe(1);
    expect(a.device.allowedIpsOf([...a.device.peers][0])).toEqual(["10.0.0.2/32"]);
  });

  test("sendTo goes round the table", () => {
    const { net, a, b, ab } = connectedPair();
    const packet = ipPacket("10.0.0.1", "172.16.0.1", "elsewhere");
    const buf = new Uint8Array(packet.length + 47);
    buf.set(packet, 16);
    expect(a.device.sendTo(ab, buf, 16, packet.length)).toBe("sent");
    net.run(10);
    expect(b.texts).toEqual(["elsewhere"]);
  });
});

describe("(c) 17: lengths", () => {
  test("padding goes to 16 and never above the MTU", () => {
    for (let len = 0; len <= 1420; len++) {
      const padded = paddedLength(len, 1420);
      expect(padded).toBe(Math.min(1420, Math.ceil(len / 16) * 16));
    }
    expect(paddedLength(2840, 1420)).toBe(2840);
    expect(paddedLength(2841, 1420)).toBe(2856);
    expect(paddedLength(65_535, 65_535)).toBe(65_535);
  });

  test.each([1280, 1420, 9000])("whole packets up to an MTU of %i come out as they went in", (mtu) => {
    const net = new FakeNetwork();
    const a = net.node("192.0.2.1:1000", { mtu });
    const b = net.node("192.0.2.2:2000", { mtu });
    net.connect(a, "10.0.0.1/32", b, "10.0.0.2/32");
    const sizes = [20, 21, 35, 36, 37, 52, mtu - 17, mtu - 16, mtu - 15, mtu - 1, mtu];
    for (const size of sizes) a.send(ipPacket("10.0.0.1", "10.0.0.2", net.random.bytes(size - 20)));
    net.run(100);
    expect(b.received.map((r) => r.packet.length)).toEqual(sizes);
    expect(Math.max(...net.log.map((d) => d.bytes.length))).toBe(mtu + 32);
  });

  test("the padding is zero and nothing of the buffer's past leaks into it", () => {
    const { net, a, b, ab } = connectedPair();
    const packet = ipPacket("10.0.0.1", "10.0.0.2", "x");
    packet[3] = 32; // says to be as long as with its padding
    const buf = new Uint8Array(16 + packet.length + 31).fill(0xee);
    buf.set(packet, 16);
    a.device.sendTo(ab, buf, 16, packet.length);
    net.run(10);
    expect([...b.received[0].packet.subarray(21)]).toEqual(new Array(11).fill(0));
  });

  test.each<[string, (packet: Uint8Array) => Uint8Array]>([
    ["longer than its container", (p) => p.with(2, 1)],
    ["shorter than its header", (p) => p.with(2, 0).with(3, 19)],
    ["of another version", (p) => p.with(0, 0x55)],
    ["an IPv6 header cut off", (p) => p.with(0, 0x60).subarray(0, 20)],
  ])("an inner packet %s is dropped", (_, spoil) => {
    const { net, b, ab } = connectedPair();
    const packet = spoil(ipPacket("10.0.0.1", "10.0.0.2", "x"));
    const buf = new Uint8Array(packet.length + 47);
    buf.set(packet, 16);
    ab.device.transport.send(ab, buf, 16, packet.length, net.clock.time);
    net.run(10);
    expect(b.received).toEqual([]);
    expect(b.device.drops["malformed-packet"]).toBe(1);
  });

  test("what is no IP packet is refused before it is sent", () => {
    const { a } = connectedPair();
    expect(a.send(new Uint8Array(0))).toBe("malformed");
    expect(a.send(new Uint8Array(60))).toBe("malformed");
    expect(a.send(Uint8Array.of(0x45, 0, 0))).toBe("malformed");
    expect(a.send(new Uint8Array(39).with(0, 0x60))).toBe("malformed");
  });

  test("a length of zero is a keepalive: nothing comes out", () => {
    const { net, a, b, ab } = connectedPair();
    a.device.transport.sendKeepalive(ab, net.clock.time);
    net.run(10);
    expect(net.log[0].bytes).toHaveLength(32);
    expect(b.received).toEqual([]);
  });

  test("the inner length of any bytes lies within them", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), fc.constantFrom(0x45, 0x60, 0x4f, 0x00), (bytes, first) => {
        if (bytes.length > 0) bytes[0] = first;
        const length = innerLength(bytes, 0, bytes.length);
        expect(length).toBeGreaterThanOrEqual(0);
        expect(length).toBeLessThanOrEqual(bytes.length);
      }),
    );
  });
});

test("a sink may forward from within `packet`, in the same buffer", () => {
  const net = new FakeNetwork();
  const hub = net.node("192.0.2.1:1000");
  const b = net.node("192.0.2.2:2000");
  const c = net.node("192.0.2.3:3000");
  net.connect(b, "10.0.0.2/32", hub, "10.0.0.0/24");
  net.connect(c, "10.0.0.3/32", hub, "10.0.0.0/24");
  hub.onPacket = (buf, off, len) => {
    hub.device.send(buf, off, len);
  };
  for (let i = 0; i < 5; i++) b.sendText("10.0.0.2", "10.0.0.3", `via hub ${i}`);
  net.run(100);
  c.sendText("10.0.0.3", "10.0.0.2", "back");
  net.run(100);
  expect(c.texts).toEqual(Array.from({ length: 5 }, (_, i) => `via hub ${i}`));
  expect(b.texts).toEqual(["back"]);
});

test("(c) 18: a tunnel in a tunnel", () => {
  const { net, a, b, toB } = connectedPair();
  const inner = new FakeNetwork(5);
  const c = inner.node("10.0.0.1:7");
  const d = inner.node("10.0.0.2:8");
  inner.connect(c, "172.16.0.1/32", d, "172.16.0.2/32");
  inner.filter = (datagram) => {
    const [from, source, target] = datagram.from === c.at ? [a, "10.0.0.1", "10.0.0.2"] : [b, "10.0.0.2", "10.0.0.1"];
    from.send(ipPacket(source, target, datagram.bytes));
    return false;
  };
  a.onPacket = (buf, off, len) => inner.inject(buf.slice(off + 20, off + len), d.at, c.at);
  b.onPacket = (buf, off, len) => inner.inject(buf.slice(off + 20, off + len), c.at, d.at);
  c.sendText("172.16.0.1", "172.16.0.2", "deep");
  net.run(100);
  expect(d.texts).toEqual(["deep"]);
  toB("beside it");
  net.run(100);
  expect(b.texts.at(-1)).toBe("beside it");
});

test("(c) 18: a packet that a device sends to itself through itself ends", () => {
  const { net, a, ab } = connectedPair();
  a.device.updatePeer(ab.publicKey, { allowedIps: ["0.0.0.0/0"], endpoint: parseEndpoint("10.0.0.2:2000") });
  a.sendText("10.0.0.1", "10.0.0.2", "loop");
  net.run(1000);
  expect(net.log.length).toBeLessThan(10);
});
