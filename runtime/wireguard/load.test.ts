import { COOKIE_SECRET_TIME } from "./constants";
import { endpointOf, parseEndpoint } from "./endpoint";
import { LoadMeter } from "./load";
import { RateLimiter } from "./ratelimiter";
import { pairOf } from "./testing/pair";

/** `b` is under load from now on. */
function loaded(options: Parameters<typeof pairOf>[0] = {}) {
  const pair = pairOf(options);
  const raise = () => pair.b.device.load.raise(pair.net.clock.time);
  raise();
  return { ...pair, raise };
}

describe("(c) 14: under load", () => {
  test("an initiation is answered by a cookie of 64 bytes, and its retry with MAC2 is accepted", () => {
    const { net, a, b, toB, raise } = loaded();
    toB("x");
    net.run(100);
    expect(b.sent().map((d) => [d.bytes[0], d.bytes.length])).toEqual([[3, 64]]);
    expect(a.count("cookie-received")).toBe(1);
    expect(b.device.drops["cookie-required"]).toBe(1);
    net.run(4_800);
    raise();
    net.run(1_000);
    const retry = a.sent(1)[1].bytes;
    expect(retry.subarray(132).some((byte) => byte !== 0)).toBe(true);
    expect(b.sent(2)).toHaveLength(1);
    expect(b.texts).toEqual(["x"]);
  });

  test("a cookie reply leaves the handshake that it answers under way", () => {
    const { net, a, b, ab, toB } = loaded();
    toB("x");
    net.run(100);
    expect(ab.initiation).toBeDefined();
    expect(a.sent(1)).toHaveLength(1);
    expect(b.sent(2)).toHaveLength(0);
  });

  test("a responder is asked for a cookie too", () => {
    const { net, a, b, ba } = loaded();
    net.run(2_000);
    a.device.load.raise(net.clock.time);
    a.device.initiate([...a.device.peers][0]);
    net.run(10);
    expect(a.sent(3)).toHaveLength(1);
    expect(b.count("cookie-received")).toBe(1);
    expect(ba.latestHandshake).toBeUndefined();
  });

  test.each([
    ["another address", "192.0.2.9:1000"],
    ["another port", "192.0.2.1:1001"],
  ])("the cookie is bound to its address: from %s it counts for nothing", (_, elsewhere) => {
    const { net, a, b, toB, raise } = loaded();
    toB("x");
    net.run(100);
    net.filter = () => false;
    net.run(6_000);
    raise();
    net.inject(a.sent(1)[1].bytes, elsewhere, b.at);
    expect(b.sent(2)).toHaveLength(0);
    expect(b.sent(3).map((d) => d.to.text)).toEqual([a.at.text, elsewhere]);
    net.inject(a.sent(1)[1].bytes, a.at, b.at);
    expect(b.sent(2)).toHaveLength(1);
  });

  test("the secret behind cookies lives 120 s, and a sender uses its cookie for 115 s", () => {
    const { net, a, b, toB, ab, raise } = loaded();
    toB("x");
    net.run(100);
    const cookieAt = net.clock.time;
    let lastUse = 0;
    net.filter = ({ bytes }) => {
      if (bytes[0] === 1 && bytes.subarray(132).some((byte) => byte !== 0)) lastUse = net.clock.time - cookieAt;
      return false;
    };
    while (net.clock.time < cookieAt + COOKIE_SECRET_TIME + 6_000) {
      net.run(1_000);
      a.device.initiate(ab);
    }
    const sentAfter = a.sent(1).filter((d) => d.bytes.subarray(132).some((byte) => byte !== 0));
    expect(lastUse).toBeGreaterThan(109_000);
    expect(lastUse).toBeLessThanOrEqual(115_000);
    expect(sentAfter.length).toBeGreaterThan(18);
    expect(sentAfter.length).toBeLessThan(a.sent(1).length - 1);
    raise();
    net.inject(sentAfter.at(-1)!.bytes, a.at, b.at);
    expect(b.sent(2)).toHaveLength(0);
    expect(b.sent(3)).toHaveLength(2);
  });

  test("without load MAC2 is not looked at", () => {
    const { net, a, b, toB } = pairOf();
    net.filter = () => false;
    toB("x");
    const initiation = a.sent(1)[0].bytes.slice();
    initiation.fill(0xaa, 132);
    net.inject(initiation, a.at, b.at);
    expect(b.sent(2)).toHaveLength(1);
  });

  test("still silent on a wrong MAC1", () => {
    const { net, a, b, toB } = loaded();
    net.filter = () => false;
    toB("x");
    const initiation = a.sent(1)[0].bytes.slice();
    initiation[120] ^= 1;
    net.inject(initiation, a.at, b.at);
    expect(b.sent()).toEqual([]);
    expect(b.device.drops.mac1).toBe(1);
  });

  test("a forged cookie reply is not believed", () => {
    const { net, a, b, toB } = loaded();
    net.filter = (d) => d.bytes[0] !== 3;
    toB("x");
    net.run(100);
    const reply = b.sent(3)[0].bytes.slice();
    reply[40] ^= 1;
    net.inject(reply, b.at, a.at);
    expect(a.count("cookie-received")).toBe(0);
    expect(a.device.drops["bad-handshake"]).toBe(1);
  });

  test("20 a second from one address with bursts of 5, even with cookies", () => {
    const { net, a, b, toB, raise } = loaded();
    toB("x");
    net.run(100);
    net.filter = () => false;
    net.run(6_000);
    raise();
    const withCookie = a.sent(1)[1].bytes;
    for (let i = 0; i < 8; i++) net.inject(withCookie, a.at, b.at);
    expect(b.device.drops["rate-limited"]).toBe(3);
  });
});

describe("rate limiter", () => {
  const v4 = parseEndpoint("192.0.2.1:1");

  test("5 at once, then one each 50 ms, by address whatever the port", () => {
    const limiter = new RateLimiter();
    for (let i = 0; i < 5; i++) expect(limiter.allow(endpointOf(v4.address, i + 1), 0)).toBe(true);
    expect(limiter.allow(v4, 0)).toBe(false);
    expect(limiter.allow(v4, 49)).toBe(false);
    expect(limiter.allow(v4, 50)).toBe(true);
    expect(limiter.allow(v4, 60)).toBe(false);
    expect(limiter.allow(v4, 100)).toBe(true);
    expect(limiter.allow(parseEndpoint("192.0.2.2:1"), 100)).toBe(true);
    let allowed = 0;
    for (let t = 2000; t < 12_000; t++) if (limiter.allow(v4, t)) allowed++;
    expect(allowed).toBe(5 + 199);
  });

  test("IPv6 by /64", () => {
    const limiter = new RateLimiter();
    for (let i = 0; i < 5; i++) expect(limiter.allow(parseEndpoint(`[2001:db8::${i}]:1`), 0)).toBe(true);
    expect(limiter.allow(parseEndpoint("[2001:db8::ffff]:1"), 0)).toBe(false);
    expect(limiter.allow(parseEndpoint("[2001:db8:0:1::1]:1"), 0)).toBe(true);
  });

  test("forgets addresses, and does not grow without bound", () => {
    const limiter = new RateLimiter();
    for (let i = 0; i < 70_000; i++) limiter.allow(endpointOf(Uint8Array.of(10, i >> 16, i >> 8, i), 1), 0);
    expect(limiter.size).toBe(65_536);
    limiter.allow(v4, 5_000);
    expect(limiter.size).toBe(1);
  });
});

describe("load meter", () => {
  test("load is more than so many in a second, and lingers for one", () => {
    const meter = new LoadMeter(10);
    for (let i = 0; i < 10; i++) expect(meter.handshakeArrived(i)).toBe(false);
    expect(meter.handshakeArrived(10)).toBe(true);
    expect(meter.isUnderLoad(1_009)).toBe(true);
    expect(meter.isUnderLoad(1_010)).toBe(false);
    expect(meter.handshakeArrived(5_000)).toBe(false);
  });

  test("a steady stream below the limit is none, above it is", () => {
    const count = (perSecond: number) => {
      const meter = new LoadMeter(100);
      let under = 0;
      for (let i = 0; i < perSecond * 10; i++) if (meter.handshakeArrived((i * 1000) / perSecond)) under++;
      return under;
    };
    expect(count(90)).toBe(0);
    expect(count(150)).toBeGreaterThan(1_300);
  });
});
