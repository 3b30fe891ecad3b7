/** How far hosts are, told by real handshakes over lines with a delay: nothing else is ever sent between them. */
import * as dgram from "node:dgram";
import { once } from "node:events";
import { newKeyPair } from "../../test/support/keys";
import { Program } from "../../test/support/process";
import { Relay } from "../../test/support/relay";
import { useScratch } from "../../test/support/scratch";
import { waitFor } from "../../test/support/wait";
import type { Desired } from "../control/interface/desired";
import type { DataPlaneConfig } from "../dataplane/config";
import { PortableDataPlane } from "../dataplane/portable";
import { Agent } from "./agent";
import { measureRoundTrips } from "./distance";
import { planDataPlane } from "./plan";
import { appOf, desiredOf, machine } from "./testing/values";

/** Milliseconds that a line takes each way: so far apart that no busy machine confuses them. */
const DELAYS = { nrt: 400, iad: 8 };

const scratch = useScratch();

async function freePort(): Promise<number> {
  const socket = dgram.createSocket("udp4").bind(0, "127.0.0.1");
  await once(socket, "listening");
  const { port } = socket.address();
  await new Promise<void>((resolve) => socket.close(() => resolve()));
  return port;
}

test("a service goes to the nearer of two regions that nobody has talked to yet", async () => {
  const regions = ["ord", "nrt", "iad"] as const;
  const gateways = regions.map((region) => ({ hostId: `host-${region}`, ...newKeyPair() }));
  const endpoints: Record<string, string> = { "host-ord": "127.0.0.1:9" };
  const state = (isLocal: (region: string) => boolean): Desired => {
    const hosts = regions.map((region) => {
      const id = `host-${region}`;
      const endpoint = endpoints[id];
      const local = isLocal(region);
      return { id, region, port: 0, listen: "loopback" as const, local, ...(endpoint ? { endpoint } : {}) };
    });
    const [one, two] = [appOf("web", "nrt", "10.1.2.3"), appOf("web", "iad", "10.1.2.4")];
    const service = { slot: "service", ipv4: "10.1.2.250" };
    return desiredOf(
      { hosts },
      { gateways, members: [{ ...one, instances: [...one.instances, ...two.instances], service }] },
    );
  };

  const there = await PortableDataPlane.start({ log: () => undefined });
  scratch.defer(() => there.stop());
  const facts = { ready: new Set<string>(), plugs: new Map(), isHealthy: () => true, roundTrip: () => undefined };
  const { ports } = await there.apply(
    planDataPlane(
      state((region) => region !== "ord"),
      facts,
      { bound: {}, taken: new Set() },
      {},
    ),
  );
  for (const region of ["nrt", "iad"] as const) {
    const [left, right] = [await freePort(), await freePort()];
    await Relay.start(
      { start: (argv) => Program.start(scratch, argv) },
      {
        ...{ seed: 1, delay: DELAYS[region], jitter: 0, reorder: 0, duplicate: 0, drop: 0 },
        left: { address: "127.0.0.1", port: left },
        right: { address: "127.0.0.1", port: right },
        to: { address: "127.0.0.1", port: ports[`host-${region}`]! },
      },
    );
    endpoints[`host-${region}`] = `127.0.0.1:${left}`;
  }

  const here = await PortableDataPlane.start({ log: () => undefined });
  scratch.defer(() => here.stop());
  const desired = state((region) => region === "ord");
  const configs: DataPlaneConfig[] = [];
  const agent = new Agent({
    source: { current: () => desired, watch: () => () => undefined, reportPort: () => undefined },
    keeper: { call: async () => ({ sandboxes: [] }) as never },
    dataplane: {
      apply: (config) => {
        configs.push(config);
        return here.apply(config);
      },
      onEvent: (listener) => here.onEvent(listener),
    },
    roundTrip: measureRoundTrips(here),
    machine,
    endpointsFile: scratch.file("endpoints.json"),
    log: () => undefined,
  });
  scratch.defer(() => agent.stop());
  const distances = (config = configs.at(-1)) =>
    Object.fromEntries(
      config?.gateways[0]?.services?.[0]?.backends.map(({ addresses, distance }) => [addresses[0], distance]) ?? [],
    );
  agent.start();
  await waitFor("the first plan", () => configs.length > 0);
  const unknown = distances(configs[0]);
  expect(unknown["10.1.2.3"]).toBe(unknown["10.1.2.4"]);
  // Long before everything is compared again, though nobody asks for it.
  await waitFor("the nearer region's turn", () => distances()["10.1.2.4"]! < distances()["10.1.2.3"]!, {
    timeout: 15_000,
  });
}, 40_000);
