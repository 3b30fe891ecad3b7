/** ChaCha20-Poly1305 by our own WebAssembly kernel (runtime/native/chacha20poly1305.as.ts): no native code, any platform. */
import { type ChaChaKernel, loadChaCha, type PacketMemory } from "../native/kernels";
import type { Aead, AeadKey } from "../wireguard/types";
import { offsetIn } from "./buffers";

const TAG = 16;
const KEY_BYTES = 32;
/** Largest text that is sealed in one call: a 64 KiB packet with room. */
const MAX_TEXT = 66000;
/** What the kernel needs for itself; see chacha20poly1305.as.ts. */
const WORK_BYTES = 512;
const OWN_PAGES = 2;

declare const WebAssembly: {
  Memory: new (size: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer };
};

/** A memory for texts that lie anywhere. */
function ownMemory(): PacketMemory {
  const memory = new WebAssembly.Memory({ initial: OWN_PAGES, maximum: OWN_PAGES });
  const bytes = new Uint8Array(memory.buffer);
  let end = bytes.length;
  return {
    memory,
    bytes,
    reserve: (size) => {
      end = (end - size) & ~63;
      return end;
    },
  };
}

/**
 * @param shared memory in which most packets lie: they are worked on in place, others are copied.
 * @throws where this engine has no WebAssembly SIMD, or the build left the kernel out.
 */
export function openWasm(shared: PacketMemory = ownMemory()): Aead {
  const kernel: ChaChaKernel = loadChaCha(shared);
  const { bytes } = shared;
  const work = shared.reserve(WORK_BYTES);
  const stage = shared.reserve(MAX_TEXT + TAG);

  const checkRange = (buf: Uint8Array, off: number, len: number): void => {
    if (!(off >= 0 && len >= 0 && len <= MAX_TEXT + TAG && off + len <= buf.length))
      throw new RangeError(`AEAD range ${off}+${len} lies outside a buffer of ${buf.length} bytes`);
  };

  class Key implements AeadKey {
    private readonly key = new Uint8Array(KEY_BYTES);
    private closed = false;

    constructor(key: Uint8Array) {
      this.key.set(key);
    }

    seal(buf: Uint8Array, off: number, len: number, lo: number, hi: number): void {
      checkRange(buf, off, len + TAG);
      this.load();
      const at = offsetIn(bytes, buf, off);
      if (at >= 0) {
        kernel.seal(work, at, len, lo, hi);
        return;
      }
      bytes.set(buf.subarray(off, off + len), stage);
      kernel.seal(work, stage, len, lo, hi);
      buf.set(bytes.subarray(stage, stage + len + TAG), off);
    }

    unseal(buf: Uint8Array, off: number, len: number, lo: number, hi: number): boolean {
      checkRange(buf, off, len);
      const size = len - TAG;
      if (size < 0) return false;
      this.load();
      const at = offsetIn(bytes, buf, off);
      if (at >= 0) return kernel.open(work, at, size, lo, hi) !== 0;
      bytes.set(buf.subarray(off, off + len), stage);
      const genuine = kernel.open(work, stage, size, lo, hi) !== 0;
      if (genuine) buf.set(bytes.subarray(stage, stage + size), off);
      return genuine;
    }

    close(): void {
      this.closed = true;
      this.key.fill(0);
    }

    /** The kernel wipes its copy at the end of each call. */
    private load(): void {
      if (this.closed) throw new Error("AEAD key used after close");
      bytes.set(this.key, work);
    }
  }

  return { name: "wasm", open: (key) => new Key(key) };
}
