/**
 * Forwarders of a TCP port into a WireGuard network that need no privileges, each in a namespace on a cable to the same kind of
 * WireGuard interface (warren-wg): ours, one on the Go modules that the well-known proxies are made of, and onetun. They take turns.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import { newKeyPair } from "../test/support/keys";
import { connect, Namespace } from "../test/support/namespace";
import { findProgram } from "../test/support/needs";
import type { Program } from "../test/support/process";
import { peerPath, ROOT } from "../test/support/repo";
import { Scratch } from "../test/support/scratch";
import { waitFor } from "../test/support/wait";
import { newEnd } from "../test/support/wireguard-end";
import { type Bench, type Compared, type Figure, ROUNDS, ratio } from "./lib/figure";
import { cpuSeconds, machineSeconds, residentMiB } from "./lib/process-cost";
import type { ForwarderSettings } from "./programs/forwarder";

/** Seconds. */
const DURATION = 4;
const CONNECTIONS = 1000;
const PARALLEL = 16;
const TRIPS = 500;
const HELD = 500;
const WARM = 200;

const IPERF = 5201;
const ECHO = 7007;
const LOCAL = { iperf: 9001, echo: 9002 };
const OURS = "warren";
const OTHERS = ["go-forwarder", "onetun"] as const;
type Kind = typeof OURS | (typeof OTHERS)[number];

/** As docs/in-process.md advises for a program that only moves bytes. */
const FLAGS = ["--max-semi-space-size=1"];
const MTU = 1420;
const inner = { client: "10.88.0.1", server: "10.88.0.2" };
const outer = { client: "192.0.2.1", server: "192.0.2.2" };

interface Measure {
  readonly what: string;
  readonly unit: string;
  readonly note?: string;
  readonly goal?: { readonly text: string; readonly met: (ratio: number) => boolean };
}

const faster = { text: "≥ 3 × go-forwarder", met: (r: number) => r >= 3 };
const smaller = { text: "≤ 0.6 × go-forwarder", met: (r: number) => r <= 0.6 };

const MEASURES = {
  out: {
    what: "one TCP stream out",
    unit: "Gbit/s",
    goal: faster,
    note: `iperf3 for ${DURATION} s after one of warming up, through the forwarder's port on loopback`,
  },
  back: { what: "one TCP stream back", unit: "Gbit/s", goal: faster },
  cpuOut: {
    what: "processor time of the forwarder, out",
    unit: "s/GB",
    note: "all its threads; the machine's cores are shared with the far end of the tunnel and with iperf3",
  },
  cpuBack: { what: "processor time of the forwarder, back", unit: "s/GB" },
  allBack: {
    what: "processor time of everything, back",
    unit: "s/GB",
    note: "the forwarder, the far end of the tunnel, both programs of iperf3 and the kernel between them, from /proc/stat",
  },
  rate: {
    what: "connections",
    unit: "1/s",
    note: `${CONNECTIONS}, ${PARALLEL} at once: connect, a byte to and fro, close`,
  },
  trip: { what: "round trip on a connection", unit: "ms", note: `median of ${TRIPS}` },
  memory: {
    what: "peak memory",
    unit: "MiB",
    goal: smaller,
    note: `VmHWM, after throughput and connections; node ${FLAGS.join(" ")}`,
  },
  held: {
    what: "memory for each idle connection",
    unit: "KiB",
    note: `of ${HELD}; VmRSS before and after, of a forwarder that had ${WARM} connections and no more`,
  },
} satisfies Record<string, Measure>;
type Name = keyof typeof MEASURES;

export const bench: Bench = {
  unavailable() {
    if (process.platform !== "linux" || process.getuid?.() !== 0) return "needs root on Linux";
    for (const program of ["iperf3", "wg"]) if (!findProgram(program)) return `needs ${program}`;
    if (!fs.existsSync(peerPath("go-forwarder"))) return "needs go-forwarder: npm run peers -- --bench builds it";
    return undefined;
  },

  async run(log) {
    const others = OTHERS.filter((kind) => fs.existsSync(peerPath(kind)));
    for (const kind of OTHERS)
      if (!others.includes(kind)) log(`${kind} is left out: it is not built (npm run peers -- --bench builds it)`);
    const kinds = [OURS, ...others] as const;
    const values = new Map<Kind, Map<Name, number[]>>(kinds.map((kind) => [kind, new Map()]));
    const note = (kind: Kind, name: Name, value: number): void => {
      const all = values.get(kind)!;
      all.set(name, [...(all.get(name) ?? []), value]);
    };
    for (let i = 1; i <= ROUNDS; i++)
      for (const kind of kinds) {
        const measured = await round(kind);
        for (const name of Object.keys(measured) as Name[]) note(kind, name, measured[name]);
        const { out, back, trip } = measured;
        log(`round ${i} ${kind}: ${out.toFixed(2)} Gbit/s out, ${back.toFixed(2)} back, ${trip.toFixed(2)} ms`);
      }
    return (Object.keys(MEASURES) as Name[]).map((name) => {
      const { goal, ...measure }: Measure = MEASURES[name];
      const other: Compared[] = others.map((kind) => ({ name: kind, values: values.get(kind)!.get(name)! }));
      const figure: Figure = { ...measure, ours: values.get(OURS)!.get(name)!, other };
      return goal === undefined ? figure : { ...figure, goal: goal.text, met: goal.met(ratio(figure)!) };
    });
  },
};

/** Of a fresh forwarder, so that its memory is that of what it does here. */
async function round(kind: Kind): Promise<Record<Name, number>> {
  const site = await Site.create(kind);
  try {
    await site.connections("rate", WARM, PARALLEL);
    const held = await site.held();
    const trip = await site.connections("trip", TRIPS);
    const out = await site.throughput();
    const back = await site.throughput("-R");
    const rate = await site.connections("rate", CONNECTIONS, PARALLEL);
    const memory = residentMiB(site.pid, "VmHWM");
    return {
      held,
      trip,
      out: out.gigabits,
      cpuOut: out.cpu,
      back: back.gigabits,
      cpuBack: back.cpu,
      allBack: back.all,
      rate,
      memory,
    };
  } finally {
    await site.dispose();
  }
}

/** A forwarder in a namespace, and what it forwards to in another one. */
class Site {
  private constructor(
    private readonly scratch: Scratch,
    private readonly client: Namespace,
    private readonly forwarder: Program,
  ) {}

  static async create(kind: Kind): Promise<Site> {
    const scratch = new Scratch();
    try {
      const [client, server] = [await Namespace.create(scratch, "c"), await Namespace.create(scratch, "s")];
      await connect(
        { namespace: client, device: "cable", addresses: [`${outer.client}/24`] },
        { namespace: server, device: "cable", addresses: [`${outer.server}/24`] },
      );
      const keys = newKeyPair();
      const end = newEnd("warren-wg", { namespace: server, addresses: [`${inner.server}/24`], mtu: MTU });
      await end.setPeers({ publicKey: keys.publicKey, allowedIps: [`${inner.client}/32`] });
      await end.start();
      const iperf = await server.start(["iperf3", "-s", "--forceflush"]);
      await iperf.said(/listening/);
      const echo = await server.start([
        process.execPath,
        path.join(ROOT, "dist", "bench", "programs", "echo.js"),
        String(ECHO),
      ]);
      await echo.said(/ready/);
      const settings: ForwarderSettings = {
        privateKey: keys.privateKey,
        peerPublicKey: end.publicKey,
        endpoint: `${outer.server}:${end.port}`,
        address: inner.client,
        mtu: MTU,
        forwards: [
          { listen: `127.0.0.1:${LOCAL.iperf}`, to: `${inner.server}:${IPERF}` },
          { listen: `127.0.0.1:${LOCAL.echo}`, to: `${inner.server}:${ECHO}` },
        ],
      };
      const forwarder = await startForwarder(kind, client, settings);
      const site = new Site(scratch, client, forwarder);
      await waitFor(`the first answer through ${kind}`, () => site.connections("trip", 1));
      return site;
    } catch (error) {
      await scratch.dispose();
      throw error;
    }
  }

  get pid(): number {
    return this.forwarder.pid;
  }

  /** Gbit/s, as received; seconds of processor time for each gigabyte, of the forwarder and of the whole machine. */
  async throughput(...args: string[]): Promise<{ gigabits: number; cpu: number; all: number }> {
    const argv = ["iperf3", "-J", "-c", "127.0.0.1", "-p", String(LOCAL.iperf), "-t", String(DURATION), "-O", "1"];
    const before = cpuSeconds(this.pid);
    const allBefore = machineSeconds();
    const { stdout } = await this.client.run([...argv, ...args], { timeout: (DURATION + 30) * 1000 });
    const gigabits = JSON.parse(stdout).end.sum_received.bits_per_second / 1e9;
    const gigabytes = (gigabits / 8) * (DURATION + 1);
    return {
      gigabits,
      cpu: (cpuSeconds(this.pid) - before) / gigabytes,
      all: (machineSeconds() - allBefore) / gigabytes,
    };
  }

  async connections(what: "rate" | "trip", ...counts: number[]): Promise<number> {
    const argv = [process.execPath, CONNECTIONS_PROGRAM, "127.0.0.1", String(LOCAL.echo), what, ...counts.map(String)];
    return Number((await this.client.run(argv, { timeout: 60_000 })).stdout);
  }

  /** KiB of the forwarder for each idle connection. */
  async held(): Promise<number> {
    const before = residentMiB(this.pid);
    const holder = await this.client.start([
      ...[process.execPath, CONNECTIONS_PROGRAM, "127.0.0.1", String(LOCAL.echo), "hold", String(HELD)],
    ]);
    await holder.said(new RegExp(`^${HELD}$`, "m"));
    const after = residentMiB(this.pid);
    await holder.stop();
    return ((after - before) * 1024) / HELD;
  }

  async dispose(): Promise<void> {
    await this.scratch.dispose();
  }
}

async function startForwarder(kind: Kind, namespace: Namespace, settings: ForwarderSettings): Promise<Program> {
  if (kind === "onetun") {
    const forwards = settings.forwards.map(({ listen, to }) => `${listen}:${to}:TCP`);
    return namespace.start([peerPath(kind), ...forwards], {
      env: {
        ONETUN_PRIVATE_KEY: settings.privateKey,
        ONETUN_ENDPOINT_PUBLIC_KEY: settings.peerPublicKey,
        ONETUN_ENDPOINT_ADDR: settings.endpoint,
        ONETUN_SOURCE_PEER_IP: settings.address,
        ONETUN_MTU: String(settings.mtu),
        ONETUN_LOG: "error",
      },
    });
  }
  const ours = [process.execPath, ...FLAGS, path.join(ROOT, "dist", "bench", "programs", "forwarder.js")];
  const forwarder = await namespace.start(kind === OURS ? ours : [peerPath(kind)]);
  forwarder.child.stdin!.end(JSON.stringify(settings));
  await forwarder.said(/ready/);
  return forwarder;
}

const CONNECTIONS_PROGRAM = path.join(ROOT, "dist", "bench", "programs", "connections.js");
