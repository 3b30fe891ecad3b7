/** Members in the registry: create, resume, update, rebuild, delete, with their leases. Runs inside the caller's transaction. */
import { WarrenError } from "../../errors";
import {
  describeOwner,
  type Family,
  formatAddress,
  gatewaySlot,
  isGatewaySlot,
  keyAddress,
  layout,
  overlaps,
  parseCidr,
  pinned,
  plan,
  SERVICE_SLOT,
  sameStack,
  withTopSlots,
} from "../../ipam";
import type { AppSpec, Owner, PeerSpec, PutMember, SlotAddress } from "../interface/types";
import { newId } from "../names";
import { type AddressPool, ownerOf } from "./address-pool";
import type { Database, Row } from "./database";
import { DEFAULT_REGION, ensureHost, getHost, hostId } from "./hosts";
import { checkMember, slotsOf } from "./member-spec";
import { listNetworks, type NetworkRow, needNetwork, poolOf } from "./networks";
import { refuseForeignRegistry, type Scope } from "./scope";

interface MemberBase {
  readonly id: string;
  readonly networkId: string;
  readonly name: string;
  readonly owner: Owner;
  readonly createdAt: string;
}
export type MemberRow =
  | (MemberBase & { readonly kind: "app"; readonly spec: AppSpec })
  | (MemberBase & { readonly kind: "peer"; readonly spec: PeerSpec; readonly hostId: string });

const COLUMNS = "id, network_id, name, kind, organization, project, stack, urn, spec, host_id, created_at";

export function memberById(db: Database, id: string): MemberRow | undefined {
  return toRow(db.get(`SELECT ${COLUMNS} FROM members WHERE id = ?`, id));
}

export function memberByName(db: Database, networkId: string, name: string): MemberRow | undefined {
  return toRow(db.get(`SELECT ${COLUMNS} FROM members WHERE network_id = ? AND name = ?`, networkId, name));
}

export function listMembers(db: Database, filter: { networkId?: string; kind?: string } = {}): MemberRow[] {
  return db
    .all(
      `SELECT ${COLUMNS} FROM members WHERE (?1 IS NULL OR network_id = ?1) AND (?2 IS NULL OR kind = ?2)
       ORDER BY network_id, name`,
      filter.networkId ?? null,
      filter.kind ?? null,
    )
    .map((row) => toRow(row)!);
}

/** What a member holds: `own` has one entry per slot, in the order of the declaration. */
export function addressesOf(db: Database, member: MemberRow): { own: SlotAddress[]; service?: SlotAddress } {
  const bySlot = new Map<string, SlotAddress>();
  for (const row of db.all("SELECT slot, family, address FROM leases WHERE member_id = ?", member.id)) {
    const slot = String(row.slot);
    const entry = bySlot.get(slot) ?? { slot };
    const family = Number(row.family) as Family;
    entry[family === 4 ? "ipv4" : "ipv6"] = formatAddress(family, keyAddress(String(row.address)));
    bySlot.set(slot, entry);
  }
  const slots = slotsOf(member.kind === "app" ? { kind: "app", app: member.spec } : { kind: "peer" });
  const service = bySlot.get(SERVICE_SLOT);
  return { own: slots.flatMap((slot) => bySlot.get(slot) ?? []), ...(service ? { service } : {}) };
}

export function putMember(scope: Scope, idOrName: string, name: string, put: PutMember): MemberRow {
  const { db } = scope;
  const network = needNetwork(db, idOrName);
  checkMember(name, put);
  checkAgainstNetwork(db, network, name, put);
  const present = find(scope, network, name, put);
  const id = present?.id ?? put.known?.id ?? newId("mem");
  const formerRegions = present ? regionsOf(db, present) : [];
  const host = placement(db, network, put, present);
  if (present) {
    db.run(
      "UPDATE members SET organization = ?, project = ?, stack = ?, urn = ?, spec = ?, host_id = ? WHERE id = ?",
      put.owner.organization,
      put.owner.project,
      put.owner.stack,
      put.owner.urn,
      JSON.stringify(put.kind === "app" ? put.app : put.peer),
      host,
      id,
    );
  } else {
    db.run(
      `INSERT INTO members (${COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      id,
      network.id,
      name,
      put.kind,
      put.owner.organization,
      put.owner.project,
      put.owner.stack,
      put.owner.urn,
      JSON.stringify(put.kind === "app" ? put.app : put.peer),
      host,
      new Date(scope.now()).toISOString(),
    );
  }
  const pool = poolOf(scope, network);
  pool.reap();
  const member = memberById(db, id)!;
  const regions = regionsOf(db, member);
  assign(db, pool, id, put, regions, present === undefined);
  if (present) releaseGateways(db, pool, network.id, formerRegions, regions);
  return member;
}

/** The regions whose gateways a member needs. */
function regionsOf(db: Database, member: MemberRow): readonly string[] {
  return member.kind === "app" ? member.spec.regions : [getHost(db, member.hostId)!.region];
}

/** Gives back the addresses of gateways in regions of `before` where no member is any more. */
function releaseGateways(
  db: Database,
  pool: AddressPool,
  networkId: string,
  before: readonly string[],
  now: readonly string[],
): void {
  for (const region of before) {
    if (now.includes(region)) continue;
    const used = db.get(
      `SELECT 1 AS one WHERE EXISTS (SELECT 1 FROM leases WHERE network_id = ?1 AND slot LIKE ?2)
       OR EXISTS (SELECT 1 FROM members WHERE network_id = ?1 AND host_id = ?3)`,
      networkId,
      `${region}/%`,
      hostId(region),
    );
    if (!used) pool.releaseGateway(gatewaySlot(region));
  }
}

/** Gives services and gateways of a registry that an older version wrote their addresses, where there is room; nobody else's moves. */
export function completeTopLeases(scope: Scope): void {
  const { db } = scope;
  for (const network of listNetworks(db)) {
    const pool = poolOf(scope, network);
    const members = listMembers(db, { networkId: network.id });
    for (const member of members) {
      const kind = member.kind;
      const own = slotsOf(member.kind === "app" ? { kind: "app", app: member.spec } : { kind: "peer" });
      complete(db, pool, member.id, member, withTopSlots(kind, own, regionsOf(db, member)), false);
    }
  }
}

/** Gone already is fine. @returns whether it was there */
export function deleteMember(scope: Scope, id: string): boolean {
  const member = memberById(scope.db, id);
  if (!member) return false;
  const regions = regionsOf(scope.db, member);
  const pool = poolOf(scope, needNetwork(scope.db, member.networkId));
  pool.release(id);
  scope.db.run("DELETE FROM members WHERE id = ?", id);
  releaseGateways(scope.db, pool, member.networkId, regions, []);
  return true;
}

function find(scope: Scope, network: NetworkRow, name: string, put: PutMember): MemberRow | undefined {
  const { db } = scope;
  if (put.known) {
    const present = memberById(db, put.known.id);
    if (present) {
      if (present.networkId !== network.id || present.name !== name || present.kind !== put.kind)
        throw new WarrenError(
          "WARREN_INVALID_INPUT",
          `Member ${present.name} cannot change its network, name or kind in place: replace it.`,
          { path: "name" },
        );
      return present;
    }
    refuseForeignRegistry(scope, put.known.registryId, put.adopt, `member ${name}`);
    const other = memberByName(db, network.id, name);
    if (other) throw nameTaken(network, other);
    return undefined;
  }
  const present = memberByName(db, network.id, name);
  if (!present) return undefined;
  if (!sameStack(present.owner, put.owner) || present.owner.urn !== put.owner.urn || present.kind !== put.kind)
    throw nameTaken(network, present);
  return present;
}

function nameTaken(network: NetworkRow, present: MemberRow): WarrenError {
  return new WarrenError(
    "WARREN_NAME_TAKEN",
    `Network ${network.name} already has a member ${present.name}, of ${describeOwner(present.owner)}: choose another name.`,
    { path: "name" },
  );
}

function checkAgainstNetwork(db: Database, network: NetworkRow, name: string, put: PutMember): void {
  const named = put.kind === "app" ? put.app.regions : put.peer.region === undefined ? [] : [put.peer.region];
  const allowed = network.spec.regions;
  const outside = named.find((region) => allowed.length > 0 && !allowed.includes(region));
  if (outside !== undefined)
    throw new WarrenError(
      "WARREN_INVALID_INPUT",
      `region: ${outside} is not a region of network ${network.name} (${allowed.join(", ")}): choose one of those, or add it there.`,
      { path: "region" },
    );
  if (put.kind === "peer") checkPeerAmongOthers(db, network, name, put.peer);
}

/** WireGuard tells peers apart by key and by range: two peers can share neither. */
function checkPeerAmongOthers(db: Database, network: NetworkRow, name: string, peer: PeerSpec): void {
  const own = layout(network.spec).families.map((f) => f.range);
  const routes = peer.routes.map((text, i) => ({ text, path: `routes[${i}]`, range: parseCidr(text, `routes[${i}]`) }));
  for (const { text, path, range } of routes)
    if (own.some((r) => r.family === range.family && overlaps(r, range)))
      throw new WarrenError(
        "WARREN_INVALID_RANGE",
        `${path}: ${text} overlaps the range of network ${network.name} itself.`,
        {
          path,
        },
      );
  for (const other of listMembers(db, { networkId: network.id, kind: "peer" })) {
    if (other.kind !== "peer" || other.name === name) continue;
    if (other.spec.publicKey === peer.publicKey)
      throw new WarrenError(
        "WARREN_INVALID_INPUT",
        `publicKey: peer ${other.name} of network ${network.name} has it already.`,
        {
          path: "publicKey",
        },
      );
    for (const { text, path, range } of routes)
      for (const [i, theirs] of other.spec.routes.entries()) {
        const span = parseCidr(theirs, `routes[${i}]`);
        if (span.family === range.family && span.first === range.first && span.prefix === range.prefix)
          throw new WarrenError("WARREN_INVALID_RANGE", `${path}: ${text} lies behind peer ${other.name} already.`, {
            path,
          });
      }
  }
}

/** Makes the hosts that the member needs. @returns the host whose gateway a peer uses, null for an app */
function placement(db: Database, network: NetworkRow, put: PutMember, present: MemberRow | undefined): string | null {
  if (put.kind === "app") {
    for (const region of put.app.regions) ensureHost(db, region);
    return null;
  }
  if (put.peer.region !== undefined) return ensureHost(db, put.peer.region);
  // A config file that is in use names the gateway: it stays as long as it may.
  if (present?.kind === "peer") {
    const region = getHost(db, present.hostId)!.region;
    if (network.spec.regions.length === 0 || network.spec.regions.includes(region)) return present.hostId;
  }
  // Not where members are already: hooks create in any order, and a lost registry must come back with the same gateway.
  return ensureHost(db, network.spec.regions[0] ?? DEFAULT_REGION);
}

/** Leases each slot what was planned for it, where that is still to be had, and else what a plan gives now. */
function assign(
  db: Database,
  pool: AddressPool,
  memberId: string,
  put: PutMember,
  regions: readonly string[],
  isNew: boolean,
): void {
  const own = slotsOf(put);
  const slots = withTopSlots(put.kind, own, regions);
  const all = plannedAddresses(pool, put, slots);
  const gateways = [...all.values()].filter((w) => isGatewaySlot(w.slot));
  const wanted = new Map([...all].filter(([, w]) => !isGatewaySlot(w.slot)));
  const current = new Map<string, bigint>();
  for (const row of db.all("SELECT slot, family, address FROM leases WHERE member_id = ?", memberId))
    current.set(`${row.family} ${row.slot}`, keyAddress(String(row.address)));

  const changed = [...wanted].filter(([key, w]) => current.get(key) !== w.address);
  // All of them first, so that slots of one member can exchange addresses.
  for (const [key, w] of changed) if (current.has(key)) pool.release(memberId, w);
  const movedFrom = new Set(changed.map(([, w]) => `${w.family} ${w.address}`));
  for (const [key, address] of current) {
    const [family, slot] = split(key);
    if (!wanted.has(key) && movedFrom.has(`${family} ${address}`)) pool.release(memberId, { slot, family });
  }
  for (const [, w] of changed) {
    if (pool.lease(memberId, w.slot, w.family, w.address)) continue;
    if (w.pinned)
      throw new WarrenError(
        "WARREN_ADDRESS_TAKEN",
        `ip: ${formatAddress(w.family, w.address)} is held by ${pool.holder(w.family, w.address)} on network ${pool.layout.name}: choose another address.`,
        { path: "ip" },
      );
  }
  // Other members share a gateway's address: one that is there stays.
  for (const g of gateways)
    if (!pool.gatewayFamilies(g.slot).has(g.family)) pool.lease(null, g.slot, g.family, g.address);
  complete(db, pool, memberId, put, slots, isNew);
}

interface Wanted {
  readonly slot: string;
  readonly family: Family;
  readonly address: bigint;
  readonly pinned: boolean;
}

/** By family and slot. @throws WarrenError for an address that the network can never issue */
function plannedAddresses(pool: AddressPool, put: PutMember, slots: readonly string[]): Map<string, Wanted> {
  const out = new Map<string, Wanted>();
  const known = new Set(slots);
  const used = new Set<string>();
  const add = (slot: string, text: string, path: string, isPinned: boolean) => {
    const { family, value } = pinned(pool.layout, text, path);
    const key = `${family} ${slot}`;
    if (out.get(key)?.pinned) return;
    if (used.has(`${family} ${value}`))
      throw new WarrenError("WARREN_INVALID_INPUT", `${path}: ${text} is named for two slots.`, { path });
    used.add(`${family} ${value}`);
    out.set(key, { slot, family, address: value, pinned: isPinned });
  };
  if (put.ip !== undefined) add(slots[0], put.ip, "ip", true);
  put.addresses.forEach((entry, i) => {
    if (!known.has(entry.slot)) return;
    if (entry.ipv4 !== undefined) add(entry.slot, entry.ipv4, `addresses[${i}].ipv4`, false);
    if (entry.ipv6 !== undefined) add(entry.slot, entry.ipv6, `addresses[${i}].ipv6`, false);
  });
  return out;
}

/**
 * Fills slots that are still without an address, and releases what belongs to no slot.
 * @param slots with those of its gateways and its service
 * @param isNew a new member is refused where it cannot have them all; one that is there goes on without service or gateway address
 */
function complete(
  db: Database,
  pool: AddressPool,
  memberId: string,
  member: { readonly owner: Owner; readonly name: string },
  slots: readonly string[],
  isNew: boolean,
): void {
  const rows = db.all("SELECT slot, family FROM leases WHERE member_id = ?", memberId);
  const have = new Set(rows.map((r) => `${r.family} ${r.slot}`));
  for (const slot of slots)
    if (isGatewaySlot(slot)) for (const family of pool.gatewayFamilies(slot)) have.add(`${family} ${slot}`);
  const known = new Set(slots);
  const families = pool.layout.families.map((f) => f.family);
  const complete = families.every((family) => slots.every((slot) => have.has(`${family} ${slot}`)));
  if (!complete) {
    const planned = plan(pool.view(member.owner), {
      owner: member.owner,
      name: member.name,
      slots: [...slots],
      old: [],
      before: [],
      topOptional: !isNew,
    });
    releaseOthers();
    for (const entry of planned)
      for (const family of families) {
        if (have.has(`${family} ${entry.slot}`)) continue;
        const text = family === 4 ? entry.ipv4 : entry.ipv6;
        // A full range: only what the member can do without has none.
        if (text === undefined) continue;
        const holder = isGatewaySlot(entry.slot) ? null : memberId;
        if (!pool.lease(holder, entry.slot, family, pinned(pool.layout, text, "addresses").value))
          throw new WarrenError(
            "WARREN_INTERNAL",
            `The plan gave ${member.name} the address ${text}, which is not free.`,
          );
      }
  } else releaseOthers();

  function releaseOthers() {
    for (const row of rows)
      if (!known.has(String(row.slot)))
        pool.release(memberId, { slot: String(row.slot), family: Number(row.family) as Family });
  }
}

function split(key: string): [Family, string] {
  return [Number(key[0]) as Family, key.slice(2)];
}

function toRow(row: Row | undefined): MemberRow | undefined {
  if (!row) return undefined;
  const base = {
    id: String(row.id),
    networkId: String(row.network_id),
    name: String(row.name),
    owner: ownerOf(row),
    createdAt: String(row.created_at),
    spec: JSON.parse(String(row.spec)),
  };
  return row.kind === "app" ? { ...base, kind: "app" } : { ...base, kind: "peer", hostId: String(row.host_id) };
}
