import type { Peer } from "../peer";
import { type ConnectOptions, FakeNetwork, type FakeNode } from "./fake-network";

export interface Pair {
  readonly net: FakeNetwork;
  readonly a: FakeNode;
  readonly b: FakeNode;
  /** b as a sees it, and the other way round. */
  readonly ab: Peer;
  readonly ba: Peer;
  /** `a` sends text to `b`, or back. */
  readonly toB: (text: string) => string;
  readonly toA: (text: string) => string;
}

/** Two devices, 10.0.0.1 and 10.0.0.2 inside. */
export function pairOf(options: ConnectOptions & { seed?: number } = {}): Pair {
  const net = new FakeNetwork(options.seed);
  const a = net.node("192.0.2.1:1000");
  const b = net.node("192.0.2.2:2000");
  const { ab, ba } = net.connect(a, "10.0.0.1/32", b, "10.0.0.2/32", options);
  const toB = (text: string): string => a.sendText("10.0.0.1", "10.0.0.2", text);
  const toA = (text: string): string => b.sendText("10.0.0.2", "10.0.0.1", text);
  return { net, a, b, ab, ba, toB, toA };
}

/** As `pairOf`, with a session that `a` began. */
export function connectedPair(options: ConnectOptions & { seed?: number } = {}): Pair {
  const pair = pairOf(options);
  pair.toB("hello");
  pair.net.run(100);
  if (pair.b.texts[0] !== "hello") throw new Error("the pair did not connect");
  pair.b.received.length = 0;
  pair.net.log.length = 0;
  return pair;
}
