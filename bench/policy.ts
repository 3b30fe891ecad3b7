/** What a policy, and a service address, cost the tunnel: one data plane, two hosts, an app on each; the modes take turns. */
import type { DataPlaneConfig, GatewayConfig, LinkConfig } from "../runtime/dataplane/config";
import { DataPlane } from "../runtime/dataplane/dataplane";
import { newKeyPair } from "../test/support/keys";
import { Namespace } from "../test/support/namespace";
import { findProgram } from "../test/support/needs";
import { Scratch } from "../test/support/scratch";
import { waitFor } from "../test/support/wait";
import { type Bench, type Figure, ROUNDS } from "./lib/figure";
import { cpuSeconds } from "./lib/process-cost";

/** Seconds. */
const DURATION = 4;
const SERVICE = "10.79.0.200";
const MEMBERS = 1000;

const modes = ["neither", "policy", "policy and service"] as const;
type Mode = (typeof modes)[number];

export const bench: Bench = {
  unavailable() {
    if (process.platform !== "linux" || process.getuid?.() !== 0) return "needs root on Linux";
    if (!findProgram("iperf3")) return "needs iperf3";
    return undefined;
  },

  async run(log) {
    const speed = new Map(modes.map((mode) => [mode, [] as number[]]));
    const cost = new Map(modes.map((mode) => [mode, [] as number[]]));
    const scratch = new Scratch();
    const plane = await DataPlane.start({ log });
    try {
      const [a, b] = [await Namespace.create(scratch, "a"), await Namespace.create(scratch, "b")];
      const apply = await configure(plane, a, b);
      const server = await b.start(["iperf3", "-s", "--forceflush"]);
      await server.said(/listening/);
      for (let round = 1; round <= ROUNDS; round++)
        for (const mode of modes) {
          await apply(mode);
          const { bits, seconds } = await transfer(a, mode === "policy and service" ? SERVICE : "10.79.0.4");
          speed.get(mode)!.push(bits / 1e9 / DURATION);
          cost.get(mode)!.push(seconds / (bits / 8e9));
          log(
            `round ${round} ${mode}: ${speed.get(mode)!.at(-1)!.toFixed(2)} Gbit/s, ${cost.get(mode)!.at(-1)!.toFixed(2)} s/GB`,
          );
        }
    } finally {
      await plane.stop();
      await scratch.dispose();
    }
    const figures = (what: string, unit: string, values: Map<Mode, number[]>): Figure[] =>
      (["policy", "policy and service"] as const).map((mode) => ({
        what: `${what}, ${mode}`,
        unit,
        ours: values.get(mode)!,
        other: { name: "neither", values: values.get("neither")! },
      }));
    return [
      ...figures("throughput, one TCP stream between two hosts", "Gbit/s", speed),
      ...figures("processor time of both hosts' data plane", "s/GB", cost),
    ];
  },
};

/** @returns a way to apply a mode */
async function configure(plane: DataPlane, a: Namespace, b: Namespace): Promise<(mode: Mode) => Promise<void>> {
  const keys = { a: newKeyPair(), b: newKeyPair() };
  let ports: Readonly<Record<string, number>> = {};
  const link = (namespace: Namespace, last: number): LinkConfig => ({
    id: namespace.name,
    source: { kind: "open", name: "warren0", netns: `/run/netns/${namespace.name}` },
    addresses: [`10.79.0.${last}`],
  });
  const gateway = (id: "a" | "b", other: "a" | "b", links: LinkConfig[], has: number): GatewayConfig => ({
    id,
    port: id,
    privateKey: keys[id].privateKey,
    mtu: 1420,
    gatewayIps: ["10.79.0.1"],
    dnsIps: ["10.79.0.2"],
    links,
    peers: [
      {
        publicKey: keys[other].publicKey,
        allowedIps: [`10.79.0.${has}/32`],
        persistentKeepalive: 0,
        initiate: true,
        gateway: true,
        ...(ports[other] === undefined ? {} : { endpoint: `127.0.0.1:${ports[other]}` }),
      },
    ],
  });
  // A network's worth of others beside the two.
  const members = Array.from({ length: MEMBERS }, (_, i) => `10.80.${i >> 8}.${i & 255}/32`);
  const rules = members.map((from, i) => ({
    from: [from],
    to: [members[(i + 1) % MEMBERS]],
    protocol: "tcp" as const,
    ports: [[8080, 8080]] as const,
  }));
  const policy = {
    closed: ["10.79.0.0/24", ...members],
    rules: [...rules, { from: ["10.79.0.3/32"], to: ["10.79.0.4/32"], protocol: "tcp" as const, ports: [] }],
  };
  const backends = [{ addresses: ["10.79.0.4"], healthy: true, distance: 0 }];
  const services = [{ id: "s", addresses: [SERVICE], backends }];
  const apply = async (mode: Mode): Promise<void> => {
    const told = {
      ...(mode === "neither" ? {} : { policy }),
      ...(mode === "policy and service" ? { services } : {}),
    };
    const config: DataPlaneConfig = {
      ports: ["a", "b"].map((id) => ({ id, listen: ["127.0.0.1"], port: 0 })),
      gateways: [
        { ...gateway("a", "b", [link(a, 3)], 4), ...told },
        { ...gateway("b", "a", [link(b, 4)], 3), ...told },
      ],
    };
    const result = await plane.apply(config);
    if (result.problems.length > 0) throw new Error(result.problems.map(({ message }) => message).join(" "));
    ports = result.ports;
  };
  await apply("neither");
  await apply("neither");
  for (const [namespace, last] of [
    [a, 3],
    [b, 4],
  ] as const) {
    await namespace.addAddress("warren0", `10.79.0.${last}/32`);
    await namespace.ip("link", "set", "warren0", "mtu", "1420", "up");
    await namespace.ip("route", "add", "10.79.0.0/24", "dev", "warren0");
  }
  await waitFor("the first answer", async () => {
    const { stdout } = await a.run(["ping", "-n", "-c", "1", "-W", "1", "10.79.0.4"], { mayFail: true });
    return / 1 received/.test(stdout);
  });
  return apply;
}

/** Bits received, and what the data plane, which is this process, took for them. */
async function transfer(from: Namespace, to: string): Promise<{ bits: number; seconds: number }> {
  const before = cpuSeconds(process.pid);
  const { stdout } = await from.run(["iperf3", "-J", "-c", to, "-t", String(DURATION)], { timeout: 30_000 });
  return { bits: JSON.parse(stdout).end.sum_received.bytes * 8, seconds: cpuSeconds(process.pid) - before };
}
