/** Ranges of addresses: CIDR notation, spans, and set arithmetic on spans. */
import { WarrenError, type WarrenErrorCode } from "../errors";
import { BITS, type Family, formatAddress, parseAddress } from "./address";

/** From `first` to `last`, both included. */
export interface Span {
  readonly first: bigint;
  readonly last: bigint;
}

export interface Cidr extends Span {
  readonly family: Family;
  readonly prefix: number;
}

/**
 * An address is taken as a range of one.
 * @throws WarrenError with `code` where it is no range, or has host bits set
 */
export function parseCidr(text: string, path: string, code: WarrenErrorCode = "WARREN_INVALID_RANGE"): Cidr {
  const match = /^([^/]+)\/(0|[1-9]\d{0,2})$/.exec(text);
  if (!match)
    throw new WarrenError(code, `${path}: "${text}" is not a range in CIDR notation, such as 10.1.2.0/24.`, { path });
  let base: { family: Family; value: bigint };
  try {
    base = parseAddress(match[1], path);
  } catch (cause) {
    throw new WarrenError(code, (cause as Error).message, { path, cause });
  }
  const prefix = Number(match[2]);
  if (prefix > BITS[base.family])
    throw new WarrenError(code, `${path}: "${text}" has a prefix beyond /${BITS[base.family]}.`, { path });
  const range = cidr(base.family, base.value, prefix);
  if (range.first !== base.value)
    throw new WarrenError(code, `${path}: "${text}" has host bits set: write ${formatCidr(range)}.`, { path });
  return range;
}

/** The range of this prefix length that holds the address. */
export function cidr(family: Family, address: bigint, prefix: number): Cidr {
  const host = (1n << BigInt(BITS[family] - prefix)) - 1n;
  const last = address | host;
  return { family, prefix, first: last - host, last };
}

export function formatCidr(range: Cidr): string {
  return `${formatAddress(range.family, range.first)}/${range.prefix}`;
}

export function contains(span: Span, address: bigint): boolean {
  return span.first <= address && address <= span.last;
}

export function overlaps(a: Span, b: Span): boolean {
  return a.first <= b.last && b.first <= a.last;
}

export function size(span: Span): bigint {
  return span.last - span.first + 1n;
}

/** Sorted, with overlapping and touching spans made one. */
export function normalize(spans: readonly Span[]): Span[] {
  const out: Span[] = [];
  for (const span of [...spans].sort((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : 0))) {
    const previous = out.at(-1);
    if (previous && span.first <= previous.last + 1n) {
      if (span.last > previous.last) out[out.length - 1] = { first: previous.first, last: span.last };
    } else out.push({ first: span.first, last: span.last });
  }
  return out;
}

/** What of `from` lies in none of `without`; sorted. */
export function subtract(from: readonly Span[], without: readonly Span[]): Span[] {
  const holes = normalize(without);
  const out: Span[] = [];
  let h = 0;
  for (const span of normalize(from)) {
    let first = span.first;
    while (h < holes.length && holes[h].last < first) h++;
    for (let i = h; i < holes.length && holes[i].first <= span.last && first <= span.last; i++) {
      if (holes[i].first > first) out.push({ first, last: holes[i].first - 1n });
      first = holes[i].last + 1n;
    }
    if (first <= span.last) out.push({ first, last: span.last });
  }
  return out;
}

/** The fewest ranges in CIDR notation that hold exactly the addresses of the span; ascending. */
export function spanCidrs(family: Family, span: Span): Cidr[] {
  const out: Cidr[] = [];
  let first = span.first;
  while (first <= span.last) {
    let prefix = BITS[family];
    // The widest range that begins here and does not reach beyond the span.
    while (prefix > 0) {
      const wider = cidr(family, first, prefix - 1);
      if (wider.first !== first || wider.last > span.last) break;
      prefix--;
    }
    const range = cidr(family, first, prefix);
    out.push(range);
    first = range.last + 1n;
  }
  return out;
}
