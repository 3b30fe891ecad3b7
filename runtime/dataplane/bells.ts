/**
 * How the thread that moves packets and the one that has the TCP/IP stacks tell each other that a ring has something: a bit for each
 * link in shared memory, and a flag of each side that it sleeps, so that it is woken only then. A bit for each word of those tells
 * where to look: each round does, also where there is no stack at all.
 */

/** Links with a stack that one thread can have. */
export const MAX_STACK_LINKS = 4096;
const WORDS = MAX_STACK_LINKS / 32;
const SUMMARY = WORDS / 32;

/** Word offsets: whether each side sleeps, the bits for it, and which of their words have some. */
const SIDES = {
  engine: { asleep: 0, summary: 32, bits: 64 },
  stack: { asleep: 16, summary: 48, bits: 64 + WORDS },
} as const;
const BYTES = 4 * (64 + 2 * WORDS);

export type Side = keyof typeof SIDES;

/** One side's bells: it listens, the other one rings. */
export class Bells {
  private readonly words: Int32Array;
  private readonly asleep: number;
  private readonly summary: number;
  private readonly bits: number;
  /** Of the look under way: the next word of the summary, what is left of the last one, the word looked at, and what is left of that. */
  private nextSummary = 0;
  private pendingWords = 0;
  private word = 0;
  private pending = 0;

  static create(): SharedArrayBuffer {
    return new SharedArrayBuffer(BYTES);
  }

  /** @param side who listens */
  constructor(shared: SharedArrayBuffer, side: Side) {
    this.words = new Int32Array(shared);
    this.asleep = SIDES[side].asleep;
    this.summary = SIDES[side].summary;
    this.bits = SIDES[side].bits;
  }

  /** The other side: something came for this link. @returns whether the listener sleeps and must be woken by other means. */
  ring(index: number): boolean {
    const word = index >> 5;
    Atomics.or(this.words, this.bits + word, 1 << (index & 31));
    // After the bit: a listener that has taken the summary's finds nothing there at worst.
    Atomics.or(this.words, this.summary + (word >> 5), 1 << (word & 31));
    return Atomics.load(this.words, this.asleep) === 1 && Atomics.exchange(this.words, this.asleep, 0) === 1;
  }

  /** The listener: may it sleep? From a true answer until `wake` it is woken for each bell. */
  sleep(): boolean {
    Atomics.store(this.words, this.asleep, 1);
    for (let i = 0; i < SUMMARY; i++)
      if (Atomics.load(this.words, this.summary + i) !== 0) {
        this.wake();
        return false;
      }
    return true;
  }

  wake(): void {
    Atomics.store(this.words, this.asleep, 0);
  }

  /** The listener: begins a look at all bells. */
  begin(): void {
    this.nextSummary = 0;
    this.pendingWords = 0;
    this.pending = 0;
  }

  /** The listener: the next link whose bell was rung, which is silent from now on; -1: that was all. */
  take(): number {
    while (this.pending === 0) {
      while (this.pendingWords === 0) {
        if (this.nextSummary === SUMMARY) return -1;
        const at = this.summary + this.nextSummary++;
        if (Atomics.load(this.words, at) !== 0) this.pendingWords = Atomics.exchange(this.words, at, 0);
      }
      this.word = (this.nextSummary - 1) * 32 + lowestBit(this.pendingWords);
      this.pendingWords &= this.pendingWords - 1;
      this.pending = Atomics.exchange(this.words, this.bits + this.word, 0);
    }
    const index = this.word * 32 + lowestBit(this.pending);
    this.pending &= this.pending - 1;
    return index;
  }
}

/** @param word not 0 */
function lowestBit(word: number): number {
  return 31 - Math.clz32(word & -word);
}
