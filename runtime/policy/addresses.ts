/** Sets of addresses of both families: what selectors come to, and the ranges in CIDR notation that say it. */
import {
  type Family,
  formatCidr,
  normalize,
  overlaps,
  parseAddress,
  parseCidr,
  type Span,
  spanCidrs,
  subtract,
} from "../ipam";

export interface FamilySpan extends Span {
  readonly family: Family;
}

const FAMILIES: readonly Family[] = [4, 6];

export function spanOf(text: string): FamilySpan {
  if (text.includes("/")) return parseCidr(text, "range");
  const { family, value } = parseAddress(text, "address");
  return { family, first: value, last: value };
}

export function spansOf(address: { readonly ipv4?: string; readonly ipv6?: string }): FamilySpan[] {
  return [address.ipv4, address.ipv6].filter((ip): ip is string => ip !== undefined).map(spanOf);
}

/** The fewest ranges that hold exactly these addresses; IPv4 first, ascending. */
export function toCidrs(spans: readonly FamilySpan[]): string[] {
  return FAMILIES.flatMap((family) =>
    normalize(spans.filter((span) => span.family === family)).flatMap((span) =>
      spanCidrs(family, span).map(formatCidr),
    ),
  );
}

export function without(spans: readonly FamilySpan[], holes: readonly FamilySpan[]): FamilySpan[] {
  return FAMILIES.flatMap((family) =>
    subtract(
      spans.filter((span) => span.family === family),
      holes.filter((hole) => hole.family === family),
    ).map((span) => ({ family, ...span })),
  );
}

/**
 * What really lies behind each range: packets take the narrowest one that holds their destination (cryptokey routing), so a
 * narrower range inside a wider one is not behind the wider one.
 */
export function behind(ranges: readonly string[]): Map<string, FamilySpan[]> {
  const parsed = ranges.map((text) => ({ text, range: parseCidr(text, "routes") }));
  return new Map(
    parsed.map(({ text, range }) => {
      const narrower = parsed
        .map((other) => other.range)
        .filter((o) => o.family === range.family && o.prefix > range.prefix && overlaps(o, range));
      return [text, without([range], narrower)];
    }),
  );
}
