/** The range of a network that names none: a /24 by the hash of its name, so that it is the same on every machine. */
import { cidr, formatCidr, overlaps, parseCidr } from "./range";

/** Private (RFC 1918), and its upper half is rarely used by clouds, containers and home routers. */
const POOL = parseCidr("10.128.0.0/9", "pool");
const CHOICES = 1 << (24 - POOL.prefix);

/**
 * The first /24, from the one that the name hashes to, that overlaps no range of `taken`; when all are taken, the one it hashes
 * to, since networks are isolated from each other and equal ranges do no harm.
 * @param taken ranges of other networks in CIDR notation, of either family
 */
export function defaultCidr(name: string, taken: readonly string[]): string {
  const inUse = taken.map((text) => parseCidr(text, "taken")).filter((range) => range.family === 4);
  const start = fnv1a(name) % CHOICES;
  for (let i = 0; i < CHOICES; i++) {
    const choice = cidr(4, POOL.first + (BigInt((start + i) % CHOICES) << 8n), 24);
    if (!inUse.some((range) => overlaps(range, choice))) return formatCidr(choice);
  }
  return formatCidr(cidr(4, POOL.first + (BigInt(start) << 8n), 24));
}

/** 32-bit FNV-1a over UTF-8, http://www.isthe.com/chongo/tech/comp/fnv/ */
function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(text, "utf8")) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash;
}
