/** The retransmission timer's length (RFC 6298), in milliseconds. */

/** RFC 6298 (2.1). */
const INITIAL_RTO = 1000;
/** RFC 6298 (2.4) says one second; all large stacks use 200 ms, and the delayed acknowledgments of peers fit into it. */
const MIN_RTO = 200;
/** RFC 6298 (2.5): at least 60 seconds. */
const MAX_RTO = 60_000;
/** RFC 6298: G; peers count time in milliseconds. */
const GRANULARITY = 1;
/** How long a smallest round trip is believed, for RACK (RFC 8985 section 6.1 leaves it open; Linux takes 300 s). */
const MIN_RTT_LIFE = 300_000;

export class Rtt {
  /** 0: no sample yet. */
  smoothed = 0;
  variation = 0;
  min = 0;
  #minAt = 0;
  #base = INITIAL_RTO;
  #backoff = 0;

  sample(rtt: number, now: number): void {
    if (this.smoothed === 0) {
      this.smoothed = Math.max(rtt, 0.001);
      this.variation = rtt / 2;
    } else {
      this.variation += (Math.abs(this.smoothed - rtt) - this.variation) / 4;
      this.smoothed += (rtt - this.smoothed) / 8;
    }
    if (this.min === 0 || rtt <= this.min || now - this.#minAt > MIN_RTT_LIFE) {
      this.min = Math.max(rtt, 0.001);
      this.#minAt = now;
    }
    this.#base = Math.max(MIN_RTO, this.smoothed + Math.max(GRANULARITY, 4 * this.variation));
  }

  get rto(): number {
    return Math.min(MAX_RTO, this.#base * 2 ** this.#backoff);
  }

  /** RFC 6298 (5.5). */
  backOff(): void {
    if (this.rto < MAX_RTO) this.#backoff++;
  }

  /** New data was acknowledged. */
  settle(): void {
    this.#backoff = 0;
  }

  /** RFC 6298 (5.7): the SYN's timer has run out, so the first guess was too short. */
  synTimedOut(): void {
    this.#base = Math.max(this.#base, 3000);
    this.#backoff = 0;
  }
}
