/** Throughput and round trip between two namespaces on a veth pair: our data plane at both ends, then wireguard-go at both. */
import * as fs from "node:fs";
import { findProgram } from "../test/support/needs";
import { inner, Pair } from "../test/support/pair";
import { peerPath } from "../test/support/repo";
import { waitFor } from "../test/support/wait";
import type { EndKind } from "../test/support/wireguard-end";
import { type Bench, type Figure, median } from "./lib/figure";

const ROUNDS = 5;
/** Seconds. */
const DURATION = 4;
const PINGS = 300;

export const bench: Bench = {
  unavailable() {
    if (process.platform !== "linux" || process.getuid?.() !== 0) return "needs root on Linux";
    if (!findProgram("iperf3")) return "needs iperf3";
    if (!fs.existsSync(peerPath("wireguard-go"))) return "needs wireguard-go: npm run peers builds it";
    return undefined;
  },

  async run(log) {
    const kinds = ["warren", "wireguard-go"] as const;
    const pairs = new Map<EndKind, Pair>();
    const one = new Map(kinds.map((kind) => [kind, [] as number[]]));
    const four = new Map(kinds.map((kind) => [kind, [] as number[]]));
    const trip = new Map(kinds.map((kind) => [kind, [] as number[]]));
    const memory = new Map(kinds.map((kind) => [kind, [] as number[]]));
    try {
      for (const kind of kinds) pairs.set(kind, await ready(kind));
      // Alternating, so that what else the machine does falls on both alike.
      for (let i = 1; i <= ROUNDS; i++)
        for (const kind of kinds) {
          const pair = pairs.get(kind)!;
          trip.get(kind)!.push(await roundTrip(pair));
          one.get(kind)!.push(await throughput(pair, 1));
          four.get(kind)!.push(await throughput(pair, 4));
          memory.get(kind)!.push(residentMiB(pair.right.pid));
          const last = (values: Map<EndKind, number[]>) => values.get(kind)!.at(-1)!.toFixed(2);
          log(`round ${i} ${kind}: ${last(one)} and ${last(four)} Gbit/s, ${last(trip)} ms`);
        }
    } finally {
      for (const pair of pairs.values()) await pair.dispose();
    }
    const figure = (what: string, unit: string, values: Map<EndKind, number[]>): Figure => ({
      what,
      unit,
      ours: values.get("warren")!,
      other: { name: "wireguard-go", values: values.get("wireguard-go")! },
    });
    return [
      { ...figure("throughput, one TCP stream", "Gbit/s", one), note: `iperf3 for ${DURATION} s, MTU 1420, IPv4` },
      figure("throughput, four TCP streams", "Gbit/s", four),
      { ...figure("round trip", "ms", trip), note: `median of ${PINGS} pings, 5 ms apart` },
      figure("resident memory under load, one end", "MiB", memory),
    ];
  },
};

async function ready(kind: EndKind): Promise<Pair> {
  const pair = await Pair.create({ left: kind, right: kind });
  const server = await pair.right.namespace.start(["iperf3", "-s", "--forceflush"]);
  await server.said(/listening/);
  await waitFor("the first answer", () => roundTrip(pair, 1));
  return pair;
}

/** Gbit/s, as received. */
async function throughput(pair: Pair, streams: number): Promise<number> {
  const argv = ["iperf3", "-J", "-c", inner.right[4], "-t", String(DURATION), "-O", "1", "-P", String(streams)];
  const { stdout } = await pair.left.namespace.run(argv, { timeout: (DURATION + 15) * 1000 });
  return JSON.parse(stdout).end.sum_received.bits_per_second / 1e9;
}

/** Milliseconds. */
async function roundTrip(pair: Pair, count = PINGS): Promise<number> {
  const { stdout } = await pair.left.namespace.run(["ping", "-n", "-c", String(count), "-i", "0.005", inner.right[4]]);
  return median([...stdout.matchAll(/time=([\d.]+)/g)].map(([, time]) => Number(time)));
}

function residentMiB(pid: number): number {
  const status = fs.readFileSync(`/proc/${pid}/status`, "latin1");
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)![1]) / 1024;
}
