/** Descriptors that a process got from whoever started it. */
import * as fs from "node:fs";

const O_CLOEXEC = 0o2000000;

/**
 * Closes what was inherited beyond standard input, output and error: a process that outlives its starter would hold the starter's
 * pipes open and pass them on to its own children. Call first thing; Node opens its own descriptors close-on-exec, and these stay.
 * @param keep descriptors that were meant for this process
 */
export function closeInherited(keep: readonly number[] = []): void {
  if (process.platform !== "linux") return;
  for (const name of fs.readdirSync("/proc/self/fd")) {
    const fd = Number(name);
    if (fd <= 2 || keep.includes(fd)) continue;
    try {
      const flags = /^flags:\s*([0-7]+)$/m.exec(fs.readFileSync(`/proc/self/fdinfo/${fd}`, "latin1"))?.[1];
      if (flags !== undefined && (Number.parseInt(flags, 8) & O_CLOEXEC) === 0) fs.closeSync(fd);
    } catch {
      // The descriptor that listed the folder is gone already.
    }
  }
}
