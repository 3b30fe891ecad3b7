import { connectedPair, pairOf } from "./testing/pair";

describe("(c) 10: timers", () => {
  test("an initiation is repeated every 5 s and up to a third more, for 90 s; then what waits is dropped", () => {
    const { net, a, toB } = pairOf();
    net.filter = () => false;
    toB("x");
    net.run(200_000);
    const times = a.events.filter((e) => e.type === "handshake-initiated");
    expect(times).toHaveLength(18);
    expect(times.map((e) => e.type === "handshake-initiated" && e.attempt)).toEqual(
      Array.from({ length: 18 }, (_, i) => i + 1),
    );
    expect(a.events.at(-1)).toMatchObject({ type: "handshake-gave-up", dropped: 1 });
    expect(a.device.drops["no-handshake"]).toBe(1);
  });

  test("the spacing of repeated initiations", () => {
    const { net, a, toB } = pairOf();
    const at: number[] = [];
    net.filter = () => {
      at.push(net.clock.time);
      return false;
    };
    toB("x");
    net.run(100_000);
    const gaps = at.slice(1).map((time, i) => time - at[i]);
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(5000);
    expect(Math.max(...gaps)).toBeLessThanOrEqual(5334);
    expect(new Set(gaps).size).toBeGreaterThan(5);
    expect(at.at(-1)! - at[0]).toBeLessThanOrEqual(90_334);
    expect(a.count("handshake-gave-up")).toBe(1);
  });

  test("a packet sent meanwhile begins the 90 s anew, one sent after it a new series", () => {
    const { net, a, toB } = pairOf();
    net.filter = () => false;
    toB("x");
    net.run(60_000);
    toB("y");
    net.run(60_000);
    expect(a.count("handshake-gave-up")).toBe(0);
    net.run(60_000);
    expect(a.count("handshake-gave-up")).toBe(1);
    const before = a.sent(1).length;
    toB("z");
    expect(a.sent(1)).toHaveLength(before + 1);
  });

  test("120 s: the initiator renews the session when it sends", () => {
    const { net, a, ab, toB } = connectedPair();
    net.run(119_800);
    toB("119.9 s");
    expect(a.sent(1)).toHaveLength(0);
    net.run(200);
    const old = ab.keypairs.current;
    toB("120.1 s");
    expect(a.sent(1)).toHaveLength(1);
    net.run(100);
    expect(ab.keypairs.current).not.toBe(old);
  });

  test("(c) 12: the responder does not, at any time before 180 s", () => {
    const { net, a, b, toA } = connectedPair();
    net.filter = (d) => d.from !== a.at;
    for (let t = 0; t < 17; t++) {
      net.run(10_000);
      net.filter = () => true;
      toA("x");
    }
    expect(b.sent(1)).toHaveLength(0);
  });

  test("165 s: an initiator that only receives renews it, once for each session", () => {
    const { net, a, toA } = connectedPair();
    net.run(160_000);
    net.log.length = 0;
    net.filter = (d) => d.bytes[0] === 4;
    toA("160 s");
    net.run(4_000);
    expect(a.sent(1)).toHaveLength(0);
    net.run(1_500);
    toA("165.6 s");
    net.run(10);
    expect(a.sent(1)).toHaveLength(1);
    toA("again");
    net.run(10);
    expect(a.sent(1)).toHaveLength(1);

    net.filter = () => true;
    net.run(6_000);
    net.log.length = 0;
    toA("new session");
    net.run(166_000);
    expect(a.sent(1)).toHaveLength(0);
    toA("166 s");
    net.run(10);
    expect(a.sent(1)).toHaveLength(1);
  });

  test("180 s: the session is neither sent with nor received from", () => {
    const { net, a, b, toA, toB } = connectedPair();
    net.filter = (d) => d.bytes[0] === 4;
    net.run(179_800);
    expect(toA("179.9 s")).toBe("sent");
    const { bytes } = b.sent(4).at(-1)!;
    net.run(300);
    expect(a.texts).toEqual(["179.9 s"]);
    expect(toA("180.2 s")).toBe("staged");
    expect(toB("180.2 s")).toBe("staged");
    net.inject(bytes, b.at, a.at);
    expect(a.device.drops["expired-keypair"]).toBe(1);
  });

  test("540 s: all keys are wiped", () => {
    const { net, a, b, ab, ba } = connectedPair();
    net.run(539_000);
    expect([a.count("keys-expired"), ab.keypairs.current === undefined]).toEqual([0, false]);
    net.run(2_000);
    expect([a.count("keys-expired"), b.count("keys-expired")]).toEqual([1, 1]);
    expect([ab.keypairs.current, ba.keypairs.current]).toEqual([undefined, undefined]);
    expect([a.device.indices.size, b.device.indices.size]).toEqual([0, 0]);
    expect(a.device.nextTimer()).toBe(Number.POSITIVE_INFINITY);
  });

  test("15 s without an answer to data: a new handshake", () => {
    const { net, a, toB } = connectedPair();
    net.run(30_000); // its answers to the first packet are over
    net.log.length = 0;
    net.filter = () => false;
    toB("x");
    net.run(14_999);
    expect(a.sent(1)).toHaveLength(0);
    net.run(335);
    expect(a.sent(1)).toHaveLength(1);
  });

  test("10 s after received data without anything sent: one keepalive, and no more", () => {
    const { net, b, toB } = connectedPair();
    net.run(60_000);
    net.log.length = 0;
    toB("x");
    net.run(9_999);
    expect(b.sent()).toHaveLength(0);
    net.run(10);
    expect(b.sent().map((d) => d.bytes.length)).toEqual([32]);
    net.run(60_000);
    expect(b.sent()).toHaveLength(1);
  });

  test("data while a keepalive is due: another follows it", () => {
    const { net, b, toB } = connectedPair();
    net.run(60_000);
    net.log.length = 0;
    toB("x");
    net.run(5_000);
    toB("y");
    net.run(40_000);
    expect(b.sent().map((d) => d.bytes.length)).toEqual([32, 32]);
  });

  test("data sent in time makes the keepalive needless", () => {
    const { net, b, toA, toB } = connectedPair();
    net.run(60_000);
    net.log.length = 0;
    toB("x");
    net.run(5_000);
    toA("y");
    net.run(30_000);
    expect(b.sent()).toHaveLength(1);
  });

  test("a keepalive is no data: it is not answered", () => {
    const { net, a, b, toB } = connectedPair();
    net.run(60_000);
    net.log.length = 0;
    toB("x");
    net.run(60_000);
    expect(a.sent()).toHaveLength(1);
    expect(b.sent()).toHaveLength(1);
  });

  test.each([1, 25, 65_535])("persistent keepalive every %i s", (seconds) => {
    const { net, a, ab } = pairOf({ endpoints: "both" });
    a.device.updatePeer(ab.publicKey, { persistentKeepalive: seconds });
    net.run(100); // begins at once, with a handshake
    expect(ab.latestHandshake).toBeDefined();
    net.log.length = 0;
    const until = Math.min(seconds * 3, 100);
    net.run(until * 1000);
    expect(a.sent(4)).toHaveLength(Math.floor(until / seconds));
    a.device.updatePeer(ab.publicKey, { persistentKeepalive: 0 });
    net.log.length = 0;
    net.run(100_000);
    expect(a.sent(4)).toHaveLength(0);
  });

  test("persistent keepalives find a peer that comes back after hours", () => {
    const { net, a, ab, b, toB } = pairOf({ keepalive: 25 });
    net.filter = () => false;
    net.run(3 * 3600_000);
    net.filter = () => true;
    net.run(30_000);
    expect(ab.latestHandshake).toBeDefined();
    expect(toB("x")).toBe("sent");
    net.run(100);
    expect(b.texts).toEqual(["x"]);
    expect(a.count("handshake-completed")).toBeGreaterThan(0);
  });

  test("a responder with waiting packets whose response was lost tries by itself", () => {
    const { net, a, b, ab, toA } = pairOf();
    net.filter = (d) => d.from !== b.at;
    a.device.initiate(ab);
    net.run(100);
    net.filter = (d) => d.from === b.at || d.bytes[0] === 2;
    expect(toA("x")).toBe("staged");
    net.run(6_000);
    expect(b.sent(1)).toHaveLength(1);
    net.run(100);
    expect(a.texts).toEqual(["x"]);
  });

  test("a session in steady use lives on for hours without a lost packet", () => {
    const { net, a, b, toA, toB } = connectedPair();
    for (let i = 0; i < 1000; i++) {
      toB(`b${i}`);
      toA(`a${i}`);
      net.run(11_000);
    }
    expect(b.texts).toEqual(Array.from({ length: 1000 }, (_, i) => `b${i}`));
    expect(a.texts).toEqual(Array.from({ length: 1000 }, (_, i) => `a${i}`));
    expect(b.sent(1)).toHaveLength(0);
  });
});
