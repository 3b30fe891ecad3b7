/**
 * User-space WireGuard programs against each other, each at both ends of a veth pair between two namespaces: warren-wg as it is
 * shipped, wireguard-go and boringtun where they can be had. They take turns, so that what else the machine does falls on all alike.
 */
import * as fs from "node:fs";
import { findProgram } from "../test/support/needs";
import type { Pair } from "../test/support/pair";
import { hasToolchain, peerPath } from "../test/support/repo";
import { AppToApp } from "./lib/app-to-app";
import { type Bench, type Compared, type Figure, type Goal, judged, ROUNDS } from "./lib/figure";
import { ADDED_PEERS, handshakes, IDLE_PEERS, manyPeers, PACED, type PeersName } from "./lib/tunnel-peers";
import { BRISK_PINGS, DURATION, FULL, PINGS, ready, SMALL, type TrafficName, traffic } from "./lib/tunnel-traffic";

const OURS = "warren-wg";
const OTHERS = ["wireguard-go", "boringtun"] as const;
type Kind = typeof OURS | (typeof OTHERS)[number];
/** Rounds of what is about many peers: each begins with fresh programs. */
const PEER_ROUNDS = Math.min(ROUNDS, 3);

interface Measure {
  readonly what: string;
  readonly unit: string;
  readonly note?: string;
  readonly goal?: Goal;
}

const atLeast = (limit: number): Goal => ({ text: `≥ ${limit} × wireguard-go`, met: (r) => r >= limit });
const atMost = (limit: number): Goal => ({ text: `≤ ${limit} × wireguard-go`, met: (r) => r <= limit });

const MEASURES: Readonly<Record<TrafficName | PeersName, Measure>> = {
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
  brisk: {
    what: "round trip, pings close together",
    unit: "ms",
    note: `median of ${BRISK_PINGS} pings, 0.5 ms apart: what a program has just used is still in the processor's caches`,
  },
  loaded: { what: "round trip beside one TCP stream", unit: "ms" },
  cpu: {
    what: "processor time, both ends",
    unit: "s/GB",
    goal: atMost(0.7),
    note: "all threads of both programs, while one TCP stream goes out",
  },
  cpuSending: { what: "of that, the end that sends", unit: "s/GB" },
  cpuReceiving: { what: "of that, the end that receives", unit: "s/GB" },
  cpuBack: {
    what: "processor time, both ends, the other way",
    unit: "s/GB",
    goal: atMost(0.7),
    note: "while one TCP stream comes back",
  },
  memory: {
    what: "peak memory at load, one end",
    unit: "MiB",
    goal: atMost(0.35),
    note: "VmHWM of each round",
  },
  handshakes: {
    what: "handshakes answered",
    unit: "for each second of processor time",
    note: `${PACED.peers} peers, ${PACED.rate} a second`,
  },
  handshakesMax: {
    what: "handshakes answered at most",
    unit: "1/s",
    note: "16 under way at once, each peer from an address of its own, cookies given where they are asked for",
  },
  peersMemory: { what: `memory with ${IDLE_PEERS} idle peers`, unit: "MiB", note: "VmRSS of a fresh program" },
  addPeer: {
    what: `adding a peer to ${IDLE_PEERS}`,
    unit: "ms",
    note: `each round the median of ${ADDED_PEERS} times wg set, its start included`,
  },
};

const APP_NOTE =
  "iperf3 on loopback at both ends; each end is a Node program that has joined the network with WARREN_IO=portable";
const asBoringtun: Goal = { text: "≥ 1 × boringtun's TUN", met: (r) => r >= 1 };

export const bench: Bench = {
  unavailable() {
    if (process.platform !== "linux" || process.getuid?.() !== 0) return "needs root on Linux";
    for (const program of ["iperf3", "wg", "ping"]) if (!findProgram(program)) return `needs ${program}`;
    return undefined;
  },

  async run(log) {
    const results = new Results(log);
    const pairs = new Map<Kind, Pair>();
    let apps: AppToApp | undefined;
    try {
      for (const kind of [OURS, ...OTHERS] as const)
        await results.attempt(kind, async () => {
          if (kind !== OURS) requireBuilt(kind);
          pairs.set(kind, await ready(kind));
        });
      apps = await AppToApp.create();
      const appOut: number[] = [];
      const appBack: number[] = [];
      for (let i = 1; i <= ROUNDS; i++) {
        for (const [kind, pair] of pairs)
          await results.attempt(kind, async () => {
            await traffic(pair, (name, value) => results.note(kind, name, value));
            const last = (name: TrafficName) => results.values(kind, name).at(-1)!.toFixed(2);
            log(`round ${i} ${kind}: ${last("out1")} and ${last("out4")} Gbit/s out, ${last("idle")} ms`);
          });
        appOut.push(await apps.throughput());
        appBack.push(await apps.throughput("-R"));
        log(`round ${i} app to app: ${appOut.at(-1)!.toFixed(2)} out, ${appBack.at(-1)!.toFixed(2)} Gbit/s back`);
      }
      for (let i = 1; i <= ROUNDS; i++)
        for (const [kind, pair] of pairs)
          await results.attempt(kind, () => handshakes(pair, (name, value) => results.note(kind, name, value)));
      log("handshakes done");
      for (let i = 1; i <= PEER_ROUNDS; i++)
        for (const [kind, pair] of pairs)
          await results.attempt(kind, () => manyPeers(pair, (name, value) => results.note(kind, name, value)));
      const figures = (Object.keys(MEASURES) as (keyof typeof MEASURES)[]).map((name) => results.figure(name));
      const app = { unit: "Gbit/s", note: APP_NOTE };
      return [
        ...figures,
        judged(
          {
            ...app,
            what: "portable path, app to app, one TCP stream out",
            ours: appOut,
            other: results.compared("boringtun", "out1"),
          },
          asBoringtun,
        ),
        judged(
          {
            ...app,
            what: "portable path, app to app, one TCP stream back",
            ours: appBack,
            other: results.compared("boringtun", "back1"),
          },
          asBoringtun,
        ),
      ];
    } finally {
      for (const pair of pairs.values()) await pair.dispose();
      await apps?.dispose();
    }
  },
};

function requireBuilt(kind: (typeof OTHERS)[number]): void {
  if (fs.existsSync(peerPath(kind))) return;
  const how = hasToolchain(kind) ? "npm run peers builds it" : "its tool chain is not on this machine";
  throw new Error(`it is not built: ${how}`);
}

/** What was measured of whom, and why not. */
class Results {
  private readonly measured = new Map<string, number[]>();
  private readonly skipped = new Map<Kind, string>();

  constructor(private readonly log: (line: string) => void) {}

  /** What fails with another program is told in the table and does not end the bench. */
  async attempt(kind: Kind, work: () => Promise<void>): Promise<void> {
    if (kind === OURS) return work();
    try {
      await work();
    } catch (error) {
      const reason = (error as Error).message.split("\n")[0]!;
      this.log(`${kind}: ${reason}`);
      if (!this.skipped.has(kind)) this.skipped.set(kind, reason);
    }
  }

  note(kind: Kind, name: string, value: number): void {
    const values = this.values(kind, name);
    values.push(value);
    this.measured.set(`${kind} ${name}`, values);
  }

  values(kind: Kind, name: string): number[] {
    return this.measured.get(`${kind} ${name}`) ?? [];
  }

  compared(kind: Kind, name: string): Compared {
    const values = this.values(kind, name);
    return values.length > 0 ? { name: kind, values } : { name: kind, values, skipped: this.skipped.get(kind) };
  }

  figure(name: keyof typeof MEASURES): Figure {
    const { goal, ...measure } = MEASURES[name];
    const other = OTHERS.map((kind) => this.compared(kind, name));
    return judged({ ...measure, ours: this.values(OURS, name), other }, goal);
  }
}
