/** Networks in the registry: create, resume, update, rebuild, delete. All functions run inside the caller's transaction. */

import { WarrenError } from "../../errors";
import {
  checkRoom,
  contains,
  defaultCidr,
  describeOwner,
  describeRanges,
  type Layout,
  layout,
  overlaps,
  parseCidr,
  rangeChange,
  sameStack,
  unissued,
} from "../../ipam";
import type { NetworkSpec, Owner, PeerSpec, PutNetwork } from "../interface/types";
import { newSeed } from "../keys";
import { checkDomain, checkLabel, checkRegion, newId } from "../names";
import { AddressPool, ownerOf } from "./address-pool";
import type { Database, Row } from "./database";
import { forgetHostsOfEmptyRegistry } from "./hosts";
import { checkRule } from "./member-spec";
import { refuseForeignRegistry, type Scope } from "./scope";

export interface NetworkRow {
  readonly id: string;
  readonly name: string;
  readonly owner: Owner;
  /** With the range that was chosen, where the declaration names none. */
  readonly spec: NetworkSpec;
  /** base64, 32 bytes. */
  readonly seed: string;
  readonly createdAt: string;
}

/** Members named in an error. */
const NAMED = 5;

const COLUMNS = "id, name, organization, project, stack, urn, spec, seed, created_at";

export function networkById(db: Database, id: string): NetworkRow | undefined {
  return toRow(db.get(`SELECT ${COLUMNS} FROM networks WHERE id = ?`, id));
}

export function networkByName(db: Database, name: string): NetworkRow | undefined {
  return toRow(db.get(`SELECT ${COLUMNS} FROM networks WHERE name = ?`, name));
}

export function listNetworks(db: Database): NetworkRow[] {
  return db.all(`SELECT ${COLUMNS} FROM networks ORDER BY name`).map((row) => toRow(row)!);
}

/** @throws WarrenError WARREN_NOT_FOUND */
export function needNetwork(db: Database, idOrName: string): NetworkRow {
  const found = networkById(db, idOrName) ?? networkByName(db, idOrName);
  if (!found)
    throw new WarrenError("WARREN_NOT_FOUND", `There is no network ${idOrName} here: create it first.`, {
      path: "network",
    });
  return found;
}

export function poolOf(scope: Scope, network: NetworkRow): AddressPool {
  return new AddressPool(scope.db, network.id, layout(network.spec), scope.now);
}

export function takenRanges(db: Database, exceptName: string): string[] {
  return listNetworks(db)
    .filter((n) => n.name !== exceptName && n.spec.cidr !== undefined)
    .map((n) => n.spec.cidr!);
}

export function putNetwork(scope: Scope, name: string, put: PutNetwork): NetworkRow {
  const { db } = scope;
  const spec = checkSpec(name, put.spec);
  const byName = networkByName(db, name);
  if (put.known) {
    const present = networkById(db, put.known.id);
    if (present) return update(scope, present, spec, put.owner);
    refuseForeignRegistry(scope, put.known.registryId, put.adopt, `network ${name}`);
    if (byName) throw nameTaken(byName);
    return insert(scope, put.known.id, put.known.seed, spec, put.owner);
  }
  if (!byName) return insert(scope, newId("net"), newSeed(), spec, put.owner);
  if (!sameStack(byName.owner, put.owner) || byName.owner.urn !== put.owner.urn) throw nameTaken(byName);
  return update(scope, byName, spec, put.owner);
}

/** Gone already is fine. @throws WarrenError WARREN_NOT_EMPTY */
export function deleteNetwork(scope: Scope, id: string, owner: Owner): void {
  const { db } = scope;
  const network = networkById(db, id);
  if (!network) return;
  const members = db.all("SELECT id, name, organization, project, stack, urn FROM members WHERE network_id = ?", id);
  const others = members.filter((m) => !sameStack(ownerOf(m), network.owner) && !sameStack(ownerOf(m), owner));
  if (others.length > 0) {
    const names = others.slice(0, NAMED).map((m) => `${m.name} of ${describeOwner(ownerOf(m))}`);
    if (others.length > NAMED) names.push(`${others.length - NAMED} more`);
    throw new WarrenError(
      "WARREN_NOT_EMPTY",
      `Network ${network.name} still has members of other stacks: ${names.join(", ")}: destroy those first.`,
      { path: "network" },
    );
  }
  for (const table of ["leases", "resting", "free_ranges", "members"])
    db.run(`DELETE FROM ${table} WHERE network_id = ?`, id);
  db.run("DELETE FROM networks WHERE id = ?", id);
  forgetHostsOfEmptyRegistry(db);
}

function checkSpec(name: string, spec: NetworkSpec): NetworkSpec {
  checkLabel(name, "name");
  if (spec.name !== name)
    throw new WarrenError("WARREN_INVALID_INPUT", `spec.name is ${spec.name}, but the request names ${name}.`, {
      path: "name",
    });
  spec.regions.forEach((region, i) => {
    checkRegion(region, `regions[${i}]`);
  });
  checkDomain(spec.domain, "domain");
  for (const [i, rule] of (spec.policy ?? []).entries()) checkRule(rule, `policy[${i}]`);
  const least = spec.ipv6Cidr !== undefined || spec.cidr?.includes(":") ? 1280 : 576;
  if (spec.mtu < least || spec.mtu > 65_535)
    throw new WarrenError(
      "WARREN_INVALID_INPUT",
      `mtu: ${spec.mtu} is not between ${least} (the least that ${least === 1280 ? "IPv6" : "IPv4"} needs) and 65535.`,
      { path: "mtu" },
    );
  return spec;
}

function insert(scope: Scope, id: string, seed: string, spec: NetworkSpec, owner: Owner): NetworkRow {
  const { db } = scope;
  if (Buffer.from(seed, "base64").length !== 32)
    throw new WarrenError("WARREN_INVALID_INPUT", "known.seed is not 32 bytes of base64.", { path: "known.seed" });
  const whole = withRange(spec, () => defaultCidr(spec.name, takenRanges(db, spec.name)));
  const createdAt = new Date(scope.now()).toISOString();
  // Before anything is written: a wrong range must leave nothing behind.
  const laidOut = layout(whole);
  checkRoom(laidOut);
  db.run(
    `INSERT INTO networks (${COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    id,
    spec.name,
    owner.organization,
    owner.project,
    owner.stack,
    owner.urn,
    JSON.stringify(whole),
    seed,
    createdAt,
  );
  new AddressPool(db, id, laidOut, scope.now).rebuild();
  return { id, name: spec.name, owner, spec: whole, seed, createdAt };
}

function update(scope: Scope, present: NetworkRow, spec: NetworkSpec, owner: Owner): NetworkRow {
  if (present.name !== spec.name)
    throw new WarrenError(
      "WARREN_INVALID_INPUT",
      `Network ${present.name} cannot be renamed to ${spec.name} in place: replace it.`,
      { path: "name" },
    );
  const whole = withRange(spec, () => present.spec.cidr);
  const relaid = relayout(scope, present, whole);
  const seed = sameKeepers(present.spec.keepers, spec.keepers) ? present.seed : newSeed();
  scope.db.run(
    "UPDATE networks SET organization = ?, project = ?, stack = ?, urn = ?, spec = ?, seed = ? WHERE id = ?",
    owner.organization,
    owner.project,
    owner.stack,
    owner.urn,
    JSON.stringify(whole),
    seed,
    present.id,
  );
  relaid?.rebuild();
  return { ...present, owner, spec: whole, seed };
}

/** The pool to lay out afresh, where range or reserved addresses change. @throws WarrenError WARREN_RANGE_IN_USE, WARREN_INVALID_RANGE */
function relayout(scope: Scope, present: NetworkRow, spec: NetworkSpec): AddressPool | undefined {
  const old = layout(present.spec);
  const next = layout(spec);
  const change = rangeChange(old, next);
  if (change === "replace")
    throw new WarrenError(
      "WARREN_INVALID_RANGE",
      `Network ${present.name} cannot change from ${describeRanges(old)} to ${describeRanges(next)} in place, because its gateway and DNS addresses would move: replace the network, or grow the range from the same first address.`,
      { path: "cidr" },
    );
  const same = change === "same" && JSON.stringify(present.spec.reserved) === JSON.stringify(spec.reserved);
  if (same) return undefined;
  refuseOverRoutes(scope.db, present, next);
  const pool = new AddressPool(scope.db, present.id, next, scope.now);
  const familyOf = (family: 4 | 6) => next.families.find((f) => f.family === family)!;
  const outside = pool.strays((family, address) => contains(familyOf(family).issuable, address), NAMED);
  if (outside.length > 0)
    throw new WarrenError(
      "WARREN_RANGE_IN_USE",
      `Network ${present.name} cannot shrink to ${describeRanges(next)} while addresses outside it are held: ${name(outside)}: remove or move those members first.`,
      { path: "cidr" },
    );
  const covered = pool.strays((family, address) => unissued(familyOf(family), address) === undefined, NAMED);
  if (covered.length > 0)
    throw new WarrenError(
      "WARREN_RANGE_IN_USE",
      `Network ${present.name} cannot reserve addresses that are held: ${name(covered)}: remove or move those members first.`,
      { path: "reserved" },
    );
  checkRoom(next);
  // Nobody chose these: those that no longer fit are leased anew, with the next put of their member.
  pool.dropTop((family, address) => {
    const layout = familyOf(family);
    return contains(layout.issuable, address) && unissued(layout, address) === undefined;
  });
  return pool;
}

/** A range behind a peer cannot lie in the network as well: nobody could say where its addresses are. */
function refuseOverRoutes(db: Database, network: NetworkRow, next: Layout): void {
  for (const row of db.all("SELECT name, spec FROM members WHERE network_id = ? AND kind = 'peer'", network.id)) {
    const { routes } = JSON.parse(String(row.spec)) as PeerSpec;
    for (const [i, route] of routes.entries()) {
      const range = parseCidr(route, `routes[${i}]`);
      if (next.families.some((f) => f.family === range.family && overlaps(f.range, range)))
        throw new WarrenError(
          "WARREN_RANGE_IN_USE",
          `Network ${network.name} cannot have the range ${describeRanges(next)}, because ${route} lies behind its peer ${row.name}: take that route away first, or choose a smaller range.`,
          { path: "cidr" },
        );
    }
  }
}

function name(held: readonly { address: string; name: string }[]): string {
  return held.map((h) => `${h.address} (${h.name})`).join(", ");
}

function withRange(spec: NetworkSpec, choose: () => string | undefined): NetworkSpec {
  if (spec.cidr !== undefined || spec.ipv6Cidr !== undefined) return spec;
  const chosen = choose();
  return chosen === undefined ? spec : { ...spec, cidr: chosen };
}

function sameKeepers(a: Record<string, string> = {}, b: Record<string, string> = {}): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => a[key] === b[key]);
}

function nameTaken(present: NetworkRow): WarrenError {
  return new WarrenError(
    "WARREN_NAME_TAKEN",
    `There already is a network ${present.name}, of ${describeOwner(present.owner)}: choose another name.`,
    { path: "name" },
  );
}

function toRow(row: Row | undefined): NetworkRow | undefined {
  if (!row) return undefined;
  return {
    id: String(row.id),
    name: String(row.name),
    owner: ownerOf(row),
    spec: JSON.parse(String(row.spec)),
    seed: String(row.seed),
    createdAt: String(row.created_at),
  };
}
