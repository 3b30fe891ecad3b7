/** Packet pipes in memory, and what a bad network does to one. */
import { seededRandom } from "../../../test/support/programs/random";
import { icmpError, MAX_ICMP_ERROR } from "../../dataplane/icmp";
import { mustNotFragment } from "../../dataplane/inet";
import type { PacketPipe } from "../../dataplane/pipe";
import { addressBytes } from "../address";
import { splitSegments } from "./segments";

/** One of two ends joined in memory: what one sends the other gets in the next turn of the event loop, in rounds. */
export class MemoryPipe implements PacketPipe {
  onPacket: PacketPipe["onPacket"] = () => {};
  onRoundEnd: PacketPipe["onRoundEnd"] = () => {};
  onDrain: PacketPipe["onDrain"] = () => {};
  private peer: MemoryPipe | undefined;
  private readonly slots: Uint8Array[] = [];
  private readonly lengths: number[] = [];
  private readonly segments: number[] = [];
  private first = 0;
  private count = 0;
  private wasFull = false;
  private scheduled = false;
  /** False: nothing passes any more, as if the cable were cut. */
  connected = true;

  private constructor(
    readonly id: string,
    private readonly capacity: number,
  ) {}

  /** @param capacity packets under way in each direction */
  static pair(capacity = 64): [MemoryPipe, MemoryPipe] {
    const a = new MemoryPipe("a", capacity);
    const b = new MemoryPipe("b", capacity);
    a.peer = b;
    b.peer = a;
    return [a, b];
  }

  send(buf: Uint8Array, off: number, len: number, segment: number): boolean {
    if (!this.connected) return true;
    if (this.count === this.capacity) {
      this.wasFull = true;
      return false;
    }
    const slot = (this.first + this.count++) % this.capacity;
    this.slots[slot] ??= new Uint8Array(65536);
    this.slots[slot].set(buf.subarray(off, off + len));
    this.lengths[slot] = len;
    this.segments[slot] = segment;
    if (!this.scheduled) {
      this.scheduled = true;
      setImmediate(() => this.flush());
    }
    return true;
  }

  private flush(): void {
    this.scheduled = false;
    const { peer } = this;
    for (let left = this.count; left > 0; left--) {
      const slot = this.first;
      peer?.onPacket(this.slots[slot], 0, this.lengths[slot], this.segments[slot]);
      // Whoever looks at it still is found out.
      this.slots[slot].fill(0xee, 0, this.lengths[slot]);
      this.first = (slot + 1) % this.capacity;
      this.count--;
    }
    peer?.onRoundEnd();
    if (!this.wasFull) return;
    this.wasFull = false;
    this.onDrain();
  }
}

export interface Impairment {
  /** Shares of the packets, 0 to 1. */
  readonly loss?: number;
  readonly duplicates?: number;
  /** These take another turn and so come after later ones. */
  readonly reorder?: number;
  /** Milliseconds for each packet. */
  readonly delay?: number;
  readonly seed?: number;
}

/** A pipe through a bad network, both ways: each segment of a super-segment has its own fate. */
export function impaired(inner: PacketPipe, impairment: Impairment): PacketPipe {
  const { loss = 0, duplicates = 0, reorder = 0, delay = 0, seed = 1 } = impairment;
  const random = seededRandom(seed);
  const outer: PacketPipe = {
    id: inner.id,
    onPacket: () => {},
    onRoundEnd: () => {},
    onDrain: () => {},
    send(buf, off, len, segment) {
      for (const bytes of splitSegments(buf.subarray(off, off + len), segment))
        fate(() => {
          // Where the pipe is full the packet is lost, too.
          inner.send(bytes, 0, bytes.length, 0);
        });
      return true;
    },
  };
  const fate = (pass: () => void): void => {
    if (random() < loss) return;
    const copies = random() < duplicates ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      const wait = delay + (random() < reorder ? 2 + delay / 2 : 0);
      if (wait === 0) pass();
      else setTimeout(pass, wait);
    }
  };
  inner.onPacket = (buf, off, len, segment) => {
    for (const bytes of splitSegments(buf.subarray(off, off + len), segment))
      fate(() => {
        outer.onPacket(bytes, 0, bytes.length, 0);
        if (delay > 0 || reorder > 0) outer.onRoundEnd();
      });
  };
  inner.onRoundEnd = () => outer.onRoundEnd();
  inner.onDrain = () => outer.onDrain();
  return outer;
}

/** A pipe over a router whose other side takes less than the link does: what is longer comes back as ICMP "too big", both ways. */
export function narrowed(
  inner: PacketPipe,
  mtu: number,
  routers: { readonly 4: string; readonly 6: string },
): PacketPipe {
  const outer: PacketPipe = {
    id: inner.id,
    onPacket: () => {},
    onRoundEnd: () => {},
    onDrain: () => {},
    send(buf, off, len, segment) {
      const parts = splitSegments(buf.subarray(off, off + len), segment);
      for (const part of parts)
        if (fits(part)) inner.send(part, 0, part.length, 0);
        else
          tellTooBig(part, (error) => {
            outer.onPacket(error, 0, error.length, 0);
            setImmediate(() => outer.onRoundEnd());
          });
      return true;
    },
  };
  const fits = (packet: Uint8Array): boolean =>
    packet.length <= mtu || !mustNotFragment(packet, 0, packet[0] >>> 4 === 4 ? 4 : 6);
  const tellTooBig = (packet: Uint8Array, to: (error: Uint8Array) => void): void => {
    const family = packet[0] >>> 4 === 4 ? 4 : 6;
    const error = new Uint8Array(MAX_ICMP_ERROR);
    const from = addressBytes(routers[family], "router");
    to(error.subarray(0, icmpError("too-big", packet, 0, packet.length, family, from, error, 0, mtu)));
  };
  inner.onPacket = (buf, off, len, segment) => {
    for (const part of splitSegments(buf.subarray(off, off + len), segment))
      if (fits(part)) outer.onPacket(part, 0, part.length, 0);
      else tellTooBig(part, (error) => inner.send(error, 0, error.length, 0));
  };
  inner.onRoundEnd = () => outer.onRoundEnd();
  inner.onDrain = () => outer.onDrain();
  return outer;
}
