/**
 * How the thread that moves packets and the one that has the TCP/IP stacks tell each other that a ring has something: a bit for each
 * link in shared memory, and a flag of each side that it sleeps, so that it is woken only then.
 */

/** Links with a stack that one thread can have. */
export const MAX_STACK_LINKS = 4096;
const WORDS = MAX_STACK_LINKS / 32;

/** Word offsets: whether each side sleeps, and the bits for it. */
const SIDES = { engine: { asleep: 0, bits: 64 }, stack: { asleep: 16, bits: 64 + WORDS } } as const;
const BYTES = 4 * (64 + 2 * WORDS);

export type Side = keyof typeof SIDES;

/** One side's bells: it listens, the other one rings. */
export class Bells {
  private readonly words: Int32Array;
  private readonly asleep: number;
  private readonly bits: number;
  /** Words above this one were never rung by this object's user. */
  private next = 0;
  private pending = 0;

  static create(): SharedArrayBuffer {
    return new SharedArrayBuffer(BYTES);
  }

  /** @param side who listens */
  constructor(shared: SharedArrayBuffer, side: Side) {
    this.words = new Int32Array(shared);
    this.asleep = SIDES[side].asleep;
    this.bits = SIDES[side].bits;
  }

  /** The other side: something came for this link. @returns whether the listener sleeps and must be woken by other means. */
  ring(index: number): boolean {
    Atomics.or(this.words, this.bits + (index >> 5), 1 << (index & 31));
    return Atomics.load(this.words, this.asleep) === 1 && Atomics.exchange(this.words, this.asleep, 0) === 1;
  }

  /** The listener: may it sleep? From a true answer until `wake` it is woken for each bell. */
  sleep(): boolean {
    Atomics.store(this.words, this.asleep, 1);
    for (let i = 0; i < WORDS; i++)
      if (Atomics.load(this.words, this.bits + i) !== 0) {
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
    this.next = 0;
    this.pending = 0;
  }

  /** The listener: the next link whose bell was rung, which is silent from now on; -1: that was all. */
  take(): number {
    while (this.pending === 0) {
      if (this.next === WORDS) return -1;
      const at = this.bits + this.next++;
      if (Atomics.load(this.words, at) !== 0) this.pending = Atomics.exchange(this.words, at, 0);
    }
    const bit = 31 - Math.clz32(this.pending & -this.pending);
    this.pending &= this.pending - 1;
    return (this.next - 1) * 32 + bit;
  }
}
