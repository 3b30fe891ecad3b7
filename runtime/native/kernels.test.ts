import { randomBytes } from "node:crypto";
import { plainKernels } from "../dataplane/checksum";
import { loadKernels } from "./kernels";
import { NativeMemory } from "./native-memory";

const memory = new NativeMemory(2);
const kernels = loadKernels(memory);
const plain = plainKernels(memory.bytes);

test("sum agrees with the plain one at every length and alignment", () => {
  memory.bytes.set(randomBytes(4096), 1000);
  for (let at = 1000; at < 1016; at++)
    for (let len = 0; len < 300; len++) expect(kernels.sum(at, len)).toBe(plain.sum(at, len));
  memory.bytes.fill(0xff, 1000, 100_000);
  for (const len of [1, 2, 1460, 65535, 90_001]) expect(kernels.sum(1000, len)).toBe(plain.sum(1000, len));
});

test("copy moves also where the places overlap", () => {
  const bytes = randomBytes(200);
  memory.bytes.set(bytes, 5000);
  kernels.copy(5010, 5000, 200);
  expect(Buffer.compare(memory.bytes.subarray(5010, 5210), bytes)).toBe(0);
});
