import type { InstanceStatus, MemberRecord, NetworkRecord, Status } from "../runtime/control/interface/types";
import { type TraceFacts, trace } from "./trace";

const NOW = Date.parse("2026-11-22T12:00:00Z");
const owner = { organization: "o", project: "p", stack: "s", urn: "u" };

function app(name: string, region: string, ipv4: string, allow?: string[]): MemberRecord {
  return {
    id: name,
    registryId: "r",
    networkId: "n",
    networkName: "net",
    owner,
    name,
    kind: "app",
    addresses: [{ slot: `${region}/0`, ipv4 }],
    service: { slot: "service", ipv4: "10.0.0.250" },
    app: {
      regions: [region],
      instances: 1,
      port: 8080,
      cwd: ".",
      env: {},
      triggers: [],
      health: { type: "tcp", interval: 5, timeout: 2, threshold: 3 },
      ...(allow === undefined ? {} : { allow: [{ from: allow, protocol: "tcp", ports: [[8080, 8080]] }] }),
      restart: "always",
      tags: {},
    },
    createdAt: "",
  };
}

function instance(memberId: string, region: string, ipv4: string, more: Partial<InstanceStatus> = {}): InstanceStatus {
  const common = { id: `${memberId}.0`, memberId, slot: `${region}/0`, region, hostId: `host-${region}`, restarts: 0 };
  return { ...common, state: "healthy", link: "tun", pid: 7, ipv4, ...more };
}

const laptop: MemberRecord = {
  ...app("laptop", "ord", "10.0.0.3"),
  kind: "peer",
  app: undefined,
  service: undefined,
  gateway: { hostId: "host-ord", region: "ord", publicKey: "k", endpoint: "127.0.0.1:1" },
};
const east = instance("east", "ord", "10.0.0.4");
const west = instance("west", "iad", "10.0.0.5");
const tunnel = {
  networkId: "n",
  hostId: "host-ord",
  remote: "host-iad",
  remoteKind: "gateway" as const,
  publicKey: "k",
  endpoint: "127.0.0.1:2",
  latestHandshake: "2026-11-22T11:59:00Z",
  rx: 0,
  tx: 0,
};

function facts(change: Partial<TraceFacts> = {}, state: Partial<Status> = {}): TraceFacts {
  const network = {
    id: "n",
    spec: { name: "net", regions: [], domain: "internal", reserved: [], mtu: 1420, tags: {} },
    gatewayIps: ["10.0.0.1"],
    dnsIps: ["10.0.0.2"],
  } as unknown as NetworkRecord;
  const members = [app("east", "ord", "10.0.0.4"), app("west", "iad", "10.0.0.5"), laptop];
  const status = { networks: [network], members, instances: [east, west], tunnels: [tunnel], ...state } as Status;
  return {
    ...{ status, network, from: members[0], fromInstance: east, host: "west", addresses: ["10.0.0.5"], now: NOW },
    ...change,
  };
}

/** `step` for each, the last one with what it says where it is broken. */
function walk(given: TraceFacts): string[] {
  return trace(given).steps.map(({ step, ok, detail }) => (ok ? step : `${step}: ${detail}`));
}

test("a whole way", () => {
  expect(trace(facts())).toMatchObject({ to: { address: "10.0.0.5", port: 8080 } });
  expect(walk(facts())).toEqual(["from", "name", "member", "policy", "route", "handshake", "link", "process"]);
});

test.each<[string, TraceFacts, string]>([
  ["nobody of that name", facts({ host: "x", addresses: [] }), "name: x has no address in net"],
  ["an address of nobody", facts({ addresses: ["10.0.0.99"] }), "member: nobody in net has 10.0.0.99"],
  [
    "the gateway",
    facts({ addresses: ["10.0.0.1"] }),
    "member: 10.0.0.1 is the network's own: it answers pings, and no",
  ],
  [
    "a policy",
    facts({}, { members: [app("east", "ord", "10.0.0.4"), app("west", "iad", "10.0.0.5", ["laptop"]), laptop] }),
    "policy: what east may start towards west: nothing",
  ],
  ["no tunnel", facts({}, { tunnels: [] }), "route: host host-ord has no tunnel to host host-iad"],
  [
    "no link",
    facts({}, { instances: [east, instance("west", "iad", "10.0.0.5", { link: undefined, detail: "no TUN" })] }),
    "link: west (iad/0) is not plugged in yet: no TUN",
  ],
  [
    "no process",
    facts({}, { instances: [east, instance("west", "iad", "10.0.0.5", { state: "backoff", detail: "exit code 1" })] }),
    "process: backoff, process 7: exit code 1",
  ],
  [
    "a peer unheard of",
    facts({ host: "laptop", addresses: ["10.0.0.3"] }),
    "route: host host-ord has no tunnel to the peer laptop",
  ],
  [
    "one that is itself not there",
    facts({ fromInstance: { ...east, link: undefined, state: "failed", detail: "no such file" } }),
    "from: east (ord/0) is failed: no such file",
  ],
])("%s", (_what, given, expected) => {
  expect(walk(given).at(-1)).toContain(expected);
  expect(trace(given).to).toBeUndefined();
});

test("a policy lets some ports pass", () => {
  const members = [app("east", "ord", "10.0.0.4"), app("west", "iad", "10.0.0.5", ["east"]), laptop];
  expect(walk(facts({ port: 8080 }, { members }))).toHaveLength(8);
  expect(walk(facts({ port: 22 }, { members })).at(-1)).toBe("policy: what east may start towards west: tcp 8080");
});

test("a service address leads to a healthy instance; two on one host need no tunnel", () => {
  const neighbour = instance("west", "ord", "10.0.0.5");
  const given = facts(
    { addresses: ["10.0.0.250"] },
    { instances: [neighbour], members: [app("west", "ord", "10.0.0.5")] },
  );
  expect(walk(given)).toEqual(["from", "name", "member", "policy", "route", "link", "process"]);
});

test("a peer that was heard of a while ago may be gone", () => {
  const old = { ...tunnel, remote: "laptop", remoteKind: "peer" as const, latestHandshake: "2026-11-22T11:50:00Z" };
  const given = facts({ host: "laptop", addresses: ["10.0.0.3"] }, { tunnels: [old] });
  expect(walk(given).at(-1)).toMatch(/^handshake: 600 s ago: the peer has not been heard of/);
});
