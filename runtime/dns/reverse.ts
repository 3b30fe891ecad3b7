/** Names of addresses: `4.2.1.10.in-addr.arpa` (RFC 1035 section 3.5), nibbles under `ip6.arpa` (RFC 3596 section 2.5). */
import ipaddr from "ipaddr.js";

interface Family {
  /** Of the name of a whole address. */
  readonly labels: number;
  readonly bitsPerLabel: number;
  readonly suffix: string;
  readonly digit: RegExp;
}

const V4: Family = { labels: 4, bitsPerLabel: 8, suffix: "in-addr", digit: /^(?:0|[1-9]\d{0,2})$/ };
const V6: Family = { labels: 32, bitsPerLabel: 4, suffix: "ip6", digit: /^[0-9a-f]$/ };

export interface Reverse {
  /** The text form in which addresses are compared; undefined: a name above those of addresses. */
  readonly address?: string;
  /** Labels of the name from which on our authority reaches down. */
  readonly apex: number;
}

export class ReverseRanges {
  private readonly ranges: readonly { readonly family: Family; readonly bits: string; readonly prefix: number }[];

  constructor(ranges: readonly string[]) {
    this.ranges = ranges.map((range) => {
      const [address, prefix] = ipaddr.parseCIDR(range);
      return { family: address.kind() === "ipv4" ? V4 : V6, bits: bitsOf(address.toByteArray()), prefix };
    });
  }

  /** @returns undefined where the name is none of an address in the ranges, nor of a part of them. */
  find(labels: readonly string[]): Reverse | undefined {
    if (labels[labels.length - 1] !== "arpa") return undefined;
    const family = [V4, V6].find(({ suffix }) => suffix === labels[labels.length - 2]);
    const own = labels.slice(0, -2);
    if (!family || own.length > family.labels || !own.every((label) => family.digit.test(label))) return undefined;
    const radix = family === V4 ? 10 : 16;
    const numbers = own.map((label) => Number.parseInt(label, radix)).reverse();
    if (numbers.some((number) => number >= 2 ** family.bitsPerLabel)) return undefined;
    const bits = numbers.map((number) => number.toString(2).padStart(family.bitsPerLabel, "0")).join("");
    const range = this.ranges.find(
      (candidate) =>
        candidate.family === family &&
        bits.length >= candidate.prefix &&
        bits.startsWith(candidate.bits.slice(0, candidate.prefix)),
    );
    if (!range) return undefined;
    // Where the range ends within a label, each value of that label is a zone of its own.
    const apex = Math.ceil(range.prefix / family.bitsPerLabel) + 2;
    return own.length === family.labels ? { apex, address: comparable(fromBits(bits)) } : { apex };
  }
}

/** One text for each address, however it was written. */
export function comparable(address: string): string {
  return ipaddr.parse(address).toNormalizedString();
}

function bitsOf(bytes: readonly number[]): string {
  return bytes.map((byte) => byte.toString(2).padStart(8, "0")).join("");
}

function fromBits(bits: string): string {
  const bytes = Array.from({ length: bits.length / 8 }, (_, i) => Number.parseInt(bits.slice(i * 8, i * 8 + 8), 2));
  return ipaddr.fromByteArray(bytes).toString();
}
