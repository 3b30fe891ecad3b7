/** Every AEAD speaks with every other through the whole protocol, on wires that lose, double and spoil. */
import { loadKernels } from "../native/kernels";
import { NativeMemory } from "../native/native-memory";
import { PlainMemory } from "../native/plain-memory";
import { SCRATCH_BYTES } from "../wireguard/device";
import { FakeNetwork } from "../wireguard/testing/fake-network";
import type { Aead } from "../wireguard/types";
import { AEAD_NAMES, selectAead } from "./select-aead";

const AT = 70_000;
const memory = new NativeMemory(16);
const kernels = loadKernels(memory);
const plain = new PlainMemory(16);

const aeads: readonly Aead[] = [
  ...AEAD_NAMES.map((name) => selectAead(name, memory, kernels)),
  selectAead("wasm", plain, loadKernels(plain)),
];

test.each([
  ["packets in the memory of the native ones", memory.bytes],
  ["packets in the memory of the portable one", plain.bytes],
  ["packets anywhere", undefined],
])("%s", (_name, place) => {
  const net = new FakeNetwork(5);
  net.memory = place?.subarray(AT);
  const scratch = place?.subarray(2 * AT, 2 * AT + SCRATCH_BYTES);
  const nodes = aeads.map((aead, i) => net.node(`192.0.2.${i + 1}:1000`, { aead, scratch }));
  for (let i = 0; i < nodes.length; i++)
    for (let j = i + 1; j < nodes.length; j++) net.connect(nodes[i], `10.0.0.${i}/32`, nodes[j], `10.0.0.${j}/32`);
  const talk = (round: number): void => {
    for (let i = 0; i < nodes.length; i++)
      for (let j = 0; j < nodes.length; j++) {
        if (i === j) continue;
        nodes[i].sendText(`10.0.0.${i}`, `10.0.0.${j}`, `${i}>${j}#${round} ${"x".repeat((round * 37 + i) % 1300)}`);
      }
  };
  Object.assign(net.wire, { delay: 2, spread: 20, loss: 0.2, duplicate: 0.2, truncate: 0.05, corrupt: 0.05 });
  for (let round = 0; round < 40; round++) {
    talk(round);
    net.run(4_000);
  }
  const forged = nodes.reduce((sum, { device }) => sum + device.drops["bad-tag"], 0);
  expect(forged).toBeGreaterThan(10);
  for (const node of nodes) {
    expect(new Set(node.texts).size).toBe(node.texts.length);
    for (const text of node.texts) expect(text).toMatch(/^\d>\d#\d+ x*$/);
  }
  Object.assign(net.wire, { loss: 0, duplicate: 0, truncate: 0, corrupt: 0 });
  talk(40);
  net.run(20_000);
  for (const node of nodes) node.received.length = 0;
  for (let round = 41; round < 81; round++) talk(round);
  net.run(10_000);
  expect(nodes.map((node) => node.texts.length)).toEqual(nodes.map(() => 40 * (nodes.length - 1)));
});
