import type { Desired, DesiredSource } from "../control/interface/desired";
import { data, query, read, replyTo } from "../dns/testing/ask";
import type { Agent } from "./agent";
import { Changes } from "./changes";
import { AgentNames, othersThan, serveNames, zoneOf } from "./names";
import { appOf, desiredOf } from "./testing/values";

/** What should be and what is healthy, as the test changes them. */
class World implements DesiredSource {
  desired: Desired = desiredOf();
  readonly healthy = new Set<string>();
  readonly changes = new Changes();
  readonly names = new AgentNames(
    this,
    {
      changes: this.changes,
      instance: (id) =>
        ({ healthState: this.healthy.has(id) ? "healthy" : "unknown" }) as ReturnType<Agent["instance"]>,
    },
    () => undefined,
  );

  current(): Desired {
    return this.desired;
  }
  watch(): () => void {
    return () => undefined;
  }
  reportPort(): void {}

  ask(gateway: string, name: string, type = "A"): unknown[] {
    const { names, distance, maxReply } = this.names.of(gateway)!;
    return data(read(replyTo(query(name, type), names, { distance, maxReply })));
  }
}

test("a revision and a change of health are in the very next answer", () => {
  const world = new World();
  expect(world.ask("net_1/host-ord", "late.internal")).toEqual([]);
  const late = appOf("late", "ord", "10.1.2.5");
  const two = { ...late.instances[0]!, id: "mem_late.1", address: { slot: "ord/1", ipv4: "10.1.2.6" } };
  const { members } = world.desired.networks[0]!;
  world.desired = desiredOf(
    { revision: 2 },
    { members: [...members, { ...late, instances: [...late.instances, two] }] },
  );
  expect(world.ask("net_1/host-ord", "late.internal")).toHaveLength(2);
  world.healthy.add("mem_late.1");
  world.changes.notify();
  expect(world.ask("net_1/host-iad", "late.internal")).toEqual(["10.1.2.6"]);
  world.desired = desiredOf({ revision: 3 });
  expect(world.ask("net_1/host-ord", "late.internal")).toEqual([]);
});

test("a network that did not change keeps its names, whatever else did", () => {
  const world = new World();
  const [one] = world.desired.networks;
  const two = { ...desiredOf().networks[0]!, id: "net_2" };
  const namesOf = (id: string) => world.names.of(`${id}/host-ord`)?.names;
  world.desired = desiredOf({ revision: 2, networks: [one!, two] });
  world.healthy.add("mem_east.0");
  const [first, second] = [namesOf("net_1"), namesOf("net_2")];
  const { generation } = world.names;
  // A port that became known is a revision, too.
  world.desired = { ...world.desired, revision: 3 };
  expect(namesOf("net_1")).toBe(first);
  expect(world.names.generation).toBe(generation);
  world.desired = {
    ...world.desired,
    revision: 4,
    networks: [one!, { ...two, members: [appOf("new", "ord", "10.1.2.9")] }],
  };
  expect(namesOf("net_1")).toBe(first);
  expect(namesOf("net_2")).not.toBe(second);
  expect(world.names.generation).toBe(generation + 1);
  expect(world.ask("net_2/host-ord", "new.internal")).toEqual(["10.1.2.9"]);
  // Gateways' names have the region of their hosts.
  const hosts = world.desired.hosts.map((host) => ({ ...host, region: "fra" }));
  world.desired = { ...world.desired, revision: 5, hosts };
  expect(namesOf("net_1")).not.toBe(first);
  world.desired = { ...world.desired, revision: 6, networks: [one!] };
  expect(namesOf("net_2")).toBeUndefined();
  expect(world.names.generation).toBe(generation + 3);
});

test("nearest is nearest to the gateway that is asked", () => {
  const world = new World();
  const app = appOf("both", "ord", "10.1.2.7");
  const other = {
    ...app.instances[0]!,
    id: "mem_both.1",
    region: "iad",
    hostId: "host-iad",
    address: { slot: "iad/0", ipv4: "10.1.2.8" },
  };
  world.desired = desiredOf({}, { members: [{ ...app, instances: [...app.instances, other] }] });
  expect(world.ask("net_1/host-ord", "top1.nearest.of.both.internal")).toEqual(["10.1.2.7"]);
  expect(world.ask("net_1/host-iad", "top1.nearest.of.both.internal")).toEqual(["10.1.2.8"]);
});

test("an unknown network has no names; a small MTU bounds the answers", () => {
  const world = new World();
  expect(world.names.of("net_2/host-ord")).toBeUndefined();
  world.desired = desiredOf({}, { mtu: 576 });
  expect(world.names.of("net_1/host-ord")?.maxReply).toBe(528);
  world.names.close();
});

test("a network's zone", () => {
  const app = {
    ...appOf("east", "ord", "10.1.2.3", { tags: { tier: "front" } }),
    service: { slot: "service", ipv4: "10.1.2.254" },
  };
  const peer = {
    kind: "peer" as const,
    id: "mem_p",
    name: "laptop",
    hostId: "host-ord",
    address: { slot: "peer", ipv4: "10.1.2.9", ipv6: "fd00::9" },
    publicKey: "",
    routes: [],
  };
  const gateways = [
    { hostId: "host-ord", privateKey: "", publicKey: "", address: { slot: "gateway", ipv4: "10.1.2.253" } },
    { hostId: "host-iad", privateKey: "", publicKey: "" },
  ];
  const network = desiredOf({}, { members: [app, peer], gateways, ipv6Cidr: "fd00::/64" }).networks[0]!;
  expect(zoneOf({ ...network, regions: ["fra"] }, { revision: 12, hosts: desiredOf().hosts })).toEqual({
    serial: 12,
    domain: "internal",
    regions: ["ord", "iad", "fra"],
    ranges: ["10.1.2.0/24", "fd00::/64"],
    gatewayIps: ["10.1.2.1"],
    gateways: [{ region: "ord", addresses: ["10.1.2.253"] }],
    dnsIps: ["10.1.2.2"],
    apps: [
      {
        name: "east",
        port: 8080,
        tags: { tier: "front" },
        service: ["10.1.2.254"],
        instances: [
          { id: "mem_east.0", machine: "935a82bdd220ca", region: "ord", hostId: "host-ord", addresses: ["10.1.2.3"] },
        ],
      },
    ],
    peers: [{ name: "laptop", addresses: ["10.1.2.9", "fd00::9"] }],
  });
});

test("asked on behalf of a member, or of this machine", async () => {
  const world = new World();
  const { id } = world.desired.networks[0]!;
  let handler: unknown;
  const service = serveNames(
    { onDns: (given) => (handler = given) },
    world,
    { changes: world.changes, instance: () => undefined },
    () => undefined,
  );
  try {
    expect(service.handler).toBe(handler);
    const near = query("top1.nearest.of.east.internal", "A");
    expect(data(read(await service.ask(id, near)))).toEqual(["10.1.2.3"]);
    expect(data(read(await service.ask(id, near, "mem_west")))).toEqual(["10.1.2.3"]);
    await expect(service.ask("net_9", near)).rejects.toMatchObject({ code: "WARREN_NOT_FOUND" });
    await expect(service.ask(id, near, "mem_9")).rejects.toMatchObject({ code: "WARREN_NOT_FOUND", path: "from" });
    await expect(service.ask(id, new Uint8Array(4))).rejects.toMatchObject({ code: "WARREN_INVALID_INPUT" });
  } finally {
    service.close();
  }
});

test("answers may be kept until names or health are others, but not those that depend on more", async () => {
  const world = new World();
  const { names } = world;
  const generations: number[] = [];
  names.onChange(() => generations.push(names.generation));
  const ask = (name: string) =>
    names.answer({ gateway: "net_1/host-ord", from: "10.1.2.3", message: query(name, "A") });
  expect(ask("east.internal")!.keep).toEqual({ generation: 1 });
  expect(ask("east.internal")!.keep).toEqual({ generation: 1 });
  expect(ask("top1.nearest.of.east.internal")).not.toHaveProperty("keep");
  expect(ask("nobody.internal")).not.toHaveProperty("keep");
  expect(ask("example.com")).toBeUndefined();
  // Something changed, but nobody's health.
  world.changes.notify();
  await new Promise(setImmediate);
  expect(names.generation).toBe(1);
  world.healthy.add("mem_east.0");
  world.changes.notify();
  expect(names.generation).toBe(1);
  await new Promise(setImmediate);
  expect(names.generation).toBe(2);
  world.desired = desiredOf({ revision: 2 });
  expect(ask("east.internal")!.keep).toEqual({ generation: 3 });
  expect(generations).toEqual([1, 2, 3]);
});

test("a machine that is a peer of its own network: we never ask ourselves, but whom it asked before", () => {
  let current = ["192.0.2.53", "192.0.2.54"];
  const servers = othersThan(
    () => new Set(["10.1.2.2"]),
    () => current,
  );
  expect(servers()).toEqual(["192.0.2.53", "192.0.2.54"]);
  current = ["10.1.2.2"];
  expect(servers()).toEqual(["192.0.2.53", "192.0.2.54"]);
  current = ["10.1.2.2", "192.0.2.55"];
  expect(servers()).toEqual(["192.0.2.55"]);
  current = [];
  expect(servers()).toEqual([]);
  current = ["10.1.2.2"];
  expect(servers()).toEqual([]);
});
