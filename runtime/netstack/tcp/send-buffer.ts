import type { Memory } from "./memory";

/** Chunks below this are gathered into blocks; larger ones are kept as they are and copied once, into the segment. */
const GATHER_BELOW = 2048;
const SMALLEST_BLOCK = 512;
const LARGEST_BLOCK = 16 * 1024;
/** Empty slots at the front that are worth a move. */
const COMPACT = 64;

/** What was written and is not acknowledged: the bytes from `start` to `end` of the sequence space. */
export class SendBuffer {
  start: number;
  end: number;
  #chunks: Uint8Array[] = [];
  /** Where each chunk begins; it ends where the next one begins, the last one at `end`. */
  #starts: number[] = [];
  #head = 0;
  /** Bytes that fit into the last chunk, where it is a block of ours; else 0. */
  #spare = 0;
  #blockSize = SMALLEST_BLOCK;
  #hint = 0;

  constructor(
    start: number,
    private readonly memory: Memory,
  ) {
    this.start = start;
    this.end = start;
  }

  get length(): number {
    return this.end - this.start;
  }

  push(chunk: Uint8Array): void {
    const length = chunk.length;
    if (length === 0) return;
    this.memory.charge(length);
    if (length >= GATHER_BELOW) {
      this.#add(chunk);
      this.#spare = 0;
    } else {
      this.#gather(chunk);
    }
    this.end += length;
  }

  #add(chunk: Uint8Array): void {
    this.#chunks.push(chunk);
    this.#starts.push(this.end);
  }

  #gather(chunk: Uint8Array): void {
    if (this.#spare < chunk.length) {
      this.#blockSize = Math.min(LARGEST_BLOCK, this.#blockSize * 2);
      const block = Buffer.allocUnsafeSlow(Math.max(chunk.length, this.#blockSize));
      this.#add(block);
      this.#spare = block.length;
    }
    const block = this.#chunks[this.#chunks.length - 1];
    block.set(chunk, block.length - this.#spare);
    this.#spare -= chunk.length;
  }

  /** Forgets what lies before `to`. */
  release(to: number): void {
    if (to <= this.start) return;
    this.memory.charge(this.start - to);
    this.start = to;
    if (to === this.end) {
      this.#chunks = [];
      this.#starts = [];
      this.#head = 0;
      this.#spare = 0;
      this.#blockSize = SMALLEST_BLOCK;
      return;
    }
    const starts = this.#starts;
    let head = this.#head;
    while (head + 1 < starts.length && starts[head + 1] <= to) {
      this.#chunks[head] = EMPTY;
      head++;
    }
    this.#head = head;
    if (head >= COMPACT && head * 2 >= starts.length) {
      this.#chunks.splice(0, head);
      starts.splice(0, head);
      this.#head = 0;
      this.#hint = 0;
    }
  }

  /** Copies the `length` bytes at `from`; they must lie within. */
  copy(from: number, length: number, out: Uint8Array, at: number): void {
    const starts = this.#starts;
    let index = this.#find(from);
    let left = length;
    let position = from;
    while (left > 0) {
      const chunk = this.#chunks[index];
      const chunkStart = starts[index];
      const chunkEnd = index + 1 < starts.length ? starts[index + 1] : this.end;
      const take = Math.min(left, chunkEnd - position);
      const skip = position - chunkStart;
      out.set(skip === 0 && take === chunk.length ? chunk : chunk.subarray(skip, skip + take), at);
      at += take;
      position += take;
      left -= take;
      if (left > 0) index++;
    }
    this.#hint = index;
  }

  #find(position: number): number {
    const starts = this.#starts;
    const last = starts.length - 1;
    // Sending goes on where it ended: in the chunk of the last copy or the one behind.
    const hint = this.#hint;
    if (hint >= this.#head && hint <= last && starts[hint] <= position) {
      if (hint === last || position < starts[hint + 1]) return hint;
      if (hint + 1 === last || position < starts[hint + 2]) return hint + 1;
    }
    let low = this.#head;
    let high = last;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (starts[middle] <= position) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

const EMPTY = new Uint8Array(0);
