/** The last long datagrams that were sent: an ICMP "too big" about none of them is not believed (RFC 8201 section 4, RFC 5927). */
import { u16 } from "../dataplane/inet";
import { familyOfBytes } from "./address";

/** Shorter ones fit every path. */
const SHORTEST = 500;
const KEPT = 64;
/**
 * Of each: both ports, length with checksum, and the destination, or whoever got one could quote it as if it had gone to another.
 * An IPv4 address as IPv6 has it (RFC 4291 section 2.5.5.2): no packet goes to that, so neither family can be quoted as the other.
 */
const WORDS = 6;

export class SentDatagrams {
  private readonly words = new Uint32Array(KEPT * WORDS);
  private readonly quoted = new Uint32Array(WORDS);
  private next = 0;

  /** @param at the UDP header, complete */
  note(buf: Uint8Array, at: number, length: number, destination: Uint8Array): void {
    if (length < SHORTEST) return;
    write(this.words, this.next, buf, at, destination, 0, familyOfBytes(destination));
    this.next = (this.next + WORDS) % this.words.length;
  }

  /** @param destination where in `buf` the quoted packet's destination is */
  has(buf: Uint8Array, at: number, destination: number, family: 4 | 6): boolean {
    const { words, quoted } = this;
    write(quoted, 0, buf, at, buf, destination, family);
    // Places that were never written hold zeros.
    if (quoted[1] === 0) return false;
    for (let i = 0; i < words.length; i += WORDS) {
      let same = 0;
      while (same < WORDS && words[i + same] === quoted[same]) same++;
      if (same === WORDS) return true;
    }
    return false;
  }
}

function write(
  words: Uint32Array,
  to: number,
  buf: Uint8Array,
  at: number,
  addresses: Uint8Array,
  address: number,
  family: 4 | 6,
): void {
  words[to] = word(buf, at);
  words[to + 1] = word(buf, at + 4);
  if (family === 6) {
    for (let i = 0; i < 4; i++) words[to + 2 + i] = word(addresses, address + 4 * i);
    return;
  }
  words[to + 2] = words[to + 3] = 0;
  words[to + 4] = 0xffff;
  words[to + 5] = word(addresses, address);
}

function word(buf: Uint8Array, at: number): number {
  return ((u16(buf, at) << 16) | u16(buf, at + 2)) >>> 0;
}
