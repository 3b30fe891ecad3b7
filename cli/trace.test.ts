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
    ...(name === "west" ? { service: { slot: "service", ipv4: "10.0.0.250" } } : {}),
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

test("UDP is judged by its own rules, and no connection is tried", () => {
  const udp: MemberRecord = app("west", "iad", "10.0.0.5", ["east"]);
  const members = [app("east", "ord", "10.0.0.4"), udp, laptop];
  const given = facts({ port: 8080, protocol: "udp" }, { members });
  expect(walk(given).at(-1)).toBe("policy: what east may start towards west: tcp 8080");
  const open = trace(facts({ port: 53, protocol: "udp" }));
  expect(open.steps.at(-1)).toMatchObject({ step: "connection", ok: true, detail: expect.stringContaining("UDP") });
  expect(open.to).toBeUndefined();
});

describe("a service address", () => {
  const both = { ...app("west", "iad", "10.0.0.5") };
  const near = instance("west", "ord", "10.0.0.6", { slot: "ord/0" });
  const members = [app("east", "ord", "10.0.0.4"), both, laptop];
  const to = (backends: string[], change: Partial<TraceFacts> = {}, instances = [east, west, near]) =>
    facts({ addresses: ["10.0.0.250"], backends, ...change }, { members, instances });
  const said = (given: TraceFacts) => trace(given).steps.find(({ step }) => step === "member")?.detail;

  it("leads to the instance that the asker's connections try first", () => {
    expect(said(to(["10.0.0.6", "10.0.0.5"]))).toMatch(
      /is the service address of west, which leads to west \(ord\/0\) first/,
    );
    expect(walk(to(["10.0.0.6", "10.0.0.5"]))).toEqual([
      "from",
      "name",
      "member",
      "policy",
      "route",
      "link",
      "process",
    ]);
    expect(walk(to(["10.0.0.5", "10.0.0.6"]))).toContain("handshake");
    expect(trace(to(["10.0.0.6"])).to).toEqual({ address: "10.0.0.250", port: 8080 });
  });

  it("is judged by that instance, not by another that does better", () => {
    const sick = [east, west, { ...near, state: "unhealthy", detail: "refused" }];
    expect(walk(to(["10.0.0.6", "10.0.0.5"], {}, sick)).at(-1)).toContain("process: unhealthy");
  });

  it("comes back to the asker itself last", () => {
    const own = { from: both, fromInstance: near };
    expect(said(to(["10.0.0.6", "10.0.0.5"], own))).toContain("west (iad/0)");
    expect(said(to(["10.0.0.6"], own))).toContain("west (ord/0)");
  });

  it("of an app without instances leads nowhere", () => {
    expect(walk(to([])).at(-1)).toContain("has no instance");
  });
});

test("an address behind a peer is the peer's, by the longest of the routes", () => {
  const routing = (name: string, routes: string[]): MemberRecord => ({
    ...laptop,
    ...{
      id: name,
      name,
      addresses: [{ slot: "peer", ipv4: `10.0.0.${name.length}` }],
      peer: { publicKey: "k", routes, dns: "off", tags: {} },
    },
  });
  const site = { ...tunnel, remote: "site", remoteKind: "peer" as const };
  const members = [
    app("east", "ord", "10.0.0.4"),
    routing("office", ["192.168.0.0/16"]),
    routing("site", ["192.168.7.0/24"]),
  ];
  const given = facts({ host: "192.168.7.9", addresses: ["192.168.7.9"], port: 80 }, { members, tunnels: [site] });
  const { steps, to } = trace(given);
  expect(steps[2]).toEqual({
    step: "member",
    ok: true,
    detail: "192.168.7.9 is behind site, which routes 192.168.7.0/24",
  });
  expect(steps.every(({ ok }) => ok)).toBe(true);
  expect(to).toEqual({ address: "192.168.7.9", port: 80 });
});

test("a peer that was heard of a while ago may be gone", () => {
  const old = { ...tunnel, remote: "laptop", remoteKind: "peer" as const, latestHandshake: "2026-11-22T11:50:00Z" };
  const given = facts({ host: "laptop", addresses: ["10.0.0.3"] }, { tunnels: [old] });
  expect(walk(given).at(-1)).toMatch(/^handshake: 600 s ago: the peer has not been heard of/);
});
