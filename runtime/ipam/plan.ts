/**
 * Which addresses a member gets: a pure function of the leases and of the members constructed before it, so that the answer is
 * the same whatever the order in which members ask, and whether or not those before it exist already.
 *
 * Each slot gets, per family: the pinned address; else what the registry has for this member (the same slot first, then the
 * leftovers of slots that are no more, in order: an app keeps its addresses when it moves); else what the state says it had,
 * where that is free; else the next free address after those that the members before it will take by these same rules.
 */
import type { Before, Owner, PlanRequest, SlotAddress } from "../control/interface/types";
import { WarrenError } from "../errors";
import { type Address, type Family, formatAddress, parseAddress } from "./address";
import { capacity, type FamilyLayout, pinned } from "./layout";
import { formatCidr, size } from "./range";
import type { FamilyView, NetworkView } from "./view";

export type PlanInput = Pick<PlanRequest, "owner" | "name" | "slots" | "ip" | "old" | "before">;

/**
 * One entry per slot, in the order of the slots.
 * @throws WarrenError WARREN_NAME_TAKEN, WARREN_ADDRESS_TAKEN, WARREN_ADDRESS_OUTSIDE, WARREN_ADDRESS_RESERVED,
 * WARREN_RANGE_EXHAUSTED, WARREN_INVALID_INPUT
 */
export function plan(view: NetworkView, input: PlanInput): SlotAddress[] {
  refuseForeignName(view, input);
  const pin = input.ip === undefined ? undefined : pinned(view.layout, input.ip, "ip");
  const perFamily = view.layout.families.map((layout) => ({
    family: layout.family,
    addresses: planFamily(view, layout, input, pin?.family === layout.family ? pin : undefined),
  }));
  return input.slots.map((slot) => {
    const entry: SlotAddress = { slot };
    for (const { family, addresses } of perFamily)
      entry[family === 4 ? "ipv4" : "ipv6"] = formatAddress(family, addresses.get(slot)!);
    return entry;
  });
}

export function sameStack(a: Owner, b: Owner): boolean {
  return a.organization === b.organization && a.project === b.project && a.stack === b.stack;
}

/** For error messages: `stack acme/shop/prod (urn:pulumi:…)`. */
export function describeOwner(owner: Owner): string {
  const stack = [owner.organization, owner.project, owner.stack].filter((part) => part !== "").join("/");
  return `stack ${stack} (${owner.urn})`;
}

function refuseForeignName(view: NetworkView, input: PlanInput): void {
  const owner = view.ownerOf(input.name);
  if (owner && !sameStack(owner, input.owner))
    throw new WarrenError(
      "WARREN_NAME_TAKEN",
      `Network ${view.layout.name} already has a member ${input.name}, of ${describeOwner(owner)}: choose another name.`,
      { path: "name" },
    );
}

function planFamily(
  view: NetworkView,
  layout: FamilyLayout,
  input: PlanInput,
  pin: Address | undefined,
): Map<string, bigint> {
  const family = view.family(layout.family);
  const before = input.before.filter((b) => b.name !== input.name);
  const own = new Set(family.held(input.name).map((h) => h.address));
  if (pin) refuseTaken(family, view.layout.name, input.name, pin);

  const addresses = claims(family, input.name, input.slots, pin?.value);
  const pinnedBefore = new Set(before.map((b) => pinOf(view, b, layout.family)).filter((a) => a !== undefined));
  claimOld(family, layout.family, input, addresses, pinnedBefore);

  const missing = input.slots.filter((slot) => !addresses.has(slot));
  const pinIsNew = pin !== undefined && !own.has(pin.value);
  if (missing.length === 0 && !pinIsNew) return addresses;

  const taken = new Map<bigint, string>();
  for (const address of addresses.values()) if (own.has(address)) taken.set(address, input.name);
  const next = freeInOrder(view, layout, family, taken);
  for (const entry of before) takeFor(view, layout, family, entry, taken, next);

  if (pin && pinIsNew && taken.has(pin.value))
    throw new WarrenError(
      "WARREN_ADDRESS_TAKEN",
      `ip: ${formatAddress(pin.family, pin.value)} goes to ${taken.get(pin.value)}, which is constructed before ${input.name} on network ${view.layout.name}: construct ${input.name} first, or choose another address.`,
      { path: "ip" },
    );
  for (const address of addresses.values()) taken.set(address, input.name);
  for (const slot of missing) {
    const address = next();
    taken.set(address, input.name);
    addresses.set(slot, address);
  }
  return addresses;
}

/** Pinned, then held: exactly this slot's, then the leftovers in order. */
function claims(
  family: FamilyView,
  name: string,
  slots: readonly string[],
  pin: bigint | undefined,
): Map<string, bigint> {
  const out = new Map<string, bigint>();
  if (pin !== undefined) out.set(slots[0], pin);
  let rest = family.held(name).filter((h) => h.address !== pin);
  for (const slot of slots) {
    if (out.has(slot)) continue;
    const exact = rest.find((h) => h.slot === slot);
    if (!exact) continue;
    out.set(slot, exact.address);
    rest = rest.filter((h) => h !== exact);
  }
  const leftovers = rest.values();
  for (const slot of slots) {
    if (out.has(slot)) continue;
    const leftover = leftovers.next();
    if (leftover.done) break;
    out.set(slot, leftover.value.address);
  }
  return out;
}

function claimOld(
  family: FamilyView,
  which: Family,
  input: PlanInput,
  addresses: Map<string, bigint>,
  without: ReadonlySet<bigint>,
): void {
  const used = new Set(addresses.values());
  let old = input.old
    .map((o) => ({ slot: o.slot, text: which === 4 ? o.ipv4 : o.ipv6 }))
    .filter((o) => o.text !== undefined)
    .map((o) => ({ slot: o.slot, address: parseAddress(o.text!, "old") }))
    .filter(({ address: a }) => a.family === which && !used.has(a.value) && !without.has(a.value))
    .filter(({ address: a }) => family.isFree(a.value));
  const take = (slot: string, pick: (o: { slot: string }) => boolean) => {
    const found = addresses.has(slot) ? undefined : old.find(pick);
    if (!found) return;
    addresses.set(slot, found.address.value);
    old = old.filter((o) => o.address.value !== found.address.value);
  };
  for (const slot of input.slots) take(slot, (o) => o.slot === slot);
  for (const slot of input.slots) take(slot, () => true);
}

/** What a member constructed before takes, by the same rules. */
function takeFor(
  view: NetworkView,
  layout: FamilyLayout,
  family: FamilyView,
  entry: Before,
  taken: Map<bigint, string>,
  next: () => bigint,
): void {
  const pin = pinOf(view, entry, layout.family);
  const held = claims(family, entry.name, entry.slots, pin);
  for (const address of held.values()) taken.set(address, entry.name);
  for (const slot of entry.slots) if (!held.has(slot)) taken.set(next(), entry.name);
}

/** Undefined too for a pin that is wrong: its own check refuses it. */
function pinOf(view: NetworkView, entry: Before, family: Family): bigint | undefined {
  if (entry.ip === undefined) return undefined;
  try {
    const pin = pinned(view.layout, entry.ip, "ip");
    return pin.family === family ? pin.value : undefined;
  } catch (error) {
    if (WarrenError.is(error)) return undefined;
    throw error;
  }
}

function refuseTaken(family: FamilyView, network: string, name: string, pin: Address): void {
  const holder = family.holder(pin.value);
  if (holder !== undefined && holder !== name)
    throw new WarrenError(
      "WARREN_ADDRESS_TAKEN",
      `ip: ${formatAddress(pin.family, pin.value)} is held by ${holder} on network ${network}: choose another address.`,
      { path: "ip" },
    );
}

/** Free addresses in ascending order, then, when nothing else is left, those that have rested longest. */
function freeInOrder(
  view: NetworkView,
  layout: FamilyLayout,
  family: FamilyView,
  taken: ReadonlyMap<bigint, string>,
): () => bigint {
  const addresses = (function* () {
    for (const span of family.free()) for (let a = span.first; a <= span.last; a++) yield a;
    yield* family.resting();
  })();
  return () => {
    for (let step = addresses.next(); !step.done; step = addresses.next())
      if (!taken.has(step.value)) return step.value;
    throw exhausted(view, layout, family, taken.size);
  };
}

function exhausted(view: NetworkView, layout: FamilyLayout, family: FamilyView, planned: number): WarrenError {
  const { leased, resting } = family.counts();
  const reserved = layout.reserved.reduce((sum, span) => sum + size(span), 0n);
  return new WarrenError(
    "WARREN_RANGE_EXHAUSTED",
    `Network ${view.layout.name} has no free address left in ${formatCidr(layout.range)}: total ${capacity(layout) + reserved}, leased ${leased}, reserved ${reserved}, resting ${resting}, planned for members of this program ${planned}: give the network a larger range that begins at the same address.`,
    { path: "network" },
  );
}
