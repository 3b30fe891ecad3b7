/** A WebAssembly memory for packets where nothing native needs its address. */
import type { PacketMemory } from "./kernels";

/** The compiler's libraries for Node leave it out. */
declare const WebAssembly: {
  Memory: new (descriptor: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer };
};

export class PlainMemory implements PacketMemory {
  readonly memory: { readonly buffer: ArrayBuffer };
  readonly bytes: Uint8Array;
  private end: number;

  /** @param pages of 64 KiB */
  constructor(pages: number) {
    this.memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    this.bytes = new Uint8Array(this.memory.buffer);
    this.end = this.bytes.length;
  }

  reserve(bytes: number): number {
    const at = (this.end - bytes) & ~63;
    if (at < 0) throw new RangeError(`${bytes} bytes more do not fit into the data plane's memory`);
    this.end = at;
    return at;
  }
}
