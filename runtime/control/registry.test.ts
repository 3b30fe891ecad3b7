import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import * as fc from "fast-check";
import { keyAddress, layout, normalize, subtract } from "../ipam";
import { DesiredState } from "./desired-state";
import type { AppSpec, Owner, PutMember, PutNetwork } from "./interface/types";
import { gatewayKeys } from "./keys";
import { Registry } from "./registry";
import { REST } from "./store/address-pool";

const owner: Owner = { organization: "acme", project: "shop", stack: "prod", urn: "urn:net" };
const other: Owner = { organization: "acme", project: "shop", stack: "dev", urn: "urn:theirs" };

const appSpec: AppSpec = {
  regions: ["ord"],
  instances: 1,
  port: 8080,
  command: ["./server"],
  cwd: "/",
  env: {},
  triggers: [],
  health: { type: "none", interval: 1, timeout: 1, threshold: 1 },
  restart: "always",
  tags: {},
};

function network(spec: Partial<PutNetwork["spec"]> = {}, put: Partial<PutNetwork> = {}): PutNetwork {
  const base = { name: "net", cidr: "10.1.2.0/24", reserved: [], regions: [], domain: "internal", mtu: 1420, tags: {} };
  return { owner, spec: { ...base, ...spec }, ...put };
}

function app(name: string, spec: Partial<AppSpec> = {}, put: Partial<PutMember> = {}): PutMember {
  const base = {
    owner: { ...owner, urn: `urn:${name}` },
    name,
    kind: "app",
    addresses: [],
    app: { ...appSpec, ...spec },
  };
  return { ...base, ...put } as PutMember;
}

function peer(name: string, key: number, spec: object = {}, put: Partial<PutMember> = {}): PutMember {
  const publicKey = Buffer.alloc(32, key).toString("base64");
  const base = { owner: { ...owner, urn: `urn:${name}` }, name, kind: "peer", addresses: [] };
  return { ...base, peer: { publicKey, routes: [], tags: {}, ...spec }, ...put } as PutMember;
}

const refusal = (code: string, message = "") =>
  expect.objectContaining({ code, message: expect.stringContaining(message) });
const v4 = (record: { addresses: { ipv4?: string }[] }) => record.addresses.map((a) => a.ipv4);

let dir: string;
let now: number;
let registry: Registry;
const open = () => new Registry({ file: path.join(dir, "registry.sqlite"), dir, now: () => now });

beforeEach(() => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), "warren-registry-"));
  now = Date.UTC(2026, 0, 1);
  registry = open();
});
afterEach(() => {
  registry.close();
  fs.rmSync(dir, { recursive: true, force: true });
});

/** As when the file was lost: a new registry on the same machine. */
function lose(): void {
  registry.close();
  for (const suffix of ["", "-wal", "-shm"]) fs.rmSync(path.join(dir, `registry.sqlite${suffix}`), { force: true });
  registry = open();
}

/** Each issuable address is leased, resting or free, and only one of them. */
function checkInvariants(): void {
  for (const net of registry.networks()) {
    const rows = (table: string, first: string, last: string) =>
      registry.db.all(`SELECT ${first} AS first, ${last} AS last, family FROM ${table} WHERE network_id = ?`, net.id);
    const spans = [
      ...rows("leases", "address", "address"),
      ...rows("resting", "address", "address"),
      ...rows("free_ranges", "first", "last"),
    ].map((r) => ({ family: Number(r.family), first: keyAddress(String(r.first)), last: keyAddress(String(r.last)) }));
    for (const family of layout(net.spec).families) {
      const own = spans.filter((s) => s.family === family.family);
      const total = (list: { first: bigint; last: bigint }[]) =>
        list.reduce((sum, s) => sum + s.last - s.first + 1n, 0n);
      expect(total(own)).toBe(total(normalize(own)));
      expect(normalize(own)).toEqual(subtract([family.issuable], family.reserved));
    }
  }
}

describe("networks", () => {
  test("create, resume, update; each incarnation its own id", () => {
    const made = registry.putNetwork("net", network());
    expect(registry.putNetwork("net", network({ mtu: 1400 }))).toMatchObject({
      id: made.id,
      seed: made.seed,
      spec: { mtu: 1400 },
    });
    expect(registry.network("net").seed).toBeUndefined();
    registry.deleteNetwork(made.id, owner);
    const again = registry.putNetwork("net", network());
    expect(again.id).not.toBe(made.id);
    registry.deleteNetwork(made.id, owner);
    expect(registry.networks()).toHaveLength(1);
  });

  test("a name of another owner is refused, naming stack and URN", () => {
    registry.putNetwork("net", network());
    expect(() => registry.putNetwork("net", network({}, { owner: other }))).toThrow(
      refusal("WARREN_NAME_TAKEN", "acme/shop/prod (urn:net)"),
    );
    expect(() => registry.putNetwork("net", network({}, { owner: { ...owner, urn: "urn:second" } }))).toThrow(
      refusal("WARREN_NAME_TAKEN"),
    );
  });

  test("an alias changes the owner's URN in place", () => {
    const made = registry.putNetwork("net", network());
    const known = { id: made.id, seed: made.seed!, registryId: registry.id };
    const moved = registry.putNetwork("net", network({}, { owner: { ...owner, urn: "urn:renamed" }, known }));
    expect(moved).toMatchObject({ id: made.id, owner: { urn: "urn:renamed" } });
  });

  test("changed keepers change the seed, once", () => {
    const made = registry.putNetwork("net", network({ keepers: { a: "1" } }));
    const rotated = registry.putNetwork("net", network({ keepers: { a: "2" } }));
    expect(rotated.seed).not.toBe(made.seed);
    expect(registry.putNetwork("net", network({ keepers: { a: "2" } })).seed).toBe(rotated.seed);
  });

  test("a lost registry is rebuilt with the same id, seed and addresses", () => {
    const made = registry.putNetwork("net", network());
    const laptop = registry.putMember("net", "laptop", peer("laptop", 1));
    const east = registry.putMember("net", "east", app("east"));
    const id = registry.id;
    lose();
    expect(registry.id).toBe(id);
    const known = { id: made.id, seed: made.seed!, registryId: id };
    expect(registry.putNetwork("net", network({}, { known }))).toMatchObject({ id: made.id, seed: made.seed });
    const knownEast = { id: east.id, registryId: id };
    const rebuilt = registry.putMember("net", "east", app("east", {}, { addresses: east.addresses, known: knownEast }));
    expect(rebuilt).toMatchObject({ id: east.id, addresses: east.addresses });
    const knownLaptop = { id: laptop.id, registryId: id };
    const again = peer("laptop", 1, {}, { addresses: laptop.addresses, known: knownLaptop });
    expect(registry.putMember(made.id, "laptop", again)).toMatchObject({ id: laptop.id, addresses: laptop.addresses });
    checkInvariants();
  });

  test("a foreign registry is refused, naming both, until it is adopted", () => {
    const known = { id: "net_far", seed: Buffer.alloc(32, 7).toString("base64"), registryId: "reg_far" };
    expect(() => registry.putNetwork("net", network({}, { known }))).toThrow(
      refusal("WARREN_FOREIGN_REGISTRY", "pulumi config set warren:adopt reg_far"),
    );
    expect(() => registry.putNetwork("net", network({}, { known, adopt: "reg_else" }))).toThrow(
      refusal("WARREN_FOREIGN_REGISTRY", registry.id),
    );
    expect(registry.putNetwork("net", network({}, { known, adopt: "reg_far" }))).toMatchObject({
      id: "net_far",
      seed: known.seed,
    });
    const member = { id: "mem_far", registryId: "reg_far" };
    expect(() => registry.putMember("net", "a", app("a", {}, { known: member }))).toThrow(
      refusal("WARREN_FOREIGN_REGISTRY"),
    );
    expect(registry.putMember("net", "a", app("a", {}, { known: member, adopt: "reg_far" })).id).toBe("mem_far");
  });

  test("deleting removes the stack's members, and refuses while others have some", () => {
    const net = registry.putNetwork("net", network());
    registry.putMember("net", "mine", app("mine"));
    const theirs = registry.putMember("net", "theirs", app("theirs", {}, { owner: other }));
    expect(() => registry.deleteNetwork(net.id, owner)).toThrow(
      refusal("WARREN_NOT_EMPTY", "theirs of stack acme/shop/dev"),
    );
    expect(registry.members()).toHaveLength(2);
    registry.deleteMember(theirs.id);
    registry.deleteNetwork(net.id, owner);
    expect(registry.isEmpty).toBe(true);
    for (const table of ["networks", "members", "leases", "resting", "free_ranges", "hosts"])
      expect(registry.db.get(`SELECT count(*) AS n FROM ${table}`)!.n).toBe(0);
  });

  test("a range does not grow over what lies behind a peer", () => {
    const before = registry.putNetwork("net", network());
    registry.putMember("net", "office", peer("office", 1, { routes: ["192.168.7.0/24", "10.1.3.0/24"] }));
    expect(() => registry.putNetwork("net", network({ cidr: "10.1.2.0/23" }))).toThrow(
      refusal("WARREN_RANGE_IN_USE", "10.1.3.0/24 lies behind its peer office"),
    );
    expect(registry.network("net").spec).toEqual(before.spec);
    registry.putMember("net", "office", peer("office", 1, { routes: ["192.168.7.0/24"] }));
    expect(registry.putNetwork("net", network({ cidr: "10.1.2.0/23" })).spec.cidr).toBe("10.1.2.0/23");
  });

  test("a range grows in place, shrinks only when unused, and never moves", () => {
    registry.putNetwork("net", network());
    registry.putMember("net", "a", app("a", { instances: 130 }));
    checkInvariants();
    expect(() => registry.putNetwork("net", network({ cidr: "10.1.2.0/25" }))).toThrow(
      refusal("WARREN_RANGE_IN_USE", "10.1.2.127 (a)"),
    );
    expect(() => registry.putNetwork("net", network({ cidr: "10.1.0.0/16" }))).toThrow(
      refusal("WARREN_INVALID_RANGE", "would move"),
    );
    expect(() => registry.putNetwork("net", network({ reserved: ["10.1.2.9"] }))).toThrow(
      refusal("WARREN_RANGE_IN_USE", "10.1.2.9 (a)"),
    );
    expect(registry.putNetwork("net", network({ cidr: "10.1.2.0/23" })).spec.cidr).toBe("10.1.2.0/23");
    checkInvariants();
    const grown = registry.putMember("net", "b", app("b", { instances: 200 }));
    // The service and the gateway of the smaller range keep .253 and .254, in the middle now.
    expect(grown.addresses.at(-1)!.ipv4).toBe("10.1.3.78");
    expect(grown.service!.ipv4).toBe("10.1.3.254");
    expect(registry.members()[0].service!.ipv4).toBe("10.1.2.253");
    expect(
      registry.putNetwork("net", network({ cidr: "10.1.2.0/23", reserved: ["10.1.3.128/25"] })).spec.reserved,
    ).toHaveLength(1);
    checkInvariants();
    // It was in what is reserved now, and is leased anew when its app is next put.
    expect(registry.members()[1].service).toBeUndefined();
    expect(registry.putMember("net", "b", app("b", { instances: 200 })).service!.ipv4).toBe("10.1.3.127");
    checkInvariants();
  });

  test("equal ranges in two networks are fine; without a range each gets one of its own", () => {
    registry.putNetwork("net", network());
    registry.putNetwork("two", network({ name: "two" }));
    expect(v4(registry.putMember("net", "a", app("a")))).toEqual(v4(registry.putMember("two", "a", app("a"))));
    const chosen = registry.putNetwork("three", network({ name: "three", cidr: undefined }));
    expect(chosen.spec.cidr).toMatch(/^10\.\d+\.\d+\.0\/24$/);
    expect(registry.putNetwork("three", network({ name: "three", cidr: undefined })).spec.cidr).toBe(chosen.spec.cidr);
  });

  test.each([
    [{ name: "Net" }, "WARREN_INVALID_INPUT"],
    [{ name: "net", cidr: "10.1.2.0/30" }, "WARREN_INVALID_RANGE"],
    [{ name: "net", mtu: 100 }, "WARREN_INVALID_INPUT"],
    [{ name: "net", cidr: "fd00::/64", mtu: 1200 }, "WARREN_INVALID_INPUT"],
    [{ name: "net", domain: "In.ternal" }, "WARREN_INVALID_INPUT"],
    [{ name: "net", regions: ["a b"] }, "WARREN_INVALID_INPUT"],
  ])("%j is refused with nothing half-made", (spec, code) => {
    const revision = registry.revision;
    expect(() => registry.putNetwork(spec.name, network(spec))).toThrow(refusal(code));
    expect([registry.isEmpty, registry.revision]).toEqual([true, revision]);
  });
});

describe("members", () => {
  beforeEach(() => {
    registry.putNetwork("net", network());
  });

  test("names are unique in a network across apps, peers and stacks", () => {
    registry.putMember("net", "api", app("api"));
    expect(() => registry.putMember("net", "api", app("api", {}, { owner: other }))).toThrow(
      refusal("WARREN_NAME_TAKEN", "acme/shop/prod (urn:api)"),
    );
    expect(() => registry.putMember("net", "api", peer("api", 1))).toThrow(refusal("WARREN_NAME_TAKEN"));
    expect(() => registry.putMember("none", "api", app("api"))).toThrow(refusal("WARREN_NOT_FOUND", "no network none"));
  });

  test("moves and scales in place with the same addresses", () => {
    const made = registry.putMember("net", "api", app("api", { instances: 2 }));
    expect(v4(made)).toEqual(["10.1.2.3", "10.1.2.4"]);
    registry.putMember("net", "b", app("b"));
    const moved = registry.putMember("net", "api", app("api", { regions: ["iad"], instances: 3 }));
    expect(moved).toMatchObject({
      id: made.id,
      addresses: [
        { slot: "iad/0", ipv4: "10.1.2.3" },
        { slot: "iad/1", ipv4: "10.1.2.4" },
        { slot: "iad/2", ipv4: "10.1.2.6" },
      ],
    });
    const swapped = [
      { slot: "iad/0", ipv4: "10.1.2.4" },
      { slot: "iad/1", ipv4: "10.1.2.3" },
    ];
    const put = app("api", { regions: ["iad"], instances: 2 }, { addresses: swapped });
    expect(registry.putMember("net", "api", put).addresses).toEqual(swapped);
    checkInvariants();
  });

  test("a planned address that is gone is planned anew, a pinned one is refused", () => {
    registry.putMember("net", "a", app("a"));
    const addresses = [{ slot: "ord/0", ipv4: "10.1.2.3" }];
    expect(() => registry.putMember("net", "b", app("b", {}, { addresses, ip: "10.1.2.3" }))).toThrow(
      refusal("WARREN_ADDRESS_TAKEN", "held by a"),
    );
    expect(registry.members()).toHaveLength(1);
    expect(v4(registry.putMember("net", "b", app("b", {}, { addresses })))).toEqual(["10.1.2.4"]);
    const pinned = registry.putMember(
      "net",
      "b",
      app("b", {}, { addresses: [{ slot: "ord/0", ipv4: "10.1.2.77" }], ip: "10.1.2.77" }),
    );
    expect(v4(pinned)).toEqual(["10.1.2.77"]);
    checkInvariants();
  });

  test("a released address rests, then is the lowest free again", () => {
    const a = registry.putMember("net", "a", app("a"));
    registry.deleteMember(a.id);
    registry.deleteMember(a.id);
    expect(v4(registry.putMember("net", "b", app("b")))).toEqual(["10.1.2.4"]);
    now += REST;
    expect(v4(registry.putMember("net", "c", app("c")))).toEqual(["10.1.2.3"]);
    checkInvariants();
  });

  test("plan agrees with what is made, and changes nothing", () => {
    registry.putMember("net", "a", app("a"));
    const revision = registry.revision;
    const request = {
      network: network().spec,
      owner,
      name: "c",
      slots: ["ord/0"],
      old: [],
      before: [{ name: "b", slots: ["peer"] }],
    };
    expect(registry.plan(request)).toEqual([{ slot: "ord/0", ipv4: "10.1.2.5" }]);
    expect(registry.revision).toBe(revision);
    const grown = { ...request, network: { ...request.network, cidr: "10.1.2.0/23" } };
    expect(registry.plan(grown)).toEqual([{ slot: "ord/0", ipv4: "10.1.2.5" }]);
    const replaced = { ...request, network: { ...request.network, cidr: "10.9.0.0/24" } };
    expect(registry.plan(replaced)).toEqual([{ slot: "ord/0", ipv4: "10.9.0.4" }]);
    const unknown = { ...request, network: { name: "new", reserved: [] } };
    expect(registry.plan(unknown)[0].ipv4).toMatch(/^10\.\d+\.\d+\.4$/);
  });

  test("regions outside the network's are refused; a peer's default follows the network", () => {
    registry.putNetwork("net", network({ regions: ["ord", "iad"] }));
    expect(() => registry.putMember("net", "a", app("a", { regions: ["ams"] }))).toThrow(
      refusal("WARREN_INVALID_INPUT", "ord, iad"),
    );
    expect(registry.putMember("net", "p", peer("p", 1)).gateway).toMatchObject({ hostId: "host-ord", region: "ord" });
    registry.putNetwork("two", network({ name: "two" }));
    // Whatever was created before: after the loss of a registry that order may be another.
    registry.putMember("two", "a", app("a", { regions: ["ams"] }));
    expect(registry.putMember("two", "p", peer("p", 1)).gateway!.region).toBe("local");
    registry.putMember("two", "q", peer("q", 2, { region: "fra" }));
    expect(registry.putMember("two", "r", peer("r", 3)).gateway!.region).toBe("local");
    expect(registry.putMember("two", "q", peer("q", 2)).gateway!.region).toBe("fra");
  });

  test.each([
    ["two commands", app("m", { upstream: "localhost:80" }), "command"],
    ["no command", app("m", { command: undefined }), "command"],
    ["an upstream without a port", app("m", { command: undefined, upstream: "localhost" }), "upstream"],
    ["a region twice", app("m", { regions: ["ord", "ord"] }), "regions[1]"],
    ["an outside address", app("m", {}, { addresses: [{ slot: "ord/0", ipv4: "10.9.9.9" }] }), "addresses[0].ipv4"],
    ["a short key", peer("m", 1, { publicKey: "abcd" }), "publicKey"],
    ["a key of another peer", peer("m", 9), "publicKey"],
    ["a route over the network", peer("m", 1, { routes: ["10.1.0.0/16"] }), "routes[0]"],
    ["a route of another peer", peer("m", 1, { routes: ["192.168.7.0/24"] }), "routes[0]"],
    ["no time", peer("m", 1, { expiresAt: "soon" }), "expiresAt"],
  ])("%s: refused with nothing half-made", (_, put, at) => {
    registry.putMember("net", "other", peer("other", 9, { routes: ["192.168.7.0/24"] }));
    expect(() => registry.putMember("net", "m", put)).toThrow(expect.objectContaining({ path: at }));
    expect(registry.members()).toHaveLength(1);
    checkInvariants();
  });
});

describe("services and gateways", () => {
  const gateways = () =>
    new DesiredState(registry).current().networks[0].gateways.map((g) => [g.hostId, g.address?.ipv4]);

  test("are leased from the top down, and go with what they are for", () => {
    registry.putNetwork("net", network());
    const a = registry.putMember("net", "a", app("a"));
    const b = registry.putMember("net", "b", app("b", { regions: ["iad"] }));
    const laptop = registry.putMember("net", "laptop", peer("laptop", 1, { region: "iad" }));
    expect([a.service!.ipv4, b.service!.ipv4, laptop.service]).toEqual(["10.1.2.253", "10.1.2.251", undefined]);
    expect(gateways()).toEqual([
      ["host-iad", "10.1.2.252"],
      ["host-ord", "10.1.2.254"],
    ]);
    registry.deleteMember(b.id);
    expect(gateways()).toHaveLength(2);
    registry.deleteMember(laptop.id);
    expect(gateways()).toEqual([["host-ord", "10.1.2.254"]]);
    checkInvariants();
    // What is made again has what it had.
    expect(registry.putMember("net", "b", app("b", { regions: ["iad"] })).service!.ipv4).toBe("10.1.2.251");
    expect(gateways()).toContainEqual(["host-iad", "10.1.2.252"]);
    now += REST;
    // An app that moves keeps its service address, and gives back the gateway that nobody else needs.
    expect(registry.putMember("net", "b", app("b", { regions: ["fra"] })).service!.ipv4).toBe("10.1.2.251");
    expect(gateways()).toEqual([
      ["host-fra", "10.1.2.250"],
      ["host-ord", "10.1.2.254"],
    ]);
    checkInvariants();
  });

  test("a lost registry is rebuilt with the same ones", () => {
    const net = registry.putNetwork("net", network());
    registry.putMember("net", "a", app("a"));
    const b = registry.putMember("net", "b", app("b"));
    lose();
    registry.putNetwork("net", network({}, { known: { id: net.id, seed: net.seed!, registryId: net.registryId } }));
    const known = { id: b.id, registryId: b.registryId };
    const again = registry.putMember("net", "b", app("b", {}, { known, addresses: [...b.addresses, b.service!] }));
    expect([again.addresses, again.service]).toEqual([b.addresses, b.service]);
  });

  test("a full range says what grows from where; a member that is there already is not refused", () => {
    registry.putNetwork("net", network({ cidr: "10.1.2.0/29" }));
    const a = registry.putMember("net", "a", app("a"));
    expect([v4(a), a.service!.ipv4]).toEqual([["10.1.2.3"], "10.1.2.5"]);
    expect(() => registry.putMember("net", "b", app("b"))).toThrow(
      refusal(
        "WARREN_RANGE_EXHAUSTED",
        "no free service address left in 10.1.2.0/29: total 4, leased 3, reserved 0, resting 0, planned for members of this program 1; of those leased, 1 grow upwards from the first (members) and 2 from the last down (services, gateways)",
      ),
    );
    expect(registry.putMember("net", "a", app("a", { regions: ["iad"], instances: 2 })).addresses).toHaveLength(2);
    checkInvariants();
  });

  test("a range in which no app fits is refused with one that does", () => {
    expect(() => registry.putNetwork("net", network({ cidr: "fd00::/126", mtu: 1420 }))).toThrow(
      refusal("WARREN_INVALID_RANGE", "the smallest that fits is fd00::/125"),
    );
    expect(registry.isEmpty).toBe(true);
  });

  test("a smaller range moves them, and nobody else", () => {
    registry.putNetwork("net", network());
    const a = registry.putMember("net", "a", app("a"));
    expect(registry.putNetwork("net", network({ cidr: "10.1.2.0/25" })).spec.cidr).toBe("10.1.2.0/25");
    checkInvariants();
    const again = registry.putMember("net", "a", app("a"));
    expect([again.addresses, again.service!.ipv4]).toEqual([a.addresses, "10.1.2.125"]);
    expect(gateways()).toEqual([["host-ord", "10.1.2.126"]]);
  });

  test("a pinned address at the top is theirs no more than it was asked for before", () => {
    registry.putNetwork("net", network());
    const pinned = registry.putMember("net", "a", app("a", {}, { ip: "10.1.2.254" } as Partial<PutMember>));
    expect([v4(pinned), pinned.service!.ipv4]).toEqual([["10.1.2.254"], "10.1.2.252"]);
    expect(() => registry.putMember("net", "b", app("b", {}, { ip: "10.1.2.252" } as Partial<PutMember>))).toThrow(
      refusal("WARREN_ADDRESS_TAKEN", "held by the service address of a"),
    );
    expect(() => registry.putMember("net", "b", app("b", {}, { ip: "10.1.2.253" } as Partial<PutMember>))).toThrow(
      refusal("WARREN_ADDRESS_TAKEN", "held by the gateway in ord"),
    );
  });
});

describe("the desired state", () => {
  test("a network that did not change stays the same object", () => {
    registry.putNetwork("net", network());
    registry.putNetwork("theirs", network({ name: "theirs", cidr: "10.9.0.0/24" }));
    registry.putMember("net", "api", app("api"));
    const desired = new DesiredState(registry);
    const before = desired.current();
    registry.putMember("theirs", "web", app("web"));
    const after = desired.current();
    expect(after.revision).toBeGreaterThan(before.revision);
    const of = ({ networks }: typeof before, name: string) => networks.find((one) => one.name === name);
    expect(of(after, "net")).toBe(of(before, "net"));
    expect(of(after, "theirs")).not.toBe(of(before, "theirs"));
    expect(of(after, "theirs")!.members).toHaveLength(1);
    desired.close();
  });

  test("has gateways where members are, with keys that follow from the seed", () => {
    const net = registry.putNetwork("net", network());
    const peerRecord = registry.putMember("net", "laptop", peer("laptop", 1, { region: "fra" }));
    registry.putMember("net", "api", app("api", { regions: ["ord", "iad"] }));
    const desired = new DesiredState(registry);
    const { networks, hosts } = desired.current();
    expect(hosts.map((h) => [h.id, h.port, h.listen])).toEqual([
      ["host-fra", 0, "loopback"],
      ["host-iad", 0, "loopback"],
      ["host-ord", 0, "loopback"],
    ]);
    expect(networks[0].gateways).toEqual(
      [
        ["fra", "10.1.2.254"],
        ["iad", "10.1.2.252"],
        ["ord", "10.1.2.253"],
      ].map(([region, ipv4]) => ({
        hostId: `host-${region}`,
        ...gatewayKeys(net.seed!, `host-${region}`),
        address: { slot: `gateway:${region}`, ipv4 },
      })),
    );
    expect(peerRecord.gateway!.publicKey).toBe(networks[0].gateways[0].publicKey);
    expect(networks[0].members[0]).toMatchObject({
      kind: "app",
      instances: [{ slot: "ord/0", hostId: "host-ord" }, { slot: "iad/0" }],
      service: { slot: "service", ipv4: "10.1.2.251" },
    });
    expect(networks[0].members[1]).toMatchObject({ kind: "peer", region: "fra", tags: {} });
    desired.close();
  });

  test("has the network's policy", () => {
    const policy = [
      { from: ["web"], to: ["db"], protocol: "tcp" as const, ports: [[5432, 5432]] as [number, number][] },
    ];
    registry.putNetwork("net", network({ policy }));
    const desired = new DesiredState(registry);
    expect(desired.current().networks[0].policy).toEqual(policy);
    registry.putNetwork("net", network());
    expect(desired.current().networks[0]).not.toHaveProperty("policy");
    desired.close();
  });

  // The literals were computed with Python's hmac and `wg pubkey`.
  test("the same seed gives the same keys for ever", () => {
    expect(gatewayKeys(Buffer.alloc(32).toString("base64"), "host-ord")).toEqual({
      privateKey: "QOSbIc9qytUswxskMcomP2v3az7X7aWmHuSuda5JClQ=",
      publicKey: "IS6t5lvy/lhMzoTJiKH/dcOFFFk5RzxNlZODEJFaLAE=",
    });
  });

  test("watchers hear of several changes once, of ports, and of a peer's end", async () => {
    const timers: { ms: number; call: () => void }[] = [];
    const desired = new DesiredState(registry, {
      now: () => now,
      after: (ms, call) => {
        timers.push({ ms, call });
        return () => timers.splice(0);
      },
    });
    let heard = 0;
    desired.watch(() => heard++);
    const tick = () => new Promise((resolve) => setImmediate(resolve));
    registry.putNetwork("net", network());
    registry.putMember("net", "guest", peer("guest", 1, { expiresAt: new Date(now + 5000).toISOString() }));
    await tick();
    expect(heard).toBe(1);
    const first = desired.current();
    expect(first.networks[0].members).toHaveLength(1);
    expect(timers).toMatchObject([{ ms: 5000 }]);
    now += 5000;
    timers[0].call();
    await tick();
    expect(heard).toBe(2);
    expect(desired.current().networks[0].members).toEqual([]);
    expect(desired.current().revision).toBeGreaterThan(first.revision);
    const revision = desired.current().revision;
    desired.reportPort("host-local", 4242);
    desired.reportPort("host-local", 4242);
    await tick();
    expect(desired.current()).toMatchObject({ revision: revision + 1, hosts: [{ port: 4242 }] });
    desired.close();
  });

  test("a host listens beyond loopback once a peer comes from elsewhere", () => {
    registry.putNetwork("net", network());
    registry.putMember("net", "near", peer("near", 1, { endpoint: "127.0.0.1:51820" }));
    const desired = new DesiredState(registry);
    expect(desired.current().hosts[0].listen).toBe("loopback");
    registry.putMember("net", "far", peer("far", 2, { endpoint: "vpn.example.com:51820" }));
    expect(desired.current().hosts[0].listen).toBe("any");
    desired.close();
  });
});

/** The rules again, the slow and obvious way: one entry per address. */
class Oracle {
  readonly leased = new Map<number, { name: string; slot: string }>();
  readonly resting = new Map<number, { name: string; slot: string; since: number }>();
  constructor(private readonly last: number) {}
  put(name: string, slots: number, at: number): { own: string[]; service?: string } | "exhausted" {
    const before = { leased: new Map(this.leased), resting: new Map(this.resting) };
    for (const [address, r] of this.resting) if (r.since + REST <= at) this.resting.delete(address);
    const of = (whose: string) => {
      const pick = (map: Map<number, { name: string; slot: string }>) =>
        [...map].filter(([, l]) => l.name === whose).sort(([x], [z]) => x - z);
      return [...pick(this.leased), ...pick(this.resting)].map(([address, { slot }]) => ({ address, slot }));
    };
    const isNew = ![...this.leased.values()].some((l) => l.name === name);
    const all = of(name);
    const candidates = all.filter((c) => c.slot !== "service");
    const own = Array.from({ length: slots }, (_, i) => `ord/${i}`);
    const got = new Map<string, number>();
    const use = (slot: string, index: number) => {
      if (index >= 0) got.set(slot, candidates.splice(index, 1)[0].address);
    };
    for (const slot of own)
      use(
        slot,
        candidates.findIndex((c) => c.slot === slot),
      );
    for (const slot of own) if (!got.has(slot)) use(slot, candidates.length > 0 ? 0 : -1);
    const gateway = of("gateway")[0];
    if (gateway) got.set("gateway", gateway.address);
    const service = all.find((c) => c.slot === "service");
    if (service) got.set("service", service.address);
    const upwards = Array.from({ length: this.last - 2 }, (_, i) => i + 3);
    for (const slot of [...own, "gateway", "service"]) {
      if (got.has(slot)) continue;
      const used = [...got.values()];
      const free = upwards.filter((x) => !this.leased.has(x) && !this.resting.has(x) && !used.includes(x));
      const oldest = [...this.resting]
        .filter(([x]) => !used.includes(x))
        .sort(([x, r], [z, t]) => r.since - t.since || x - z);
      const address = (own.includes(slot) ? free[0] : free.at(-1)) ?? oldest[0]?.[0];
      if (address !== undefined) got.set(slot, address);
      else if (own.includes(slot) || isNew) {
        this.leased.clear();
        this.resting.clear();
        for (const [k, v] of before.leased) this.leased.set(k, v);
        for (const [k, v] of before.resting) this.resting.set(k, v);
        return "exhausted";
      }
    }
    const keeps = new Set(got.values());
    for (const [address, l] of [...this.leased].sort(([x], [z]) => x - z)) {
      if (l.name !== name) continue;
      if (keeps.has(address)) this.leased.delete(address);
      else this.rest(address, l, at);
    }
    for (const [slot, address] of got) {
      this.resting.delete(address);
      this.leased.set(address, { name: slot === "gateway" ? slot : name, slot });
    }
    const text = (slot: string) => `10.1.2.${got.get(slot)}`;
    return { own: own.map(text), ...(got.has("service") ? { service: text("service") } : {}) };
  }
  delete(name: string, at: number): void {
    const drop = (whose: string) => {
      for (const [address, l] of [...this.leased].sort(([x], [z]) => x - z))
        if (l.name === whose) this.rest(address, l, at);
    };
    drop(name);
    // Nobody is left in the region.
    if ([...this.leased.values()].every((l) => l.name === "gateway")) drop("gateway");
  }
  private rest(address: number, l: { name: string; slot: string }, since: number): void {
    this.leased.delete(address);
    this.resting.set(address, { ...l, since });
  }
}

test("random operations agree with a slow oracle", () => {
  const operations = fc.array(
    fc.oneof(
      fc.record({ kind: fc.constant("put" as const), name: fc.nat(5), slots: fc.integer({ min: 1, max: 4 }) }),
      fc.record({ kind: fc.constant("delete" as const), name: fc.nat(5), slots: fc.constant(0) }),
      fc.record({ kind: fc.constant("wait" as const), name: fc.constant(0), slots: fc.integer({ min: 1, max: 80 }) }),
    ),
    { maxLength: 25 },
  );
  fc.assert(
    fc.property(operations, (list) => {
      const net = registry.putNetwork("net", network({ cidr: "10.1.2.0/28" }));
      const oracle = new Oracle(14);
      for (const { kind, name, slots } of list) {
        if (kind === "wait") now += slots * 1000;
        if (kind === "delete") {
          oracle.delete(`m${name}`, now);
          const id = registry.members().find((m) => m.name === `m${name}`)?.id;
          if (id) registry.deleteMember(id);
        }
        if (kind === "put") {
          const expected = oracle.put(`m${name}`, slots, now);
          const put = () => {
            const record = registry.putMember("net", `m${name}`, app(`m${name}`, { instances: slots }));
            return { own: v4(record), ...(record.service ? { service: record.service.ipv4 } : {}) };
          };
          if (expected === "exhausted") expect(put).toThrow(refusal("WARREN_RANGE_EXHAUSTED", "Network net"));
          else expect(put()).toEqual(expected);
        }
        checkInvariants();
      }
      registry.deleteNetwork(net.id, owner);
    }),
    { numRuns: 60 },
  );
});
