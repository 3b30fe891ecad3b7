import { RATE_BURST, RATE_PER_SECOND, RATE_TABLE_SIZE } from "./constants";
import type { Endpoint } from "./types";

/** Milliseconds of allowance that one message costs, and that an address can have at most. */
const COST = 1000 / RATE_PER_SECOND;
const FULL = COST * RATE_BURST;
/** Milliseconds after which an address is full again and can be forgotten. */
const FORGET = 1000;

interface Bucket {
  allowance: number;
  since: number;
}

/** Token buckets for handshake messages: 20 a second with bursts of 5, by IPv4 address or IPv6 /64. */
export class RateLimiter {
  private readonly buckets = new Map<string, Bucket>();
  private sweepAt = 0;

  allow(from: Endpoint, now: number): boolean {
    if (now >= this.sweepAt) this.sweep(now);
    const key = keyOf(from);
    const bucket = this.buckets.get(key);
    if (bucket === undefined) {
      if (this.buckets.size >= RATE_TABLE_SIZE) return false;
      this.buckets.set(key, { allowance: FULL - COST, since: now });
      return true;
    }
    bucket.allowance = Math.min(FULL, bucket.allowance + (now - bucket.since));
    bucket.since = now;
    if (bucket.allowance < COST) return false;
    bucket.allowance -= COST;
    return true;
  }

  /** Addresses remembered. */
  get size(): number {
    return this.buckets.size;
  }

  private sweep(now: number): void {
    for (const [key, bucket] of this.buckets) if (now - bucket.since >= FORGET) this.buckets.delete(key);
    this.sweepAt = now + FORGET;
  }
}

function keyOf({ address }: Endpoint): string {
  return String.fromCharCode(...(address.length === 4 ? address : address.subarray(0, 8)));
}
