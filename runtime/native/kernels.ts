/** The compiled kernels on a memory of their caller's; see kernels.as.ts for what they do. */
import * as fs from "node:fs";
import * as path from "node:path";
import { WarrenError } from "../errors";

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

/** The cipher; see chacha20poly1305.as.ts. All arguments but `len`, `lo` and `hi` are offsets; nothing is checked here. */
export interface ChaChaKernel {
  seal(work: number, at: number, len: number, lo: number, hi: number): void;
  /** @returns 0 where the tag is wrong: then nothing has changed. */
  open(work: number, at: number, len: number, lo: number, hi: number): number;
  /** For tests: the Poly1305 tag at CHACHA_TAG of a ciphertext, under the 32 bytes at CHACHA_STREAM of the work area. */
  authenticate(work: number, at: number, len: number): void;
}

/** Places in the work area of ChaChaKernel. */
export const CHACHA_STREAM = 64;
export const CHACHA_TAG = 288;

/** A WebAssembly memory in which packets lie. */
export interface PacketMemory {
  /** A WebAssembly.Memory of fixed size. */
  readonly memory: object;
  readonly bytes: Uint8Array;
  /** Takes bytes from the end of the memory for good. @returns their offset, a multiple of 64 */
  reserve(bytes: number): number;
}

/** The compiler's libraries for Node leave it out. */
declare const WebAssembly: {
  Module: new (bytes: Uint8Array) => object;
  Instance: new (module: object, imports: object) => { readonly exports: unknown };
};

/** The compiled file; from sources (under the test runner) that of the build. */
function wasmFile(name: string): string {
  const beside = path.join(__dirname, name);
  return fs.existsSync(beside) ? beside : path.join(__dirname, "../../dist/runtime/native", name);
}

function instantiate(name: string, memory: object): unknown {
  const file = wasmFile(name);
  let bytes: Uint8Array;
  try {
    bytes = fs.readFileSync(file);
  } catch (cause) {
    throw new WarrenError("WARREN_INTERNAL", `${file} is missing: run npm run build.`, { cause });
  }
  return new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } }).exports;
}

/** @throws WarrenError WARREN_INTERNAL where the build left the file out. */
export function loadKernels({ memory }: Pick<PacketMemory, "memory">): Kernels {
  return instantiate("kernels.wasm", memory) as Kernels;
}

/** @throws WarrenError WARREN_INTERNAL where the build left the file out. */
export function loadChaCha({ memory }: Pick<PacketMemory, "memory">): ChaChaKernel {
  return instantiate("chacha20poly1305.wasm", memory) as ChaChaKernel;
}
