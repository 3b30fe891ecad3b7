/** One block of memory that JavaScript, WebAssembly and system calls share, so that packets are never copied between them. */
import { FixedMemory } from "./foreign";
import type { PacketMemory } from "./kernels";

/** The compiler's libraries for Node leave it out. */
interface WasmMemory {
  readonly buffer: ArrayBuffer;
}
declare const WebAssembly: { Memory: new (descriptor: { initial: number; maximum: number }) => WasmMemory };

const PAGE = 65536;
/** Where callers may place their buffers: the first page is that of the structures of system calls. */
export const FIRST_FREE_OFFSET = PAGE;

export class NativeMemory extends FixedMemory implements PacketMemory {
  readonly memory: WasmMemory;
  private end: number;

  /** @param pages of 64 KiB */
  constructor(pages: number) {
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    super(memory.buffer);
    this.memory = memory;
    this.end = this.bytes.length;
  }

  reserve(bytes: number): number {
    const at = (this.end - bytes) & ~63;
    if (at < FIRST_FREE_OFFSET) throw new RangeError(`${bytes} bytes more do not fit into the data plane's memory`);
    this.end = at;
    return at;
  }
}
