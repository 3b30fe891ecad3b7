/**
 * User-space WireGuard programs against each other, each at both ends of a veth pair between two namespaces: warren-wg as it is
 * shipped, wireguard-go, and boringtun where it can be had. They take turns, so that what else the machine does falls on all alike.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import { newKeyPair } from "../test/support/keys";
import { findProgram } from "../test/support/needs";
import { inner, Pair } from "../test/support/pair";
import { run } from "../test/support/process";
import { peerPath, ROOT } from "../test/support/repo";
import { waitFor } from "../test/support/wait";
import type { EndKind } from "../test/support/wireguard-end";
import { type Bench, type Compared, type Figure, median, ROUNDS, ratio } from "./lib/figure";
import type { HandshakeLoad } from "./lib/handshake-load";
import { cpuSeconds, residentMiB } from "./lib/process-cost";

/** Seconds. */
const DURATION = 4;
const PINGS = 300;
/** Bytes of a full datagram inside an MTU of 1420, and of a small one. */
const FULL = 1392;
const SMALL = 64;
/** Peers that shake hands, and how many a second: boringtun asks for cookies above 100. */
const HANDSHAKES = 300;
const HANDSHAKE_RATE = 80;
const IDLE_PEERS = 10_000;
const ADDED_PEERS = 40;

const OURS = "warren-wg";
const OTHERS = ["wireguard-go", "boringtun"] as const;

interface Measure {
  readonly what: string;
  readonly unit: string;
  readonly note?: string;
  readonly goal?: { readonly text: string; readonly met: (ratio: number) => boolean };
}

const atLeast = (limit: number) => ({ text: `≥ ${limit} × wireguard-go`, met: (r: number) => r >= limit });
const atMost = (limit: number) => ({ text: `≤ ${limit} × wireguard-go`, met: (r: number) => r <= limit });

const MEASURES = {
  out1: {
    what: "one TCP stream out",
    unit: "Gbit/s",
    goal: atLeast(1.4),
    note: `iperf3 for ${DURATION} s after one of warming up, MTU 1420, IPv4`,
  },
  back1: { what: "one TCP stream back", unit: "Gbit/s", goal: atLeast(1.4) },
  out4: { what: "four TCP streams out", unit: "Gbit/s", goal: atLeast(1.3) },
  back4: { what: "four TCP streams back", unit: "Gbit/s", goal: atLeast(1.3) },
  udpSmall: {
    what: `UDP, ${SMALL} bytes, received`,
    unit: "1000 packets/s",
    note: "iperf3 sends as fast as it can; what does not get through is the loss below",
  },
  lossSmall: { what: `UDP, ${SMALL} bytes, lost`, unit: "%" },
  udpFull: { what: `UDP, ${FULL} bytes, received`, unit: "1000 packets/s" },
  lossFull: { what: `UDP, ${FULL} bytes, lost`, unit: "%" },
  idle: { what: "round trip, idle", unit: "ms", goal: atMost(0.7), note: `median of ${PINGS} pings, 5 ms apart` },
  loaded: { what: "round trip beside one TCP stream", unit: "ms" },
  cpu: {
    what: "processor time, both ends",
    unit: "s/GB",
    goal: atMost(0.7),
    note: "all threads of both programs, while one TCP stream goes out",
  },
  memory: { what: "peak memory after all that, one end", unit: "MiB", goal: atMost(0.35), note: "VmHWM" },
  handshakes: {
    what: "handshakes answered",
    unit: "for each second of processor time",
    note: `${HANDSHAKES} peers, ${HANDSHAKE_RATE} a second`,
  },
  peersMemory: { what: `memory with ${IDLE_PEERS} idle peers`, unit: "MiB", note: "VmRSS, after the above" },
  addPeer: {
    what: `adding a peer to ${IDLE_PEERS}`,
    unit: "ms",
    note: `median of ${ADDED_PEERS} times wg set, its start included`,
  },
} satisfies Record<string, Measure>;

type Name = keyof typeof MEASURES;

export const bench: Bench = {
  unavailable() {
    if (process.platform !== "linux" || process.getuid?.() !== 0) return "needs root on Linux";
    for (const program of ["iperf3", "wg", "ping"]) if (!findProgram(program)) return `needs ${program}`;
    if (!fs.existsSync(peerPath("wireguard-go"))) return "needs wireguard-go: npm run peers builds it";
    return undefined;
  },

  async run(log) {
    const others = OTHERS.filter((kind) => fs.existsSync(peerPath(kind)));
    for (const kind of OTHERS)
      if (!others.includes(kind)) log(`${kind} is left out: it is not built (npm run peers builds it)`);
    const pairs = new Map<EndKind, Pair>();
    const values = new Map<EndKind, Map<Name, number[]>>();
    const note = (kind: EndKind, name: Name, value: number): void => {
      const all = values.get(kind)!;
      all.set(name, [...(all.get(name) ?? []), value]);
    };
    try {
      for (const kind of [OURS, ...others] as const) {
        pairs.set(kind, await ready(kind));
        values.set(kind, new Map());
      }
      for (let i = 1; i <= ROUNDS; i++)
        for (const [kind, pair] of pairs) {
          await traffic(pair, (name, value) => note(kind, name, value));
          const last = (name: Name) => values.get(kind)!.get(name)!.at(-1)!.toFixed(2);
          log(`round ${i} ${kind}: ${last("out1")} and ${last("out4")} Gbit/s out, ${last("idle")} ms`);
        }
      for (const [kind, pair] of pairs) note(kind, "memory", residentMiB(pair.right.pid, "VmHWM"));
      for (const [kind, pair] of pairs)
        try {
          note(kind, "handshakes", await handshakes(pair));
          await manyPeers(pair, (name, value) => note(kind, name, value));
          log(`${kind}: handshakes and ${IDLE_PEERS} peers done`);
        } catch (error) {
          if (kind === OURS) throw error;
          log(`${kind} is left out of what is about many peers: ${(error as Error).message}`);
        }
    } finally {
      for (const pair of pairs.values()) await pair.dispose();
    }
    return (Object.keys(MEASURES) as Name[]).map((name) => {
      const { goal, ...measure }: Measure = MEASURES[name];
      const other: Compared[] = others.flatMap((kind) => {
        const measured = values.get(kind)!.get(name);
        return measured === undefined ? [] : [{ name: kind, values: measured }];
      });
      const figure: Figure = { ...measure, ours: values.get(OURS)!.get(name)!, other };
      return goal === undefined ? figure : { ...figure, goal: goal.text, met: goal.met(ratio(figure)!) };
    });
  },
};

async function ready(kind: EndKind): Promise<Pair> {
  const pair = await Pair.create({ left: kind, right: kind });
  const server = await pair.right.namespace.start(["iperf3", "-s", "--forceflush"]);
  await server.said(/listening/);
  await waitFor("the first answer", () => roundTrip(pair, 1));
  return pair;
}

async function traffic(pair: Pair, note: (name: Name, value: number) => void): Promise<void> {
  const cpu = () => cpuSeconds(pair.left.pid) + cpuSeconds(pair.right.pid);
  note("idle", await roundTrip(pair));
  const before = cpu();
  const out = await tcp(pair, 1);
  note("out1", out.gigabits);
  note("cpu", (cpu() - before) / out.gigabytes);
  note("back1", (await tcp(pair, 1, "-R")).gigabits);
  note("out4", (await tcp(pair, 4)).gigabits);
  note("back4", (await tcp(pair, 4, "-R")).gigabits);
  for (const [size, received, lost] of [
    [SMALL, "udpSmall", "lossSmall"],
    [FULL, "udpFull", "lossFull"],
  ] as const) {
    const result = await udp(pair, size);
    note(received, result.received / 1000);
    note(lost, result.lost);
  }
  const load = tcp(pair, 1);
  await new Promise((resolve) => setTimeout(resolve, 1500));
  note("loaded", await roundTrip(pair));
  await load;
}

async function iperf(pair: Pair, ...args: string[]) {
  const argv = ["iperf3", "-J", "-c", inner.right[4], "-t", String(DURATION), "-O", "1", ...args];
  const { stdout } = await pair.left.namespace.run(argv, { timeout: (DURATION + 20) * 1000 });
  return JSON.parse(stdout).end;
}

/** What arrived; the gigabytes are those of all the time, warming up included. */
async function tcp(pair: Pair, streams: number, ...args: string[]): Promise<{ gigabits: number; gigabytes: number }> {
  const { sum_received } = await iperf(pair, "-P", String(streams), ...args);
  const gigabits = sum_received.bits_per_second / 1e9;
  return { gigabits, gigabytes: (gigabits / 8) * (DURATION + 1) };
}

/** Packets a second that arrived, and percent that did not. */
async function udp(pair: Pair, size: number): Promise<{ received: number; lost: number }> {
  const { sum_received, sum } = await iperf(pair, "-u", "-b", "0", "-l", String(size));
  const { packets, lost_packets, seconds } = sum_received ?? sum;
  return { received: (packets - lost_packets) / seconds, lost: (100 * lost_packets) / packets };
}

/** Milliseconds. */
async function roundTrip(pair: Pair, count = PINGS): Promise<number> {
  const { stdout } = await pair.left.namespace.run(["ping", "-n", "-c", String(count), "-i", "0.005", inner.right[4]]);
  return median([...stdout.matchAll(/time=([\d.]+)/g)].map(([, time]) => Number(time)));
}

/** How many the right end answers for each second of its processor time. */
async function handshakes(pair: Pair): Promise<number> {
  const keys = Array.from({ length: HANDSHAKES }, newKeyPair);
  await pair.right.setPeers(...keys.map(({ publicKey }, i) => ({ publicKey, allowedIps: [idleAddress(i)] })));
  const load: HandshakeLoad = {
    endpoint: `192.0.2.2:${pair.right.port}`,
    publicKey: pair.right.publicKey,
    privateKeys: keys.map(({ privateKey }) => privateKey),
    rate: HANDSHAKE_RATE,
  };
  const before = cpuSeconds(pair.right.pid);
  const program = [process.execPath, path.join(ROOT, "dist", "bench", "lib", "handshake-load.js")];
  const { stdout } = await pair.left.namespace.run(program, { input: JSON.stringify(load), timeout: 60_000 });
  const { done } = JSON.parse(stdout);
  if (done < HANDSHAKES) throw new Error(`${pair.right.kind} answered ${done} of ${HANDSHAKES} handshakes`);
  return done / (cpuSeconds(pair.right.pid) - before);
}

async function manyPeers(pair: Pair, note: (name: Name, value: number) => void): Promise<void> {
  const { right } = pair;
  const newPeer = (i: number) => ({ publicKey: newKeyPair().publicKey, allowedIps: [idleAddress(i)] });
  await right.setPeers(...Array.from({ length: IDLE_PEERS }, (_, i) => newPeer(i)));
  note("peersMemory", residentMiB(right.pid));
  const times: number[] = [];
  for (let i = 0; i < ADDED_PEERS; i++) {
    const { publicKey, allowedIps } = newPeer(IDLE_PEERS + i);
    const start = process.hrtime.bigint();
    await run(["wg", "set", right.device, "peer", publicKey, "allowed-ips", allowedIps.join(",")]);
    times.push(Number(process.hrtime.bigint() - start) / 1e6);
  }
  note("addPeer", median(times));
}

function idleAddress(i: number): string {
  return `10.${100 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}/32`;
}
