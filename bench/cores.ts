/** What a second thread brings: two hosts of one data plane on one thread and on two, with an app in a namespace of its own on each. */
import * as os from "node:os";
import * as path from "node:path";
import { Namespace } from "../test/support/namespace";
import { findProgram } from "../test/support/needs";
import type { Program } from "../test/support/process";
import { ROOT } from "../test/support/repo";
import { Scratch } from "../test/support/scratch";
import { waitFor } from "../test/support/wait";
import { type Bench, ROUNDS } from "./lib/figure";
import { cpuSeconds, residentMiB } from "./lib/process-cost";
import { DURATION, tcp } from "./lib/tunnel-traffic";
import type { TwoHosts } from "./programs/two-hosts";

const MTU = 1420;
const PROGRAM = path.join(ROOT, "dist", "bench", "programs", "two-hosts.js");
const ADDRESSES = ["10.66.0.3", "10.66.0.4"] as const;
const NAMES = ["one", "four", "cpu", "memory"] as const;
type Name = (typeof NAMES)[number];

export const bench: Bench = {
  unavailable() {
    if (process.platform !== "linux" || process.getuid?.() !== 0) return "needs root on Linux";
    return findProgram("iperf3") ? undefined : "needs iperf3";
  },

  async run(log) {
    const sites = [1, 2].map((threads) => ({
      threads,
      values: new Map<Name, number[]>(NAMES.map((name) => [name, []])),
    }));
    const machines: Machine[] = [];
    try {
      for (const { threads } of sites) machines.push(await Machine.create(threads));
      for (let round = 1; round <= ROUNDS; round++)
        for (const [i, { threads, values }] of sites.entries()) {
          const measured = await machines[i]!.round();
          for (const name of NAMES) values.get(name)!.push(measured[name]);
          log(`round ${round}, ${threads} thread(s): ${measured.one.toFixed(2)}, ${measured.four.toFixed(2)} Gbit/s`);
        }
    } finally {
      for (const machine of machines) await machine.dispose();
    }
    const [one, two] = sites;
    const rows: [Name, string, string, string?][] = [
      [
        "one",
        "two threads, one TCP stream",
        "Gbit/s",
        `iperf3 for ${DURATION} s, ${os.availableParallelism()} cores for all`,
      ],
      ["four", "two threads, four TCP streams", "Gbit/s"],
      ["cpu", "two threads, processor time with one stream", "s/GB", "both hosts; they are one process"],
      ["memory", "two threads, memory afterwards", "MiB", "VmRSS"],
    ];
    return rows.map(([name, what, unit, note]) => ({
      ...{ what, unit, ours: two!.values.get(name)!, other: { name: "one thread", values: one!.values.get(name)! } },
      ...(note === undefined ? {} : { note }),
    }));
  },
};

/** Two apps, and the data plane between them in a third namespace. */
class Machine {
  private constructor(
    private readonly scratch: Scratch,
    private readonly client: Namespace,
    private readonly program: Program,
  ) {}

  static async create(threads: number): Promise<Machine> {
    const scratch = new Scratch();
    try {
      const [host, ...apps] = [
        await Namespace.create(scratch, "h"),
        await Namespace.create(scratch, "a"),
        await Namespace.create(scratch, "b"),
      ];
      const settings = {
        ...{ threads, mtu: MTU },
        apps: apps.map(({ name }, i) => ({
          netns: `/run/netns/${name}`,
          device: scratch.device(),
          address: ADDRESSES[i]!,
        })) as unknown as TwoHosts["apps"],
      } satisfies TwoHosts;
      const program = await host!.start([process.execPath, PROGRAM, JSON.stringify(settings)]);
      await program.said(/ready/);
      for (const [i, app] of apps.entries()) {
        const { device, address } = settings.apps[i]!;
        await app.addAddress(device, `${address}/24`);
        await app.ip("link", "set", device, "mtu", String(MTU), "up");
      }
      const server = await apps[1]!.start(["iperf3", "-s", "--forceflush"]);
      await server.said(/listening/);
      await waitFor("the first bytes", () => apps[0]!.run(["iperf3", "-c", ADDRESSES[1], "-n", "1"]));
      return new Machine(scratch, apps[0]!, program);
    } catch (error) {
      await scratch.dispose();
      throw error;
    }
  }

  async round(): Promise<Record<Name, number>> {
    const before = cpuSeconds(this.program.pid);
    const one = await tcp(this.client, ADDRESSES[1], 1);
    const cpu = (cpuSeconds(this.program.pid) - before) / one.gigabytes;
    const four = await tcp(this.client, ADDRESSES[1], 4);
    return { one: one.gigabits, four: four.gigabits, cpu, memory: residentMiB(this.program.pid) };
  }

  dispose(): Promise<void> {
    return this.scratch.dispose();
  }
}
