/** What the daemon costs: traffic between two regions after it was killed, and memory while nothing happens. */
import * as fs from "node:fs";
import * as path from "node:path";
import { Program } from "../test/support/process";
import { PROGRAMS } from "../test/support/repo";
import { Scratch } from "../test/support/scratch";
import { sleep, waitFor } from "../test/support/wait";
import { type Bench, median } from "./lib/figure";
import { Stack } from "./lib/stack";

const ROUNDS = 5;
/** Milliseconds of rest before memory is read. */
const REST = 15_000;
/** Milliseconds after the kill in which an answer may arrive that had passed the tunnel before. */
const UNDER_WAY = 20;

export const bench: Bench = {
  unavailable: () => (process.platform === "linux" && process.getuid?.() === 0 ? undefined : "needs root on Linux"),

  async run(log) {
    const scratch = new Scratch();
    try {
      const stack = new Stack(scratch, "tutorial");
      await stack.timed("up");
      await sleep(REST);
      const { pid } = await stack.status();
      const keeper = await stack.keeperPid();
      const resident = memory(pid, "VmRSS") + memory(keeper, "VmRSS");
      const proportional = memory(pid, "Pss") + memory(keeper, "Pss");
      log(`daemon ${memory(pid, "VmRSS").toFixed(0)} MiB, keeper ${memory(keeper, "VmRSS").toFixed(0)} MiB`);

      const gaps: number[] = [];
      for (let i = 1; i <= ROUNDS; i++) {
        // A keeper of its own for each round: one that has seen the daemon die lately waits longer before it starts it again.
        if (i > 1) {
          await stack.timed("destroy");
          await stack.warren("serve", "--stop");
          await stack.timed("up");
        }
        gaps.push(await gapAfterKill(scratch, stack));
        log(`round ${i}: traffic ${gaps.at(-1)!.toFixed(2)} s after the kill`);
      }
      return [
        {
          what: "from kill -9 of the daemon to an answer over the tunnel",
          unit: "s",
          ours: gaps,
          goal: "< 2 s",
          met: median(gaps) < 2,
          note: "an app in ord asks its neighbour in iad over HTTP, a fresh connection each time, 200 ms of patience",
        },
        {
          what: "idle daemon and keeper, memory (PSS)",
          unit: "MiB",
          ours: [proportional],
          goal: "≤ 120 MB",
          met: proportional * 1.048576 <= 120,
          note: "two hosts, one network, two apps, one peer; shared pages of the Node binary are counted once",
        },
        { what: "the same, resident sets added up (RSS)", unit: "MiB", ours: [resident] },
      ];
    } finally {
      await scratch.dispose();
    }
  },
};

/** Seconds from the kill to the first answer that was not under way already. */
async function gapAfterKill(scratch: Scratch, stack: Stack): Promise<number> {
  const watcher = await watch(scratch, stack);
  await waitFor("an answer", () => watcher.latest() > Date.now() - 200, { timeout: 20_000 });
  const { pid } = await stack.status();
  const killed = Date.now();
  process.kill(pid, "SIGKILL");
  const back = await waitFor("traffic after the kill", () => watcher.after(killed + UNDER_WAY), {
    timeout: 30_000,
    interval: 10,
  });
  await watcher.stop();
  await waitFor("the daemon", () => stack.status(), { timeout: 20_000 });
  return (back - killed) / 1000;
}

async function watch(scratch: Scratch, stack: Stack) {
  const { instances } = await stack.status();
  const east = instances.find((instance) => instance.region === "ord")!;
  const west = instances.find((instance) => instance.region === "iad")!;
  const entry = await stack.entry(east.id);
  const script = path.join(PROGRAMS, "http-watch.js");
  const program = await Program.start(
    scratch,
    [...entry.prefix, process.execPath, script, `http://${west.ipv4}:8080/`, "200"],
    { cwd: "/", env: entry.env },
  );
  const times = () => program.stdout.split("\n").filter(Boolean).map(Number);
  return {
    latest: () => times().at(-1) ?? 0,
    stop: () => program.stop(),
    after: (time: number) => times().find((t) => t > time),
  };
}

/** MiB. */
function memory(pid: number, what: "VmRSS" | "Pss"): number {
  const text = fs.readFileSync(`/proc/${pid}/${what === "Pss" ? "smaps_rollup" : "status"}`, "latin1");
  return Number(new RegExp(`^${what}:\\s+(\\d+) kB`, "m").exec(text)![1]) / 1024;
}
