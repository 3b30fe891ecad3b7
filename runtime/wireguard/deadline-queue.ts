/** Which of many things is due next: a binary heap whose entries know their place, so that a change costs the logarithm of their number. */

export interface Queued {
  /** Owned by the queue; -1: not in it. A thing is in one queue at most. */
  queueSlot: number;
}

const FIRST_CAPACITY = 16;

export class DeadlineQueue<T extends Queued> {
  private readonly items: T[] = [];
  /** Of the items, apart from them: numbers in an array of their own cost no allocation. */
  private deadlines = new Float64Array(FIRST_CAPACITY);

  get size(): number {
    return this.items.length;
  }

  /** The earliest deadline; Infinity: none. */
  next(): number {
    return this.items.length === 0 ? Number.POSITIVE_INFINITY : this.deadlines[0];
  }

  /** The item that has it. */
  first(): T | undefined {
    return this.items[0];
  }

  /** Sees to it that the item's deadline is no later than this. Cheap where it is earlier already. */
  bring(item: T, deadline: number): void {
    if (item.queueSlot < 0 || deadline < this.deadlines[item.queueSlot]) this.put(item, deadline);
  }

  /** Sets the item's deadline; Infinity takes it out. */
  put(item: T, deadline: number): void {
    if (deadline === Number.POSITIVE_INFINITY) {
      this.remove(item);
      return;
    }
    let at = item.queueSlot;
    if (at < 0) {
      at = this.items.length;
      if (at === this.deadlines.length) this.grow();
      this.items.push(item);
      this.set(at, item, deadline);
    }
    this.place(at, item, deadline);
  }

  remove(item: T): void {
    const at = item.queueSlot;
    if (at < 0) return;
    item.queueSlot = -1;
    const end = this.items.length - 1;
    const last = this.items.pop()!;
    if (at < end) this.place(at, last, this.deadlines[end]);
  }

  clear(): void {
    for (const item of this.items) item.queueSlot = -1;
    this.items.length = 0;
  }

  /** Puts an item where it belongs, seen from a place that is free for it. */
  private place(from: number, item: T, deadline: number): void {
    const { items, deadlines } = this;
    let at = from;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (deadlines[parent] <= deadline) break;
      this.set(at, items[parent], deadlines[parent]);
      at = parent;
    }
    if (at === from)
      for (;;) {
        let child = 2 * at + 1;
        if (child >= items.length) break;
        if (child + 1 < items.length && deadlines[child + 1] < deadlines[child]) child++;
        if (deadlines[child] >= deadline) break;
        this.set(at, items[child], deadlines[child]);
        at = child;
      }
    this.set(at, item, deadline);
  }

  private set(at: number, item: T, deadline: number): void {
    this.items[at] = item;
    this.deadlines[at] = deadline;
    item.queueSlot = at;
  }

  private grow(): void {
    const more = new Float64Array(2 * this.deadlines.length);
    more.set(this.deadlines);
    this.deadlines = more;
  }
}
