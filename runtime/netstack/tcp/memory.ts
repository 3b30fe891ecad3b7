/** The bytes that the buffers of some connections hold, against their common bound. */
export class Memory {
  #used = 0;

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

  /** No buffer may grow now: data that can be had again later is not taken. */
  get scarce(): boolean {
    return this.#used >= this.limit || (this.whole?.scarce ?? false);
  }

  /** Half as much again as there should be: nothing is taken that could wait. */
  get exhausted(): boolean {
    return this.#used >= this.limit * 1.5 || (this.whole?.exhausted ?? false);
  }
}
