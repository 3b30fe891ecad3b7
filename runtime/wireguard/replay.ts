import { REJECT_AFTER_MESSAGES_HI, REJECT_AFTER_MESSAGES_LO, REPLAY_WINDOW } from "./constants";

/** 8192 bits: the window of 8128 and one word that is being filled. */
const WORDS = 256;
const BITS = WORDS * 32;

/** Which counters of a key were seen: a ring of bits behind the highest. [RFC 6479; paper 5.4.6] */
export class ReplayWindow {
  private readonly ring = new Uint32Array(WORDS);
  /** The highest counter seen: lower and upper half. */
  private readonly last = new Uint32Array(2);

  /**
   * Marks a counter, given as two unsigned 32-bit halves. Only for messages that were authenticated.
   * @returns false when it was seen before, is too old, or is past the limit of 2^64 - 2^13 - 1.
   */
  accept(lo: number, hi: number): boolean {
    if (isPastLimit(lo, hi)) return false;
    const ring = this.ring;
    const lastLo = this.last[0];
    // Exact while the halves are near each other; far apart only its sign and size class matter.
    const ahead = (hi - this.last[1]) * 2 ** 32 + (lo - lastLo);
    if (ahead > 0) {
      if (ahead >= BITS) ring.fill(0);
      else {
        const first = lastLo >>> 5;
        const words = ((lastLo & 31) + ahead) >>> 5;
        for (let i = 1; i <= words; i++) ring[(first + i) & (WORDS - 1)] = 0;
      }
      this.last[0] = lo;
      this.last[1] = hi;
    } else if (ahead < -REPLAY_WINDOW) return false;
    const word = (lo >>> 5) & (WORDS - 1);
    const bit = 1 << (lo & 31);
    if ((ring[word] & bit) !== 0) return false;
    ring[word] |= bit;
    return true;
  }
}

/** Is this counter one that must never be used? */
export function isPastLimit(lo: number, hi: number): boolean {
  return hi === REJECT_AFTER_MESSAGES_HI && lo >= REJECT_AFTER_MESSAGES_LO;
}
