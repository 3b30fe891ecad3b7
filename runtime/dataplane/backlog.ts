/** Datagrams that wait for a full socket, the oldest first, in rings of a bounded size: waiting allocates nothing. */
import type { SocketEndpoint } from "./endpoint-table";

/** Bytes, and calls, that wait before the oldest are let go. */
export const MAX_BACKLOG = 1 << 20;
export const MAX_WAITING_CALLS = 4096;

/** What became of datagrams of a port. */
export interface SendCounts {
  /** Those that a full socket, and those that an error did not take. */
  queue: number;
  error: number;
  /** Not lost: those of calls with several that were refused, and sent one by one. */
  refused: number;
}

const LENGTH = 0;
const SEGMENT = 1;
const NUMBERS = 2;

/** Each entry is what one call sends: datagrams for one endpoint of one length, of which the last may be shorter. */
export class Backlog {
  /** There once something had to wait. */
  private bytes = new Uint8Array(0);
  private readonly numbers = new Int32Array(MAX_WAITING_CALLS * NUMBERS);
  private readonly endpoints: (SocketEndpoint | undefined)[] = new Array(MAX_WAITING_CALLS).fill(undefined);
  private readonly counts: (SendCounts | undefined)[] = new Array(MAX_WAITING_CALLS).fill(undefined);
  /** The oldest entry and its first byte. */
  private first = 0;
  private start = 0;
  private waiting = 0;
  private size = 0;

  get empty(): boolean {
    return this.waiting === 0;
  }

  /** Of the oldest entry. */
  get length(): number {
    return this.numbers[this.first * NUMBERS + LENGTH];
  }

  get segment(): number {
    return this.numbers[this.first * NUMBERS + SEGMENT];
  }

  get endpoint(): SocketEndpoint {
    return this.endpoints[this.first]!;
  }

  get sender(): SendCounts {
    return this.counts[this.first]!;
  }

  /** Copies `memory[at, at+length)`, at most MAX_BACKLOG bytes. @param sender where it is counted should it not leave */
  add(
    memory: Uint8Array,
    at: number,
    length: number,
    segment: number,
    endpoint: SocketEndpoint,
    sender: SendCounts,
  ): void {
    if (this.bytes.length === 0) this.bytes = new Uint8Array(MAX_BACKLOG);
    while (this.size + length > MAX_BACKLOG || this.waiting === MAX_WAITING_CALLS) this.letGo();
    const from = (this.start + this.size) % MAX_BACKLOG;
    const straight = Math.min(length, MAX_BACKLOG - from);
    this.bytes.set(memory.subarray(at, at + straight), from);
    if (straight < length) this.bytes.set(memory.subarray(at + straight, at + length), 0);
    const entry = (this.first + this.waiting) % MAX_WAITING_CALLS;
    this.numbers[entry * NUMBERS + LENGTH] = length;
    this.numbers[entry * NUMBERS + SEGMENT] = segment;
    this.endpoints[entry] = endpoint;
    this.counts[entry] = sender;
    this.size += length;
    this.waiting++;
  }

  /** Copies the first bytes of the oldest entry to `memory[at]`. */
  copyTo(memory: Uint8Array, at: number, length: number): void {
    const { start } = this;
    const straight = Math.min(length, MAX_BACKLOG - start);
    memory.set(this.bytes.subarray(start, start + straight), at);
    if (straight < length) memory.set(this.bytes.subarray(0, length - straight), at + straight);
  }

  /** Forgets the first bytes of the oldest entry, and an entry with nothing left. */
  take(bytes: number): void {
    const { first } = this;
    this.start = (this.start + bytes) % MAX_BACKLOG;
    this.size -= bytes;
    this.numbers[first * NUMBERS + LENGTH] -= bytes;
    if (this.length > 0) return;
    this.endpoints[first] = undefined;
    this.counts[first] = undefined;
    this.first = (first + 1) % MAX_WAITING_CALLS;
    this.waiting--;
  }

  /** Counts all that wait as not taken. */
  clear(): void {
    while (!this.empty) this.letGo();
  }

  private letGo(): void {
    this.sender.queue += Math.ceil(this.length / this.segment);
    this.take(this.length);
  }
}
