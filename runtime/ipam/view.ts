/** What a plan needs to know of a network's leases, and the view for where they are given as a list. */
import type { Owner } from "../control/interface/types";
import type { Family } from "./address";
import { type FamilyLayout, issuable, type Layout } from "./layout";
import { contains, type Span, subtract } from "./range";
import { describeHolder, isTopSlot } from "./slots";

/** An address that a member holds, or held a moment ago: until it is used again it is kept for the same slot. */
export interface Held {
  readonly slot: string;
  readonly address: bigint;
  readonly resting: boolean;
}

/** The addresses of one family; each issuable address is leased, resting or free. */
export interface FamilyView {
  /** Of the member of this name, or of a gateway (by its slot): leases first, then resting ones, each in the order of addresses. */
  held(name: string): readonly Held[];
  /** Who has the lease, in words (`describeHolder`); for an address of a member's own its name. */
  holder(address: bigint): string | undefined;
  isFree(address: bigint): boolean;
  /** In ascending order. */
  free(): Iterable<Span>;
  /** In descending order. */
  freeFromTop(): Iterable<Span>;
  /** Longest rested first. */
  resting(): Iterable<bigint>;
  /** `top`: how many of the leased ones are service and gateway addresses. */
  counts(): { readonly leased: bigint; readonly top: bigint; readonly resting: bigint };
}

export interface NetworkView {
  readonly layout: Layout;
  /** Owner of the member of this name. */
  ownerOf(name: string): Owner | undefined;
  family(family: Family): FamilyView;
}

export interface ListedLease {
  /** The member's, or the slot of a gateway. */
  readonly name: string;
  readonly slot: string;
  readonly family: Family;
  readonly address: bigint;
}

export interface ListedLeases {
  readonly owners: ReadonlyMap<string, Owner>;
  readonly leases: readonly ListedLease[];
  /** Longest rested first. */
  readonly resting: readonly ListedLease[];
}

const NOTHING: ListedLeases = { owners: new Map(), leases: [], resting: [] };

/** A view over a plain list; leases outside the layout are left out. Without a list: nothing is leased. */
export function listView(layout: Layout, listed: ListedLeases = NOTHING): NetworkView {
  const families = new Map(layout.families.map((f) => [f.family, listFamily(f, listed)]));
  return {
    layout,
    ownerOf: (name) => listed.owners.get(name),
    family: (family) => families.get(family)!,
  };
}

function listFamily(layout: FamilyLayout, listed: ListedLeases): FamilyView {
  const inside = (l: ListedLease) => l.family === layout.family && contains(layout.issuable, l.address);
  const leases = listed.leases.filter(inside);
  const holders = new Map(leases.map((l) => [l.address, describeHolder(l.name, l.slot)]));
  const reserved = (address: bigint) => layout.reserved.some((r) => contains(r, address));
  const resting = listed.resting.filter((l) => inside(l) && !holders.has(l.address) && !reserved(l.address));
  const spans = [...leases, ...resting].map((l) => ({ first: l.address, last: l.address }));
  const free = subtract(issuable(layout), spans);
  const of = (list: readonly ListedLease[], name: string, isResting: boolean): Held[] =>
    list
      .filter((l) => l.name === name)
      .map((l) => ({ slot: l.slot, address: l.address, resting: isResting }))
      .sort((a, b) => (a.address < b.address ? -1 : 1));
  return {
    held: (name) => [...of(leases, name, false), ...of(resting, name, true)],
    holder: (address) => holders.get(address),
    isFree: (address) => free.some((span) => contains(span, address)),
    free: () => free,
    freeFromTop: () => [...free].reverse(),
    resting: () => resting.map((l) => l.address),
    counts: () => ({
      leased: BigInt(leases.length),
      top: BigInt(leases.filter((l) => isTopSlot(l.slot)).length),
      resting: BigInt(resting.length),
    }),
  };
}
