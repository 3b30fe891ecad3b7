/** The bytes that the buffers of all connections hold, against their common bound. */
export class Memory {
  used = 0;

  constructor(readonly limit: number) {}

  /** No buffer may grow now: data that can be had again later is not taken. */
  get scarce(): boolean {
    return this.used >= this.limit;
  }
}
