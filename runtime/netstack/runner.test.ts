import { StackRunner } from "./runner";
import type { Tcp } from "./tcp";
import { MemoryPipe } from "./testing/pipes";

test("stacks of a process look after idle peers, and have one memory", () => {
  const [one, other] = MemoryPipe.pair().map(
    (pipe, i) => new StackRunner({ pipe, addresses: [`10.0.0.${i + 1}`], mtu: 1420 }),
  );
  const [tcp, otherTcp] = [one, other].map(({ stack }) => stack.tcp as Tcp);
  expect(tcp.limits.keepAlive).toBe(60_000);
  tcp.memory.charge(768 << 20);
  expect([otherTcp.memory.used, otherTcp.memory.exhausted]).toEqual([0, true]);
  tcp.memory.charge(-(768 << 20));
  expect(otherTcp.memory.scarce).toBe(false);
  one.close();
  other.close();
});
