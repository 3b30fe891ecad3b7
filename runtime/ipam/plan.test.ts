import * as fc from "fast-check";
import type { Before, Owner, SlotAddress } from "../control/interface/types";
import { WarrenError } from "../errors";
import { parseAddress } from "./address";
import { layout } from "./layout";
import { type PlanInput, plan } from "./plan";
import { isGatewaySlot, slotRegion } from "./slots";
import { type ListedLease, listView } from "./view";

const owner: Owner = { organization: "o", project: "p", stack: "s", urn: "u" };
const stranger: Owner = { ...owner, stack: "other", urn: "urn:theirs" };

/** A registry of lists: what a plan reads, and what a create or a delete makes of it. */
class World {
  readonly owners = new Map<string, Owner>();
  leases: ListedLease[] = [];
  resting: ListedLease[] = [];
  constructor(
    readonly cidr: string,
    readonly reserved: string[] = [],
    readonly ipv6Cidr?: string,
  ) {}
  plan(input: Partial<PlanInput> & { name: string; slots: string[] }): SlotAddress[] {
    const net = layout({ name: "net", cidr: this.cidr, ipv6Cidr: this.ipv6Cidr, reserved: this.reserved });
    return plan(listView(net, this), { owner, old: [], before: [], ...input });
  }
  create(name: string, addresses: SlotAddress[], by = owner): void {
    const all = addresses.flatMap(({ slot, ipv4, ipv6 }) =>
      [ipv4, ipv6].filter((t) => t !== undefined).map((text) => ({ name: nameOf(name, slot), slot, ...at(text) })),
    );
    // A gateway's address is shared: the first to need it leases it.
    const next = all.filter((l) => !isGatewaySlot(l.slot) || !this.leases.some((h) => h.slot === l.slot));
    const taken = new Set(next.map((l) => l.address));
    const released = this.leases.filter((l) => l.name === name && !taken.has(l.address));
    this.leases = [...this.leases.filter((l) => l.name !== name), ...next];
    this.resting = [...this.resting.filter((l) => !taken.has(l.address)), ...released];
    this.owners.set(name, by);
  }
  delete(name: string): void {
    this.resting.push(...this.leases.filter((l) => l.name === name));
    this.leases = this.leases.filter((l) => l.name !== name);
    this.owners.delete(name);
    // Gateways where nobody is left.
    const idle = this.leases.filter(
      (g) => isGatewaySlot(g.slot) && !this.leases.some((l) => l.slot.startsWith(`${slotRegion(g.slot)}/`)),
    );
    this.resting.push(...idle);
    this.leases = this.leases.filter((l) => !idle.includes(l));
  }
  copy(): World {
    const other = new World(this.cidr, this.reserved, this.ipv6Cidr);
    other.leases = [...this.leases];
    other.resting = [...this.resting];
    for (const [k, v] of this.owners) other.owners.set(k, v);
    return other;
  }
}

const at = (text: string) => {
  const { family, value } = parseAddress(text, "ip");
  return { family, address: value };
};
const nameOf = (member: string, slot: string) => (isGatewaySlot(slot) ? slot : member);
const v4 = (addresses: SlotAddress[]) => addresses.map((a) => a.ipv4);
const b = (name: string, slots = ["ord/0"], ip?: string): Before => ({ name, slots, ip });
const world = (...names: [string, string, string][]) => {
  const w = new World("10.1.2.0/24");
  for (const [name, slot, ip] of names) w.create(name, [{ slot, ipv4: ip }]);
  return w;
};

describe("the address is", () => {
  test("the lowest free from .3, after those that the members before need", () => {
    const w = world();
    expect(v4(w.plan({ name: "laptop", slots: ["peer"] }))).toEqual(["10.1.2.3"]);
    expect(v4(w.plan({ name: "east", slots: ["ord/0"], before: [b("laptop", ["peer"])] }))).toEqual(["10.1.2.4"]);
    const before = [b("laptop", ["peer"]), b("east")];
    expect(v4(w.plan({ name: "west", slots: ["iad/0", "iad/1"], before }))).toEqual(["10.1.2.5", "10.1.2.6"]);
  });

  test("the pinned one, for the first slot; others go around it", () => {
    const w = world(["a", "ord/0", "10.1.2.3"]);
    expect(v4(w.plan({ name: "p", slots: ["x/0", "x/1"], ip: "10.1.2.4" }))).toEqual(["10.1.2.4", "10.1.2.5"]);
    expect(v4(w.plan({ name: "q", slots: ["x/0"], before: [b("p", ["x/0"], "10.1.2.4")] }))).toEqual(["10.1.2.5"]);
    expect(() => w.plan({ name: "p", slots: ["x/0"], ip: "10.1.2.3" })).toThrow(
      expect.objectContaining({ code: "WARREN_ADDRESS_TAKEN", message: expect.stringContaining("held by a ") }),
    );
    expect(() => w.plan({ name: "p", slots: ["x/0"], ip: "10.1.2.4", before: [b("n")] })).toThrow(
      expect.objectContaining({ code: "WARREN_ADDRESS_TAKEN", message: expect.stringContaining("goes to n") }),
    );
  });

  test("the one that the registry has, also after a move to another region", () => {
    const w = new World("10.1.2.0/24");
    w.create("app", [
      { slot: "ord/0", ipv4: "10.1.2.7" },
      { slot: "ord/1", ipv4: "10.1.2.8" },
      { slot: "iad/0", ipv4: "10.1.2.9" },
    ]);
    expect(v4(w.plan({ name: "app", slots: ["iad/0", "ord/0", "ord/1"] }))).toEqual([
      "10.1.2.9",
      "10.1.2.7",
      "10.1.2.8",
    ]);
    expect(v4(w.plan({ name: "app", slots: ["ams/0", "iad/0", "ams/1"] }))).toEqual([
      "10.1.2.7",
      "10.1.2.9",
      "10.1.2.8",
    ]);
    expect(v4(w.plan({ name: "app", slots: ["ams/0", "ams/1", "ams/2", "ams/3"] }))).toEqual([
      "10.1.2.7",
      "10.1.2.8",
      "10.1.2.9",
      "10.1.2.3",
    ]);
  });

  test("the old one, where it is free", () => {
    const w = world(["a", "ord/0", "10.1.2.4"]);
    const old = (ipv4: string) => [{ slot: "ord/0", ipv4 }];
    expect(v4(w.plan({ name: "n", slots: ["ord/0"], old: old("10.1.2.9"), before: [b("m")] }))).toEqual(["10.1.2.9"]);
    expect(v4(w.plan({ name: "n", slots: ["iad/0"], old: old("10.1.2.9") }))).toEqual(["10.1.2.9"]);
    for (const unfit of ["10.1.2.4", "10.1.9.9", "10.1.2.1"])
      expect(v4(w.plan({ name: "n", slots: ["ord/0"], old: old(unfit) }))).toEqual(["10.1.2.3"]);
  });

  test("of each family; a pin pins its own", () => {
    const w = new World("10.1.2.0/24", [], "fd00::/64");
    expect(w.plan({ name: "a", slots: ["x/0"] })).toEqual([{ slot: "x/0", ipv4: "10.1.2.3", ipv6: "fd00::3" }]);
    expect(w.plan({ name: "a", slots: ["x/0"], ip: "fd00::77", before: [b("m")] })).toEqual([
      { slot: "x/0", ipv4: "10.1.2.4", ipv6: "fd00::77" },
    ]);
  });

  test("the highest free, for services and gateways; gateways are shared", () => {
    const w = world();
    const east = ["ord/0", "gateway:ord", "service"];
    const west = ["iad/0", "iad/1", "gateway:iad", "service"];
    expect(v4(w.plan({ name: "east", slots: east }))).toEqual(["10.1.2.3", "10.1.2.254", "10.1.2.253"]);
    const before = [b("east", east), b("laptop", ["peer", "gateway:ord"])];
    const planned = w.plan({ name: "west", slots: west, before });
    expect(v4(planned)).toEqual(["10.1.2.5", "10.1.2.6", "10.1.2.252", "10.1.2.251"]);
    // Those before may come later.
    w.create("west", planned);
    expect(v4(w.plan({ name: "east", slots: east }))).toEqual(["10.1.2.3", "10.1.2.254", "10.1.2.253"]);
    expect(v4(w.plan({ name: "next", slots: ["iad/0", "gateway:iad", "service"], before }))).toEqual([
      "10.1.2.7",
      "10.1.2.252",
      "10.1.2.250",
    ]);
  });

  test("none for a service or gateway of a member that is there, where nothing is left; a new one is refused", () => {
    const w = new World("10.1.2.0/29");
    for (const i of [0, 1, 2, 3]) w.create(`m${i}`, [{ slot: "x/0", ipv4: `10.1.2.${3 + i}` }]);
    const slots = ["x/0", "gateway:x", "service"];
    expect(w.plan({ name: "m1", slots })).toEqual([
      { slot: "x/0", ipv4: "10.1.2.4" },
      { slot: "gateway:x" },
      { slot: "service" },
    ]);
    expect(() => w.plan({ name: "m1", slots, topOptional: false })).toThrow("has no free gateway address left");
    w.delete("m0");
    w.resting = [];
    expect(() => w.plan({ name: "n", slots })).toThrow(
      "leased 3, reserved 0, resting 0, planned for members of this program 1; of those leased, 3 grow upwards from the first (members) and 0 from the last down",
    );
  });

  test("a resting one only when nothing else is left, except for the slot that had it", () => {
    const w = new World("10.1.2.0/29");
    for (const [i, name] of ["a", "b", "c"].entries()) w.create(name, [{ slot: "x/0", ipv4: `10.1.2.${3 + i}` }]);
    w.delete("b");
    w.delete("a");
    expect(v4(w.plan({ name: "a", slots: ["x/0"] }))).toEqual(["10.1.2.3"]);
    expect(v4(w.plan({ name: "n", slots: ["x/0"] }))).toEqual(["10.1.2.6"]);
    w.create("n", [{ slot: "x/0", ipv4: "10.1.2.6" }]);
    // b was released first.
    expect(v4(w.plan({ name: "m", slots: ["x/0"] }))).toEqual(["10.1.2.4"]);
    expect(v4(w.plan({ name: "m", slots: ["x/0"], before: [b("l", ["x/0"])] }))).toEqual(["10.1.2.3"]);
  });
});

test("exhaustion names the network and the counts", () => {
  const w = new World("10.1.2.0/29", ["10.1.2.6"]);
  w.create("a", [{ slot: "x/0", ipv4: "10.1.2.3" }]);
  w.create("b", [{ slot: "x/0", ipv4: "10.1.2.4" }]);
  w.delete("b");
  expect(() => w.plan({ name: "n", slots: ["x/0", "x/1", "x/2"] })).toThrow(
    expect.objectContaining({
      code: "WARREN_RANGE_EXHAUSTED",
      message: expect.stringMatching(
        /^Network net has no free address left in 10\.1\.2\.0\/29: total 4, leased 1, reserved 1, resting 1,/,
      ),
    }),
  );
});

test("a name of another stack is refused, naming it", () => {
  const w = world();
  w.create("api", [{ slot: "x/0", ipv4: "10.1.2.3" }], stranger);
  expect(() => w.plan({ name: "api", slots: ["x/0"] })).toThrow(
    expect.objectContaining({ code: "WARREN_NAME_TAKEN", message: expect.stringContaining("o/p/other (urn:theirs)") }),
  );
});

/** New, changed and replaced members in the order of their construction. */
const programs = fc
  .array(
    fc.record({
      had: fc.constantFrom(0, 0, 0, 1, 2, 3),
      slots: fc.integer({ min: 1, max: 4 }),
      moves: fc.boolean(),
      replaced: fc.boolean(),
      // An app, with a service and a gateway; of those that were there, some are of a registry that had neither.
      app: fc.boolean(),
      hadTop: fc.boolean(),
      pin: fc.option(fc.integer({ min: 3, max: 90 }), { freq: 2, nil: undefined }),
    }),
    { minLength: 1, maxLength: 9 },
  )
  .chain((members) =>
    fc.record({
      members: fc.constant(members),
      // Each member's steps, interleaved by these priorities.
      order: fc.array(fc.nat(), { minLength: members.length * 3, maxLength: members.length * 3 }),
      scatter: fc.array(fc.integer({ min: 3, max: 60 }), { minLength: 30, maxLength: 30 }),
    }),
  );

test("preview and up give the same addresses, whatever the order in which members are checked and made", () => {
  fc.assert(
    fc.property(programs, ({ members, order, scatter }) => {
      const start = new World("10.1.2.0/24", ["10.1.2.10-10.1.2.12"]);
      const places = [...new Set(scatter)].filter((n) => n < 10 || n > 12);
      members.forEach((m, i) => {
        const held = places.splice(0, m.had).map((n, s) => ({ slot: `ord/${s}`, ipv4: `10.1.2.${n}` }));
        if (held.length > 0 && m.hadTop && m.app) {
          held.push({ slot: "service", ipv4: `10.1.2.${240 - i * 3}` });
          held.push({ slot: "gateway:ord", ipv4: "10.1.2.254" });
        }
        if (held.length > 0) start.create(`m${i}`, held);
      });
      const inputs = members.map((m, i) => ({
        name: `m${i}`,
        slots: [
          ...Array.from({ length: m.slots }, (_, s) => `${m.moves ? "iad" : "ord"}/${s}`),
          `gateway:${m.moves ? "iad" : "ord"}`,
          ...(m.app ? ["service"] : []),
        ],
        ip: m.pin === undefined ? undefined : `10.1.2.${m.pin}`,
      }));
      const ask = (w: World, i: number): string => {
        const before = inputs.slice(0, i).map(({ name, slots, ip }) => b(name, slots, ip));
        try {
          return JSON.stringify(w.plan({ ...inputs[i], before }));
        } catch (error) {
          if (WarrenError.is(error)) return error.code;
          throw error;
        }
      };
      const preview = inputs.map((_, i) => ask(start, i));
      // A preview that refuses something is no promise: nothing comes after it.
      fc.pre(!preview.some((p) => p.startsWith("WARREN")));

      const up = start.copy();
      const got = new Map<number, string>();
      const steps = members.flatMap((m, i) => {
        const [p, d, c] = order.slice(i * 3, i * 3 + 3).sort((x, y) => x - y);
        const list = [
          { at: p, rank: 0, i, kind: "plan" },
          { at: c, rank: 2, i, kind: "create" },
        ];
        return m.replaced ? [...list, { at: d, rank: 1, i, kind: "delete" }] : list;
      });
      for (const step of steps.sort((x, y) => x.at - y.at || x.rank - y.rank)) {
        if (step.kind === "plan") got.set(step.i, ask(up, step.i));
        const planned = got.get(step.i)!;
        if (step.kind === "delete") up.delete(`m${step.i}`);
        if (step.kind === "create") up.create(`m${step.i}`, JSON.parse(planned));
      }
      expect(inputs.map((_, i) => got.get(i))).toEqual(preview);
      const made = preview.flatMap((p) => JSON.parse(p) as SlotAddress[]);
      const own = made.filter((a) => !isGatewaySlot(a.slot)).map((a) => a.ipv4);
      expect(new Set(own).size).toBe(own.length);
      const gateways = new Map(made.filter((a) => isGatewaySlot(a.slot)).map((a) => [a.slot, a.ipv4]));
      for (const { slot, ipv4 } of made) if (isGatewaySlot(slot)) expect(ipv4).toBe(gateways.get(slot));
      for (const ip of gateways.values()) expect(own).not.toContain(ip);
    }),
    { numRuns: 600 },
  );
});
