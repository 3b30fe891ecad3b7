import { Driven, hidden, World } from "../testing/context";
import type { Props } from "./crud";
import { network } from "./network";
import { peer } from "./peer";
import { UNKNOWN } from "./unknown";

let world: World;
let net: Driven;
let space: unknown;
beforeEach(async () => {
  world = new World();
  net = new Driven(world, network);
  await net.up({ name: "shop", cidr: "10.1.2.0/24", ...hidden("Network", "shop") });
  space = net.outs.space;
});
afterEach(() => world.close());

const news = (name: string, inputs: object = {}, stack = "dev"): Props => ({
  name,
  network: "shop",
  networkId: net.id,
  space,
  before: [],
  ...inputs,
  ...hidden("Peer", name, stack),
});
const OWN_KEY = "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=";

describe("check", () => {
  it.each([
    [{ ip: "10.9.9.9" }, "ip", /outside network shop/],
    [{ ip: "10.1.2.1" }, "ip", /gateway address/],
    [{ ip: "10.1.2" }, "ip", /no IP address/],
    [{ publicKey: "abc" }, "publicKey", /32 bytes/],
    [{ presharedKey: "secret" }, "presharedKey", /^(?!.*: secret).*32 bytes/],
    [{ dns: "on" }, "dns", /off, split, all/],
    [{ routes: ["192.168.7.1"] }, "routes[0]", /192\.168\.7\.0\/24/],
    [{ routes: ["192.168.7.1/24"] }, "routes[0]", /^"192.*write 192\.168\.7\.0\/24/],
    [{ routes: ["192.168.7.0/24", "10.1.2.128/25"] }, "routes[1]", /overlaps the range of network shop/],
    [{ persistentKeepalive: -1 }, "persistentKeepalive", /0 to 65535/],
    [{ expiresAt: "tomorrow" }, "expiresAt", /RFC 3339/],
    [{ expiresAt: "2025-12-31T23:59:59Z" }, "expiresAt", /is past/],
    [{ endpoint: "vpn example" }, "endpoint", /host:port/],
    [{ before: [{ name: "laptop", kind: "peer" }] }, "name", /its own/],
    [{ network: undefined }, "network", /needs a network/],
    [{ publickey: OWN_KEY }, "publickey", /no input/],
  ])("refuses %j", async (inputs, property, reason) => {
    const { failures } = await peer.check(world.ctx, {}, news("laptop", inputs));
    expect(failures.map((f) => f.property)).toContain(property);
    expect(failures.find((f) => f.property === property)!.reason).toMatch(reason);
  });

  it("refuses the key of another peer, naming it, and lets a peer keep its own", async () => {
    const phone = new Driven(world, peer);
    await phone.up(news("phone", { publicKey: OWN_KEY }));
    const { failures } = await peer.check(world.ctx, {}, news("laptop", { publicKey: OWN_KEY }));
    expect(failures).toEqual([{ property: "publicKey", reason: expect.stringMatching(/Peer phone of network shop/) }]);
    expect(await phone.up(news("phone", { publicKey: OWN_KEY }))).toBe("same");
    expect(await phone.up({ ...news("phone", { publicKey: OWN_KEY }), name: "tablet" })).toBe("replace");
  });

  it("refuses a pinned address that another member holds, naming it", async () => {
    await new Driven(world, peer).up(news("phone", { ip: "10.1.2.7" }));
    const { failures } = await peer.check(world.ctx, {}, news("laptop", { ip: "10.1.2.7" }));
    expect(failures).toEqual([{ property: "ip", reason: expect.stringMatching(/held by phone/) }]);
  });

  it("gives the address that follows from the members before it, whether or not a registry exists", async () => {
    const before = [
      { name: "api", kind: "app", region: "ord", instances: 2 },
      { name: "web", kind: "app", ip: "10.1.2.6" },
    ];
    for (const onDisk of [true, false]) {
      world.onDisk = onDisk;
      const { inputs } = await peer.check(world.ctx, {}, news("laptop", { before }));
      expect(inputs).toMatchObject({ privateIp: "10.1.2.5", addresses: [{ slot: "peer", ipv4: "10.1.2.5" }] });
      expect(inputs.before).toBeUndefined();
    }
  });

  it("promises no address to a member without an order, unless it is pinned or has one", async () => {
    const first = await peer.check(world.ctx, {}, news("laptop", { unordered: true }));
    expect(first.inputs.privateIp).toBeUndefined();
    const pinned = await peer.check(world.ctx, {}, news("laptop", { unordered: true, ip: "10.1.2.9" }));
    expect(pinned.inputs.privateIp).toBe("10.1.2.9");
    const laptop = new Driven(world, peer);
    await laptop.up(news("laptop", { unordered: true, before: [{ name: "api", kind: "peer" }] }));
    expect(laptop.outs.privateIp).toBe("10.1.2.4");
    expect((await laptop.check(news("laptop", { unordered: true }))).privateIp).toBe("10.1.2.4");
    expect(await laptop.up(news("laptop", { unordered: true }))).toBe("same");
  });

  it("leaves the address open while the network or an input is not known", async () => {
    for (const inputs of [
      { space: UNKNOWN, network: UNKNOWN, networkId: UNKNOWN },
      { name: UNKNOWN },
      { ip: UNKNOWN },
    ]) {
      const { inputs: checked, failures } = await peer.check(world.ctx, {}, news("laptop", inputs));
      expect(failures).toEqual([]);
      expect(checked.privateIp).toBeUndefined();
    }
  });
});

describe("life", () => {
  it("makes keys and a config whose text stays the same", async () => {
    const laptop = new Driven(world, peer);
    expect(await laptop.up(news("laptop"))).toBe("create");
    const { privateKey, publicKey, config } = laptop.outs;
    const gateway = world.registry.member(laptop.id!).gateway!;
    expect(config).toBe(
      `[Interface]\nPrivateKey = ${privateKey}\nAddress = 10.1.2.3/24\nMTU = 1420\n\n[Peer]\nPublicKey = ${gateway.publicKey}\n` +
        "AllowedIPs = 10.1.2.0/24\nEndpoint = 127.0.0.1:51820\nPersistentKeepalive = 25\n",
    );
    expect(JSON.stringify(world.registry.members())).not.toContain(String(privateKey));
    expect(await laptop.up(news("laptop"))).toBe("same");
    expect(await laptop.up(news("laptop", { tags: { a: "b" } }))).toBe("update");
    expect(laptop.outs).toMatchObject({ privateKey, publicKey, config });
    expect(await laptop.up(news("laptop", { keepers: { n: "2" } }))).toBe("update");
    expect(laptop.outs.privateKey).not.toBe(privateKey);
    expect(world.registry.member(laptop.id!).peer!.publicKey).toBe(laptop.outs.publicKey);
  });

  it("holds no private key for a peer with its own", async () => {
    const laptop = new Driven(world, peer);
    await laptop.up(news("laptop", { publicKey: OWN_KEY }));
    expect(laptop.outs.privateKey).toBeUndefined();
    expect(laptop.outs.config).toMatch(/^\[Interface\]\n# PrivateKey = /);
    expect(await laptop.up(news("laptop", { publicKey: OWN_KEY }))).toBe("same");
    expect(await laptop.up(news("laptop"))).toBe("update");
    expect(laptop.outs.publicKey).not.toBe(OWN_KEY);
    expect(laptop.outs.privateKey).toBeDefined();
  });

  it("makes a pre-shared key once, and writes DNS and routes of the network", async () => {
    await new Driven(world, peer).up(news("office", { routes: ["192.168.7.0/24"] }));
    const laptop = new Driven(world, peer);
    const inputs = { presharedKey: true, dns: "all", endpoint: "vpn.example.com", persistentKeepalive: 0 };
    await laptop.up(news("laptop", inputs));
    const { presharedKey, config } = laptop.outs;
    expect(config).toContain(`PresharedKey = ${presharedKey}\n`);
    expect(config).toContain("DNS = 10.1.2.2, internal\n");
    expect(config).toContain("AllowedIPs = 10.1.2.0/24, 192.168.7.0/24\n");
    expect(config).toContain("Endpoint = vpn.example.com:51820\n");
    expect(config).not.toContain("Keepalive");
    expect(await laptop.up(news("laptop", inputs))).toBe("same");
    expect(laptop.outs.presharedKey).toBe(presharedKey);
    expect(await laptop.up(news("laptop", { ...inputs, presharedKey: undefined }))).toBe("update");
    expect(laptop.outs.presharedKey).toBeUndefined();
  });

  it("uses warren:endpoint where it names none itself", async () => {
    world.endpoint = "203.0.113.7:4000";
    const laptop = new Driven(world, peer);
    await laptop.up(news("laptop"));
    expect(laptop.outs.config).toContain("Endpoint = 203.0.113.7:4000\n");
  });

  it("moves to another pinned address in place", async () => {
    const laptop = new Driven(world, peer);
    await laptop.up(news("laptop"));
    expect(await laptop.up(news("laptop", { ip: "10.1.2.50" }))).toBe("update");
    expect(laptop.outs.privateIp).toBe("10.1.2.50");
    expect(laptop.outs.config).toContain("Address = 10.1.2.50/24");
  });

  it("may expire, and be changed after that", async () => {
    const laptop = new Driven(world, peer);
    const expiresAt = "2026-01-01T01:00:00Z";
    await laptop.up(news("laptop", { expiresAt }));
    world.time += 7_200_000;
    expect(await laptop.up(news("laptop", { expiresAt }))).toBe("same");
    expect(await laptop.up(news("laptop", { expiresAt, tags: { a: "b" } }))).toBe("update");
    expect(await laptop.up(news("laptop", { expiresAt: "2026-02-01T00:00:00Z" }))).toBe("update");
  });

  it("has a new config once another peer brings routes, or takes them away", async () => {
    const laptop = new Driven(world, peer);
    await laptop.up(news("laptop", { presharedKey: true }));
    const { config } = laptop.outs;
    const office = new Driven(world, peer);
    await office.up(news("office", { routes: ["192.168.7.0/24"] }));
    expect(await laptop.up(news("laptop", { presharedKey: true }))).toBe("update");
    expect(laptop.outs.config).toContain("AllowedIPs = 10.1.2.0/24, 192.168.7.0/24\n");
    expect(await laptop.up(news("laptop", { presharedKey: true }))).toBe("same");
    expect(await office.up(news("office", { routes: ["192.168.7.0/24"] }))).toBe("same");
    await office.destroy();
    expect(await laptop.up(news("laptop", { presharedKey: true }))).toBe("update");
    expect(laptop.outs.config).toBe(config);
  });

  it("is replaced for another name, and deleting a former incarnation leaves the present one", async () => {
    const laptop = new Driven(world, peer);
    await laptop.up(news("laptop"));
    const { id, outs } = laptop;
    expect(await laptop.up(news("tablet"))).toBe("replace");
    expect(laptop.id).not.toBe(id);
    await peer.delete(world.ctx, id!, outs);
    expect(world.registry.members().map((m) => m.name)).toEqual(["tablet"]);
  });

  it("has the same keys and address after its registry was lost", async () => {
    const laptop = new Driven(world, peer);
    await laptop.up(news("laptop", { ip: "10.1.2.20" }));
    const { id } = laptop;
    const { privateKey, publicKey, config } = laptop.outs;
    world.newRegistry();
    expect(await laptop.refresh()).toBe("kept");
    await net.up({ name: "shop", cidr: "10.1.2.0/24", ...hidden("Network", "shop") });
    expect(await laptop.up(news("laptop", { ip: "10.1.2.20" }))).toBe("update");
    expect(laptop.id).toBe(id);
    expect(laptop.outs).toMatchObject({ privateKey, publicKey, config });
  });

  it("is shown to other stacks without its keys", async () => {
    const laptop = new Driven(world, peer);
    await laptop.up(news("laptop", { presharedKey: true }));
    const got = await peer.read(world.ctx, "shop/laptop", { __provider: "p" });
    expect(got).toMatchObject({ id: laptop.id, props: { name: "laptop", privateIp: "10.1.2.3" } });
    expect(Object.keys(got!.props)).not.toEqual(expect.arrayContaining(["presharedKey"]));
    expect(Object.keys(got!.props)).not.toEqual(expect.arrayContaining(["config"]));
  });
});
