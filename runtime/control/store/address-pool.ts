/** The addresses of one network in the registry: leases, resting ones and free ranges. Runs inside the caller's transaction. */

import {
  addressKey,
  type Family,
  type FamilyLayout,
  type FamilyView,
  formatAddress,
  keyAddress,
  type Layout,
  type ListedLeases,
  listView,
  type NetworkView,
  type Span,
  sameStack,
} from "../../ipam";
import type { Owner } from "../interface/types";
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
   * Takes a free or resting address for a slot of a member.
   * @returns false where it is leased already, or never issued
   */
  lease(memberId: string, slot: string, family: Family, address: bigint): boolean {
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
      "SELECT m.name, l.slot, l.family, l.address FROM leases l JOIN members m ON m.id = l.member_id WHERE l.network_id = ?",
      this.networkId,
    );
    const resting = this.db.all(
      "SELECT name, slot, family, address, organization, project, stack, '' AS urn FROM resting WHERE network_id = ? AND released_at > ? ORDER BY released_at, address",
      this.networkId,
      this.now() - REST,
    );
    const mine = (r: Record<string, unknown>) => !owner || sameStack(ownerOf(r), owner);
    return {
      owners,
      leases: leases.map(lease),
      resting: resting.map((r) => (mine(r) ? lease(r) : { ...lease(r), name: "" })),
    };
  }

  /** Address and member of each lease that `keep` says no to, at most `limit`. */
  strays(keep: (family: Family, address: bigint) => boolean, limit: number): { address: string; name: string }[] {
    const out: { address: string; name: string }[] = [];
    for (const { family, address, name } of this.list().leases) {
      if (keep(family, address)) continue;
      out.push({ address: formatAddress(family, address), name });
      if (out.length === limit) break;
    }
    return out;
  }

  holder(family: Family, address: bigint): string | undefined {
    const row = this.db.get(
      "SELECT m.name FROM leases l JOIN members m ON m.id = l.member_id WHERE l.network_id = ? AND l.address = ?",
      this.networkId,
      addressKey(family, address),
    );
    return row && String(row.name);
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
    return {
      held: (name) => [
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
      ],
      holder: (address) => this.holder(family, address),
      isFree: (address) =>
        this.freeAround(family, addressKey(family, address)) !== undefined || this.rested(family, address),
      free: () => this.free(family),
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
        const count = (table: "leases" | "resting") =>
          BigInt(
            Number(
              this.db.get(
                `SELECT count(*) AS n FROM ${table} WHERE network_id = ? AND family = ?`,
                this.networkId,
                family,
              )?.n,
            ),
          );
        return { leased: count("leases"), resting: count("resting") };
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

export function ownerOf(row: Record<string, unknown>): Owner {
  return {
    organization: String(row.organization),
    project: String(row.project),
    stack: String(row.stack),
    urn: String(row.urn),
  };
}
