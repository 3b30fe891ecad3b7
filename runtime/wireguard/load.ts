import { LOAD_HANDSHAKES_PER_SECOND, LOAD_LINGER } from "./constants";

const WINDOW = 1000;

/**
 * Tells whether so many handshakes arrive that senders must prove their address first. Devices on one port share one.
 * Counts messages with a valid MAC1 over a sliding second (the previous second counts by the part of it that is still inside).
 */
export class LoadMeter {
  private windowStart = Number.NEGATIVE_INFINITY;
  private current = 0;
  private previous = 0;
  private until = Number.NEGATIVE_INFINITY;

  /** @param limit messages a second from which on there is load. */
  constructor(private readonly limit: number = LOAD_HANDSHAKES_PER_SECOND) {}

  /** Counts a message and tells whether it arrives under load. */
  handshakeArrived(now: number): boolean {
    const elapsed = now - this.windowStart;
    if (elapsed >= WINDOW) {
      this.previous = elapsed < 2 * WINDOW ? this.current : 0;
      this.current = 0;
      this.windowStart = elapsed < 2 * WINDOW ? this.windowStart + WINDOW : now;
    }
    this.current++;
    const inside = 1 - (now - this.windowStart) / WINDOW;
    if (this.current + this.previous * inside > this.limit) this.raise(now);
    return this.isUnderLoad(now);
  }

  /** Says from outside that there is load, for instance because the socket's queue overflows; it lingers for a second. */
  raise(now: number): void {
    this.until = now + LOAD_LINGER;
  }

  isUnderLoad(now: number): boolean {
    return now < this.until;
  }
}
