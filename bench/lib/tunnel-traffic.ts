/** Traffic through a pair of WireGuard programs, and what it costs them. */
import type { Namespace } from "../../test/support/namespace";
import { inner, Pair } from "../../test/support/pair";
import { waitFor } from "../../test/support/wait";
import type { EndKind } from "../../test/support/wireguard-end";
import { median } from "./figure";
import { cpuSeconds, forgetPeak, residentMiB } from "./process-cost";

/** Seconds that count, after one of warming up. */
export const DURATION = 4;
const SHORT = 3;
export const PINGS = 300;
export const BRISK_PINGS = 1000;
/** Bytes of a full datagram inside an MTU of 1420, and of a small one. */
export const FULL = 1392;
export const SMALL = 64;

export type TrafficName =
  | "out1"
  | "back1"
  | "out4"
  | "back4"
  | "udpSmall"
  | "lossSmall"
  | "udpFull"
  | "lossFull"
  | "idle"
  | "brisk"
  | "loaded"
  | "cpu"
  | "cpuSending"
  | "cpuReceiving"
  | "cpuBack"
  | "memory";

/** A pair whose right end has an iperf3 server, once it has answered. */
export async function ready(kind: EndKind): Promise<Pair> {
  const pair = await Pair.create({ left: kind, right: kind });
  const server = await pair.right.namespace.start(["iperf3", "-s", "--forceflush"]);
  await server.said(/listening/);
  await waitFor("the first answer", () => roundTrip(pair, 1));
  return pair;
}

/** One round of everything. */
export async function traffic(pair: Pair, note: (name: TrafficName, value: number) => void): Promise<void> {
  const { namespace } = pair.left;
  const to = inner.right[4];
  forgetPeak(pair.right.pid);
  note("idle", await roundTrip(pair));
  note("brisk", await roundTrip(pair, BRISK_PINGS, 0.5));
  const cost = async (run: () => Promise<Moved>) => {
    const cpu = () => [pair.left, pair.right].map(({ pid }) => cpuSeconds(pid));
    const before = cpu();
    const moved = await run();
    const [left, right] = cpu().map((seconds, i) => (seconds - before[i]!) / moved.gigabytes);
    return { ...moved, left: left!, right: right! };
  };
  const out = await cost(() => tcp(namespace, to, 1));
  note("out1", out.gigabits);
  note("cpu", out.left + out.right);
  note("cpuSending", out.left);
  note("cpuReceiving", out.right);
  const back = await cost(() => tcp(namespace, to, 1, "-R"));
  note("back1", back.gigabits);
  note("cpuBack", back.left + back.right);
  note("out4", (await tcp(namespace, to, 4)).gigabits);
  note("back4", (await tcp(namespace, to, 4, "-R")).gigabits);
  for (const [size, received, lost] of [
    [SMALL, "udpSmall", "lossSmall"],
    [FULL, "udpFull", "lossFull"],
  ] as const) {
    const result = await udp(namespace, to, size);
    note(received, result.received / 1000);
    note(lost, result.lost);
  }
  const load = tcp(namespace, to, 1);
  await new Promise((resolve) => setTimeout(resolve, 1500));
  note("loaded", await roundTrip(pair));
  await load;
  note("memory", residentMiB(pair.right.pid, "VmHWM"));
}

async function iperf(from: Namespace, to: string, seconds: number, ...args: string[]) {
  const argv = ["iperf3", "-J", "-c", to, "-t", String(seconds), ...args];
  const { stdout } = await from.run(argv, { timeout: (seconds + 20) * 1000 });
  return JSON.parse(stdout).end;
}

interface Moved {
  readonly gigabits: number;
  readonly gigabytes: number;
}

/** What arrived; the gigabytes are those of all the time, warming up included. */
export async function tcp(from: Namespace, to: string, streams: number, ...args: string[]): Promise<Moved> {
  const { sum_received } = await iperf(from, to, DURATION, "-O", "1", "-P", String(streams), ...args);
  const gigabits = sum_received.bits_per_second / 1e9;
  return { gigabits, gigabytes: (gigabits / 8) * (DURATION + 1) };
}

/** Packets a second that arrived, and percent that did not. Without warming up: what iperf3 leaves out there it counts as lost. */
async function udp(from: Namespace, to: string, size: number): Promise<{ received: number; lost: number }> {
  const { sum_received, sum } = await iperf(from, to, SHORT, "-u", "-b", "0", "-l", String(size));
  const { packets, lost_packets, seconds } = sum_received ?? sum;
  return { received: (packets - lost_packets) / seconds, lost: (100 * lost_packets) / packets };
}

/** Milliseconds. */
async function roundTrip(pair: Pair, count = PINGS, apart = 5): Promise<number> {
  const argv = ["ping", "-n", "-c", String(count), "-i", String(apart / 1000), inner.right[4]];
  const { stdout } = await pair.left.namespace.run(argv);
  return median([...stdout.matchAll(/time=([\d.]+)/g)].map(([, time]) => Number(time)));
}
