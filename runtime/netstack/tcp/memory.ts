/** Bytes of a block of a busy connection; only those are used again. */
export const BLOCK_BYTES = 64 * 1024;
/** Spare blocks that are kept. */
const SPARE_BLOCKS = 32;

/** The bytes that the buffers of some connections hold, against their common bound. */
export class Memory {
  #used = 0;
  readonly #spare: Buffer[] = [];

  /** @param whole what these connections are a part of: it counts their bytes too, and its bound is theirs */
  constructor(
    readonly limit: number,
    private readonly whole?: Memory,
  ) {}

  get used(): number {
    return this.#used;
  }

  /** @param bytes below 0 where they are given back */
  charge(bytes: number): void {
    this.#used += bytes;
    this.whole?.charge(bytes);
  }

  /** A block whose bytes are of no meaning. It is not counted: see `charge`. */
  allocate(bytes: number): Buffer {
    if (this.whole !== undefined) return this.whole.allocate(bytes);
    return (bytes === BLOCK_BYTES ? this.#spare.pop() : undefined) ?? Buffer.allocUnsafeSlow(bytes);
  }

  /** A block of `allocate` that nobody reads any more: a fresh one costs the garbage collector more than the copy into it. */
  recycle(block: Buffer): void {
    if (this.whole !== undefined) this.whole.recycle(block);
    else if (block.length === BLOCK_BYTES && this.#spare.length < SPARE_BLOCKS) this.#spare.push(block);
  }

  /** No buffer may grow now: data that can be had again later is not taken. */
  get scarce(): boolean {
    return this.#used >= this.limit || (this.whole?.scarce ?? false);
  }

  /** Half as much again as there should be: nothing is taken that could wait. */
  get exhausted(): boolean {
    return this.#used >= this.limit * 1.5 || (this.whole?.exhausted ?? false);
  }
}
