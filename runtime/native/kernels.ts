/** The compiled kernels on a memory of their caller's; see kernels.as.ts for what they do. */
import * as fs from "node:fs";
import * as path from "node:path";
import { WarrenError } from "../errors";
import type { NativeMemory } from "./packet-io";

/** All arguments but `len`, `lo` and `hi` are offsets into the memory; nothing is checked here. */
export interface Kernels {
  /** Ones' complement sum of big-endian words, folded to 16 bits. */
  sum(at: number, len: number): number;
  copy(to: number, from: number, len: number): void;
  lend(work: number, at: number, len: number, lo: number, hi: number): void;
  finishSeal(work: number, at: number, len: number): void;
  /** @returns 0 where the tag is wrong. */
  finishOpen(work: number, at: number, len: number): number;
}

/** The compiler's libraries for Node leave it out. */
declare const WebAssembly: {
  Module: new (bytes: Uint8Array) => object;
  Instance: new (module: object, imports: object) => { readonly exports: unknown };
};

/** The compiled file; from sources (under the test runner) that of the build. */
function wasmFile(): string {
  const beside = path.join(__dirname, "kernels.wasm");
  return fs.existsSync(beside) ? beside : path.join(__dirname, "../../dist/runtime/native/kernels.wasm");
}

/** @throws WarrenError WARREN_INTERNAL where the build left the file out. */
export function loadKernels(memory: NativeMemory): Kernels {
  let bytes: Uint8Array;
  try {
    bytes = fs.readFileSync(wasmFile());
  } catch (cause) {
    throw new WarrenError("WARREN_INTERNAL", `${wasmFile()} is missing: run npm run build.`, { cause });
  }
  const imports = { env: { memory: memory.memory } };
  return new WebAssembly.Instance(new WebAssembly.Module(bytes), imports).exports as Kernels;
}
