/** What the present registry would refuse of a network, said before anything is changed. */
import type { AddressSpace, MemberRecord, Owner } from "../../runtime/control/interface/types";
import {
  contains,
  describeOwner,
  describeRanges,
  type FamilyLayout,
  layout,
  overlaps,
  parseAddress,
  parseCidr,
  rangeChange,
  sameStack,
  unissued,
} from "../../runtime/ipam";
import type { ControlClient } from "../client";
import type { Failure } from "./crud";
import { found } from "./shared";

/**
 * @param before the owner that the state knows, where there is one: a stack that got another name keeps its networks
 */
export async function networkConflicts(
  control: ControlClient,
  space: AddressSpace,
  owner: Owner,
  before: Owner | undefined,
): Promise<Failure[]> {
  const record = await found(control.network(space.name));
  if (!record) return [];
  if (!sameStack(record.owner, owner) && !(before && sameStack(record.owner, before))) {
    const reason = `There already is a network ${space.name}, of ${describeOwner(record.owner)}: choose another name.`;
    return [{ property: "name", reason }];
  }
  const [old, next] = [layout(record.spec), layout(space)];
  const change = rangeChange(old, next);
  // Another range means another network, and this one ends with all that it holds.
  if (change === "replace") return [];
  const familyOf = (family: 4 | 6) => next.families.find((f) => f.family === family)!;
  const members = await control.members({ network: record.id });
  const held = (keep: (family: FamilyLayout, address: bigint) => boolean) => heldAgainst(members, familyOf, keep);
  const failures: Failure[] = [];
  const outside = held((family, address) => contains(family.issuable, address));
  if (outside) failures.push({ property: "cidr", reason: `${describeRanges(next)} has no place for ${outside}` });
  const covered = held((family, address) => unissued(family, address) === undefined);
  if (!outside && covered) failures.push({ property: "reserved", reason: `Nothing can be reserved over ${covered}` });
  for (const { name, peer } of change === "same" ? [] : members)
    for (const route of peer?.routes ?? []) {
      const range = parseCidr(route, "routes");
      if (next.families.some((f) => f.family === range.family && overlaps(f.range, range)))
        failures.push({
          property: "cidr",
          reason: `${describeRanges(next)} overlaps ${route}, which lies behind peer ${name}: take that route away first, or choose a smaller range.`,
        });
    }
  return failures;
}

/** The first address that may not stay, with its member and what to do. */
function heldAgainst(
  members: readonly MemberRecord[],
  familyOf: (family: 4 | 6) => FamilyLayout,
  keep: (family: FamilyLayout, address: bigint) => boolean,
): string | undefined {
  for (const { name, addresses } of members)
    for (const text of addresses.flatMap((a) => [a.ipv4, a.ipv6])) {
      if (text === undefined) continue;
      const { family, value } = parseAddress(text, "addresses");
      if (!keep(familyOf(family), value)) return `${text}, which ${name} holds: remove or move that member first.`;
    }
  return undefined;
}
