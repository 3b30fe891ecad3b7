/** The addresses of one network in the registry: leases, resting ones and free ranges. Runs inside the caller's transaction. */

import {
  addressKey,
  describeHolder,
  type Family,
  type FamilyLayout,
  type FamilyView,
  formatAddress,
  isGatewaySlot,
  isTopSlot,
  keyAddress,
  type Layout,
  type ListedLeases,
  listView,
  type NetworkView,
  SERVICE_SLOT,
  type Span,
  sameStack,
  slotRegion,
} from "../../ipam";
import type { Owner, SlotAddress } from "../interface/types";
import type { Database } from "./database";

/** Milliseconds that a released address stays unused while others are free: longer than connections and name caches keep it. */
export const REST = 60_000;

/** Rows fetched at once when free ranges are walked. */
const PAGE = 64;

export class AddressPool {
  constructor(
    private readonly db: Database,
    private readonly networkId: string,
    readonly layout: Layout,
    private readonly now: () => number,
  ) {}

  /** Lays the free ranges out afresh: for a new network, or one whose range or reserved addresses changed. */
  rebuild(): void {
    this.db.run("DELETE FROM free_ranges WHERE network_id = ?", this.networkId);
    const view = listView(this.layout, this.list());
    const kept = new Set<string>();
    for (const layout of this.layout.families) {
      for (const span of view.family(layout.family).free()) this.insertFree(layout.family, span);
      for (const address of view.family(layout.family).resting()) kept.add(addressKey(layout.family, address));
    }
    for (const row of this.db.all("SELECT address FROM resting WHERE network_id = ?", this.networkId))
      if (!kept.has(String(row.address)))
        this.db.run("DELETE FROM resting WHERE network_id = ? AND address = ?", this.networkId, row.address);
  }

  /**
   * Takes a free or resting address for a slot of a member, or (null) for that of a gateway.
   * @returns false where it is leased already, or never issued
   */
  lease(memberId: string | null, slot: string, family: Family, address: bigint): boolean {
    const key = addressKey(family, address);
    if (!this.takeFree(family, key, address) && !this.takeResting(key)) return false;
    this.db.run(
      "INSERT INTO leases (network_id, address, family, member_id, slot) VALUES (?, ?, ?, ?, ?)",
      this.networkId,
      key,
      family,
      memberId,
      slot,
    );
    return true;
  }

  /** Gives addresses of a member back: all, or the one of a slot. They rest. */
  release(memberId: string, only?: { slot: string; family: Family }): void {
    const where = only ? " AND l.slot = ? AND l.family = ?" : "";
    const values = only ? [memberId, only.slot, only.family] : [memberId];
    this.db.run(
      `INSERT INTO resting (network_id, address, family, organization, project, stack, name, slot, released_at)
       SELECT l.network_id, l.address, l.family, m.organization, m.project, m.stack, m.name, l.slot, ?
       FROM leases l JOIN members m ON m.id = l.member_id WHERE l.member_id = ?${where}`,
      this.now(),
      ...values,
    );
    this.db.run(`DELETE FROM leases AS l WHERE l.member_id = ?${where}`, ...values);
  }

  /** Gives the addresses of a gateway back. They rest. */
  releaseGateway(slot: string): void {
    this.db.run(
      `INSERT INTO resting (network_id, address, family, organization, project, stack, name, slot, released_at)
       SELECT network_id, address, family, '', '', '', slot, slot, ? FROM leases
       WHERE network_id = ? AND slot = ? AND member_id IS NULL`,
      this.now(),
      this.networkId,
      slot,
    );
    this.db.run("DELETE FROM leases WHERE network_id = ? AND slot = ? AND member_id IS NULL", this.networkId, slot);
  }

  /** Gives back the service and gateway addresses that `keep` says no to. They do not rest: their range is another one now. */
  dropTop(keep: (family: Family, address: bigint) => boolean): void {
    const top = `SELECT address, family FROM leases WHERE network_id = ? AND (slot = ? OR member_id IS NULL)`;
    for (const row of this.db.all(top, this.networkId, SERVICE_SLOT))
      if (!keep(Number(row.family) as Family, keyAddress(String(row.address))))
        this.db.run("DELETE FROM leases WHERE network_id = ? AND address = ?", this.networkId, row.address);
  }

  /** Families in which the slot of a gateway has an address. */
  gatewayFamilies(slot: string): Set<Family> {
    const rows = this.db.all(
      "SELECT family FROM leases WHERE network_id = ? AND slot = ? AND member_id IS NULL",
      this.networkId,
      slot,
    );
    return new Set(rows.map((row) => Number(row.family) as Family));
  }

  /** Makes addresses that have rested long enough free again. */
  reap(): void {
    const rested = this.db.all(
      "SELECT address, family FROM resting WHERE network_id = ? AND released_at <= ?",
      this.networkId,
      this.now() - REST,
    );
    for (const row of rested) {
      this.db.run("DELETE FROM resting WHERE network_id = ? AND address = ?", this.networkId, row.address);
      this.giveFree(Number(row.family) as Family, keyAddress(String(row.address)));
    }
  }

  /** @param owner whose resting addresses count as held */
  view(owner: Owner): NetworkView {
    const families = new Map(this.layout.families.map((f) => [f.family, this.familyView(f, owner)]));
    return { layout: this.layout, ownerOf: (name) => this.ownerOf(name), family: (family) => families.get(family)! };
  }

  /**
   * Everything, for a range that differs from the registry's.
   * @param owner whose resting addresses keep their names; without it all do
   */
  list(owner?: Owner): ListedLeases {
    const owners = new Map<string, Owner>();
    for (const m of this.db.all(
      "SELECT name, organization, project, stack, urn FROM members WHERE network_id = ?",
      this.networkId,
    ))
      owners.set(String(m.name), ownerOf(m));
    const lease = (r: Record<string, unknown>) => ({
      name: String(r.name),
      slot: String(r.slot),
      family: Number(r.family) as Family,
      address: keyAddress(String(r.address)),
    });
    const leases = this.db.all(
      "SELECT coalesce(m.name, l.slot) AS name, l.slot, l.family, l.address FROM leases l LEFT JOIN members m ON m.id = l.member_id WHERE l.network_id = ?",
      this.networkId,
    );
    const resting = this.db.all(
      "SELECT name, slot, family, address, organization, project, stack, '' AS urn FROM resting WHERE network_id = ? AND released_at > ? ORDER BY released_at, address",
      this.networkId,
      this.now() - REST,
    );
    const mine = (r: Record<string, unknown>) =>
      !owner || isGatewaySlot(String(r.slot)) || sameStack(ownerOf(r), owner);
    return {
      owners,
      leases: leases.map(lease),
      resting: resting.map((r) => (mine(r) ? lease(r) : { ...lease(r), name: "" })),
    };
  }

  /** Address and member of each lease of a member's own that `keep` says no to, at most `limit`. */
  strays(keep: (family: Family, address: bigint) => boolean, limit: number): { address: string; name: string }[] {
    const out: { address: string; name: string }[] = [];
    for (const { family, address, name, slot } of this.list().leases) {
      if (isTopSlot(slot) || keep(family, address)) continue;
      out.push({ address: formatAddress(family, address), name });
      if (out.length === limit) break;
    }
    return out;
  }

  /** In words; for an address of a member's own its name. */
  holder(family: Family, address: bigint): string | undefined {
    const row = this.db.get(
      "SELECT m.name, l.slot FROM leases l LEFT JOIN members m ON m.id = l.member_id WHERE l.network_id = ? AND l.address = ?",
      this.networkId,
      addressKey(family, address),
    );
    return row && describeHolder(String(row.name), String(row.slot));
  }

  private ownerOf(name: string): Owner | undefined {
    const row = this.db.get(
      "SELECT organization, project, stack, urn FROM members WHERE network_id = ? AND name = ?",
      this.networkId,
      name,
    );
    return row && ownerOf(row);
  }

  private familyView(layout: FamilyLayout, owner: Owner): FamilyView {
    const family = layout.family;
    const cutoff = () => this.now() - REST;
    const held = (sql: string, isResting: boolean, ...values: (string | number)[]) =>
      this.db.all(sql, ...values).map((r) => ({
        slot: String(r.slot),
        address: keyAddress(String(r.address)),
        resting: isResting,
      }));
    const heldByGateway = (slot: string) => [
      ...held(
        "SELECT slot, address FROM leases WHERE network_id = ? AND slot = ? AND family = ? AND member_id IS NULL",
        false,
        this.networkId,
        slot,
        family,
      ),
      ...held(
        "SELECT slot, address FROM resting WHERE network_id = ? AND name = ? AND family = ? AND released_at > ? ORDER BY address",
        true,
        this.networkId,
        slot,
        family,
        cutoff(),
      ),
    ];
    const heldByMember = (name: string) => [
      ...held(
        `SELECT l.slot, l.address FROM members m JOIN leases l ON l.member_id = m.id
           WHERE m.network_id = ? AND m.name = ? AND l.family = ? ORDER BY l.address`,
        false,
        this.networkId,
        name,
        family,
      ),
      ...held(
        `SELECT slot, address FROM resting WHERE network_id = ? AND name = ? AND family = ? AND released_at > ?
           AND organization = ? AND project = ? AND stack = ? ORDER BY address`,
        true,
        this.networkId,
        name,
        family,
        cutoff(),
        owner.organization,
        owner.project,
        owner.stack,
      ),
    ];
    return {
      held: (name) => (isGatewaySlot(name) ? heldByGateway(name) : heldByMember(name)),
      holder: (address) => this.holder(family, address),
      isFree: (address) =>
        this.freeAround(family, addressKey(family, address)) !== undefined || this.rested(family, address),
      free: () => this.free(family),
      freeFromTop: () => this.freeFromTop(family),
      resting: () =>
        this.db
          .all(
            "SELECT address FROM resting WHERE network_id = ? AND family = ? AND released_at > ? ORDER BY released_at, address",
            this.networkId,
            family,
            cutoff(),
          )
          .map((r) => keyAddress(String(r.address))),
      counts: () => {
        const count = (from: string) =>
          BigInt(
            Number(
              this.db.get(`SELECT count(*) AS n FROM ${from} network_id = ? AND family = ?`, this.networkId, family)?.n,
            ),
          );
        return {
          leased: count("leases WHERE"),
          top: count(`leases WHERE (slot = '${SERVICE_SLOT}' OR member_id IS NULL) AND`),
          resting: count("resting WHERE"),
        };
      },
    };
  }

  /** Free ranges and addresses that have rested long enough, merged in ascending order. */
  private *free(family: Family): Generator<Span> {
    const rested = this.db
      .all(
        "SELECT address FROM resting WHERE network_id = ? AND family = ? AND released_at <= ? ORDER BY address",
        this.networkId,
        family,
        this.now() - REST,
      )
      .map((r) => keyAddress(String(r.address)));
    let r = 0;
    let after = "";
    for (;;) {
      const page = this.db.all(
        "SELECT first, last FROM free_ranges WHERE network_id = ? AND family = ? AND first > ? ORDER BY first LIMIT ?",
        this.networkId,
        family,
        after,
        PAGE,
      );
      for (const row of page) {
        const first = keyAddress(String(row.first));
        while (r < rested.length && rested[r] < first) yield { first: rested[r], last: rested[r++] };
        yield { first, last: keyAddress(String(row.last)) };
      }
      if (page.length < PAGE) break;
      after = String(page.at(-1)!.first);
    }
    while (r < rested.length) yield { first: rested[r], last: rested[r++] };
  }

  /** The same in descending order. */
  private *freeFromTop(family: Family): Generator<Span> {
    const rested = this.db
      .all(
        "SELECT address FROM resting WHERE network_id = ? AND family = ? AND released_at <= ? ORDER BY address DESC",
        this.networkId,
        family,
        this.now() - REST,
      )
      .map((r) => keyAddress(String(r.address)));
    let r = 0;
    let before = "g"; // Above every hexadecimal digit.
    for (;;) {
      const page = this.db.all(
        "SELECT first, last FROM free_ranges WHERE network_id = ? AND family = ? AND first < ? ORDER BY first DESC LIMIT ?",
        this.networkId,
        family,
        before,
        PAGE,
      );
      for (const row of page) {
        const last = keyAddress(String(row.last));
        while (r < rested.length && rested[r] > last) yield { first: rested[r], last: rested[r++] };
        yield { first: keyAddress(String(row.first)), last };
      }
      if (page.length < PAGE) break;
      before = String(page.at(-1)!.first);
    }
    while (r < rested.length) yield { first: rested[r], last: rested[r++] };
  }

  private rested(family: Family, address: bigint): boolean {
    return (
      this.db.get(
        "SELECT 1 AS one FROM resting WHERE network_id = ? AND address = ? AND released_at <= ?",
        this.networkId,
        addressKey(family, address),
        this.now() - REST,
      ) !== undefined
    );
  }

  /** The free range that holds the address. */
  private freeAround(family: Family, key: string): { first: string; last: string } | undefined {
    const row = this.db.get(
      "SELECT first, last FROM free_ranges WHERE network_id = ? AND family = ? AND first <= ? ORDER BY first DESC LIMIT 1",
      this.networkId,
      family,
      key,
    );
    return row && String(row.last) >= key ? { first: String(row.first), last: String(row.last) } : undefined;
  }

  private takeFree(family: Family, key: string, address: bigint): boolean {
    const range = this.freeAround(family, key);
    if (!range) return false;
    if (range.last === key && range.first < key) {
      // Of services and gateways: the highest free one.
      this.db.run(
        "UPDATE free_ranges SET last = ? WHERE network_id = ? AND family = ? AND first = ?",
        addressKey(family, address - 1n),
        this.networkId,
        family,
        range.first,
      );
      return true;
    }
    if (range.first === key && range.last > key) {
      // The usual case, the lowest free one: a single statement.
      this.db.run(
        "UPDATE free_ranges SET first = ? WHERE network_id = ? AND family = ? AND first = ?",
        addressKey(family, address + 1n),
        this.networkId,
        family,
        key,
      );
      return true;
    }
    this.deleteFree(family, range.first);
    if (range.first < key) this.insertFree(family, { first: keyAddress(range.first), last: address - 1n });
    if (range.last > key) this.insertFree(family, { first: address + 1n, last: keyAddress(range.last) });
    return true;
  }

  private takeResting(key: string): boolean {
    return this.db.run("DELETE FROM resting WHERE network_id = ? AND address = ?", this.networkId, key) > 0;
  }

  private giveFree(family: Family, address: bigint): void {
    let { first, last } = { first: address, last: address };
    const below = this.freeAround(family, addressKey(family, address - 1n));
    if (below) {
      this.deleteFree(family, below.first);
      first = keyAddress(below.first);
    }
    const above = this.freeAround(family, addressKey(family, address + 1n));
    if (above) {
      this.deleteFree(family, above.first);
      last = keyAddress(above.last);
    }
    this.insertFree(family, { first, last });
  }

  private insertFree(family: Family, span: Span): void {
    this.db.run(
      "INSERT INTO free_ranges (network_id, family, first, last) VALUES (?, ?, ?, ?)",
      this.networkId,
      family,
      addressKey(family, span.first),
      addressKey(family, span.last),
    );
  }

  private deleteFree(family: Family, first: string): void {
    this.db.run(
      "DELETE FROM free_ranges WHERE network_id = ? AND family = ? AND first = ?",
      this.networkId,
      family,
      first,
    );
  }
}

/** What a gateway speaks with. */
export interface GatewayAddress {
  readonly networkId: string;
  readonly region: string;
  readonly address: SlotAddress;
}

export function listGatewayAddresses(db: Database): GatewayAddress[] {
  const out = new Map<string, GatewayAddress>();
  for (const row of db.all("SELECT network_id, slot, family, address FROM leases WHERE member_id IS NULL")) {
    const [networkId, slot, family] = [String(row.network_id), String(row.slot), Number(row.family) as Family];
    const key = `${networkId} ${slot}`;
    const entry = out.get(key) ?? { networkId, region: slotRegion(slot), address: { slot } };
    entry.address[family === 4 ? "ipv4" : "ipv6"] = formatAddress(family, keyAddress(String(row.address)));
    out.set(key, entry);
  }
  return [...out.values()];
}

export function ownerOf(row: Record<string, unknown>): Owner {
  return {
    organization: String(row.organization),
    project: String(row.project),
    stack: String(row.stack),
    urn: String(row.urn),
  };
}
