#!/usr/bin/env node
/** Compiles the kernels in AssemblyScript, runtime/native/*.as.ts, to dist/runtime/native/*.wasm. */
import * as fs from "node:fs";
import * as path from "node:path";
import { fileURLToPath } from "node:url";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..");

/** Throws with the compiler's words when it fails. */
export async function buildKernels() {
  // Imported here: tools/setup.mjs must load before anything is installed.
  const asc = (await import("assemblyscript/asc")).default;
  const folder = path.join(root, "dist", "runtime", "native");
  fs.mkdirSync(folder, { recursive: true });
  const options = ["-O3", "--enable", "simd", "--enable", "bulk-memory", "--runtime", "stub", "--noAssert"];
  for (const name of ["kernels", "chacha20poly1305"]) {
    const files = [
      `runtime/native/${name}.as.ts`,
      "--baseDir",
      root,
      "--importMemory",
      "-o",
      `dist/runtime/native/${name}.wasm`,
    ];
    const { error, stderr } = await asc.main([...files, ...options]);
    if (error) throw new Error(`AssemblyScript: ${error.message}\n${stderr.toString()}`);
  }
}

if (process.argv[1] && fs.realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) await buildKernels();
