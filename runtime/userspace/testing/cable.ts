/** Two packet pipes that lead to each other, for stacks in one process. */
import type { PacketPipe } from "../../dataplane/pipe";

class End implements PacketPipe {
  onPacket: PacketPipe["onPacket"] = () => undefined;
  onRoundEnd = () => undefined;
  onDrain = () => undefined;
  private queue: { readonly data: Uint8Array; readonly segment: number }[] = [];

  constructor(
    readonly id: string,
    private readonly other: () => End,
  ) {}

  send(buf: Uint8Array, off: number, len: number, segment: number): boolean {
    const { queue } = this.other();
    if (queue.length === 0) setImmediate(() => this.other().deliver());
    queue.push({ data: buf.slice(off, off + len), segment });
    return true;
  }

  private deliver(): void {
    const { queue } = this;
    this.queue = [];
    for (const { data, segment } of queue) this.onPacket(data, 0, data.length, segment);
    this.onRoundEnd();
  }
}

export function cable(): [PacketPipe, PacketPipe] {
  const left: End = new End("left", () => right);
  const right: End = new End("right", () => left);
  return [left, right];
}
