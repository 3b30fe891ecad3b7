import { readU32, writeU32 } from "./bytes";
import { parseEndpoint } from "./endpoint";
import { publicKeyOf } from "./keys";
import { FakeNetwork } from "./testing/fake-network";
import { connectedPair, pairOf } from "./testing/pair";

test("(c) 8: counters are looked at only after authentication", () => {
  const { net, a, b, toB } = connectedPair();
  toB("x");
  const forged = net.log[0].bytes.slice();
  net.filter = () => false;
  writeU32(forged, 8, 0xffffff00);
  net.inject(forged, a.at, b.at);
  expect(b.device.drops["bad-tag"]).toBe(1);
  net.filter = () => true;
  toB("y");
  net.run(100);
  expect(b.texts).toEqual(["x", "y"]);
});

test("(c) 8: a data message is delivered once", () => {
  const { net, a, b, toB } = connectedPair();
  toB("x");
  const { bytes } = net.log[0];
  net.run(100);
  net.inject(bytes, a.at, b.at);
  expect(b.texts).toEqual(["x"]);
  expect(b.device.drops.replay).toBe(1);
});

describe("(c) 9: key pair slots", () => {
  test("a responder sends no data before it has received some", () => {
    const { net, a, b, ba, ab, toA } = pairOf();
    net.filter = (d) => d.bytes[0] !== 4;
    a.device.initiate(ab);
    net.run(50);
    expect(ba.keypairs.next).toBeDefined();
    expect(ba.keypairs.current).toBeUndefined();
    expect(toA("too early")).toBe("staged");
    expect(b.sent(4)).toEqual([]);
    net.filter = () => true;
    a.sendText("10.0.0.1", "10.0.0.2", "confirms");
    net.run(50);
    expect(b.texts).toEqual(["confirms"]);
    expect(a.texts).toEqual(["too early"]);
  });

  test("what is under way with the old key still arrives after a new handshake", () => {
    const { net, a, b, ab, ba, toB } = connectedPair();
    net.filter = (d) => d.bytes[0] !== 4;
    toB("late");
    const late = net.log[0].bytes;
    net.filter = () => true;
    net.run(6000);
    const old = ab.keypairs.current;
    a.device.initiate(ab);
    net.run(100);
    expect(ab.keypairs.current).not.toBe(old);
    expect(ab.keypairs.previous).toBe(old);
    const current = ba.keypairs.current;
    net.inject(late, a.at, b.at);
    expect(b.texts).toEqual(["late"]);
    expect(ba.keypairs.current).toBe(current);
  });

  test("the one before the previous is forgotten", () => {
    const { net, a, b, ab, toB } = connectedPair();
    net.filter = (d) => d.bytes[0] !== 4;
    toB("too late");
    const late = net.log[0].bytes;
    net.filter = () => true;
    for (let i = 0; i < 2; i++) {
      net.run(6000);
      a.device.initiate(ab);
      net.run(100);
    }
    net.inject(late, a.at, b.at);
    expect(b.texts).toEqual([]);
    expect(b.device.drops["unknown-index"]).toBe(1);
    expect(a.device.indices.size).toBe(2);
    expect(b.device.indices.size).toBe(2);
  });
});

describe("(c) 11: message counts", () => {
  test("new keys are asked for at 2^60 messages, by the responder too", () => {
    for (const who of ["initiator", "responder"] as const) {
      const pair = connectedPair();
      const { net } = pair;
      const [node, peer, send] = who === "initiator" ? [pair.a, pair.ab, pair.toB] : [pair.b, pair.ba, pair.toA];
      net.run(6000);
      net.log.length = 0;
      peer.keypairs.current!.counter.set([0xfffffffd, 2 ** 28 - 1]);
      send("2^60 - 3");
      send("2^60 - 2");
      expect(node.sent(1)).toHaveLength(0);
      send("2^60 - 1");
      expect(node.sent(1)).toHaveLength(1);
      const { bytes } = node.sent(4)[2];
      expect([readU32(bytes, 8), readU32(bytes, 12)]).toEqual([0xffffffff, 2 ** 28 - 1]);
      net.run(100);
      expect(peer.keypairs.current!.counter[1]).toBe(0);
    }
  });

  test("nothing is sent at 2^64 - 2^13 - 1: it waits for new keys", () => {
    const { net, a, b, ab, toB } = connectedPair();
    net.run(6000);
    net.log.length = 0;
    net.filter = (d) => d.bytes[0] === 4;
    ab.keypairs.current!.counter.set([0xffffdffe, 0xffffffff]);
    expect(toB("last")).toBe("sent");
    expect(toB("over")).toBe("staged");
    expect(a.sent(4)).toHaveLength(1);
    net.run(100);
    expect(b.texts).toEqual(["last"]);
    net.filter = () => true;
    net.run(6000);
    expect(b.texts).toEqual(["last", "over"]);
  });
});

describe("(c) 13: packets that wait", () => {
  test("128 are kept, the newest, and sent in order", () => {
    const { net, a, b, toB } = pairOf();
    for (let i = 0; i < 140; i++) expect(toB(String(i))).toBe("staged");
    expect(a.device.drops["staging-full"]).toBe(12);
    net.run(100);
    expect(b.texts).toEqual(Array.from({ length: 128 }, (_, i) => String(i + 12)));
    expect(toB("next")).toBe("sent");
  });

  test("thousands of peers that are away share what may wait: the newest of each stay, and all of it is given back", () => {
    const net = new FakeNetwork();
    const a = net.node("192.0.2.1:1000");
    const peers = Array.from({ length: 300 }, (_, i) => {
      const key = new Uint8Array(32).fill(7);
      key[2] = i & 255;
      key[1] = i >> 8;
      return a.device.addPeer({
        publicKey: publicKeyOf(key),
        allowedIps: [`10.1.${i >> 8}.${i & 255}/32`],
        endpoint: parseEndpoint("192.0.2.2:1000"),
        persistentKeepalive: 0,
      });
    });
    const packet = new Uint8Array(1500);
    packet.set([0x45, 0, 1400 >> 8, 1400 & 255]);
    for (let round = 0; round < 128; round++)
      for (const [i, peer] of peers.entries()) {
        packet.set([10, 1, i >> 8, i & 255], 16);
        expect(a.device.sendTo(peer, packet, 0, 1400)).toBe("staged");
      }
    expect(a.device.staged.bytes).toBeLessThanOrEqual((16 << 20) + 300 * 1400);
    expect(Math.min(...peers.map((peer) => peer.staging.length))).toBeGreaterThanOrEqual(1);
    const waiting = peers.reduce((sum, peer) => sum + peer.staging.length, 0);
    expect(a.device.drops["staging-full"]).toBe(128 * 300 - waiting);
    a.device.close();
    expect(a.device.staged.bytes).toBe(0);
  });

  test("without an address nothing waits", () => {
    const { a, net, toB } = pairOf({ endpoints: "none" });
    expect(toB("x")).toBe("no-endpoint");
    net.run(1000);
    expect(net.log).toEqual([]);
    expect(a.device.nextTimer()).toBe(Number.POSITIVE_INFINITY);
  });
});

test("(c) 20: counters are exact and the latest handshake is on the wall's clock", () => {
  const { net, a, b, ab, ba, toA, toB } = pairOf();
  toB("0123456789"); // 30 bytes, padded to 32
  net.run(10);
  toA("x"); // 21 bytes, padded to 32
  net.run(10);
  const bytes = (node: typeof a) => node.sent().reduce((sum, d) => sum + d.bytes.length, 0);
  expect(bytes(a)).toBe(148 + 64);
  expect(bytes(b)).toBe(92 + 64);
  expect([ab.txBytes, ab.rxBytes]).toEqual([148 + 64, 92 + 64]);
  expect([ba.txBytes, ba.rxBytes]).toEqual([92 + 64, 148 + 64]);
  expect(ab.latestHandshake).toBe(net.clock.epoch + 1002);
  expect(ba.latestHandshake).toBe(net.clock.epoch + 1003);
});
