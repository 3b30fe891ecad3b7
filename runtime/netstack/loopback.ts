/** Packets to ourselves on their way: bounded, and handed over only when the stack has done what it was at. */

const MAX_BYTES = 4 << 20;

interface Waiting {
  readonly bytes: Uint8Array;
  readonly segment: number;
}

export class Loopback {
  private queue: Waiting[] = [];
  private bytes = 0;
  private refused = false;

  get empty(): boolean {
    return this.queue.length === 0;
  }

  /** @returns false where there is no room */
  add(buf: Uint8Array, off: number, len: number, segment: number): boolean {
    if (this.bytes + len > MAX_BYTES) {
      this.refused = true;
      return false;
    }
    this.bytes += len;
    this.queue.push({ bytes: buf.slice(off, off + len), segment });
    return true;
  }

  /** Hands over what is there now. @returns whether there is room again for who was refused */
  deliver(take: (bytes: Uint8Array, segment: number) => void): boolean {
    const { queue, refused } = this;
    this.queue = [];
    this.bytes = 0;
    this.refused = false;
    for (const { bytes, segment } of queue) take(bytes, segment);
    return refused;
  }

  clear(): void {
    this.queue = [];
    this.bytes = 0;
  }
}
