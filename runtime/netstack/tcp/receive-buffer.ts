import { BLOCK_BYTES, type Memory } from "./memory";

const SMALLEST_BLOCK = 2048;
/** Gaps that are kept; a sender that makes more has them sent again. */
export const MAX_RANGES = 256;

interface Block {
  start: number;
  size: number;
  /** Undefined: nothing has arrived for it yet. */
  buf: Buffer | undefined;
  /** Bytes that were lent and given back. */
  returned: number;
  /** Some of it belongs to a reader. */
  taken: boolean;
}

/**
 * What has arrived: blocks side by side over the sequence space, into which each byte is copied once, at its place, in order or not; the reader gets
 * parts of these blocks. Ranges beyond the first gap are remembered for reassembly and for SACK.
 */
export class ReceiveBuffer {
  /** The first byte that has not been read. */
  read: number;
  /** The first byte that has not arrived. */
  next: number;
  /** Bytes arrived beyond `next`: range i is `starts[i]` to `ends[i]`, in order, none touching another. */
  readonly starts: number[] = [];
  readonly ends: number[] = [];
  /** Starts of the ranges that grew last, the latest first (RFC 2018 section 4 wants them so in SACK). */
  readonly #recent: number[] = [];
  #blocks: Block[] = [];
  /** Blocks that were read to their end, and not yet given back. */
  #lent: Block[] = [];
  #blockSize = SMALLEST_BLOCK;
  #charged = 0;
  #counted = true;

  constructor(
    start: number,
    private readonly memory: Memory,
  ) {
    this.read = start;
    this.next = start;
  }

  get readable(): number {
    return this.next - this.read;
  }

  get hasGaps(): boolean {
    return this.starts.length > 0;
  }

  /**
   * Takes bytes that begin at `next` or beyond it; what lies within ranges already there is written again with what should be the same bytes.
   * @returns false: too many gaps, nothing was taken
   */
  insert(start: number, buf: Uint8Array, off: number, length: number): boolean {
    const end = start + length;
    if (start === this.next && this.starts.length === 0) {
      this.#store(start, buf, off, length);
      this.next = end;
      return true;
    }
    if (start > this.next && !this.#addRange(start, end)) return false;
    this.#store(start, buf, off, length);
    if (start <= this.next) this.next = Math.max(this.next, end);
    this.#advance();
    return true;
  }

  /** True where all these bytes have arrived already. */
  has(start: number, end: number): boolean {
    if (end <= this.next) return true;
    for (let i = 0; i < this.starts.length; i++) {
      if (start >= this.starts[i] && end <= this.ends[i]) return true;
    }
    return false;
  }

  #addRange(start: number, end: number): boolean {
    const { starts, ends } = this;
    let first = 0;
    while (first < starts.length && ends[first] < start) first++;
    let last = first;
    while (last < starts.length && starts[last] <= end) last++;
    if (first === last) {
      if (starts.length >= MAX_RANGES) return false;
      starts.splice(first, 0, start);
      ends.splice(first, 0, end);
    } else {
      const mergedStart = Math.min(start, starts[first]);
      const mergedEnd = Math.max(end, ends[last - 1]);
      if (last - first > 1) {
        starts.splice(first + 1, last - first - 1);
        ends.splice(first + 1, last - first - 1);
      }
      starts[first] = mergedStart;
      ends[first] = mergedEnd;
    }
    this.#touch(start);
    return true;
  }

  /** Any position within a range stands for it in `#recent`. */
  #touch(position: number): void {
    const recent = this.#recent;
    recent.unshift(position);
    let kept = 0;
    for (let i = 0; i < recent.length && kept < 8; i++) {
      const range = this.#rangeOf(recent[i]);
      if (range < 0) continue;
      let repeated = false;
      for (let k = 0; k < kept && !repeated; k++) repeated = this.#rangeOf(recent[k]) === range;
      if (!repeated) recent[kept++] = recent[i];
    }
    recent.length = kept;
  }

  #rangeOf(position: number): number {
    const { starts, ends } = this;
    let low = 0;
    let high = starts.length - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      if (position < starts[middle]) high = middle - 1;
      else if (position >= ends[middle]) low = middle + 1;
      else return middle;
    }
    return -1;
  }

  /** Ranges that `next` has reached are no longer apart. */
  #advance(): void {
    const { starts, ends } = this;
    let gone = 0;
    while (gone < starts.length && starts[gone] <= this.next) {
      this.next = Math.max(this.next, ends[gone]);
      gone++;
    }
    if (gone > 0) {
      starts.splice(0, gone);
      ends.splice(0, gone);
    }
  }

  /** Writes up to `max` SACK blocks into `edges`, the range that grew last first. @returns how many */
  sackBlocks(edges: Float64Array, at: number, max: number): number {
    let count = 0;
    for (let i = 0; i < this.#recent.length && count < max; i++) {
      const range = this.#rangeOf(this.#recent[i]);
      if (range < 0) continue;
      edges[at + count * 2] = this.starts[range];
      edges[at + count * 2 + 1] = this.ends[range];
      count++;
    }
    return count;
  }

  #store(start: number, buf: Uint8Array, off: number, length: number): void {
    let at = start;
    let left = length;
    let index = this.#blockAt(start, length);
    while (left > 0) {
      if (index === this.#blocks.length) this.#addBlock(left);
      const block = this.#blocks[index];
      if (block.buf === undefined) {
        block.buf = this.memory.allocate(block.size);
        this.#charge(block.size);
      }
      const skip = at - block.start;
      const take = Math.min(left, block.size - skip);
      block.buf.set(take === buf.length ? buf : buf.subarray(off, off + take), skip);
      at += take;
      off += take;
      left -= take;
      index++;
    }
  }

  /** The index of the block that holds `position`; blocks are laid out up to it where there are none yet. */
  #blockAt(position: number, length: number): number {
    const blocks = this.#blocks;
    let index = blocks.length - 1;
    while (index > 0 && blocks[index].start > position) index--;
    while (index < 0 || position >= blocks[index].start + blocks[index].size) {
      if (index === blocks.length - 1) this.#addBlock(length);
      index++;
    }
    return index;
  }

  #addBlock(wanted: number): void {
    const last = this.#blocks[this.#blocks.length - 1];
    const start = last === undefined ? this.read : last.start + last.size;
    const size = Math.min(BLOCK_BYTES, Math.max(this.#blockSize, wanted));
    this.#blockSize = Math.min(BLOCK_BYTES, this.#blockSize * 2);
    this.#blocks.push({ start, size, buf: undefined, returned: 0, taken: false });
  }

  #charge(bytes: number): void {
    if (!this.#counted) return;
    this.#charged += bytes;
    this.memory.charge(bytes);
  }

  /** The next unread bytes, no longer than a block; they belong to the caller and are not written again. */
  take(): Buffer | undefined {
    return this.#next(true);
  }

  /** As `take`, but the bytes are the caller's until `giveBack` only. */
  lend(): Buffer | undefined {
    return this.#next(false);
  }

  /** @param part what `lend` gave, whole: nobody reads it any more */
  giveBack(part: Buffer): void {
    const { buffer } = part;
    const lent = this.#lent;
    let at = 0;
    while (at < lent.length && lent[at].buf?.buffer !== buffer) at++;
    const block = lent[at] ?? this.#blocks[0];
    // Forgotten meanwhile.
    if (block?.buf?.buffer !== buffer) return;
    block.returned += part.length;
    if (block.returned < block.size) return;
    lent.splice(at, 1);
    this.#charge(-block.size);
    this.memory.recycle(block.buf);
  }

  #next(taken: boolean): Buffer | undefined {
    if (this.read === this.next) return undefined;
    const block = this.#blocks[0];
    const end = Math.min(this.next, block.start + block.size);
    const buf = block.buf as Buffer;
    const from = this.read - block.start;
    const part = from === 0 && end - block.start === buf.length ? buf : buf.subarray(from, end - block.start);
    this.read = end;
    block.taken ||= taken;
    if (end === block.start + block.size) {
      this.#blocks.shift();
      if (block.taken) this.#charge(-block.size);
      else this.#lent.push(block);
    }
    return part;
  }

  /** Gives back the rest of the last block and starts small again, where nothing waits in it. */
  shrink(): void {
    if (this.read !== this.next || this.hasGaps) return;
    for (const { buf, size } of this.#blocks) if (buf !== undefined) this.#charge(-size);
    this.#blocks = [];
    this.#blockSize = SMALLEST_BLOCK;
  }

  /** No longer counted: the connection is gone, and what is left here is its last reader's. */
  forget(): void {
    this.memory.charge(-this.#charged);
    this.#charged = 0;
    this.#counted = false;
  }

  /** Forgets everything. */
  drop(): void {
    this.memory.charge(-this.#charged);
    this.#charged = 0;
    this.#blocks = [];
    this.#lent = [];
    this.#blockSize = SMALLEST_BLOCK;
    this.#recent.length = 0;
    this.starts.length = 0;
    this.ends.length = 0;
    this.read = this.next;
  }
}
