/**
 * The one way to native code: koffi, an optional dependency, on the symbols of the running process, among them its C library (glibc
 * or musl) and the OpenSSL inside the Node binary. Who binds a call gives it numbers that it has checked, and addresses of memory from
 * here only. What others lay out by hand is for 64-bit little-endian Linux, so elsewhere there is none.
 */
import { WarrenError } from "../errors";

type Koffi = typeof import("koffi");

/** Names of C types; addresses are `uint64_t` where they are counted, `void *` where a Buffer is given. */
export type CType =
  | "void"
  | "int"
  | "unsigned int"
  | "uint32_t"
  | "int64_t"
  | "uint64_t"
  | "long"
  | "unsigned long"
  | "size_t"
  | "str"
  | "void *";

export type ForeignCall<Argument = number> = (...args: Argument[]) => number;

const ARCHITECTURES: readonly string[] = ["x64", "arm64", "riscv64"];

export class Foreign {
  private readonly symbols: ReturnType<Koffi["load"]>;

  constructor(private readonly koffi: Koffi) {
    this.symbols = koffi.load(null);
  }

  /** @throws Error where this process has no such symbol. */
  bind<Argument = number>(name: string, result: CType, args: readonly CType[]): ForeignCall<Argument> {
    return this.symbols.func(name, result, [...args]) as unknown as ForeignCall<Argument>;
  }

  /** Of the last call of this thread. */
  errno(): number {
    return this.koffi.errno();
  }

  /** Where the memory lies, for as long as it lives: who takes an address holds on to its memory. */
  addressOf(memory: ArrayBuffer): number {
    return Number(this.koffi.address(memory));
  }

  /**
   * The same memory as one that is not shared: V8 copies to and from shared memory byte by byte where the two places are not aligned
   * alike, at a tenth of the speed. It does not keep the memory alive: who uses it, or a part of it, holds on to `memory`.
   * @returns `memory` itself where the engine takes no memory from outside (as Electron's).
   */
  unshared(memory: SharedArrayBuffer): ArrayBuffer | SharedArrayBuffer {
    const address = this.koffi.address(new Uint8Array(memory));
    try {
      return this.koffi.view(address, memory.byteLength);
    } catch {
      return memory;
    }
  }
}

/** Memory whose address native code is given. It neither moves nor grows. */
export class FixedMemory {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Address of byte 0. Whoever adds to it has checked the range. */
  readonly base: number;

  constructor(readonly buffer: ArrayBuffer) {
    this.bytes = new Uint8Array(buffer);
    this.view = new DataView(buffer);
    this.base = foreign().addressOf(buffer);
  }

  /** The address of `len` bytes at `off`. @throws RangeError where not all of them lie inside */
  address(off: number, len: number): number {
    if (!(off >= 0 && len >= 0 && off + len <= this.bytes.length))
      throw new RangeError(`${off}+${len} lies outside a memory of ${this.bytes.length} bytes`);
    return this.base + off;
  }

  /** Writes an address, or another number up to 2^53, as eight bytes. */
  setPointer(off: number, value: number): void {
    this.view.setUint32(off, value % 0x100000000, true);
    this.view.setUint32(off + 4, Math.floor(value / 0x100000000), true);
  }
}

let loaded: Foreign | undefined;

/**
 * Loads koffi on the first call.
 * @throws WarrenError WARREN_LINK_UNAVAILABLE where this machine or installation cannot do foreign calls.
 */
export function foreign(): Foreign {
  if (loaded !== undefined) return loaded;
  const { platform, arch } = process;
  if (platform !== "linux" || !ARCHITECTURES.includes(arch))
    throw new WarrenError(
      "WARREN_LINK_UNAVAILABLE",
      `TUN devices and namespaces need Linux on ${ARCHITECTURES.join(", ")}, and this is ${platform} on ${arch}: use the link userspace, or run it on Linux.`,
    );
  try {
    loaded = new Foreign(require("koffi") as Koffi);
  } catch (cause) {
    throw new WarrenError(
      "WARREN_LINK_UNAVAILABLE",
      `The optional package koffi cannot be loaded (${(cause as Error).message.split("\n")[0]}): reinstall with optional dependencies (npm install --include=optional).`,
      { cause },
    );
  }
  return loaded;
}
