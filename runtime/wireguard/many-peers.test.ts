/** What a device of thousands of peers does not do for each of them. */
import { randomBytes } from "node:crypto";
import { INITIATIONS_PER_TICK, REKEY_TIMEOUT, REKEY_TIMEOUT_JITTER } from "./constants";
import { parseEndpoint } from "./endpoint";
import { FakeNetwork } from "./testing/fake-network";
import { PeerTimers } from "./timers";
import type { Endpoint } from "./types";
import { KeyPair } from "./x25519";

const COUNT = 1000;

function crowded(options: { persistentKeepalive: number; endpoint?: Endpoint }) {
  const net = new FakeNetwork();
  const node = net.node("192.0.2.1:1000");
  const peers = Array.from({ length: COUNT }, (_, i) =>
    node.device.addPeer({ publicKey: randomBytes(32), allowedIps: [`10.0.${i >> 8}.${i & 255}/32`], ...options }),
  );
  return { net, node, peers };
}

afterEach(() => {
  jest.restoreAllMocks();
});

test("a timer that is due costs its own peer's look, not everybody's", () => {
  const { net, node } = crowded({ persistentKeepalive: 25 });
  const looks = jest.spyOn(PeerTimers.prototype, "tick");
  net.run(24_000);
  expect(looks).not.toHaveBeenCalled();
  net.run(76_500);
  // Four times each, and no more.
  expect(looks).toHaveBeenCalledTimes(4 * COUNT);
  expect(node.device.nextTimer()).toBeGreaterThan(net.clock.time);
});

test("timers of peers that were removed, and of a device that was stopped, are never due", () => {
  const { net, node, peers } = crowded({ persistentKeepalive: 25 });
  const looks = jest.spyOn(PeerTimers.prototype, "tick");
  for (const peer of peers.slice(1)) node.device.removePeer(peer.publicKey);
  net.run(25_000);
  expect(looks).toHaveBeenCalledTimes(1);
  node.device.stop();
  expect(node.device.nextTimer()).toBe(Number.POSITIVE_INFINITY);
  node.device.start();
  net.run(25_000);
  expect(looks).toHaveBeenCalledTimes(2);
});

test("adding peers and a new private key compute no secret; the first handshake with each does, once", () => {
  const secrets = jest.spyOn(KeyPair.prototype, "shared");
  const { net, node } = crowded({ persistentKeepalive: 0 });
  node.device.setPrivateKey(randomBytes(32));
  expect(secrets).not.toHaveBeenCalled();
  const other = net.node("192.0.2.2:2000");
  net.connect(node, "10.9.0.1/32", other, "10.9.0.2/32");
  node.sendText("10.9.0.1", "10.9.0.2", "here");
  net.run(100);
  expect(other.texts).toEqual(["here"]);
  const first = secrets.mock.calls.length;
  net.run(121_000);
  node.sendText("10.9.0.1", "10.9.0.2", "again");
  net.run(100);
  expect(other.texts).toEqual(["here", "again"]);
  // The second handshake finds the secret of both static keys on either side.
  expect(secrets.mock.calls.length - first).toBe(first - 2);
});

test("of thousands of peers that are added at once each tick begins a few handshakes, and goes on with the next; none is left out", () => {
  const { net, node } = crowded({ persistentKeepalive: 25, endpoint: parseEndpoint("192.0.2.2:2000") });
  const sent = (): number => node.sent(1).length;
  expect(sent()).toBe(0);
  for (let ticks = 1; ticks <= COUNT / INITIATIONS_PER_TICK; ticks++) {
    expect(node.device.nextTimer()).toBeLessThanOrEqual(net.clock.time);
    node.device.tick();
    expect(sent()).toBe(ticks * INITIATIONS_PER_TICK);
  }
  expect(node.device.nextTimer()).toBeGreaterThan(net.clock.time);
  // Nobody answered: all are tried again, as few at a time.
  net.clock.time += REKEY_TIMEOUT + REKEY_TIMEOUT_JITTER;
  node.device.tick();
  expect(sent()).toBe(COUNT + INITIATIONS_PER_TICK);
  net.run(0);
  expect(sent()).toBe(2 * COUNT);
  node.device.stop();
  net.clock.time += REKEY_TIMEOUT;
  node.device.start();
  expect(sent()).toBe(2 * COUNT);
  net.run(0);
  expect(sent()).toBe(3 * COUNT);
});
