/** Error packets that one switch sends at most, in a burst and then a second (RFC 1812 section 4.3.2.8). */
const BURST = 50;
const PER_SECOND = 100;

/** A token bucket for ICMP errors. */
export class ErrorBudget {
  private tokens = BURST;
  private at = 0;

  /** @param now milliseconds, monotonic. */
  allows(now: number): boolean {
    this.tokens = Math.min(BURST, this.tokens + ((now - this.at) * PER_SECOND) / 1000);
    this.at = now;
    return this.tokens >= 1;
  }

  /** One was sent. */
  spend(): void {
    this.tokens--;
  }
}
