/**
 * Which addresses a member gets: a pure function of the leases and of the members constructed before it, so that the answer is
 * the same whatever the order in which members ask, and whether or not those before it exist already.
 *
 * Each slot gets, per family: the pinned address; else what the registry has for this member (the same slot first, then the
 * leftovers of slots that are no more, in order: an app keeps its addresses when it moves); else what the state says it had,
 * where that is free; else the next free address after those that the members before it will take by these same rules. Slots of
 * members themselves take the lowest free one, those of services and gateways the highest.
 */
import type { Before, Owner, PlanRequest, SlotAddress } from "../control/interface/types";
import { WarrenError } from "../errors";
import { type Address, type Family, formatAddress, parseAddress } from "./address";
import { capacity, type FamilyLayout, pinned } from "./layout";
import { formatCidr, size } from "./range";
import { describeHolder, isGatewaySlot, isTopSlot, SERVICE_SLOT } from "./slots";
import type { FamilyView, Held, NetworkView } from "./view";

export interface PlanInput extends Pick<PlanRequest, "owner" | "name" | "slots" | "ip" | "old" | "before"> {
  /**
   * True: where the range is full, service and gateway slots go without. Registries of older versions do not have them, and a member
   * that is there already is not refused for that. @default whether the member holds an address
   */
  readonly topOptional?: boolean;
}

/**
 * One entry per slot, in the order of the slots; one that goes without (`topOptional`) has no address.
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
    for (const { family, addresses } of perFamily) {
      const address = addresses.get(slot);
      if (address !== undefined) entry[family === 4 ? "ipv4" : "ipv6"] = formatAddress(family, address);
    }
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
  const next = nextFree(view, layout, family, taken);
  for (const entry of before) takeFor(view, layout, family, entry, taken, next);

  if (pin && pinIsNew && taken.has(pin.value))
    throw new WarrenError(
      "WARREN_ADDRESS_TAKEN",
      `ip: ${formatAddress(pin.family, pin.value)} goes to ${taken.get(pin.value)}, which is constructed before ${input.name} on network ${view.layout.name}: construct ${input.name} first, or choose another address.`,
      { path: "ip" },
    );
  for (const [slot, address] of addresses) taken.set(address, describeHolder(input.name, slot));
  const topOptional = input.topOptional ?? family.held(input.name).some((h) => !h.resting);
  for (const slot of missing) {
    const shared = isGatewaySlot(slot) ? next.gateways.get(slot) : undefined;
    const address = shared ?? (topOptional && isTopSlot(slot) ? next.if(slot) : next.take(slot));
    if (address === undefined) continue;
    taken.set(address, describeHolder(input.name, slot));
    addresses.set(slot, address);
  }
  return addresses;
}

/** Pinned, then held: exactly this slot's, then, for the member's own slots, the leftovers in order. */
function claims(
  family: FamilyView,
  name: string,
  slots: readonly string[],
  pin: bigint | undefined,
): Map<string, bigint> {
  const out = new Map<string, bigint>();
  if (pin !== undefined) out.set(slots[0], pin);
  const held = family.held(name).filter((h) => h.address !== pin);
  const exact = new Map<string, Held>();
  for (const h of held) if (!exact.has(h.slot)) exact.set(h.slot, h);
  const used = new Set<Held>();
  for (const slot of slots) {
    if (out.has(slot)) continue;
    const mine = isGatewaySlot(slot) ? family.held(slot)[0] : exact.get(slot);
    if (!mine) continue;
    out.set(slot, mine.address);
    used.add(mine);
  }
  const leftovers = held.filter((h) => !used.has(h) && !isTopSlot(h.slot)).values();
  for (const slot of slots) {
    if (out.has(slot) || isTopSlot(slot)) continue;
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
  for (const slot of input.slots) if (!isTopSlot(slot)) take(slot, (o) => !isTopSlot(o.slot));
}

/** What a member constructed before takes, by the same rules. */
function takeFor(
  view: NetworkView,
  layout: FamilyLayout,
  family: FamilyView,
  entry: Before,
  taken: Map<bigint, string>,
  next: NextFree,
): void {
  const pin = pinOf(view, entry, layout.family);
  const held = claims(family, entry.name, entry.slots, pin);
  for (const [slot, address] of held) taken.set(address, describeHolder(entry.name, slot));
  for (const slot of entry.slots) {
    if (held.has(slot) || next.gateways.has(slot)) continue;
    taken.set(next.take(slot), describeHolder(entry.name, slot));
  }
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

interface NextFree {
  /** The next one for a slot. @throws WarrenError WARREN_RANGE_EXHAUSTED */
  take(slot: string): bigint;
  /** The same, or undefined when nothing is left. */
  if(slot: string): bigint | undefined;
  /** What gateways' slots were given, which members share. */
  readonly gateways: ReadonlyMap<string, bigint>;
}

/** Free addresses from both ends, then, when nothing else is left, those that have rested longest. */
function nextFree(
  view: NetworkView,
  layout: FamilyLayout,
  family: FamilyView,
  taken: ReadonlyMap<bigint, string>,
): NextFree {
  const upwards = (function* () {
    for (const span of family.free()) for (let a = span.first; a <= span.last; a++) yield a;
    yield* family.resting();
  })();
  const downwards = (function* () {
    for (const span of family.freeFromTop()) for (let a = span.last; a >= span.first; a--) yield a;
    yield* family.resting();
  })();
  const gateways = new Map<string, bigint>();
  const find = (slot: string) => {
    const addresses = isTopSlot(slot) ? downwards : upwards;
    for (let step = addresses.next(); !step.done; step = addresses.next())
      if (!taken.has(step.value)) {
        if (isGatewaySlot(slot)) gateways.set(slot, step.value);
        return step.value;
      }
    return undefined;
  };
  return {
    gateways,
    if: find,
    take: (slot) => {
      const address = find(slot);
      if (address === undefined) throw exhausted(view, layout, family, [...taken.keys()], slot);
      return address;
    },
  };
}

function exhausted(
  view: NetworkView,
  layout: FamilyLayout,
  family: FamilyView,
  taken: readonly bigint[],
  slot: string,
): WarrenError {
  const { leased, top, resting } = family.counts();
  const planned = taken.filter((address) => family.holder(address) === undefined).length;
  const reserved = layout.reserved.reduce((sum, span) => sum + size(span), 0n);
  const what = isGatewaySlot(slot) ? "gateway " : slot === SERVICE_SLOT ? "service " : "";
  return new WarrenError(
    "WARREN_RANGE_EXHAUSTED",
    `Network ${view.layout.name} has no free ${what}address left in ${formatCidr(layout.range)}: total ${capacity(layout) + reserved}, leased ${leased}, reserved ${reserved}, resting ${resting}, planned for members of this program ${planned}; of those leased, ${leased - top} grow upwards from the first (members) and ${top} from the last down (services, gateways): give the network a larger range that begins at the same address.`,
    { path: "network" },
  );
}
