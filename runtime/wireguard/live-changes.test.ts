import { generatePrivateKey, publicKeyOf } from "./keys";
import { FakeNetwork } from "./testing/fake-network";
import { connectedPair } from "./testing/pair";

function star() {
  const net = new FakeNetwork();
  const hub = net.node("192.0.2.1:1000");
  const b = net.node("192.0.2.2:2000");
  const c = net.node("192.0.2.3:3000");
  const toB = net.connect(hub, "10.0.0.1/32", b, "10.0.0.2/32");
  const toC = net.connect(hub, "10.0.0.1/32", c, "10.0.0.3/32");
  hub.sendText("10.0.0.1", "10.0.0.2", "hello");
  hub.sendText("10.0.0.1", "10.0.0.3", "hello");
  net.run(100);
  return { net, hub, b, c, toB, toC };
}

describe("(c) 19: changes while others work", () => {
  test("adding and removing a peer leaves the other's session alone", () => {
    const { net, hub, b, c, toB, toC } = star();
    const session = toB.ab.keypairs.current;
    const d = net.node("192.0.2.4:4000");
    net.connect(hub, "10.0.0.1/32", d, "10.0.0.4/32");
    expect(hub.device.removePeer(toC.ab.publicKey)).toBe(true);
    expect(hub.device.removePeer(toC.ab.publicKey)).toBe(false);
    expect(hub.sendText("10.0.0.1", "10.0.0.2", "still")).toBe("sent");
    expect(hub.sendText("10.0.0.1", "10.0.0.3", "gone")).toBe("no-peer");
    expect(hub.sendText("10.0.0.1", "10.0.0.4", "new")).toBe("staged");
    net.run(100);
    expect(toB.ab.keypairs.current).toBe(session);
    expect([b.texts, c.texts, d.texts]).toEqual([["hello", "still"], ["hello"], ["new"]]);
  });

  test("a removed peer's keys are wiped, its timers stopped, its packets unknown", () => {
    const { net, hub, c, toB, toC } = star();
    const keypair = toC.ab.keypairs.current!;
    const wiped = [keypair.sending, keypair.receiving].map((key) => jest.spyOn(key, "close"));
    hub.device.updatePeer(toC.ab.publicKey, { presharedKey: new Uint8Array(32).fill(1), persistentKeepalive: 1 });
    hub.device.removePeer(toC.ab.publicKey);
    for (const close of wiped) expect(close).toHaveBeenCalledTimes(1);
    expect(toC.ab.hasPresharedKey()).toBe(false);
    expect(toC.ab.staticShared).toBeUndefined();
    expect(toC.ab.timers.next()).toBe(Number.POSITIVE_INFINITY);
    expect(hub.device.indices.size).toBe(1);
    net.log.length = 0;
    c.sendText("10.0.0.3", "10.0.0.1", "anyone?");
    net.run(20_000);
    expect(net.log.filter((d) => d.to === c.at)).toEqual([]);
    expect(toB.ab.keypairs.current).toBeDefined();
  });

  test("closing a device wipes every session and leaves no timer", () => {
    const { net, hub } = star();
    const sessions = [...hub.device.peers].map((peer) => peer.keypairs.current!);
    const wiped = sessions.flatMap((s) => [jest.spyOn(s.sending, "close"), jest.spyOn(s.receiving, "close")]);
    hub.device.close();
    for (const close of wiped) expect(close).toHaveBeenCalledTimes(1);
    expect([hub.device.peerCount, hub.device.indices.size]).toEqual([0, 0]);
    expect(hub.device.nextTimer()).toBe(Number.POSITIVE_INFINITY);
    net.log.length = 0;
    net.run(60_000);
    expect(hub.sent()).toEqual([]);
  });

  test("a new pre-shared key keeps the session and counts from the next handshake on", () => {
    const { net, a, b, ab, ba, toB } = connectedPair();
    const presharedKey = new Uint8Array(32).fill(3);
    a.device.updatePeer(ab.publicKey, { presharedKey });
    expect(toB("same session")).toBe("sent");
    net.run(6_000);
    expect(b.texts).toEqual(["same session"]);
    a.device.initiate(ab);
    net.run(100);
    expect(a.device.drops["bad-handshake"]).toBe(1);
    b.device.updatePeer(ba.publicKey, { presharedKey });
    net.run(6_000);
    toB("new session");
    net.run(100);
    expect(b.texts).toEqual(["same session", "new session"]);
  });

  test("a new private key: nothing more is sent as the old one, and the new one is used at once", () => {
    const { net, a, b, ab, ba, toB } = connectedPair();
    const key = generatePrivateKey(net.random.bytes);
    a.device.setPrivateKey(key);
    expect(a.device.publicKey).toEqual(publicKeyOf(key));
    b.device.removePeer(ba.publicKey);
    b.device.addPeer({ publicKey: publicKeyOf(key), allowedIps: ["10.0.0.1/32"], persistentKeepalive: 0 });
    expect(toB("as another")).toBe("staged");
    net.run(100);
    expect(b.texts).toEqual(["as another"]);
    expect(ab.latestHandshake).toBeDefined();
    const session = ab.keypairs.current;
    a.device.setPrivateKey(key);
    expect(ab.keypairs.current).toBe(session);
    expect(toB("x")).toBe("sent");
  });

  test("allowed IPs are replaced as a whole; what is not named stays", () => {
    const { a, ab, toB } = connectedPair();
    a.device.updatePeer(ab.publicKey, { allowedIps: ["10.9.0.0/16", "fd00::7/64"] });
    expect(a.device.allowedIpsOf(ab)).toEqual(["10.9.0.0/16", "fd00::/64"]);
    expect(toB("x")).toBe("no-peer");
    const { endpoint } = ab;
    a.device.updatePeer(ab.publicKey, { persistentKeepalive: 5 });
    expect([ab.endpoint, ab.persistentKeepalive]).toEqual([endpoint, 5]);
    expect(a.device.allowedIpsOf(ab)).toEqual(["10.9.0.0/16", "fd00::/64"]);
  });

  test("a bad update changes nothing", () => {
    const { a, ab } = connectedPair();
    expect(() =>
      a.device.updatePeer(ab.publicKey, { allowedIps: ["10.9.0.0/16", "x"], persistentKeepalive: 9 }),
    ).toThrow();
    expect(a.device.allowedIpsOf(ab)).toEqual(["10.0.0.2/32"]);
    expect(ab.persistentKeepalive).toBe(0);
  });
});

describe("a device that is down, as wireguard-go's is with its interface", () => {
  test("forgets its sessions, keeps peers and counters, and sends nothing, whatever comes or is due", () => {
    const { net, hub, b, toB } = star();
    hub.device.updatePeer(toB.ab.publicKey, { persistentKeepalive: 5 });
    const keypair = toB.ab.keypairs.current!;
    const wiped = [keypair.sending, keypair.receiving].map((key) => jest.spyOn(key, "close"));
    const { rxBytes, latestHandshake } = toB.ab;
    hub.device.stop();
    for (const close of wiped) expect(close).toHaveBeenCalledTimes(1);
    expect(hub.device.indices.size).toBe(0);
    net.log.length = 0;
    expect(hub.sendText("10.0.0.1", "10.0.0.2", "later")).toBe("staged");
    hub.device.initiate(toB.ab);
    hub.device.updatePeer(toB.ab.publicKey, { persistentKeepalive: 3 });
    net.run(20_000);
    expect(net.log.filter((d) => d.from === hub.at)).toEqual([]);
    expect([toB.ab.rxBytes, toB.ab.latestHandshake, hub.device.peerCount]).toEqual([rxBytes, latestHandshake, 2]);
    expect(b.texts).toEqual(["hello"]);
  });

  test("sends what waits as soon as it is up, though it had just sent a handshake, and keepalives go on", () => {
    const { net, hub, b, c, toB } = star();
    hub.device.updatePeer(toB.ab.publicKey, { persistentKeepalive: 5 });
    hub.device.initiate(toB.ab);
    hub.device.stop();
    hub.sendText("10.0.0.1", "10.0.0.3", "waited");
    hub.device.start();
    net.run(100);
    expect(c.texts).toEqual(["hello", "waited"]);
    expect(toB.ab.keypairs.current).toBeDefined();
    net.log.length = 0;
    net.run(5_200);
    expect(net.log.filter((d) => d.to === b.at).map((d) => d.bytes.length)).toEqual([32]);
  });
});
