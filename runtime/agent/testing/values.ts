/** Values for the agent's tests: a network with apps in two regions, and what a keeper would have of it. */
import type { Desired, DesiredApp, DesiredNetwork } from "../../control/interface/desired";
import type { Health } from "../../control/interface/types";
import type { ProcessState } from "../../keeper/protocol";
import type { Machine } from "../plan";

export const machine: Machine = {
  defaultUser: "nobody",
  path: "/usr/bin:/bin",
  lang: "C.UTF-8",
  homeOf: () => "/",
  logFile: (id) => `/logs/${id}.log`,
  sourceDir: (hash) => `/sources/${hash}`,
};

export const TCP: Health = { type: "tcp", interval: 5, timeout: 2, threshold: 2 };

/** An app with one instance `mem_NAME.0`; its command is `./server` unless it has an upstream. */
export function appOf(name: string, region: string, ipv4: string, spec: Partial<DesiredApp["spec"]> = {}): DesiredApp {
  return {
    kind: "app",
    id: `mem_${name}`,
    name,
    spec: {
      regions: [region],
      instances: 1,
      port: 8080,
      ...(spec.upstream === undefined ? { command: ["./server"] } : {}),
      cwd: "/",
      env: {},
      triggers: [],
      health: TCP,
      restart: "always",
      tags: {},
      ...spec,
    },
    instances: [
      {
        id: `mem_${name}.0`,
        slot: `${region}/0`,
        region,
        hostId: `host-${region}`,
        address: { slot: `${region}/0`, ipv4 },
      },
    ],
  };
}

/** East in `ord` and west in `iad`, both on this machine, on ports 41001 and 41002. */
export function desiredOf(changes: Partial<Desired> = {}, network: Partial<DesiredNetwork> = {}): Desired {
  return {
    revision: 1,
    registryId: "reg_1",
    hosts: [
      { id: "host-ord", region: "ord", port: 41001, listen: "loopback", local: true },
      { id: "host-iad", region: "iad", port: 41002, listen: "loopback", local: true },
    ],
    networks: [
      {
        id: "net_1",
        name: "private",
        cidr: "10.1.2.0/24",
        domain: "internal",
        mtu: 1420,
        gatewayIps: ["10.1.2.1"],
        dnsIps: ["10.1.2.2"],
        gateways: [
          { hostId: "host-ord", privateKey: "ord-private", publicKey: "ord-public" },
          { hostId: "host-iad", privateKey: "iad-private", publicKey: "iad-public" },
        ],
        members: [appOf("east", "ord", "10.1.2.3"), appOf("west", "iad", "10.1.2.4")],
        ...network,
      },
    ],
    ...changes,
  };
}

export function running(pid: number, more: Partial<ProcessState> = {}): ProcessState {
  return { state: "running", pid, since: 0, restarts: 0, ...more };
}

/** Lets everything that is ready go on: promises' continuations, not timers. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await Promise.resolve();
}
