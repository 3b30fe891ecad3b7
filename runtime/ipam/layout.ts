/**
 * How a network's range is laid out: the network address, `.1` gateway, `.2` DNS, members upwards from `.3`, services and the
 * gateways' own addresses from the top down. IPv4's broadcast is never issued, nor IPv6's first address (the subnet-router anycast
 * address, RFC 4291 section 2.6.1). IPv6 has no broadcast: its last address is issued.
 */
import { WarrenError } from "../errors";
import { type Address, type Family, formatAddress, parseAddress } from "./address";
import {
  type Cidr,
  cidr,
  contains,
  formatCidr,
  normalize,
  overlaps,
  parseCidr,
  type Span,
  size,
  subtract,
} from "./range";

/** The part of `AddressSpace` (control's interface) that the layout follows from. */
export interface SpaceSpec {
  readonly name: string;
  readonly cidr?: string;
  readonly ipv6Cidr?: string;
  readonly reserved: readonly string[];
}

export interface FamilyLayout {
  readonly family: Family;
  readonly range: Cidr;
  readonly gateway: bigint;
  readonly dns: bigint;
  /** From the first to the last address that may be issued. */
  readonly issuable: Span;
  /** Reserved spans inside `issuable`; sorted, apart from each other. */
  readonly reserved: readonly Span[];
}

export interface Layout {
  readonly name: string;
  /** One per family, IPv4 first; at least one. */
  readonly families: readonly FamilyLayout[];
}

/** The smallest ranges that hold gateway, DNS and one member: 8 IPv4 addresses (a /30 ends with `.2`), 4 IPv6 addresses. */
export const LONGEST_PREFIX: Readonly<Record<Family, number>> = { 4: 29, 6: 126 };
/** What one app needs: an instance, its service address, and the address that its gateway speaks with. */
const LEAST_ROOM = 3n;

/** Ranges that no host takes as an ordinary destination. */
const UNFIT: readonly { readonly range: Cidr; readonly why: string }[] = (
  [
    ["0.0.0.0/8", "this network (RFC 1122)"],
    ["127.0.0.0/8", "loopback"],
    ["169.254.0.0/16", "link-local"],
    ["224.0.0.0/4", "multicast"],
    ["240.0.0.0/4", "reserved for future use"],
    ["::/96", "unspecified, loopback and IPv4-compatible addresses"],
    ["fe80::/10", "link-local"],
    ["ff00::/8", "multicast"],
  ] as const
).map(([text, why]) => ({ range: parseCidr(text, "range"), why }));
const MAPPED: Cidr = cidr(6, 0xffff_0000_0000n, 96);

/** @throws WarrenError WARREN_INVALID_RANGE, WARREN_INVALID_INPUT (a reserved entry) */
export function layout(space: SpaceSpec): Layout {
  const ranges: { range: Cidr; path: string }[] = [];
  if (space.cidr !== undefined) ranges.push({ range: parseCidr(space.cidr, "cidr"), path: "cidr" });
  if (space.ipv6Cidr !== undefined) ranges.push({ range: parseCidr(space.ipv6Cidr, "ipv6Cidr"), path: "ipv6Cidr" });
  if (ranges.length === 0)
    throw new WarrenError("WARREN_INVALID_RANGE", `Network ${space.name} has no range: set cidr.`, { path: "cidr" });
  const [a, b] = ranges;
  if (ranges.at(-1)!.path === "ipv6Cidr" && ranges.at(-1)!.range.family !== 6)
    throw new WarrenError("WARREN_INVALID_RANGE", `ipv6Cidr: "${space.ipv6Cidr}" is an IPv4 range: give it as cidr.`, {
      path: "ipv6Cidr",
    });
  if (b && a.range.family === b.range.family)
    throw new WarrenError("WARREN_INVALID_RANGE", "cidr is an IPv6 range already: leave ipv6Cidr out.", {
      path: "ipv6Cidr",
    });
  for (const { range, path } of ranges) checkFit(range, path);
  const reserved = space.reserved.map((text, i) => parseReserved(text, `reserved[${i}]`, ranges));
  return {
    name: space.name,
    families: ranges.map(({ range }) => familyLayout(range, reserved)).sort((x, y) => x.family - y.family),
  };
}

function checkFit(range: Cidr, path: string): void {
  const longest = LONGEST_PREFIX[range.family];
  if (range.prefix > longest) {
    const fits = formatCidr(cidr(range.family, range.first, longest));
    throw new WarrenError(
      "WARREN_INVALID_RANGE",
      `${path}: ${formatCidr(range)} is too small for a gateway, a DNS address and one member: the smallest that fits is ${fits}.`,
      { path },
    );
  }
  const unfit = [...UNFIT, { range: MAPPED, why: "IPv4-mapped addresses" }].find(
    (u) => u.range.family === range.family && overlaps(u.range, range),
  );
  if (unfit)
    throw new WarrenError(
      "WARREN_INVALID_RANGE",
      `${path}: ${formatCidr(range)} overlaps ${formatCidr(unfit.range)} (${unfit.why}): choose a private range such as ${range.family === 4 ? "10.1.2.0/24" : "fd12:3456:789a::/64"}.`,
      { path },
    );
}

function familyLayout(range: Cidr, reserved: readonly (Span & { family: Family })[]): FamilyLayout {
  const { issuable } = spanned(range);
  return {
    family: range.family,
    range,
    gateway: range.first + 1n,
    dns: range.first + 2n,
    issuable,
    reserved: normalize(
      reserved
        .filter((r) => r.family === range.family && overlaps(r, issuable))
        .map((r) => ({
          // biome-ignore lint/complexity/useMathMinMax: these are bigints.
          first: r.first < issuable.first ? issuable.first : r.first,
          // biome-ignore lint/complexity/useMathMinMax: these are bigints.
          last: r.last > issuable.last ? issuable.last : r.last,
        })),
    ),
  };
}

function spanned(range: Cidr): { range: Cidr; issuable: Span } {
  return { range, issuable: { first: range.first + 3n, last: range.family === 4 ? range.last - 1n : range.last } };
}

/** `10.1.2.9`, `10.1.2.16/28`, or `10.1.2.9-10.1.2.20`. */
function parseReserved(text: string, path: string, ranges: readonly { range: Cidr }[]): Span & { family: Family } {
  const span = parseSpan(text, path);
  const range = ranges.find((r) => r.range.family === span.family)?.range;
  if (!range || span.first < range.first || span.last > range.last) {
    const all = ranges.map((r) => formatCidr(r.range)).join(", ");
    throw new WarrenError("WARREN_INVALID_INPUT", `${path}: ${text} is not inside the network's range ${all}.`, {
      path,
    });
  }
  return span;
}

function parseSpan(text: string, path: string): Span & { family: Family } {
  const [from, to, more] = text.split("-");
  if (to !== undefined) {
    const first = parseAddress(from.trim(), path);
    const last = parseAddress(to.trim(), path);
    if (more !== undefined || first.family !== last.family || first.value > last.value)
      throw new WarrenError("WARREN_INVALID_INPUT", `${path}: "${text}" is not a range of the form FIRST-LAST.`, {
        path,
      });
    return { family: first.family, first: first.value, last: last.value };
  }
  if (text.includes("/")) return parseCidr(text, path, "WARREN_INVALID_INPUT");
  const one = parseAddress(text, path);
  return { family: one.family, first: one.value, last: one.value };
}

/**
 * Refuses a range in which not even one app fits, with its service address and its gateway's own. Networks of older registries may
 * be smaller: they are only checked where a range is given or changed.
 * @throws WarrenError WARREN_INVALID_RANGE
 */
export function checkRoom(net: Layout): void {
  for (const layout of net.families) {
    if (capacity(layout) >= LEAST_ROOM) continue;
    const path = layout.family === 6 && net.families.length === 2 ? "ipv6Cidr" : "cidr";
    const { family, range } = layout;
    let { prefix } = range;
    while (prefix > 0 && capacity({ ...layout, ...spanned(cidr(family, range.first, prefix)) }) < LEAST_ROOM) prefix--;
    throw new WarrenError(
      "WARREN_INVALID_RANGE",
      `${path}: ${formatCidr(range)} leaves ${capacity(layout)} ${capacity(layout) === 1n ? "address" : "addresses"} to issue, and one app needs ${LEAST_ROOM}: its own, its service address, and its gateway's: the smallest that fits is ${formatCidr(cidr(family, range.first, prefix))}.`,
      { path },
    );
  }
}

/** All that may be issued while nothing is leased. */
export function issuable(family: FamilyLayout): Span[] {
  return subtract([family.issuable], family.reserved);
}

/** How many addresses may be issued at most. */
export function capacity(family: FamilyLayout): bigint {
  return issuable(family).reduce((sum, span) => sum + size(span), 0n);
}

/**
 * A pinned address, checked against the layout alone.
 * @throws WarrenError WARREN_INVALID_INPUT, WARREN_ADDRESS_OUTSIDE, WARREN_ADDRESS_RESERVED
 */
export function pinned(net: Layout, text: string, path: string): Address {
  const address = parseAddress(text, path);
  const family = net.families.find((f) => f.family === address.family);
  if (!family || !contains(family.range, address.value)) {
    const ranges = net.families.map((f) => formatCidr(f.range)).join(" and ");
    throw new WarrenError(
      "WARREN_ADDRESS_OUTSIDE",
      `${path}: ${text} is outside network ${net.name} (${ranges}): choose an address inside it.`,
      { path },
    );
  }
  const why = unissued(family, address.value);
  if (why)
    throw new WarrenError(
      "WARREN_ADDRESS_RESERVED",
      `${path}: ${text} is ${why} of network ${net.name} and is never issued: choose another address, from ${formatAddress(family.family, family.issuable.first)} to ${formatAddress(family.family, family.issuable.last)}.`,
      { path },
    );
  return address;
}

/** Why an address inside the range is never issued; undefined where it may be. */
export function unissued(family: FamilyLayout, value: bigint): string | undefined {
  if (value === family.gateway) return "the gateway address";
  if (value === family.dns) return "the DNS address";
  if (value === family.range.first)
    return family.family === 4 ? "the network address" : "the subnet-router anycast address";
  if (family.family === 4 && value === family.range.last) return "the broadcast address";
  return family.reserved.some((r) => contains(r, value)) ? "a reserved address" : undefined;
}

/** The gateway's and the DNS addresses as text, IPv4 first. */
export function wellKnown(net: Layout): { gatewayIps: string[]; dnsIps: string[] } {
  return {
    gatewayIps: net.families.map((f) => formatAddress(f.family, f.gateway)),
    dnsIps: net.families.map((f) => formatAddress(f.family, f.dns)),
  };
}
