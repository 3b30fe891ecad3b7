/** `up` of the tutorial beside the same program with dynamic resources that do nothing, on the embedded engine. */
import { spawn } from "node:child_process";
import * as net from "node:net";
import * as path from "node:path";
import { ROOT } from "../test/support/repo";
import { Scratch } from "../test/support/scratch";
import { waitFor } from "../test/support/wait";
import { type Bench, median } from "./lib/figure";
import { Stack } from "./lib/stack";

const ROUNDS = 5;

export const bench: Bench = {
  unavailable: () => (process.platform === "linux" ? undefined : "needs Linux"),

  async run(log) {
    const scratch = new Scratch();
    try {
      const stacks = { tutorial: new Stack(scratch, "tutorial"), noop: new Stack(scratch, "noop") };
      const times = {
        tutorial: { up: [] as number[], empty: [] as number[] },
        noop: { up: [] as number[], empty: [] as number[] },
      };
      const starts: number[] = [];
      for (let i = 1; i <= ROUNDS; i++) {
        starts.push(await serverStart(7900 + i));
        for (const program of ["tutorial", "noop"] as const) {
          const stack = stacks[program];
          times[program].up.push(await stack.timed("up"));
          times[program].empty.push(await stack.timed("up"));
          await stack.timed("destroy");
          log(
            `round ${i} ${program}: up ${times[program].up.at(-1)!.toFixed(2)} s, empty up ${times[program].empty.at(-1)!.toFixed(2)} s`,
          );
        }
      }
      const start = median(starts);
      const beyond = times.tutorial.up.map((seconds) => Math.max(0, seconds - start));
      const other = (values: number[]) => ({ name: "no-op", values });
      return [
        {
          what: "up of the tutorial, without the start of its apps",
          unit: "s",
          ours: beyond,
          other: other(times.noop.up),
          goal: "≤ 1.3 ×",
          met: median(beyond) <= 1.3 * median(times.noop.up),
          note: `an app alone takes ${start.toFixed(2)} s from spawn to its open port; the first round also starts daemon and keeper, later ones meet them idle`,
        },
        {
          what: "up that changes nothing",
          unit: "s",
          ours: times.tutorial.empty,
          other: other(times.noop.empty),
          goal: "≤ 1.3 ×",
          met: median(times.tutorial.empty) <= 1.3 * median(times.noop.empty),
        },
      ];
    } finally {
      await scratch.dispose();
    }
  },
};

/** Seconds from the spawn of the two servers until both listen. */
async function serverStart(port: number): Promise<number> {
  const start = process.hrtime.bigint();
  const cwd = path.join(ROOT, "bench", "programs", "tutorial");
  const servers = [port, port + 50].map((p) => ({
    port: p,
    child: spawn(process.execPath, ["server.js"], { cwd, env: { ...process.env, PORT: String(p) }, stdio: "ignore" }),
  }));
  try {
    for (const server of servers) await waitFor(`port ${server.port}`, () => listens(server.port), { interval: 2 });
    return Number(process.hrtime.bigint() - start) / 1e9;
  } finally {
    for (const { child } of servers) child.kill("SIGKILL");
  }
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(port, "127.0.0.1", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
}
