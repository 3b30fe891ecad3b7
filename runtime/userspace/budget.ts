/** How much of something one app, and all of them, may hold at once. */

export class Budget {
  /** How often there was no more. */
  refused = 0;
  private used = 0;
  private readonly of = new Map<string, number>();

  constructor(
    readonly each: number,
    readonly total: number,
  ) {}

  /** @returns the way to give it back, once; undefined: there is no more. */
  take(holder: string): (() => void) | undefined {
    const held = this.of.get(holder) ?? 0;
    if (held >= this.each || this.used >= this.total) {
      this.refused++;
      return undefined;
    }
    this.used++;
    this.of.set(holder, held + 1);
    let given = false;
    return () => {
      if (given) return;
      given = true;
      this.used--;
      const left = (this.of.get(holder) ?? 1) - 1;
      if (left === 0) this.of.delete(holder);
      else this.of.set(holder, left);
    };
  }

  get held(): number {
    return this.used;
  }
}
