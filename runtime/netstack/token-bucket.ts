/** So many a second, and as many at once. */
export class TokenBucket {
  private tokens: number;
  private since = 0;

  constructor(private readonly perSecond: number) {
    this.tokens = perSecond;
  }

  take(now: number): boolean {
    this.tokens = Math.min(this.perSecond, this.tokens + ((now - this.since) * this.perSecond) / 1000);
    this.since = now;
    if (this.tokens < 1) return false;
    this.tokens--;
    return true;
  }
}
