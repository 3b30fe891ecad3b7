/** What has a time at which it wants to be looked at. */
export abstract class Timed {
  /** Place in the heap; -1: not in it. */
  heapIndex = -1;
  /** Not later than any of its deadlines; may be earlier: then it is asked in vain and says so. */
  heapTime = 0;

  /** @returns when it wants to be asked next; Infinity: not at all */
  abstract onTime(now: number): number;
}

/**
 * Deadlines of all connections in a binary heap. A deadline that moves later, as the retransmission timer's does with each acknowledgment, leaves the
 * heap alone: it is put right when the old time comes.
 */
export class Timers {
  #heap: Timed[] = [];

  get size(): number {
    return this.#heap.length;
  }

  next(): number {
    return this.#heap.length === 0 ? Number.POSITIVE_INFINITY : this.#heap[0].heapTime;
  }

  /** `item` has a deadline at `time`. */
  at(item: Timed, time: number): void {
    if (item.heapIndex >= 0) {
      if (item.heapTime <= time) return;
      item.heapTime = time;
      this.#up(item, item.heapIndex);
      return;
    }
    if (time === Number.POSITIVE_INFINITY) return;
    item.heapTime = time;
    this.#heap.push(item);
    this.#up(item, this.#heap.length - 1);
  }

  remove(item: Timed): void {
    const index = item.heapIndex;
    if (index < 0) return;
    item.heapIndex = -1;
    const last = this.#heap.pop() as Timed;
    if (last === item) return;
    this.#down(last, index);
    this.#up(last, last.heapIndex);
  }

  run(now: number): void {
    while (this.#heap.length > 0) {
      const item = this.#heap[0];
      if (item.heapTime > now) return;
      this.remove(item);
      const next = item.onTime(now);
      // A deadline that is due again at once would turn here for ever.
      if (next !== Number.POSITIVE_INFINITY) this.at(item, Math.max(next, now + 0.5));
    }
  }

  #up(item: Timed, index: number): void {
    const heap = this.#heap;
    let i = index;
    while (i > 0) {
      const parent = (i - 1) >>> 1;
      if (heap[parent].heapTime <= item.heapTime) break;
      heap[i] = heap[parent];
      heap[i].heapIndex = i;
      i = parent;
    }
    heap[i] = item;
    item.heapIndex = i;
  }

  #down(item: Timed, index: number): void {
    const heap = this.#heap;
    let i = index;
    for (;;) {
      let child = i * 2 + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1].heapTime < heap[child].heapTime) child++;
      if (heap[child].heapTime >= item.heapTime) break;
      heap[i] = heap[child];
      heap[i].heapIndex = i;
      i = child;
    }
    heap[i] = item;
    item.heapIndex = i;
  }
}
