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
    readonly family: 4 | 6,
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

  get prefix(): Prefix {
    const words = this.family === 4 ? [this.w0] : this.words;
    return { family: this.family, words: Int32Array.from(words), bits: this.bits };
  }
}

export class AllowedIps<T> {
  private root4: Node<T> | undefined;
  private root6: Node<T> | undefined;
  /** A value's ranges, so that to change those of one peer among thousands costs no walk over all. */
  private readonly owned = new Map<T, Set<Node<T>>>();

  /** A range that is present already goes to the new value. */
  insert(prefix: Prefix, value: T): void {
    const { family } = prefix;
    const leaf = new Node(family, prefix.words, prefix.bits, undefined as T | undefined);
    const root = family === 4 ? this.root4 : this.root6;
    const { top, node } = root === undefined ? { top: leaf, node: leaf } : placed(root, leaf);
    if (family === 4) this.root4 = top;
    else this.root6 = top;
    if (node.value !== undefined) this.disown(node.value, node);
    node.value = value;
    const ranges = this.owned.get(value);
    if (ranges === undefined) this.owned.set(value, new Set([node]));
    else ranges.add(node);
  }

  /** @param value where given, the range is removed only if it is this value's. @returns whether it was there. */
  remove(prefix: Prefix, value?: T): boolean {
    let node = prefix.family === 4 ? this.root4 : this.root6;
    while (node !== undefined && node.bits < prefix.bits && commonBits(node.words, prefix.words) >= node.bits)
      node = bitAt(prefix.words, node.bits) ? node.one : node.zero;
    if (node?.value === undefined || node.bits !== prefix.bits) return false;
    if (commonBits(node.words, prefix.words) < prefix.bits || (value !== undefined && node.value !== value))
      return false;
    this.disown(node.value, node);
    this.drop(node);
    return true;
  }

  removeAll(value: T): void {
    const ranges = this.owned.get(value);
    if (ranges === undefined) return;
    this.owned.delete(value);
    for (const node of ranges) this.drop(node);
  }

  /** All ranges of a value, IPv4 first, in the order of their addresses. */
  rangesOf(value: T): Prefix[] {
    return [...(this.owned.get(value) ?? [])].map((node) => node.prefix).sort(inOrder);
  }

  private disown(value: T, node: Node<T>): void {
    const ranges = this.owned.get(value);
    ranges?.delete(node);
    if (ranges?.size === 0) this.owned.delete(value);
  }

  /** Takes the value of a node away, and nodes that then serve nothing. */
  private drop(target: Node<T>): void {
    target.value = undefined;
    let grandparent: Node<T> | undefined;
    let parent: Node<T> | undefined;
    let node = target.family === 4 ? this.root4 : this.root6;
    while (node !== undefined && node !== target) {
      grandparent = parent;
      parent = node;
      node = bitAt(target.words, node.bits) ? node.one : node.zero;
    }
    if (target.zero !== undefined && target.one !== undefined) return;
    this.replace(parent, target, target.zero ?? target.one);
    // A fork of which one way is left.
    if (parent !== undefined && parent.value === undefined && (parent.zero === undefined || parent.one === undefined))
      this.replace(grandparent, parent, parent.zero ?? parent.one);
  }

  private replace(parent: Node<T> | undefined, old: Node<T>, by: Node<T> | undefined): void {
    if (parent === undefined) {
      if (old.family === 4) this.root4 = by;
      else this.root6 = by;
    } else if (parent.one === old) parent.one = by;
    else parent.zero = by;
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

/** The trie with a node for the leaf's range: the leaf, or the one that was there. */
function placed<T>(root: Node<T>, leaf: Node<T>): { top: Node<T>; node: Node<T> } {
  let parent: Node<T> | undefined;
  let at = root;
  for (;;) {
    const common = Math.min(commonBits(at.words, leaf.words), at.bits, leaf.bits);
    if (common === at.bits && common === leaf.bits) return { top: root, node: at };
    if (common < at.bits) {
      let above = leaf;
      if (common < leaf.bits) {
        above = new Node(leaf.family, leaf.words, common, undefined as T | undefined);
        attach(above, leaf);
      }
      attach(above, at);
      if (parent === undefined) return { top: above, node: leaf };
      attach(parent, above);
      return { top: root, node: leaf };
    }
    const next: Node<T> | undefined = bitAt(leaf.words, at.bits) ? at.one : at.zero;
    if (next === undefined) {
      attach(at, leaf);
      return { top: root, node: leaf };
    }
    parent = at;
    at = next;
  }
}

function inOrder(a: Prefix, b: Prefix): number {
  if (a.family !== b.family) return a.family - b.family;
  for (let i = 0; i < a.words.length; i++) {
    const difference = ((a.words[i] as number) >>> 0) - ((b.words[i] as number) >>> 0);
    if (difference !== 0) return difference;
  }
  return a.bits - b.bits;
}
