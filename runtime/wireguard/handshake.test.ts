import { readU32 } from "./bytes";
import { parseEndpoint } from "./endpoint";
import { generatePrivateKey, publicKeyOf } from "./keys";
import { FakeNetwork } from "./testing/fake-network";
import { ipPacket } from "./testing/ip-packet";
import { connectedPair, pairOf } from "./testing/pair";

const psk = new Uint8Array(32).fill(7);

describe("(c) 2: handshake", () => {
  test.each([
    ["without a pre-shared key", undefined],
    ["with one", psk],
  ])("both roles, %s", (_, presharedKey) => {
    const { net, a, b, toA, toB } = pairOf({ presharedKey });
    expect(toB("one")).toBe("staged");
    net.run(100);
    expect(b.texts).toEqual(["one"]);
    expect(toA("two")).toBe("sent");
    net.run(100);
    expect(a.texts).toEqual(["two"]);
    expect(a.events).toContainEqual(expect.objectContaining({ type: "handshake-completed", role: "initiator" }));
    expect(b.events).toContainEqual(expect.objectContaining({ type: "handshake-completed", role: "responder" }));
  });

  test("sizes, types, zero reserved bytes, little-endian indices that answer each other", () => {
    const { net, a, b, toB } = pairOf();
    toB("x");
    net.run(100);
    const [initiation, response, data] = net.log.map((d) => d.bytes);
    expect(net.log.map((d) => [d.from, d.bytes.length])).toEqual([
      [a.at, 148],
      [b.at, 92],
      [a.at, 16 + 32 + 16],
    ]);
    expect([readU32(initiation, 0), readU32(response, 0), readU32(data, 0)]).toEqual([1, 2, 4]);
    expect(readU32(response, 8)).toBe(readU32(initiation, 4));
    expect(readU32(data, 4)).toBe(readU32(response, 4));
    expect([readU32(data, 8), readU32(data, 12)]).toEqual([0, 0]);
    expect(initiation.subarray(132).every((byte) => byte === 0)).toBe(true);
  });

  test("different pre-shared keys: no session", () => {
    const { net, a, b, ab, toB } = pairOf({ presharedKey: psk });
    a.device.updatePeer(ab.publicKey, { presharedKey: null });
    toB("x");
    net.run(3000);
    expect(b.received).toEqual([]);
    expect(a.device.drops["bad-handshake"]).toBe(1);
    expect(ab.latestHandshake).toBeUndefined();
  });

  test("a peer known by another key than it has: no answer", () => {
    const net = new FakeNetwork();
    const a = net.node("192.0.2.1:1000");
    const b = net.node("192.0.2.2:2000");
    net.connect(a, "10.0.0.1/32", b, "10.0.0.2/32");
    b.device.removePeer(a.device.publicKey);
    b.device.addPeer({
      publicKey: publicKeyOf(generatePrivateKey(net.random.bytes)),
      allowedIps: ["10.0.0.1/32"],
      persistentKeepalive: 0,
    });
    a.sendText("10.0.0.1", "10.0.0.2", "x");
    net.run(3000);
    expect(b.sent()).toEqual([]);
    expect(b.device.drops["bad-handshake"]).toBe(1);
  });

  test.each([147, 149, 91, 93, 63, 65, 31, 0])("a datagram of %i bytes of a handshake type is dropped", (length) => {
    const { net, b, a } = connectedPair();
    const before = b.device.drops["malformed-message"];
    for (const type of [1, 2, 3]) {
      const bytes = new Uint8Array(length);
      if (length > 0) bytes[0] = type;
      net.inject(bytes, a.at, b.at);
    }
    expect(b.device.drops["malformed-message"]).toBe(before + 3);
    expect(net.log).toEqual([]);
  });

  test("reserved bytes that are not zero are dropped", () => {
    const { net, a, b, toB } = pairOf();
    toB("x");
    const forged = net.log[0].bytes.slice();
    forged[1] = 1;
    net.filter = () => false;
    net.inject(forged, a.at, b.at);
    expect(b.sent()).toEqual([]);
    expect(b.device.drops["malformed-message"]).toBe(1);
  });
});

describe("(c) 4: silence", () => {
  const stranger = "198.51.100.7:7";

  test("random bytes, a wrong MAC1, an unknown key, an unknown index, a wrong tag: no answer, no new endpoint", () => {
    const { net, a, b, ba, toB } = connectedPair();
    toB("data");
    const data = net.log[0].bytes;
    net.filter = () => false;
    net.log.length = 0;
    const known = ba.endpoint;
    for (let length = 0; length < 200; length++) net.inject(net.random.bytes(length), stranger, b.at);
    for (const [type, length] of [
      [1, 148],
      [2, 92],
      [3, 64],
      [4, 80],
    ]) {
      const bytes = net.random.bytes(length);
      bytes.set([type, 0, 0, 0]);
      net.inject(bytes, stranger, b.at);
    }
    const unknown = new FakeNetwork(99).node("198.51.100.7:7");
    const toUnknown = unknown.device.addPeer({
      publicKey: b.device.publicKey,
      endpoint: b.at,
      allowedIps: [],
      persistentKeepalive: 0,
    });
    unknown.device.initiate(toUnknown);
    net.inject(unknown.network.log[0].bytes, stranger, b.at);
    const forged = data.slice();
    forged[forged.length - 1] ^= 1;
    net.inject(forged, stranger, b.at);

    expect(net.log).toEqual([]);
    expect(ba.endpoint).toBe(known);
    expect(b.device.drops).toMatchObject({ mac1: 1, "bad-handshake": 1, "bad-tag": 1 });
    expect(b.device.drops["unknown-index"]).toBe(3);
    expect(a.received).toEqual([]);
  });
});

describe("(c) 5: keys that give no secret", () => {
  const lowOrder = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  ];

  test.each(lowOrder)("%s is refused and nothing is sent", (hex) => {
    const net = new FakeNetwork();
    const a = net.node("192.0.2.1:1000");
    const add = () =>
      a.device.addPeer({
        publicKey: Uint8Array.from(Buffer.from(hex, "hex")),
        endpoint: parseEndpoint("192.0.2.2:2000"),
        allowedIps: ["10.0.0.2/32"],
        persistentKeepalive: 1,
      });
    expect(add).toThrow(expect.objectContaining({ code: "WARREN_INVALID_INPUT", path: "publicKey" }));
    expect(a.sendText("10.0.0.1", "10.0.0.2", "x")).toBe("no-peer");
    net.run(10_000);
    expect(net.log).toEqual([]);
  });

  test("our own key is refused as a peer, and a peer whose key becomes ours is removed", () => {
    const net = new FakeNetwork();
    const a = net.node("192.0.2.1:1000");
    const options = { allowedIps: [], persistentKeepalive: 0 };
    expect(() => a.device.addPeer({ publicKey: a.device.publicKey, ...options })).toThrow("own");
    const key = generatePrivateKey(net.random.bytes);
    a.device.addPeer({ publicKey: publicKeyOf(key), ...options });
    a.device.setPrivateKey(key);
    expect(a.device.peerCount).toBe(0);
    expect(a.count("peer-removed")).toBe(1);
  });

  test("bad settings are refused with their name, and nothing is left of the attempt", () => {
    const net = new FakeNetwork();
    const a = net.node("192.0.2.1:1000");
    const publicKey = publicKeyOf(generatePrivateKey(net.random.bytes));
    const options = { publicKey, allowedIps: ["10.0.0.0/8"], persistentKeepalive: 0 };
    const refused = (more: object, path: string) =>
      expect(() => a.device.addPeer({ ...options, ...more })).toThrow(expect.objectContaining({ path }));
    refused({ publicKey: new Uint8Array(31) }, "publicKey");
    refused({ presharedKey: new Uint8Array(33) }, "presharedKey");
    refused({ persistentKeepalive: 65_536 }, "persistentKeepalive");
    refused({ persistentKeepalive: 0.5 }, "persistentKeepalive");
    refused({ allowedIps: ["10.0.0.0/8", "nonsense"] }, "allowedIps[1]");
    expect(a.device.peerCount).toBe(0);
    expect(a.sendText("10.0.0.1", "10.0.0.2", "x")).toBe("no-peer");
    a.device.addPeer(options);
    refused({}, "publicKey");
    expect(() => a.device.updatePeer(new Uint8Array(32), {})).toThrow(
      expect.objectContaining({ code: "WARREN_NOT_FOUND" }),
    );
  });
});

describe("(c) 6: timestamps", () => {
  test("an initiation is accepted once", () => {
    const { net, a, b, toB } = pairOf();
    toB("x");
    const initiation = net.log[0].bytes;
    net.run(1000);
    net.log.length = 0;
    net.inject(initiation, a.at, b.at);
    expect(net.log).toEqual([]);
    expect(b.device.drops["handshake-replay"]).toBe(1);
  });

  test("an older one is refused after a newer one", () => {
    const { net, a, b, ab } = pairOf();
    net.filter = () => false;
    a.device.initiate(ab);
    net.run(6000);
    const [older, newer] = a.sent(1).map((d) => d.bytes);
    net.inject(newer, a.at, b.at);
    net.run(1000);
    net.inject(older, a.at, b.at);
    expect(b.sent(2)).toHaveLength(1);
    expect(b.device.drops["handshake-replay"]).toBe(1);
  });

  test("either side may restart first: the clock on the wall goes on", () => {
    const { net, a, b, toA, toB } = connectedPair();
    const restarted = (node: typeof a, key: Uint8Array) => {
      const fresh = net.node(node.at.text, { privateKey: key });
      return fresh;
    };
    const key = generatePrivateKey(net.random.bytes);
    a.device.setPrivateKey(key);
    b.device.addPeer({
      publicKey: publicKeyOf(key),
      endpoint: a.at,
      allowedIps: ["10.0.0.1/32"],
      persistentKeepalive: 0,
    });
    net.run(6000);
    toB("before");
    net.run(100);
    expect(b.texts).toEqual(["before"]);

    const a2 = restarted(a, key);
    a2.device.addPeer({
      publicKey: b.device.publicKey,
      endpoint: b.at,
      allowedIps: ["10.0.0.2/32"],
      persistentKeepalive: 0,
    });
    a2.sendText("10.0.0.1", "10.0.0.2", "after");
    net.run(100);
    expect(b.texts).toEqual(["before", "after"]);
    expect(toA("answer")).toBe("sent");
    net.run(100);
    expect(a2.texts).toEqual(["answer"]);
  });
});

test("(c) 7: a second initiation within 20 ms is ignored", () => {
  const { net, a, b, ab } = pairOf();
  net.filter = () => false;
  a.device.initiate(ab);
  net.run(12_000);
  const [first, second, third] = a.sent(1).map((d) => d.bytes);
  net.inject(first, a.at, b.at);
  net.clock.time += 20;
  net.inject(second, a.at, b.at);
  expect(b.sent(2)).toHaveLength(1);
  expect(b.device.drops["handshake-flood"]).toBe(1);
  net.clock.time += 1;
  net.inject(third, a.at, b.at);
  expect(b.sent(2)).toHaveLength(2);
});

describe("(c) 12: both initiate at once", () => {
  test("both sides' first packets arrive without waiting for a retry", () => {
    const { net, a, b, toA, toB } = pairOf();
    toB("from a");
    toA("from b");
    net.run(100);
    expect(b.texts).toEqual(["from a"]);
    expect(a.texts).toEqual(["from b"]);
    net.log.length = 0;
    net.run(8_000);
    expect(net.log.filter((d) => d.bytes[0] !== 4)).toEqual([]);
    toB("again");
    toA("again");
    net.run(100);
    expect([a.texts, b.texts]).toEqual([
      ["from b", "again"],
      ["from a", "again"],
    ]);
    net.run(600_000);
    expect([a.device.indices.size, b.device.indices.size]).toEqual([0, 0]);
  });

  test("a session confirmed as responder ends our own attempt", () => {
    const { net, a, b, ab, ba, toA } = pairOf();
    net.filter = (d) => d.from !== a.at || d.bytes[0] !== 1;
    a.device.initiate(ab);
    net.run(10);
    toA("confirms");
    net.run(10);
    expect(a.texts).toEqual(["confirms"]);
    expect(ab.initiation).toBeUndefined();
    const session = ba.keypairs.current;
    net.inject(a.sent(1)[0].bytes, a.at, b.at);
    net.run(10_000);
    expect(a.sent(1)).toHaveLength(1);
    expect(ba.keypairs.current).toBe(session);
  });

  test.each(Array.from({ length: 20 }, (_, seed) => seed))("converges with loss, seed %i", (seed) => {
    const { net, a, b, toA, toB } = pairOf({ seed });
    Object.assign(net.wire, { loss: 0.4, spread: 30 });
    for (let i = 0; i < 40; i++) {
      toB(`a${i}`);
      toA(`b${i}`);
      net.run(500);
    }
    net.wire.loss = 0;
    net.run(8_000);
    a.received.length = 0;
    b.received.length = 0;
    toB("x");
    toA("y");
    net.run(6_000);
    expect([a.texts, b.texts]).toEqual([["y"], ["x"]]);
  });
});

test("inner IPv6 over outer IPv6", () => {
  const net = new FakeNetwork();
  const a = net.node("[2001:db8::1]:1000");
  const b = net.node("[2001:db8::2]:2000");
  net.connect(a, "fd00::1/128", b, "fd00::2/128");
  a.send(ipPacket("fd00::1", "fd00::2", "six"));
  net.run(100);
  expect(b.texts).toEqual(["six"]);
});

test("round trips as handshakes show them to both sides, smoothed", () => {
  const { net, a, ab, ba, toB } = pairOf();
  net.wire.delay = 20;
  toB("x");
  net.run(100);
  expect([ab.roundTrip, ba.roundTrip]).toEqual([40, 40]);
  net.wire.delay = 30;
  net.run(6000);
  a.device.initiate(ab);
  net.run(100);
  expect([ab.roundTrip, ba.roundTrip]).toEqual([45, 45]);
});
