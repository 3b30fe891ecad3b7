/** Allowed IPs: which peer an address belongs to, by the longest prefix. A path-compressed binary trie per family. */
import ipaddr from "ipaddr.js";
import { WarrenError } from "../errors";

/** A range with its host bits masked off. */
export interface Prefix {
  readonly family: 4 | 6;
  /** One (IPv4) or four (IPv6) signed 32-bit words, the most significant first. */
  readonly words: Int32Array;
  /** 0 to 32 or 128. */
  readonly bits: number;
}

/**
 * Reads `10.0.0.0/24`, `fd00::/64` or a bare address.
 * @param path the input's name for the error.
 * @throws WarrenError WARREN_INVALID_RANGE
 */
export function parsePrefix(text: string, path = "allowedIps"): Prefix {
  const match = /^([0-9a-fA-F:.]+)(?:\/(\d{1,3}))?$/.exec(text);
  const address = match?.[1] ?? "";
  const family = ipaddr.IPv4.isValidFourPartDecimal(address) ? 4 : ipaddr.IPv6.isValid(address) ? 6 : undefined;
  const width = family === 4 ? 32 : 128;
  const bits = match?.[2] === undefined ? width : Number(match[2]);
  if (family === undefined || bits > width)
    throw new WarrenError(
      "WARREN_INVALID_RANGE",
      `${path} has ${JSON.stringify(text)}: write a range such as 10.0.0.0/24 or fd00::/64.`,
      { path },
    );
  return prefixOf(Uint8Array.from(ipaddr.parse(address).toByteArray()), bits);
}

/** @param address 4 or 16 bytes. */
export function prefixOf(address: Uint8Array, bits: number): Prefix {
  const words = new Int32Array(address.length / 4);
  for (let i = 0; i < words.length; i++) words[i] = readWord(address, 4 * i) & wordMask(bits, i);
  return { family: address.length === 4 ? 4 : 6, words, bits };
}

export function formatPrefix(prefix: Prefix): string {
  const bytes: number[] = [];
  for (const word of prefix.words) bytes.push(word >>> 24, (word >>> 16) & 255, (word >>> 8) & 255, word & 255);
  return `${ipaddr.fromByteArray(bytes).toString()}/${prefix.bits}`;
}

/** Node of either family; an IPv4 node has its word in `w0`. */
class Node<T> {
  readonly w0: number;
  readonly w1: number;
  readonly w2: number;
  readonly w3: number;
  readonly m0: number;
  readonly m1: number;
  readonly m2: number;
  readonly m3: number;
  value: T | undefined;
  zero: Node<T> | undefined;
  one: Node<T> | undefined;

  constructor(
    words: ArrayLike<number>,
    readonly bits: number,
    value: T | undefined,
  ) {
    this.m0 = wordMask(bits, 0);
    this.m1 = wordMask(bits, 1);
    this.m2 = wordMask(bits, 2);
    this.m3 = wordMask(bits, 3);
    this.w0 = words[0] & this.m0;
    this.w1 = (words[1] ?? 0) & this.m1;
    this.w2 = (words[2] ?? 0) & this.m2;
    this.w3 = (words[3] ?? 0) & this.m3;
    this.value = value;
  }

  get words(): number[] {
    return [this.w0, this.w1, this.w2, this.w3];
  }
}

export class AllowedIps<T> {
  private root4: Node<T> | undefined;
  private root6: Node<T> | undefined;

  /** A range that is present already goes to the new value. */
  insert(prefix: Prefix, value: T): void {
    if (prefix.family === 4) this.root4 = insertInto(this.root4, prefix, value);
    else this.root6 = insertInto(this.root6, prefix, value);
  }

  /** @param value where given, the range is removed only if it is this value's. @returns whether it was there. */
  remove(prefix: Prefix, value?: T): boolean {
    let removed = false;
    const drop = (node: Node<T>): boolean => {
      const found =
        node.value !== undefined &&
        node.bits === prefix.bits &&
        commonBits(node.words, prefix.words) >= prefix.bits &&
        (value === undefined || node.value === value);
      removed ||= found;
      return found;
    };
    if (prefix.family === 4) this.root4 = without(this.root4, drop);
    else this.root6 = without(this.root6, drop);
    return removed;
  }

  removeAll(value: T): void {
    const drop = (node: Node<T>): boolean => node.value === value;
    this.root4 = without(this.root4, drop);
    this.root6 = without(this.root6, drop);
  }

  /** All ranges of a value, IPv4 first, in the order of their addresses. */
  rangesOf(value: T): Prefix[] {
    const out: Prefix[] = [];
    collect(this.root4, 4, value, out);
    collect(this.root6, 6, value, out);
    return out;
  }

  /** @param off where 4 address bytes begin. */
  lookup4(buf: Uint8Array, off: number): T | undefined {
    const address = readWord(buf, off);
    let best: T | undefined;
    let node = this.root4;
    while (node !== undefined && (address & node.m0) === node.w0) {
      if (node.value !== undefined) best = node.value;
      if (node.bits === 32) break;
      node = (address >>> (31 - node.bits)) & 1 ? node.one : node.zero;
    }
    return best;
  }

  /** @param off where 16 address bytes begin. */
  lookup6(buf: Uint8Array, off: number): T | undefined {
    const a0 = readWord(buf, off);
    const a1 = readWord(buf, off + 4);
    const a2 = readWord(buf, off + 8);
    const a3 = readWord(buf, off + 12);
    let best: T | undefined;
    let node = this.root6;
    while (
      node !== undefined &&
      (a0 & node.m0) === node.w0 &&
      (a1 & node.m1) === node.w1 &&
      (a2 & node.m2) === node.w2 &&
      (a3 & node.m3) === node.w3
    ) {
      if (node.value !== undefined) best = node.value;
      const bits = node.bits;
      if (bits === 128) break;
      const word = bits < 32 ? a0 : bits < 64 ? a1 : bits < 96 ? a2 : a3;
      node = (word >>> (31 - (bits & 31))) & 1 ? node.one : node.zero;
    }
    return best;
  }

  /** By the destination of the IP packet at `off`, whose header the caller has checked. */
  destinationOf(buf: Uint8Array, off: number): T | undefined {
    return buf[off] >>> 4 === 4 ? this.lookup4(buf, off + 16) : this.lookup6(buf, off + 24);
  }

  /** By the source of the IP packet at `off`, whose header the caller has checked. */
  sourceOf(buf: Uint8Array, off: number): T | undefined {
    return buf[off] >>> 4 === 4 ? this.lookup4(buf, off + 12) : this.lookup6(buf, off + 8);
  }
}

function readWord(buf: Uint8Array, off: number): number {
  return (buf[off] << 24) | (buf[off + 1] << 16) | (buf[off + 2] << 8) | buf[off + 3];
}

/** The mask of word `index` under a prefix of `bits` bits. */
function wordMask(bits: number, index: number): number {
  const inside = bits - 32 * index;
  return inside <= 0 ? 0 : inside >= 32 ? -1 : -1 << (32 - inside);
}

/** Leading bits that are equal, over the words that both have. */
function commonBits(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const words = Math.min(a.length, b.length);
  for (let i = 0; i < words; i++) if (a[i] !== b[i]) return 32 * i + Math.clz32(a[i] ^ b[i]);
  return 32 * words;
}

function bitAt(words: ArrayLike<number>, bit: number): number {
  return (words[bit >>> 5] >>> (31 - (bit & 31))) & 1;
}

function attach<T>(parent: Node<T>, child: Node<T>): void {
  if (bitAt(child.words, parent.bits)) parent.one = child;
  else parent.zero = child;
}

function insertInto<T>(node: Node<T> | undefined, prefix: Prefix, value: T): Node<T> {
  if (node === undefined) return new Node(prefix.words, prefix.bits, value);
  const common = Math.min(commonBits(node.words, prefix.words), node.bits, prefix.bits);
  if (common === node.bits && common === prefix.bits) {
    node.value = value;
    return node;
  }
  if (common === node.bits) {
    if (bitAt(prefix.words, node.bits)) node.one = insertInto(node.one, prefix, value);
    else node.zero = insertInto(node.zero, prefix, value);
    return node;
  }
  const leaf = new Node(prefix.words, prefix.bits, value);
  if (common === prefix.bits) {
    attach(leaf, node);
    return leaf;
  }
  const fork = new Node<T>(prefix.words, common, undefined);
  attach(fork, node);
  attach(fork, leaf);
  return fork;
}

/** The trie without the values that `drop` names, and without nodes that then serve nothing. */
function without<T>(node: Node<T> | undefined, drop: (node: Node<T>) => boolean): Node<T> | undefined {
  if (node === undefined) return undefined;
  if (drop(node)) node.value = undefined;
  node.zero = without(node.zero, drop);
  node.one = without(node.one, drop);
  if (node.value !== undefined || (node.zero !== undefined && node.one !== undefined)) return node;
  return node.zero ?? node.one;
}

function collect<T>(node: Node<T> | undefined, family: 4 | 6, value: T, out: Prefix[]): void {
  if (node === undefined) return;
  if (node.value === value)
    out.push({ family, words: Int32Array.from(node.words.slice(0, family === 4 ? 1 : 4)), bits: node.bits });
  collect(node.zero, family, value, out);
  collect(node.one, family, value, out);
}
