import { Driven, hidden, World } from "../testing/context";
import { network } from "./network";
import { peer } from "./peer";
import { UNKNOWN } from "./unknown";

let world: World;
beforeEach(() => {
  world = new World();
});
afterEach(() => world.close());

const news = (inputs: object) => ({ name: "shop", ...inputs, ...hidden("Network", "shop") });
const failures = async (inputs: object) => (await network.check(world.ctx, {}, news(inputs))).failures;

describe("check", () => {
  it("fills in defaults and addresses as known values, and starts nothing", async () => {
    const { inputs, failures } = await network.check(world.ctx, {}, news({ cidr: "10.1.2.0/24" }));
    expect(failures).toEqual([]);
    expect(inputs).toMatchObject({
      gatewayIp: "10.1.2.1",
      dnsIp: "10.1.2.2",
      domain: "internal",
      mtu: 1420,
      regions: [],
    });
    expect(inputs.space).toEqual({
      name: "shop",
      cidr: "10.1.2.0/24",
      reserved: [],
      regions: [],
      domain: "internal",
      mtu: 1420,
    });
    expect(world.onDisk).toBe(false);
  });

  it("chooses the same /24 for a name every time, and keeps the one it had", async () => {
    const first = (await network.check(world.ctx, {}, news({}))).inputs.cidr;
    expect(first).toMatch(/^10\.\d+\.\d+\.0\/24$/);
    expect((await network.check(world.ctx, {}, news({}))).inputs.cidr).toBe(first);
    expect((await network.check(world.ctx, { cidr: "10.9.9.0/24" }, news({}))).inputs.cidr).toBe("10.9.9.0/24");
  });

  it("passes what is not known through", async () => {
    const { inputs, failures } = await network.check(world.ctx, {}, news({ cidr: UNKNOWN }));
    expect(failures).toEqual([]);
    expect(inputs).toMatchObject({ cidr: UNKNOWN, gatewayIp: UNKNOWN, space: UNKNOWN });
  });

  it.each([
    [{ name: "Shop_1" }, "name", /no DNS label.*"shop-1"/],
    [{ cidr: "10.1.2.0/33" }, "cidr", /prefix/],
    [{ cidr: "10.1.2.5/24" }, "cidr", /host bits.*10\.1\.2\.0\/24/],
    [{ cidr: "10.1.2.0/31" }, "cidr", /smallest that fits is 10\.1\.2\.0\/29/],
    [{ cidr: "10.1.2.0/24", reserved: ["10.1.3.1"] }, "reserved[0]", /not inside/],
    [{ policy: {} }, "policy", /must be a list of rules/],
    [{ policy: [{ from: "web", to: "a b" }] }, "policy[0].to", /no name of a member/],
    [{ policy: [{ from: "web", to: "db", ports: ["x"] }] }, "policy[0].ports[0]", /no port/],
    [
      { regions: ["ord"], policy: [{ from: "region:iad", to: "db" }] },
      "policy[0].from",
      /names nobody.*has the regions ord/,
    ],
    [{ regions: ["global"] }, "regions[0]", /global\.APP is a name of its own/],
    [{ domain: "my.flycast" }, "domain", /service addresses/],
    [{ domain: "localhost" }, "domain", /RFC 6761/],
    [{ cidr: "fd00:1::/126" }, "cidr", /one app needs 3.*smallest that fits is fd00:1::\/125/],
    [{ mtu: 100 }, "mtu", /from 576/],
    [{ cidr: "fd00:1::/64", mtu: 1000 }, "mtu", /1280/],
    [{ domain: "Internal" }, "domain", /no domain name/],
    [{ domain: `${"a".repeat(64)}.internal` }, "domain", /at most 63/],
    [{ domain: Array(64).fill("abc").join(".") }, "domain", /no domain name/],
    [{ regions: ["ord", "ord"] }, "regions[1]", /twice/],
    [{ cdir: "10.1.2.0/24" }, "cdir", /no input "cdir"/],
    [{ tags: { a: 1 } }, "tags.a", /string/],
  ])("refuses %j", async (inputs, property, reason) => {
    const all = await failures(inputs);
    expect(all.map((f) => f.property)).toContain(property);
    expect(all.find((f) => f.property === property)!.reason).toMatch(reason);
  });
});

describe("check with a registry", () => {
  const cidr = "10.1.2.0/24";
  const member = (kind: "App" | "Peer", name: string, net: Driven, inputs: object) => ({
    ...{ name, network: "shop", networkId: net.id, space: net.outs.space, before: [] },
    ...inputs,
    ...hidden(kind, name),
  });
  let net: Driven;
  beforeEach(async () => {
    net = new Driven(world, network);
    await net.up(news({ cidr }));
  });

  it("refuses the name of another stack's network, naming that stack; a stack may get another name", async () => {
    const other = { ...news({ cidr }), ...hidden("Network", "shop", "prod") };
    expect((await network.check(world.ctx, {}, other)).failures).toEqual([
      { property: "name", reason: expect.stringMatching(/a network shop, of .*acme\/shop\/dev/) },
    ]);
    expect(await net.up(other)).toBe("update");
  });

  it("refuses a range and reserved addresses that members are in the way of", async () => {
    await new Driven(world, peer).up(member("Peer", "laptop", net, { ip: "10.1.2.200" }));
    await new Driven(world, peer).up(member("Peer", "office", net, { routes: ["10.1.3.0/24"] }));
    const refused = (property: string, reason: RegExp) => [{ property, reason: expect.stringMatching(reason) }];
    expect(await failures({ cidr: "10.1.2.0/25" })).toEqual(refused("cidr", /10\.1\.2\.200, which laptop holds/));
    expect(await failures({ cidr, reserved: ["10.1.2.192/28"] })).toEqual(refused("reserved", /10\.1\.2\.200/));
    expect(await failures({ cidr: "10.1.2.0/23" })).toEqual(refused("cidr", /10\.1\.3\.0\/24.*peer office/));
    expect(await failures({ cidr: "10.9.0.0/24" })).toEqual([]);
    expect(await failures({ cidr, reserved: ["10.1.2.64/28"] })).toEqual([]);
  });
});

it("says what is wrong without repeating the property's name", async () => {
  const [{ property, reason }] = await failures({ cidr: "10.1.2.0/33" });
  expect({ property, reason }).toEqual({ property: "cidr", reason: expect.not.stringMatching(/^cidr:/) });
});

describe("life", () => {
  it("creates, changes nothing the second time, grows in place, replaces for another range", async () => {
    const net = new Driven(world, network);
    expect(await net.up(news({ cidr: "10.1.2.0/24" }))).toBe("create");
    const { seed, networkId } = net.outs;
    expect(Buffer.from(String(seed), "base64")).toHaveLength(32);
    expect(networkId).toBe(net.id);
    expect(net.outs.registryId).toBe(world.registry.id);
    expect(await net.up(news({ cidr: "10.1.2.0/24" }))).toBe("same");
    expect(await net.up(news({ cidr: "10.1.2.0/23" }))).toBe("update");
    expect(net.outs).toMatchObject({ seed, networkId, cidr: "10.1.2.0/23" });
    expect(await net.up(news({ cidr: "10.5.0.0/24" }))).toBe("replace");
    expect(net.outs.networkId).not.toBe(networkId);
    await net.destroy();
    expect(world.registry.networks()).toEqual([]);
  });

  it("changes its policy in place, and its members do not notice", async () => {
    const net = new Driven(world, network);
    await net.up(news({ cidr: "10.1.2.0/24" }));
    const { networkId, space } = net.outs;
    const policy = [{ from: "web", to: ["db"], ports: 5432 }];
    expect(await net.up(news({ cidr: "10.1.2.0/24", policy }))).toBe("update");
    const whole = [{ from: ["web"], to: ["db"], protocol: "tcp", ports: [[5432, 5432]] }];
    expect(net.outs).toMatchObject({ networkId, policy: whole });
    expect(net.outs.space).toEqual(space);
    expect(world.registry.network(net.id!).spec.policy).toEqual(whole);
    expect(await net.up(news({ cidr: "10.1.2.0/24", policy }))).toBe("same");
    expect(await net.refresh()).toBe("kept");
    expect(await net.up(news({ cidr: "10.1.2.0/24", policy }))).toBe("same");
    expect(await net.up(news({ cidr: "10.1.2.0/24" }))).toBe("update");
    expect(world.registry.network(net.id!).spec).not.toHaveProperty("policy");
    const later = await network.check(world.ctx, {}, news({ policy: [{ from: UNKNOWN, to: "db" }] }));
    expect(later).toMatchObject({ failures: [], inputs: { policy: UNKNOWN } });
  });

  it("gives new keys when keepers change, in place", async () => {
    const net = new Driven(world, network);
    await net.up(news({}));
    const { seed } = net.outs;
    expect(await net.up(news({ keepers: { year: "2027" } }))).toBe("update");
    expect(net.outs.seed).not.toBe(seed);
    expect(await net.up(news({ keepers: { year: "2027" } }))).toBe("same");
  });

  it("is rebuilt by a plain up with the same id and seed when its registry is lost", async () => {
    const net = new Driven(world, network);
    await net.up(news({}));
    const { id } = net;
    const { seed } = net.outs;
    world.newRegistry();
    expect(await net.refresh()).toBe("kept");
    expect(await net.up(news({}))).toBe("update");
    expect(net.id).toBe(id);
    expect(world.registry.network(id!).spec.name).toBe("shop");
    expect(net.outs.seed).toBe(seed);
  });

  it("is not rebuilt in another machine's registry before warren:adopt names the old one", async () => {
    const net = new Driven(world, network);
    await net.up(news({}));
    const home = String(net.outs.registryId);
    world.newRegistry(true);
    const here = world.registry.id;
    expect(await net.refresh()).toBe("kept");
    await expect(net.up(news({}))).rejects.toThrow(new RegExp(`${home}.*${here}.*warren:adopt ${home}`));
    await expect(net.destroy()).rejects.toThrow(new RegExp(`${home}.*${here}`));
    world.adopt = home;
    expect(await net.up(news({}))).toBe("update");
    expect(net.outs.registryId).toBe(here);
    world.adopt = undefined;
    expect(await net.up(news({}))).toBe("same");
  });

  it("is gone after its own registry deleted it, and deleting what is gone succeeds", async () => {
    const net = new Driven(world, network);
    const other = new Driven(world, network);
    await net.up(news({}));
    await other.up({ name: "other", ...hidden("Network", "other") });
    world.registry.deleteNetwork(net.id!, net.outs.owner as never);
    expect(await net.refresh()).toBe("gone");
    await net.destroy();
  });

  it("repairs what was changed behind its back", async () => {
    const net = new Driven(world, network);
    await net.up(news({ tags: { a: "1" } }));
    const record = world.registry.network(net.id!);
    world.registry.putNetwork("shop", { owner: record.owner, spec: { ...record.spec, tags: {} } });
    expect(await net.up(news({ tags: { a: "1" } }))).toBe("update");
    expect(world.registry.network(net.id!).spec.tags).toEqual({ a: "1" });
  });

  it("refuses the name of another stack's network, naming that stack", async () => {
    await new Driven(world, network).up(news({}));
    const other = new Driven(world, network);
    await expect(other.up({ name: "shop", ...hidden("Network", "shop", "prod") })).rejects.toThrow(/acme\/shop\/dev/);
  });
});

describe("get", () => {
  it("reads a network by name, without its seed", async () => {
    const net = new Driven(world, network);
    await net.up(news({}));
    const got = await network.read(world.ctx, "shop", { __provider: "p" });
    expect(got!.id).toBe(net.id);
    expect(got!.props).toMatchObject({ name: "shop", networkId: net.id });
    expect(got!.props.seed).toBeUndefined();
    await expect(network.read(world.ctx, "nope", {})).rejects.toThrow(/no network "nope"/);
  });
});
