/** The end of a stack link that the TCP/IP stack has; stack-link.ts is the other one. */
import { Bells } from "./bells";
import type { PacketPipe } from "./pipe";
import { MAX_RECORD, PacketRing } from "./ring";
import type { StackRings } from "./stack-links";

/** Packets, and bytes, given to one stack before others get their turn. */
const BATCH = 64;
const BATCH_BYTES = 1 << 20;

export class RingPipe implements PacketPipe {
  readonly id: string;
  onPacket: PacketPipe["onPacket"] = () => {};
  onRoundEnd: () => void = () => {};
  onDrain: () => void = () => {};
  private readonly toStack: PacketRing;
  private readonly fromStack: PacketRing;
  /** A packet was refused, and nobody was told of room since. */
  private blocked = false;
  private closed = false;

  constructor(
    rings: StackRings,
    /** Tells the engine that its ring has something. */
    private readonly ring: () => void,
  ) {
    this.id = rings.link;
    this.toStack = new PacketRing(rings.toStack);
    this.fromStack = new PacketRing(rings.fromStack);
  }

  send(buf: Uint8Array, off: number, len: number, segment: number): boolean {
    if (!(len > 0 && len <= MAX_RECORD && off >= 0 && off + len <= buf.length && segment >= 0 && segment <= MAX_RECORD))
      throw new RangeError(`a packet of ${len} bytes at ${off} of ${buf.length}, in segments of ${segment}`);
    if (this.closed) return false;
    if (!this.fromStack.push(buf, off, len, segment, 1)) {
      this.fromStack.want();
      if (!this.fromStack.push(buf, off, len, segment, 1)) {
        this.blocked = true;
        return false;
      }
    }
    this.ring();
    return true;
  }

  /** Gives waiting packets to the stack, a bounded number. @returns whether more wait */
  drain(): boolean {
    if (this.closed) return false;
    const { toStack } = this;
    // The engine is dropping the oldest just now.
    if (!toStack.lock()) return true;
    let total = 0;
    try {
      for (let i = 0; i < BATCH && total < BATCH_BYTES && toStack.peek(); i++) {
        const { length } = toStack;
        total += length;
        try {
          this.onPacket(toStack.bytes, toStack.offset, length, toStack.segment);
        } finally {
          toStack.release();
        }
      }
    } finally {
      toStack.unlock();
    }
    if (total > 0) this.onRoundEnd();
    // Others may have filled the room that the engine told of, and it tells of it once.
    if (this.blocked && !this.fromStack.roomy) this.fromStack.want();
    if (this.blocked && this.fromStack.roomy) {
      this.blocked = false;
      this.onDrain();
    }
    return !toStack.empty;
  }

  close(): void {
    this.closed = true;
  }
}

/** All pipes of one engine. */
export class StackPipes {
  private readonly pipes: (RingPipe | undefined)[] = [];
  private readonly byId = new Map<string, { readonly pipe: RingPipe; readonly index: number }>();
  private readonly own: Bells;
  private readonly engine: Bells;
  private scheduled = false;
  private readonly work = (): void => {
    this.scheduled = false;
    this.look();
  };

  /**
   * @param bells made by `Bells.create`, shared with the engine.
   * @param signal wakes the engine.
   */
  constructor(
    bells: SharedArrayBuffer,
    private readonly signal: () => void,
    private readonly log: (message: string) => void,
  ) {
    this.own = new Bells(bells, "stack");
    this.engine = new Bells(bells, "engine");
    this.own.sleep();
  }

  add(rings: StackRings): void {
    const { index, link } = rings;
    const pipe = new RingPipe(rings, () => {
      if (this.engine.ring(index)) this.signal();
    });
    this.pipes[index] = pipe;
    this.byId.set(link, { pipe, index });
  }

  remove(link: string): void {
    const known = this.byId.get(link);
    if (known === undefined) return;
    known.pipe.close();
    this.byId.delete(link);
    this.pipes[known.index] = undefined;
  }

  get(link: string): RingPipe | undefined {
    return this.byId.get(link)?.pipe;
  }

  /** After the engine's wake-up call: serves each link that has something, once; the rest when other events had their turn. */
  look(): void {
    this.own.wake();
    this.own.begin();
    for (let index = this.own.take(); index >= 0; index = this.own.take()) {
      const pipe = this.pipes[index];
      if (pipe === undefined) continue;
      try {
        if (pipe.drain()) this.own.ring(index);
      } catch (error) {
        this.own.ring(index);
        this.log(`A packet for ${pipe.id} was dropped by a fault: ${(error as Error).stack ?? String(error)}`);
      }
    }
    if (this.scheduled || this.own.sleep()) return;
    this.scheduled = true;
    setImmediate(this.work);
  }

  close(): void {
    for (const link of [...this.byId.keys()]) this.remove(link);
  }
}
