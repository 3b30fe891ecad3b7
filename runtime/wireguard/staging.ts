import { MAX_STAGED_BYTES, MAX_STAGED_PACKETS } from "./constants";

/** What the peers of one device have waiting together. */
export interface StagedTotal {
  bytes: number;
}

/**
 * Packets of one peer that wait for a session, oldest first. The oldest makes room when there are too many, or when all peers together have
 * too much; one packet each peer may always have.
 */
export class Staging {
  private readonly packets: Uint8Array[] = [];

  constructor(private readonly total: StagedTotal) {}

  get length(): number {
    return this.packets.length;
  }

  /** Copies the packet; length 0 is a keepalive. @returns how many of the oldest had to go for it. */
  add(buf: Uint8Array, off: number, len: number): number {
    let dropped = 0;
    while (
      this.packets.length > 0 &&
      (this.packets.length >= MAX_STAGED_PACKETS || this.total.bytes + len > MAX_STAGED_BYTES)
    ) {
      this.take();
      dropped++;
    }
    this.packets.push(buf.slice(off, off + len));
    this.total.bytes += len;
    return dropped;
  }

  take(): Uint8Array | undefined {
    const packet = this.packets.shift();
    this.total.bytes -= packet?.length ?? 0;
    return packet;
  }

  /** @returns how many there were. */
  clear(): number {
    const count = this.packets.length;
    while (this.packets.length > 0) this.take();
    return count;
  }
}
