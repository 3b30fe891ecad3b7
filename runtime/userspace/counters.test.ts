import { StackRunner } from "../netstack/runner";
import { MemoryPipe } from "../netstack/testing/pipes";
import { Budget } from "./budget";
import { BoundWatch, countersOf, type StackCounters } from "./counters";
import { DatagramRelay } from "./datagram-relay";

const counters = (id: string, lost: Record<string, number>): StackCounters => ({
  id,
  packetsIn: 0,
  packetsOut: 0,
  connections: 0,
  memory: 0,
  lost,
});

test("each bound that was reached is told once, with how often since the last time; what is lost otherwise is not", () => {
  const told: [string, Record<string, number>][] = [];
  const watch = new BoundWatch((id, lost) => told.push([id, lost]));
  watch.look([counters("a", { "ip checksum": 7 }), counters("b", {})]);
  expect(told).toEqual([]);
  watch.look([counters("a", { "ip checksum": 9, "tcp memory": 3 }), counters("b", { "connections refused": 1 })]);
  expect(told.splice(0)).toEqual([
    ["a", { "tcp memory": 3 }],
    ["b", { "connections refused": 1 }],
  ]);
  watch.look([counters("a", { "tcp memory": 3 }), counters("b", { "connections refused": 1 })]);
  expect(told).toEqual([]);
  // b was made anew meanwhile.
  watch.look([counters("a", { "tcp memory": 4, "ip rate": 1 }), counters("b", {})]);
  watch.look([counters("b", { "connections refused": 2 })]);
  expect(told).toEqual([
    ["a", { "tcp memory": 1, "ip rate": 1 }],
    ["b", { "connections refused": 2 }],
  ]);
});

test("what several users of a stack lost for the same reason is added up; what nobody lost is left out", () => {
  const runner = new StackRunner({ pipe: MemoryPipe.pair()[0], addresses: ["10.0.0.1"], mtu: 1420 });
  const lost: Record<string, number>[] = [
    { "datagrams dropped": 2, "connections refused": 0 },
    { "datagrams dropped": 3 },
  ];
  expect(countersOf("a", runner.stack, lost).lost).toEqual({ "datagrams dropped": 5 });
  runner.close();
});

test("a budget counts what it refused, and what is given back is there again", () => {
  const budget = new Budget(2, 3);
  const taken = ["a", "a", "a", "b", "b"].map((holder) => budget.take(holder));
  expect(taken.map((giveBack) => giveBack !== undefined)).toEqual([true, true, false, true, false]);
  expect([budget.held, budget.refused]).toEqual([3, 2]);
  taken[0]!();
  taken[0]!();
  expect(budget.held).toBe(2);
  expect(budget.take("b")).toBeDefined();
});

test("a relay counts the pairs that gave way to newer ones", () => {
  const relay = new DatagramRelay({ each: 2, total: 3, reply: () => undefined, refuse: () => undefined });
  const send = (holder: string, port: number) =>
    relay.forward(holder, { address: "10.0.0.1", port }, { address: "10.0.0.2", port: 9 }, Buffer.alloc(1), () => [
      { address: "127.0.0.1", port: 9 },
    ]);
  send("a", 1);
  send("a", 2);
  send("a", 3);
  send("b", 1000);
  send("b", 1001);
  const lost = { "datagram pairs evicted": 2, "datagrams dropped": 0 };
  expect([relay.size, relay.lost]).toEqual([3, lost]);
  relay.close();
  expect([relay.size, relay.lost]).toEqual([0, lost]);
});

test("a relay counts the datagrams that it did not send: more than 16 while their socket is being connected", () => {
  const relay = new DatagramRelay({ each: 2, total: 3, reply: () => undefined, refuse: () => undefined });
  for (let i = 0; i < 20; i++)
    relay.forward("a", { address: "10.0.0.1", port: 1 }, { address: "10.0.0.2", port: 9 }, Buffer.alloc(1), () => [
      { address: "127.0.0.1", port: 9 },
    ]);
  expect(relay.lost).toEqual({ "datagram pairs evicted": 0, "datagrams dropped": 4 });
  relay.close();
});
