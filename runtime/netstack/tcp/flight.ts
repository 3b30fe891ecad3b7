/** Set once the receiver has it (RFC 2018); it may not be given up before the cumulative acknowledgment comes. */
export const SACKED = 1;
/** Deemed lost: it no longer counts as in flight. */
export const LOST = 2;
/** Sent again since it was deemed lost: in flight again. */
export const RESENT = 4;
/** Sent more than once, ever: no round-trip sample (Karn), and ambiguous for RACK. */
export const REPEATED = 8;

/**
 * As many entries as all that look through them may meet with: above it, blocks of SACK that would cut an entry are passed over and nothing new is sent.
 * Retransmissions still cut; they are bounded by `MOST_SEGMENTS`.
 */
export const MOST_ENTRIES = 4096;
/** Full segments in flight, 22 MB of the usual ones: a peer whose segments are tiny gets a window to match. */
export const MOST_SEGMENTS = 16_384;

const SMALLEST = 8;
const NO_NUMBERS = new Float64Array(0);
const NO_SIZES = new Uint16Array(0);
const NO_FLAGS = new Uint8Array(0);

/**
 * What was sent and is not acknowledged, in order of sequence: one entry for each transmission, which may be a super-segment and is split where an
 * acknowledgment or a retransmission cuts it. The scoreboard of RFC 6675 and the per-segment state of RACK (RFC 8985 section 5.1) in one. An entry
 * knows where its segments met on the wire: from `origin`, one every `size` bytes.
 */
export class Flight {
  #head = 0;
  #count = 0;
  #start = NO_NUMBERS;
  #end = NO_NUMBERS;
  #sentAt = NO_NUMBERS;
  #origin = NO_NUMBERS;
  #size = NO_SIZES;
  #flags = NO_FLAGS;
  /** No entry that begins before it waits for its retransmission. */
  #lostFrom = Number.POSITIVE_INFINITY;
  /** Bytes of entries with these flags. */
  sackedBytes = 0;
  lostBytes = 0;
  resentBytes = 0;
  sackedEntries = 0;
  /** Of a receiver without SACK: bytes that its duplicate acknowledgments stand for (RFC 6582). */
  duplicateBytes = 0;

  get count(): number {
    return this.#count;
  }

  start(i: number): number {
    return this.#start[this.#head + i];
  }
  end(i: number): number {
    return this.#end[this.#head + i];
  }
  sentAt(i: number): number {
    return this.#sentAt[this.#head + i];
  }
  flags(i: number): number {
    return this.#flags[this.#head + i];
  }

  /** Bytes in the network by what is known: all but the acknowledged and the lost. */
  get inFlight(): number {
    if (this.#count === 0) return 0;
    const all = this.#end[this.#head + this.#count - 1] - this.#start[this.#head];
    return Math.max(0, all - this.sackedBytes - this.duplicateBytes - this.lostBytes + this.resentBytes);
  }

  /** @param size payload of each of its segments but the last, which may be shorter */
  push(start: number, end: number, now: number, size: number): void {
    if (this.#head + this.#count === this.#start.length) this.#room();
    const at = this.#head + this.#count++;
    this.#start[at] = start;
    this.#end[at] = end;
    this.#sentAt[at] = now;
    this.#origin[at] = start;
    this.#size[at] = size;
    this.#flags[at] = 0;
  }

  #room(): void {
    const from = this.#head;
    const to = from + this.#count;
    if (from > 0 && from * 2 >= this.#start.length) {
      this.#start.copyWithin(0, from, to);
      this.#end.copyWithin(0, from, to);
      this.#sentAt.copyWithin(0, from, to);
      this.#origin.copyWithin(0, from, to);
      this.#size.copyWithin(0, from, to);
      this.#flags.copyWithin(0, from, to);
    } else {
      const size = Math.max(SMALLEST, this.#count * 2);
      this.#start = moved(new Float64Array(size), this.#start.subarray(from, to));
      this.#end = moved(new Float64Array(size), this.#end.subarray(from, to));
      this.#sentAt = moved(new Float64Array(size), this.#sentAt.subarray(from, to));
      this.#origin = moved(new Float64Array(size), this.#origin.subarray(from, to));
      this.#size = moved(new Uint16Array(size), this.#size.subarray(from, to));
      this.#flags = moved(new Uint8Array(size), this.#flags.subarray(from, to));
    }
    this.#head = 0;
  }

  /** Cuts entry `i` in two at `position`, strictly within it. */
  split(i: number, position: number): void {
    if (this.#head + this.#count === this.#start.length) this.#room();
    const at = this.#head + i;
    const to = this.#head + this.#count++;
    this.#start.copyWithin(at + 1, at, to);
    this.#end.copyWithin(at + 1, at, to);
    this.#sentAt.copyWithin(at + 1, at, to);
    this.#origin.copyWithin(at + 1, at, to);
    this.#size.copyWithin(at + 1, at, to);
    this.#flags.copyWithin(at + 1, at, to);
    this.#end[at] = position;
    this.#start[at + 1] = position;
    if (this.#flags[at] & SACKED) this.sackedEntries++;
  }

  /** Where the first segment of entry `i` begins that begins at `position` or beyond, or the entry's end. */
  segmentFrom(i: number, position: number): number {
    const at = this.#head + i;
    if (position <= this.#start[at]) return this.#start[at];
    const size = this.#size[at];
    const boundary = this.#origin[at] + Math.ceil((position - this.#origin[at]) / size) * size;
    return Math.min(boundary, this.#end[at]);
  }

  /** Where the last segment of entry `i` ends that ends at `position` or before, or the entry's start. */
  segmentTo(i: number, position: number): number {
    const at = this.#head + i;
    if (position >= this.#end[at]) return this.#end[at];
    const size = this.#size[at];
    const boundary = this.#origin[at] + Math.floor((position - this.#origin[at]) / size) * size;
    return Math.max(boundary, this.#start[at]);
  }

  /** Takes the first entry off, or its part before `position`. */
  removeHead(position: number): void {
    const at = this.#head;
    const length = Math.min(position, this.#end[at]) - this.#start[at];
    this.#uncount(at, length);
    if (position < this.#end[at]) {
      this.#start[at] = position;
      return;
    }
    if (this.#flags[at] & SACKED) this.sackedEntries--;
    this.#count--;
    this.#head = this.#count === 0 ? 0 : this.#head + 1;
  }

  #uncount(at: number, length: number): void {
    const flags = this.#flags[at];
    if (flags & SACKED) this.sackedBytes -= length;
    if (flags & LOST) this.lostBytes -= length;
    if (flags & RESENT) this.resentBytes -= length;
  }

  markSacked(i: number): void {
    const at = this.#head + i;
    const length = this.#end[at] - this.#start[at];
    this.#uncount(at, length);
    this.#flags[at] = (this.#flags[at] & REPEATED) | SACKED;
    this.sackedBytes += length;
    this.sackedEntries++;
  }

  /** @returns bytes that are deemed lost now and were not before */
  markLost(i: number): number {
    const at = this.#head + i;
    const length = this.#end[at] - this.#start[at];
    const flags = this.#flags[at];
    if (this.#start[at] < this.#lostFrom) this.#lostFrom = this.#start[at];
    if (flags & RESENT) {
      this.resentBytes -= length;
      this.#flags[at] = flags & ~RESENT;
      return length;
    }
    if (flags & LOST) return 0;
    this.#flags[at] = flags | LOST;
    this.lostBytes += length;
    return length;
  }

  /** The first entry that was lost and not sent again since; -1: none. */
  firstLost(): number {
    for (let i = this.find(this.#lostFrom); i < this.#count; i++) {
      if ((this.#flags[this.#head + i] & (LOST | RESENT | SACKED)) !== LOST) continue;
      this.#lostFrom = this.#start[this.#head + i];
      return i;
    }
    this.#lostFrom = Number.POSITIVE_INFINITY;
    return -1;
  }

  /** @param size payload of each of the segments it was sent in */
  markResent(i: number, now: number, size: number): void {
    const at = this.#head + i;
    const length = this.#end[at] - this.#start[at];
    const flags = this.#flags[at];
    if (flags & LOST && !(flags & RESENT)) {
      this.resentBytes += length;
      this.#flags[at] = flags | RESENT | REPEATED;
    } else {
      this.#flags[at] = flags | REPEATED;
    }
    this.#sentAt[at] = now;
    this.#origin[at] = this.#start[at];
    this.#size[at] = size;
  }

  /** What was deemed lost and not sent again is in flight after all. */
  forgiveLosses(): void {
    for (let i = 0; i < this.#count; i++) {
      const at = this.#head + i;
      this.#flags[at] &= ~(LOST | RESENT);
    }
    this.lostBytes = 0;
    this.resentBytes = 0;
  }

  /** The receiver has given up what it held out of order (RFC 2018 section 8): only after a retransmission time-out. */
  forgetSacks(): void {
    for (let i = 0; i < this.#count; i++) this.#flags[this.#head + i] &= ~SACKED;
    this.sackedBytes = 0;
    this.sackedEntries = 0;
  }

  /** The first entry that ends beyond `position`; `count` where there is none. */
  find(position: number): number {
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#end[this.#head + middle] > position) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  clear(): void {
    this.#head = 0;
    this.#count = 0;
    this.sackedBytes = 0;
    this.lostBytes = 0;
    this.resentBytes = 0;
    this.sackedEntries = 0;
    this.duplicateBytes = 0;
    this.#start = NO_NUMBERS;
    this.#end = NO_NUMBERS;
    this.#sentAt = NO_NUMBERS;
    this.#origin = NO_NUMBERS;
    this.#size = NO_SIZES;
    this.#flags = NO_FLAGS;
  }
}

function moved<A extends Float64Array | Uint16Array | Uint8Array>(to: A, from: A): A {
  to.set(from);
  return to;
}
