import { MAX_STAGED_PACKETS } from "./constants";

/** Packets of one peer that wait for a session, oldest first. The oldest makes room when there are too many. */
export class Staging {
  private readonly packets: Uint8Array[] = [];

  get length(): number {
    return this.packets.length;
  }

  /** Copies the packet; length 0 is a keepalive. @returns false when the oldest had to go for it. */
  add(buf: Uint8Array, off: number, len: number): boolean {
    const full = this.packets.length >= MAX_STAGED_PACKETS;
    if (full) this.packets.shift();
    this.packets.push(buf.slice(off, off + len));
    return !full;
  }

  take(): Uint8Array | undefined {
    return this.packets.shift();
  }

  /** @returns how many there were. */
  clear(): number {
    return this.packets.splice(0).length;
  }
}
