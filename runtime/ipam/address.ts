/** Addresses as numbers: exact, ordered, and the same code for both families. */
import ipaddr from "ipaddr.js";
import { WarrenError } from "../errors";

export type Family = 4 | 6;

export interface Address {
  readonly family: Family;
  readonly value: bigint;
}

export const BITS: Readonly<Record<Family, number>> = { 4: 32, 6: 128 };

const IPV4_MAPPED = 0xffffn;

/**
 * Strict: four decimal octets, or IPv6 in any of its spellings without a zone.
 * @throws WarrenError WARREN_INVALID_INPUT
 */
export function parseAddress(text: string, path: string): Address {
  const refuse = (why: string) => new WarrenError("WARREN_INVALID_INPUT", `${path}: "${text}" ${why}.`, { path });
  if (text.includes("%")) throw refuse("carries a zone: give the address without it");
  if (ipaddr.IPv4.isValidFourPartDecimal(text)) {
    const canonical = ipaddr.IPv4.parse(text).toString();
    if (canonical !== text) throw refuse(`is not in canonical form: write ${canonical}`);
    return { family: 4, value: toValue(ipaddr.IPv4.parse(text).toByteArray()) };
  }
  if (!text.includes(":") || !ipaddr.IPv6.isValid(text)) throw refuse("is not an IPv4 or IPv6 address");
  const value = toValue(ipaddr.IPv6.parse(text).toByteArray());
  if (value >> 32n === IPV4_MAPPED)
    throw refuse(`is an IPv4-mapped address: write ${formatAddress(4, value & 0xffffffffn)}`);
  return { family: 6, value };
}

/** Dotted quad, or the compressed form of RFC 5952. */
export function formatAddress(family: Family, value: bigint): string {
  if (family === 4) {
    const n = Number(value);
    return `${n >>> 24}.${(n >>> 16) & 255}.${(n >>> 8) & 255}.${n & 255}`;
  }
  const hex = addressKey(6, value);
  return ipaddr.fromByteArray([...Buffer.from(hex, "hex")]).toString();
}

/** Hexadecimal of fixed width, so that the order of texts is the order of addresses. */
export function addressKey(family: Family, value: bigint): string {
  return value.toString(16).padStart(BITS[family] / 4, "0");
}

export function keyAddress(key: string): bigint {
  return BigInt(`0x${key}`);
}

function toValue(bytes: readonly number[]): bigint {
  return BigInt(`0x${Buffer.from(bytes).toString("hex")}`);
}
