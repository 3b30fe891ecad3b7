import type { Desired, DesiredApp, DesiredNetwork } from "../control/interface/desired";
import { type InstanceFacts, type Machine, type Ports, planDataPlane, planInstances, preferredPort } from "./plan";
import { planUserspace } from "./plan-userspace";
import { desiredOf } from "./testing/values";

const machine: Machine = {
  defaultUser: "nobody",
  path: "/usr/bin:/bin",
  lang: "C.UTF-8",
  homeOf: (user) => (user === "www" ? "/srv/www" : "/"),
  logFile: (id) => `/logs/${id}.log`,
  sourceDir: (hash) => `/sources/${hash}`,
};

function app(name: string, region: string, ipv4: string, spec: Partial<DesiredApp["spec"]> = {}): DesiredApp {
  return {
    kind: "app",
    id: `mem_${name}`,
    name,
    spec: {
      regions: [region],
      instances: 1,
      port: 8080,
      command: ["./server"],
      cwd: ".",
      sourceHash: "abc",
      env: {},
      triggers: [],
      health: { type: "tcp", interval: 5, timeout: 2, threshold: 3 },
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

function desired(network: Partial<DesiredNetwork> = {}, hosts: Desired["hosts"] = twoHosts): Desired {
  return desiredOf(
    { hosts },
    {
      members: [
        app("east", "ord", "10.1.2.4"),
        app("west", "iad", "10.1.2.5"),
        {
          kind: "peer",
          id: "mem_laptop",
          name: "laptop",
          hostId: "host-ord",
          address: { slot: "peer", ipv4: "10.1.2.3" },
          publicKey: "laptop-public",
          routes: ["192.168.7.0/24"],
        },
      ],
      ...network,
    },
  );
}

const bound = (ports: Record<string, number>): Ports => ({ bound: ports, taken: new Set() });

const twoHosts: Desired["hosts"] = [
  { id: "host-ord", region: "ord", port: 41001, listen: "loopback", local: true },
  { id: "host-iad", region: "iad", port: 0, listen: "loopback", local: true },
];

describe("planInstances", () => {
  test("an app's environment is what DESIGN names and nothing else", () => {
    const plan = planInstances(
      desired({ members: [app("east", "ord", "10.1.2.4", { env: { GREETING: "hi" } })] }),
      machine,
    )[0];
    expect(plan?.process?.env).toEqual({
      PATH: "/usr/bin:/bin",
      HOME: "/",
      LANG: "C.UTF-8",
      GREETING: "hi",
      PORT: "8080",
      FLY_APP_NAME: "east",
      FLY_REGION: "ord",
      FLY_PRIVATE_IP: "10.1.2.4",
      FLY_MACHINE_ID: "935a82bdd220ca",
      WARREN_PORT: "8080",
      WARREN_APP_NAME: "east",
      WARREN_REGION: "ord",
      WARREN_PRIVATE_IP: "10.1.2.4",
      WARREN_MACHINE_ID: "935a82bdd220ca",
    });
  });

  test("the command runs in the delivered source, as the unprivileged account unless another is named", () => {
    const [plan] = planInstances(desired(), machine);
    expect(plan?.process).toMatchObject({ cwd: "/sources/abc", user: "nobody", log: "/logs/mem_east.0.log" });
    const [named] = planInstances(
      desired({ members: [app("east", "ord", "10.1.2.4", { user: "www", cwd: "bin" })] }),
      machine,
    );
    expect(named?.process).toMatchObject({ cwd: "/sources/abc/bin", user: "www" });
    expect(named?.process?.env.HOME).toBe("/srv/www");
  });

  test("the sandbox routes the network and the ranges behind its peers, and asks the network's DNS", () => {
    expect(planInstances(desired(), machine)[0]?.sandbox).toEqual({
      id: "mem_east.0",
      addresses: ["10.1.2.4"],
      routes: ["10.1.2.0/24", "192.168.7.0/24", "0.0.0.0/0"],
      mtu: 1420,
      vnetHeader: true,
      nameservers: ["10.1.2.2"],
      searchDomain: "internal",
      hosts: ["10.1.2.4 935a82bdd220ca.vm.east.internal fly-local-6pn"],
    });
  });

  test("the hash changes with what needs a restart, and only then", () => {
    const hash = (spec: Partial<DesiredApp["spec"]>) =>
      planInstances(desired({ members: [app("east", "ord", "10.1.2.4", spec)] }), machine)[0]?.process?.hash;
    const base = hash({});
    expect(hash({ tags: { team: "a" }, health: { type: "none", interval: 1, timeout: 1, threshold: 1 } })).toBe(base);
    for (const change of [
      { env: { A: "1" } },
      { command: ["./other"] },
      { triggers: ["2"] },
      { sourceHash: "def" },
      { port: 81 },
    ])
      expect(hash(change)).not.toBe(base);
  });

  test("instances of hosts on other machines are theirs", () => {
    const hosts = [twoHosts[0]!, { ...twoHosts[1]!, local: false, endpoint: "192.0.2.1:41002" }];
    expect(planInstances(desired({}, hosts), machine).map((plan) => plan.instance.id)).toEqual(["mem_east.0"]);
  });
});

describe("planDataPlane", () => {
  const ready = new Set(["mem_east.0", "mem_west.0"]);
  const facts = (present: ReadonlySet<string>, more: Partial<InstanceFacts> = {}): InstanceFacts => ({
    ready: present,
    plugs: new Map(),
    isHealthy: () => false,
    roundTrip: () => undefined,
    ...more,
  });

  test("one port a host, one gateway a network and host, a tunnel between them as soon as ports are known", () => {
    const config = planDataPlane(desired(), facts(ready), bound({ "host-iad": 41002 }), {});
    expect(config.ports).toEqual([
      { id: "host-ord", listen: ["127.0.0.1", "::1"], port: 41001 },
      { id: "host-iad", listen: ["127.0.0.1", "::1"], port: 41002 },
    ]);
    expect(config.gateways.map((gateway) => gateway.id)).toEqual(["net_1/host-ord", "net_1/host-iad"]);
    expect(config.gateways[0]?.links).toEqual([
      { id: "mem_east.0", source: { kind: "keeper", sandbox: "mem_east.0" }, addresses: ["10.1.2.4"], egress: true },
    ]);
    expect(config.gateways[0]?.peers).toEqual([
      {
        publicKey: "laptop-public",
        allowedIps: ["10.1.2.3/32", "192.168.7.0/24"],
        persistentKeepalive: 0,
        initiate: false,
      },
      {
        publicKey: "iad-public",
        allowedIps: ["10.1.2.5/32"],
        endpoint: "127.0.0.1:41002",
        persistentKeepalive: 0,
        initiate: false,
        gateway: true,
      },
    ]);
    expect(config.gateways[1]?.peers).toEqual([
      {
        publicKey: "ord-public",
        allowedIps: ["10.1.2.4/32", "10.1.2.3/32", "192.168.7.0/24"],
        endpoint: "127.0.0.1:41001",
        persistentKeepalive: 0,
        initiate: false,
        gateway: true,
      },
    ]);
  });

  test("a host that never had a port asks for the one that follows from registry and host, or any where that is taken", () => {
    const port = (ports: Ports) => planDataPlane(desired(), facts(ready), ports, {}).ports[1]?.port;
    expect(port(bound({}))).toBe(preferredPort("reg_1", "host-iad"));
    expect(preferredPort("reg_1", "host-iad")).toBe(25311);
    expect(port({ bound: {}, taken: new Set(["host-iad"]) })).toBe(0);
  });

  test("while a local gateway's port is unknown nobody is told to reach it", () => {
    expect(planDataPlane(desired(), facts(ready), bound({}), {}).gateways[0]?.peers).toHaveLength(1);
  });

  test("a peer that was seen before is spoken to first", () => {
    const config = planDataPlane(desired(), facts(ready), bound({}), {
      "net_1/host-ord/laptop-public": "127.0.0.1:50000",
    });
    expect(config.gateways[0]?.peers[0]).toMatchObject({ endpoint: "127.0.0.1:50000", initiate: true });
  });

  test("a link is there only while its sandbox is", () => {
    expect(planDataPlane(desired(), facts(new Set()), bound({}), {}).gateways[0]?.links).toEqual([]);
  });

  test("a host listens beyond loopback only when it must", () => {
    const hosts = [{ ...twoHosts[0]!, listen: "any" as const }, twoHosts[1]!];
    expect(planDataPlane(desired({}, hosts), facts(ready), bound({}), {}).ports.map((port) => port.listen)).toEqual([
      ["0.0.0.0", "::"],
      ["127.0.0.1", "::1"],
    ]);
  });
});

describe("links, egress and services", () => {
  const loopback = { port: 10_001, proxy: 10_002, secret: "hush" };
  const plugs = new Map([["mem_east.0", { link: "userspace", loopback } as const]]);
  const ready = new Set(["mem_east.0", "mem_west.0"]);
  const facts: InstanceFacts = { ready, plugs, isHealthy: (id) => id === "mem_west.0", roundTrip: () => undefined };
  const bound: Ports = { bound: { "host-ord": 41001, "host-iad": 41002 }, taken: new Set() };

  test("an app on the link userspace is told its loopback port and its proxy, which its own settings may replace", () => {
    const [plan] = planInstances(desired(), machine, plugs);
    expect(plan?.sandbox).toMatchObject({ link: "userspace", loopback });
    expect(plan?.process?.env).toMatchObject({
      PORT: "10001",
      WARREN_PORT: "10001",
      http_proxy: "http://warren:hush@127.0.0.1:10002",
      ALL_PROXY: "socks5h://warren:hush@127.0.0.1:10002",
      NO_PROXY: "localhost,127.0.0.1,::1",
      WARREN_PROXY_FOR: "10.1.2.0/24,192.168.7.0/24,.internal,.flycast",
    });
    const own = app("east", "ord", "10.1.2.4", { env: { HTTP_PROXY: "http://proxy.example:3128" } });
    const [other] = planInstances(desired({ members: [own] }), machine, plugs);
    expect(other?.process?.env.HTTP_PROXY).toBe("http://proxy.example:3128");
  });

  test("its link ends in a stack of this process, which has what it needs", () => {
    const config = planDataPlane(desired(), facts, bound, {});
    expect(config.gateways[0]?.links).toEqual([
      { id: "mem_east.0", source: { kind: "stack" }, addresses: ["10.1.2.4"] },
    ]);
    const plan = planUserspace(desired(), planInstances(desired(), machine, plugs), ready);
    expect(plan.apps).toEqual([
      {
        id: "mem_east.0",
        gateway: "net_1/host-ord",
        domain: "internal",
        addresses: ["10.1.2.4"],
        mtu: 1420,
        ranges: ["10.1.2.0/24", "192.168.7.0/24"],
        target: { port: 8080, loopbackPort: 10_001 },
        proxy: { port: 10_002, secret: "hush" },
        egress: true,
      },
    ]);
    expect(planUserspace(desired(), planInstances(desired(), machine, plugs), new Set()).apps).toEqual([]);
  });

  test("egress: false closes the way out: no route, no link, no address of the gateway's stack", () => {
    const closed = desired({ members: [app("east", "ord", "10.1.2.4", { egress: false })] });
    expect(planInstances(closed, machine)[0]?.sandbox.routes).toEqual(["10.1.2.0/24"]);
    const config = planDataPlane(closed, { ...facts, plugs: new Map() }, bound, {});
    expect(config.gateways[0]?.links[0]).toMatchObject({ egress: false });
    expect(planUserspace(closed, planInstances(closed, machine), ready).gateways[0]?.egress).toEqual([]);
  });

  test("a gateway speaks with its own address, which the other hosts' gateways take from it", () => {
    const gateways = desired().networks[0]!.gateways.map((gateway, at) => ({
      ...gateway,
      address: { slot: "gateway", ipv4: `10.1.2.${254 - at}` },
    }));
    const config = planDataPlane(desired({ gateways }), facts, bound, {});
    expect(config.gateways[0]?.stack).toEqual({
      id: "net_1/host-ord/stack",
      source: { kind: "stack" },
      addresses: ["10.1.2.254"],
    });
    const other = config.gateways[0]?.peers.find((peer) => peer.gateway);
    expect(other?.allowedIps).toContain("10.1.2.253/32");
  });

  test("gateways between which services and nearest names choose shake hands at once, so that it is known how far they are", () => {
    const on = (...regions: string[]) => ({
      ...app("web", "ord", "10.1.2.4"),
      instances: regions.map((region, i) => app("web", region, `10.1.2.${10 + i}`).instances[0]!),
    });
    const regions = ["ord", "iad", "nrt"];
    const hosts = regions.map((region) => ({
      ...{ id: `host-${region}`, region, port: 41000, listen: "loopback" as const, local: region === "ord" },
      endpoint: "192.0.2.1:41000",
    }));
    const gateways = hosts.map(({ id }) => ({ hostId: id, privateKey: id, publicKey: id }));
    const initiated = (...where: string[]) => {
      const { networks } = desired({ members: [on(...where)], gateways });
      const config = planDataPlane({ ...desired(), hosts, networks }, facts, bound, {});
      return config.gateways[0]?.peers.filter(({ initiate }) => initiate).map(({ publicKey }) => publicKey);
    };
    expect(initiated("iad", "nrt")).toEqual(["host-iad", "host-nrt"]);
    expect(initiated("ord", "iad", "nrt")).toEqual(["host-iad", "host-nrt"]);
    expect(initiated("ord", "iad")).toEqual([]);
    expect(initiated("iad")).toEqual([]);
  });

  test("a service's backends are its app's instances, with their health and how far they are", () => {
    const east = app("east", "ord", "10.1.2.4");
    const far = app("west", "iad", "10.1.2.5").instances[0]!;
    const service = { slot: "service", ipv4: "10.1.2.250" };
    const config = planDataPlane(
      desired({ members: [{ ...east, instances: [...east.instances, far], service }] }),
      facts,
      bound,
      {},
    );
    const [found] = config.gateways[0]?.services ?? [];
    expect(found).toMatchObject({ id: "mem_east", addresses: ["10.1.2.250"] });
    expect(found?.backends).toMatchObject([
      { addresses: ["10.1.2.4"], healthy: false, distance: 0 },
      { addresses: ["10.1.2.5"], healthy: true },
    ]);
    expect(found?.backends[1]?.distance).toBeGreaterThan(0);
  });
});
