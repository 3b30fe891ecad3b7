/** What a process has cost so far, from /proc. */
import * as fs from "node:fs";

/** Seconds of processor time of all its threads, to the nanosecond (not in clock ticks). */
export function cpuSeconds(pid: number): number {
  let nanoseconds = 0;
  for (const thread of fs.readdirSync(`/proc/${pid}/task`))
    nanoseconds += Number(fs.readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "latin1").split(" ")[0]);
  return nanoseconds / 1e9;
}

/** Seconds of processor time that the machine has spent on anything at all, interrupts too. */
export function machineSeconds(): number {
  const [user, nice, system, , , irq, softirq] = fs
    .readFileSync("/proc/stat", "latin1")
    .split("\n")[0]
    .trim()
    .split(/\s+/)
    .slice(1)
    .map(Number);
  // In ticks of a hundredth of a second (proc_stat(5)).
  return (user + nice + system + irq + softirq) / 100;
}

/** MiB; `VmRSS` is what it has now, `VmHWM` the most it ever had. */
export function residentMiB(pid: number, which: "VmRSS" | "VmHWM" = "VmRSS"): number {
  const status = fs.readFileSync(`/proc/${pid}/status`, "latin1");
  return Number(new RegExp(`${which}:\\s+(\\d+) kB`).exec(status)![1]) / 1024;
}

/** From here on `VmHWM` is the most that it has from now. */
export function forgetPeak(pid: number): void {
  fs.writeFileSync(`/proc/${pid}/clear_refs`, "5");
}
