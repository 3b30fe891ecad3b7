/**
 * Flows by address, protocol and port in memory that never grows. A flow is found in both directions by one probe: buckets of eight
 * places, and a hash that is the same for either. A full bucket gives up the flow that has no answer yet and was seen longest ago,
 * and only where all have one, any: so a flood of beginnings costs beginnings. Nothing runs out by a timer: what is over is found so.
 */
import { KEY_WORDS } from "./headers";

const WAYS = 8;

export class FlowTable {
  /** Of the flow found last: it was asked for in the other direction than the one it was put in with. */
  reversed = false;
  /** Flows that had to give way to others before their time. */
  evicted = 0;
  /** Each place: until when, and when seen last, in milliseconds; whether it was answered; the user's own two numbers. */
  readonly until: Float64Array;
  readonly seen: Float64Array;
  readonly firm: Uint8Array;
  readonly state: Uint8Array;
  readonly mark: Int32Array;
  /** The keys, KEY_WORDS for each place, in the direction they were put in with. */
  readonly keys: Int32Array;
  private readonly tags: Int32Array;
  private readonly mask: number;

  /**
   * @param capacity rounded up to a power of two.
   * @param seed 32 bits that nobody else knows: who chooses ports could fill one bucket.
   * @param onEvict called with the place of a flow that gives way or is found to be over, before it is forgotten.
   */
  constructor(
    capacity: number,
    private readonly seed: number,
    private readonly onEvict: ((slot: number) => void) | undefined = undefined,
  ) {
    let buckets = 1;
    while (buckets * WAYS < capacity) buckets *= 2;
    const places = buckets * WAYS;
    this.mask = buckets - 1;
    this.tags = new Int32Array(places);
    this.keys = new Int32Array(places * KEY_WORDS);
    this.until = new Float64Array(places);
    this.seen = new Float64Array(places);
    this.firm = new Uint8Array(places);
    this.state = new Uint8Array(places);
    this.mark = new Int32Array(places);
  }

  get capacity(): number {
    return this.tags.length;
  }

  /** Flows that are not over. Looks at all places. */
  count(now: number): number {
    let count = 0;
    for (let i = 0; i < this.tags.length; i++) if (this.tags[i] !== 0 && this.until[i] > now) count++;
    return count;
  }

  /** @returns the place of the flow with this key, in either direction (see `reversed`); -1: none */
  find(key: Int32Array, now: number): number {
    const tag = this.hash(key);
    const first = (tag & this.mask) * WAYS;
    for (let slot = first; slot < first + WAYS; slot++) {
      if (this.tags[slot] !== tag || !this.matches(slot, key)) continue;
      if (this.until[slot] > now) return slot;
      this.remove(slot);
      return -1;
    }
    return -1;
  }

  /** Puts in a flow that `find` did not find. Its numbers are 0, its `seen` now. @returns its place */
  insert(key: Int32Array, until: number, now: number): number {
    const tag = this.hash(key);
    const first = (tag & this.mask) * WAYS;
    let slot = first;
    for (let i = first; i < first + WAYS; i++) {
      if (this.tags[i] === 0) {
        slot = i;
        break;
      }
      if (this.worse(i, slot, now)) slot = i;
    }
    if (this.tags[slot] !== 0) {
      if (this.until[slot] > now) this.evicted++;
      this.remove(slot);
    }
    this.tags[slot] = tag;
    for (let i = 0, at = slot * KEY_WORDS; i < KEY_WORDS; i++) this.keys[at + i] = key[i];
    this.until[slot] = until;
    this.seen[slot] = now;
    this.firm[slot] = 0;
    this.state[slot] = 0;
    this.mark[slot] = 0;
    return slot;
  }

  remove(slot: number): void {
    this.onEvict?.(slot);
    this.tags[slot] = 0;
  }

  /** As `remove`, without a word to `onEvict`. */
  forget(slot: number): void {
    this.tags[slot] = 0;
  }

  /** Whether a place holds a flow. */
  has(slot: number): boolean {
    return this.tags[slot] !== 0;
  }

  /** Should `a` rather than `b` be given up? */
  private worse(a: number, b: number, now: number): boolean {
    const overA = this.until[a] <= now;
    const overB = this.until[b] <= now;
    if (overA !== overB) return overA;
    if (this.firm[a] !== this.firm[b]) return this.firm[a] < this.firm[b];
    return this.seen[a] < this.seen[b];
  }

  private matches(slot: number, key: Int32Array): boolean {
    const { keys } = this;
    const at = slot * KEY_WORDS;
    if (keys[at + 9] !== key[9]) return false;
    if (keys[at + 8] === key[8] && same(keys, at, key, 0) && same(keys, at + 4, key, 4)) {
      this.reversed = false;
      return true;
    }
    const swapped = (key[8] << 16) | (key[8] >>> 16);
    if (keys[at + 8] === swapped && same(keys, at, key, 4) && same(keys, at + 4, key, 0)) {
      this.reversed = true;
      return true;
    }
    return false;
  }

  /** Not 0. */
  private hash(key: Int32Array): number {
    const { seed } = this;
    const from = mix(
      key[0] ^
        Math.imul(key[1], 0x9e3779b1) ^
        Math.imul(key[2], 0x85ebca6b) ^
        Math.imul(key[3], 0xc2b2ae35) ^
        Math.imul((key[8] >>> 16) + 1, 0x27d4eb2f) ^
        seed,
    );
    const to = mix(
      key[4] ^
        Math.imul(key[5], 0x9e3779b1) ^
        Math.imul(key[6], 0x85ebca6b) ^
        Math.imul(key[7], 0xc2b2ae35) ^
        Math.imul((key[8] & 0xffff) + 1, 0x27d4eb2f) ^
        seed,
    );
    return mix((from + to) ^ key[9]) || 1;
  }
}

function same(a: Int32Array, at: number, b: Int32Array, bt: number): boolean {
  return a[at] === b[bt] && a[at + 1] === b[bt + 1] && a[at + 2] === b[bt + 2] && a[at + 3] === b[bt + 3];
}

/** The finalizer of MurmurHash3. */
function mix(value: number): number {
  let h = value;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}
