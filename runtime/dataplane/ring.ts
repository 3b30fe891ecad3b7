/**
 * Packets from a writer to a reader, in two threads or in one: a ring of bytes in the memory of both, who never wait for each other.
 * A record is eight bytes of header and a packet, whole in one place. Nothing is allocated per packet.
 */

import { foreign } from "../native/foreign";

/** Largest packet. */
export const MAX_RECORD = 65535;

/** Words of the control area, each on a cache line of its own: where the next record goes, where the oldest lies. */
const TAIL = 0;
const HEAD = 16;
/** 1: the reader is at work on records, or the writer drops some. */
const LOCK = 32;
/** 1: the writer found no room and wants to hear of it. */
const WANTED = 48;
const CONTROL_BYTES = 256;

const HEADER = 8;
/** In place of a length: the next record lies at the start. */
const WRAP = 0xffffffff;
/** Up to this length words are copied one by one: no view of the source need be made. */
const SMALL = 256;

export type RingMemory = ArrayBuffer | SharedArrayBuffer;

export class PacketRing {
  readonly bytes: Uint8Array;
  private readonly words: Uint32Array;
  private readonly control: Int32Array;
  private readonly capacity: number;
  private readonly mask: number;
  /** The writer's reservation, from its last `reserve`. */
  private reservedAt = 0;
  private reservedLength = 0;
  private reservedEnd = 0;

  /** What the last `peek` found: the packet at `bytes[offset]`, its length, and what its writer said of it. */
  offset = 0;
  length = 0;
  segment = 0;
  count = 0;

  /**
   * @param capacity bytes, a power of two that holds several of the largest packets
   * @param shared whether writer and reader are in two threads; both need native calls then
   */
  static create(capacity: number, shared: boolean): RingMemory {
    if (capacity < 4 * MAX_RECORD || (capacity & (capacity - 1)) !== 0)
      throw new RangeError(`a ring of ${capacity} bytes`);
    const bytes = CONTROL_BYTES + capacity;
    return shared ? new SharedArrayBuffer(bytes) : new ArrayBuffer(bytes);
  }

  constructor(memory: RingMemory) {
    this.capacity = memory.byteLength - CONTROL_BYTES;
    this.mask = this.capacity - 1;
    this.control = new Int32Array(memory, 0, CONTROL_BYTES / 4);
    // Lives as long as `control`, which holds the memory.
    const plain = memory instanceof SharedArrayBuffer ? foreign().unshared(memory) : memory;
    this.bytes = new Uint8Array(plain, CONTROL_BYTES);
    this.words = new Uint32Array(plain, CONTROL_BYTES);
  }

  get empty(): boolean {
    return Atomics.load(this.control, HEAD) === Atomics.load(this.control, TAIL);
  }

  /** Bytes in use, with headers. */
  get used(): number {
    return (Atomics.load(this.control, TAIL) - Atomics.load(this.control, HEAD)) >>> 0;
  }

  /** At least half of it is free. */
  get roomy(): boolean {
    return this.used <= this.capacity / 2;
  }

  /** Writer: takes room for a packet. @returns its offset in `bytes`; -1: there is none now. */
  reserve(length: number): number {
    if (!(length > 0 && length <= MAX_RECORD)) throw new RangeError(`a packet of ${length} bytes`);
    const tail = Atomics.load(this.control, TAIL);
    const at = tail & this.mask;
    const size = (HEADER + length + 7) & ~7;
    const skip = at + size > this.capacity ? this.capacity - at : 0;
    if (((tail - Atomics.load(this.control, HEAD)) >>> 0) + skip + size > this.capacity) return -1;
    if (skip > 0) this.words[at >> 2] = WRAP;
    this.reservedAt = (at + skip) & this.mask;
    this.reservedLength = length;
    this.reservedEnd = (tail + skip + size) | 0;
    return this.reservedAt + HEADER;
  }

  /** Writer: hands over what was reserved. @param count packets of the wire in it */
  commit(segment: number, count: number): void {
    const at = this.reservedAt >> 2;
    this.words[at] = this.reservedLength;
    this.words[at + 1] = (segment & 0xffff) | (count << 16);
    Atomics.store(this.control, TAIL, this.reservedEnd);
  }

  /** Writer: copies a packet in. @returns false where it has no room now */
  push(buf: Uint8Array, off: number, length: number, segment: number, count: number): boolean {
    const at = this.reserve(length);
    if (at < 0) return false;
    const { bytes } = this;
    if (length > SMALL) bytes.set(buf.subarray(off, off + length), at);
    else for (let i = 0; i < length; i++) bytes[at + i] = buf[off + i];
    this.commit(segment, count);
    return true;
  }

  /** Writer: gives up the oldest record, unless the reader is at work. @returns its packets; 0: it cannot be now */
  dropOldest(): number {
    if (!this.lock()) return 0;
    let dropped = 0;
    if (this.peek()) {
      dropped = this.count;
      this.release();
    }
    this.unlock();
    return dropped;
  }

  /** Before a reader of a ring whose writer may drop looks at records. @returns false where the writer is dropping just now */
  lock(): boolean {
    return Atomics.compareExchange(this.control, LOCK, 0, 1) === 0;
  }

  unlock(): void {
    Atomics.store(this.control, LOCK, 0);
  }

  /** Reader: finds the oldest record, which stays valid until `release`. @returns false where there is none */
  peek(): boolean {
    let head = Atomics.load(this.control, HEAD);
    const tail = Atomics.load(this.control, TAIL);
    if (head === tail) return false;
    let at = head & this.mask;
    if (this.words[at >> 2] === WRAP) {
      head = (head + this.capacity - at) | 0;
      at = 0;
      Atomics.store(this.control, HEAD, head);
      if (head === tail) return false;
    }
    const length = this.words[at >> 2];
    const about = this.words[(at >> 2) + 1];
    if (length > MAX_RECORD || at + HEADER + length > this.capacity) throw new RangeError("a packet ring is damaged");
    this.offset = at + HEADER;
    this.length = length;
    this.segment = about & 0xffff;
    this.count = about >>> 16;
    return true;
  }

  /** Reader: gives back the record that `peek` found. */
  release(): void {
    const head = Atomics.load(this.control, HEAD);
    Atomics.store(this.control, HEAD, (head + ((HEADER + this.length + 7) & ~7)) | 0);
  }

  /** Reader: copies the record that `peek` found. */
  copyTo(to: Uint8Array, at: number): void {
    const { bytes, offset, length } = this;
    if (length > SMALL) to.set(bytes.subarray(offset, offset + length), at);
    else for (let i = 0; i < length; i++) to[at + i] = bytes[offset + i];
  }

  /** Writer: asks to hear when there is room. Look for room once more afterwards: it may have come in between. */
  want(): void {
    Atomics.store(this.control, WANTED, 1);
  }

  /** Reader: whether the writer wants to hear of room, and there is much of it. Says so once. */
  satisfied(): boolean {
    return (
      Atomics.load(this.control, WANTED) === 1 &&
      this.roomy &&
      Atomics.compareExchange(this.control, WANTED, 1, 0) === 1
    );
  }
}
