/** The last long datagrams that were sent: an ICMP "too big" about none of them is not believed (RFC 8201 section 4, RFC 5927). */
import { u16 } from "../dataplane/inet";

/** Shorter ones fit every path. */
const SHORTEST = 500;
const KEPT = 64;

export class SentDatagrams {
  /** Two words each: both ports, and length with checksum. */
  private readonly words = new Uint32Array(KEPT * 2);
  private next = 0;

  /** @param at the UDP header, complete */
  note(buf: Uint8Array, at: number, length: number): void {
    if (length < SHORTEST) return;
    this.words[this.next] = word(buf, at);
    this.words[this.next + 1] = word(buf, at + 4);
    this.next = (this.next + 2) % (KEPT * 2);
  }

  has(buf: Uint8Array, at: number): boolean {
    const first = word(buf, at);
    const second = word(buf, at + 4);
    for (let i = 0; i < KEPT * 2; i += 2)
      if (this.words[i] === first && this.words[i + 1] === second && second !== 0) return true;
    return false;
  }
}

function word(buf: Uint8Array, at: number): number {
  return ((u16(buf, at) << 16) | u16(buf, at + 2)) >>> 0;
}
