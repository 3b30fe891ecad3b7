/** Small Go programs of tests. */
import * as fs from "node:fs";
import { run } from "./process";
import type { Scratch } from "./scratch";

/** Builds a program of one file, without the C library. @returns the program, which any account may run */
export async function buildGo(scratch: Scratch, name: string, text: string): Promise<string> {
  const source = scratch.file(`${name}.go`);
  fs.writeFileSync(source, text);
  const program = scratch.file(name);
  await run(["go", "build", "-o", program, source], {
    timeout: 60_000,
    env: { CGO_ENABLED: "0", GOFLAGS: "-mod=mod" },
  });
  fs.chmodSync(program, 0o755);
  return program;
}
