/**
 * ChaCha20-Poly1305 (RFC 8439) by the OpenSSL inside the Node binary: its ChaCha20 and Poly1305 primitives directly where
 * the binary exports them, else EVP. Nonces are WireGuard's: four zero bytes and a 64-bit little-endian counter; no
 * associated data.
 */
import { type CType, FixedMemory, foreign } from "../native/foreign";
import type { Kernels } from "../native/kernels";
import type { NativeMemory } from "../native/native-memory";
import type { Aead, AeadKey } from "../wireguard/types";
import { offsetIn } from "./buffers";

const TAG = 16;
const BLOCK = 64;
/** Largest text that is sealed in one call: a 64 KiB packet with room. */
const MAX_TEXT = 66000;
const P = "uint64_t";

/** Scratch memory for buffers that lie elsewhere, and for one call's nonce, first block and state. */
class Workspace extends FixedMemory {
  constructor(private readonly shared: NativeMemory | undefined) {
    super(new ArrayBuffer(STAGE + BLOCK + MAX_TEXT + 64));
  }

  /** The address of a byte in the data plane's memory; -1 for a buffer that lies elsewhere and may move. */
  addressOf(buf: Uint8Array, off: number): number {
    const at = this.shared === undefined ? -1 : offsetIn(this.shared.bytes, buf, off);
    return at < 0 ? -1 : this.shared!.base + at;
  }
}

const NONCE = 0;
const TAG_GOT = 16;
const TAG_WANT = 32;
/** Block 0 of the key stream; its first half is the Poly1305 key. */
const FIRST = 64;
const ZEROS = 128;
const TAIL = 192;
const POLY_STATE = 384;
const STAGE = 1024;

/** Work area of the kernels, see kernels.as.ts: nonce, tag, what was lent, Poly1305's state, and the text with block 0. */
const LEND_TAG = 16;
const LEND_STATE = 192;
const LEND_OUT = 1024;
const LEND_BYTES = LEND_OUT + BLOCK + MAX_TEXT;
/** Bytes behind a text that are lent: padding and lengths for Poly1305. */
const LEND_AFTER = 32;

function checkRange(buf: Uint8Array, off: number, len: number): void {
  if (!(off >= 0 && len >= 0 && len <= MAX_TEXT && off + len <= buf.length))
    throw new RangeError(`AEAD range ${off}+${len} lies outside a buffer of ${buf.length} bytes`);
}

function sameTag(bytes: Uint8Array, a: number, b: number): boolean {
  let difference = 0;
  for (let i = 0; i < TAG; i++) difference |= bytes[a + i] ^ bytes[b + i];
  return difference === 0;
}

/**
 * @param shared memory in which most packets lie; with `kernels` those cost four calls each.
 * @throws where this Node binary does not export the primitives.
 */
export function openOpenssl(shared?: NativeMemory, kernels?: Kernels): Aead {
  const f = (name: string, args: readonly CType[]) => foreign().bind(name, "void", args);
  const chacha = f("ChaCha20_ctr32", [P, P, P, P, P]);
  const polyInit = f("Poly1305_Init", [P, P]);
  const polyUpdate = f("Poly1305_Update", [P, P, P]);
  const polyFinal = f("Poly1305_Final", [P, P]);
  const ws = new Workspace(shared);
  const { bytes, view, base } = ws;
  const memory = kernels === undefined ? undefined : shared;
  const work = memory === undefined ? 0 : memory.reserve(LEND_BYTES);
  const workAddress = memory === undefined ? 0 : memory.base + work;
  const memoryBase = memory === undefined ? 0 : memory.base;
  const memoryEnd = memory === undefined ? 0 : memory.bytes.length;

  /** The offset of a text in the shared memory, with the room around it that the kernels need; -1: it lies elsewhere. */
  const lendable = (buf: Uint8Array, off: number, len: number): number => {
    if (memory === undefined) return -1;
    const at = offsetIn(memory.bytes, buf, off);
    return at >= BLOCK && at + len + LEND_AFTER <= memoryEnd ? at : -1;
  };

  const setNonce = (block: number, lo: number, hi: number): void => {
    view.setUint32(NONCE, block, true);
    view.setUint32(NONCE + 4, 0, true);
    view.setUint32(NONCE + 8, lo, true);
    view.setUint32(NONCE + 12, hi, true);
  };

  /** Poly1305 of `len` bytes of ciphertext at an address, padded and with the lengths, under the key at FIRST. */
  const authenticate = (address: number, len: number, tagAt: number): void => {
    polyInit(base + POLY_STATE, base + FIRST);
    if (len > 0) polyUpdate(base + POLY_STATE, address, len);
    const pad = -len & 15;
    bytes.fill(0, TAIL, TAIL + 32);
    view.setUint32(TAIL + pad + 8, len, true);
    polyUpdate(base + POLY_STATE, base + TAIL, pad + 16);
    polyFinal(base + POLY_STATE, base + tagAt);
  };

  class Key implements AeadKey {
    private readonly secret = new FixedMemory(new ArrayBuffer(32));
    private readonly address = this.secret.base;
    private closed = false;

    constructor(key: Uint8Array) {
      this.secret.bytes.set(key);
    }

    seal(buf: Uint8Array, off: number, len: number, lo: number, hi: number): void {
      checkRange(buf, off, len + TAG);
      if (this.closed) throw new Error("AEAD key used after close");
      const lent = lendable(buf, off, len);
      if (lent >= 0) {
        kernels!.lend(work, lent, len, lo, hi);
        // One call makes the Poly1305 key (from the 64 zero bytes before the text) and the ciphertext.
        const block = memoryBase + lent - BLOCK;
        chacha(block, block, BLOCK + len, this.address, workAddress);
        polyInit(workAddress + LEND_STATE, block);
        polyUpdate(workAddress + LEND_STATE, block + BLOCK, ((len + 15) & ~15) + 16);
        polyFinal(workAddress + LEND_STATE, workAddress + LEND_TAG);
        kernels!.finishSeal(work, lent, len);
        return;
      }
      const text = base + STAGE + BLOCK;
      setNonce(0, lo, hi);
      bytes.set(buf.subarray(off, off + len), STAGE + BLOCK);
      bytes.fill(0, STAGE, STAGE + BLOCK);
      chacha(text - BLOCK, text - BLOCK, BLOCK + len, this.address, base + NONCE);
      bytes.copyWithin(FIRST, STAGE, STAGE + BLOCK);
      authenticate(text, len, TAG_GOT);
      buf.set(bytes.subarray(STAGE + BLOCK, STAGE + BLOCK + len), off);
      for (let i = 0; i < TAG; i++) buf[off + len + i] = bytes[TAG_GOT + i];
    }

    unseal(buf: Uint8Array, off: number, len: number, lo: number, hi: number): boolean {
      checkRange(buf, off, len);
      if (this.closed) throw new Error("AEAD key used after close");
      const size = len - TAG;
      if (size < 0) return false;
      const lent = lendable(buf, off, size);
      if (lent >= 0) {
        kernels!.lend(work, lent, size, lo, hi);
        // Into the work area: the ciphertext is still to be authenticated, and the text is released only then.
        const block = memoryBase + lent - BLOCK;
        chacha(workAddress + LEND_OUT, block, BLOCK + size, this.address, workAddress);
        polyInit(workAddress + LEND_STATE, workAddress + LEND_OUT);
        polyUpdate(workAddress + LEND_STATE, block + BLOCK, ((size + 15) & ~15) + 16);
        polyFinal(workAddress + LEND_STATE, workAddress + LEND_TAG);
        return kernels!.finishOpen(work, lent, size) !== 0;
      }
      let text = ws.addressOf(buf, off);
      const direct = text >= 0;
      if (!direct) {
        bytes.set(buf.subarray(off, off + size), STAGE + BLOCK);
        text = base + STAGE + BLOCK;
      }
      setNonce(0, lo, hi);
      chacha(base + FIRST, base + ZEROS, BLOCK, this.address, base + NONCE);
      authenticate(text, size, TAG_GOT);
      for (let i = 0; i < TAG; i++) bytes[TAG_WANT + i] = buf[off + size + i];
      if (!sameTag(bytes, TAG_GOT, TAG_WANT)) return false;
      if (size === 0) return true;
      setNonce(1, lo, hi);
      chacha(text, text, size, this.address, base + NONCE);
      if (!direct) buf.set(bytes.subarray(STAGE + BLOCK, STAGE + BLOCK + size), off);
      return true;
    }

    close(): void {
      this.closed = true;
      this.secret.bytes.fill(0);
    }
  }

  return { name: "openssl", open: (key) => new Key(key) };
}

const EVP_CTRL_AEAD_GET_TAG = 0x10;
const EVP_CTRL_AEAD_SET_TAG = 0x11;

/** The same cipher through OpenSSL's EVP interface, which every build of Node exports. */
export function openEvp(shared?: NativeMemory): Aead {
  const f = (name: string, result: CType, args: readonly CType[]) => foreign().bind(name, result, args);
  const newContext = f("EVP_CIPHER_CTX_new", P, []);
  const freeContext = f("EVP_CIPHER_CTX_free", "void", [P]);
  const cipher = Number(f("EVP_chacha20_poly1305", P, [])());
  const encryptInit = f("EVP_EncryptInit_ex", "int", [P, P, P, P, P]);
  const encryptUpdate = f("EVP_EncryptUpdate", "int", [P, P, P, P, "int"]);
  const encryptFinal = f("EVP_EncryptFinal_ex", "int", [P, P, P]);
  const decryptInit = f("EVP_DecryptInit_ex", "int", [P, P, P, P, P]);
  const decryptUpdate = f("EVP_DecryptUpdate", "int", [P, P, P, P, "int"]);
  const decryptFinal = f("EVP_DecryptFinal_ex", "int", [P, P, P]);
  const control = f("EVP_CIPHER_CTX_ctrl", "int", [P, "int", "int", P]);
  const ws = new Workspace(shared);
  const { bytes, view, base } = ws;
  const OUT_LEN = TAG_WANT;

  const must = (ok: number, what: string): void => {
    if (ok !== 1) throw new Error(`OpenSSL refused ${what} of ChaCha20-Poly1305`);
  };
  const setNonce = (lo: number, hi: number): void => {
    view.setUint32(NONCE, 0, true);
    view.setUint32(NONCE + 4, lo, true);
    view.setUint32(NONCE + 8, hi, true);
  };

  class Key implements AeadKey {
    private sealing: number;
    private opening: number;

    constructor(key: Uint8Array) {
      this.sealing = Number(newContext());
      this.opening = Number(newContext());
      bytes.set(key, FIRST);
      setNonce(0, 0);
      must(encryptInit(this.sealing, cipher, 0, base + FIRST, base + NONCE), "a key");
      must(decryptInit(this.opening, cipher, 0, base + FIRST, base + NONCE), "a key");
      bytes.fill(0, FIRST, FIRST + 32);
    }

    seal(buf: Uint8Array, off: number, len: number, lo: number, hi: number): void {
      checkRange(buf, off, len + TAG);
      if (this.sealing === 0) throw new Error("AEAD key used after close");
      let text = ws.addressOf(buf, off);
      const direct = text >= 0;
      if (!direct) {
        bytes.set(buf.subarray(off, off + len), STAGE);
        text = base + STAGE;
      }
      setNonce(lo, hi);
      must(encryptInit(this.sealing, 0, 0, 0, base + NONCE), "a nonce");
      if (len > 0) must(encryptUpdate(this.sealing, text, base + OUT_LEN, text, len), "a packet");
      must(encryptFinal(this.sealing, base + TAIL, base + OUT_LEN), "the end");
      must(control(this.sealing, EVP_CTRL_AEAD_GET_TAG, TAG, base + TAG_GOT), "a tag");
      if (!direct) buf.set(bytes.subarray(STAGE, STAGE + len), off);
      for (let i = 0; i < TAG; i++) buf[off + len + i] = bytes[TAG_GOT + i];
    }

    unseal(buf: Uint8Array, off: number, len: number, lo: number, hi: number): boolean {
      checkRange(buf, off, len);
      if (this.opening === 0) throw new Error("AEAD key used after close");
      const size = len - TAG;
      if (size < 0) return false;
      // EVP decrypts before it verifies, so the text appears in scratch memory and is copied out when it is genuine.
      const address = ws.addressOf(buf, off);
      let text = address;
      if (text < 0) {
        bytes.set(buf.subarray(off, off + size), STAGE);
        text = base + STAGE;
      }
      for (let i = 0; i < TAG; i++) bytes[TAG_GOT + i] = buf[off + size + i];
      setNonce(lo, hi);
      must(decryptInit(this.opening, 0, 0, 0, base + NONCE), "a nonce");
      must(control(this.opening, EVP_CTRL_AEAD_SET_TAG, TAG, base + TAG_GOT), "a tag");
      if (size > 0) must(decryptUpdate(this.opening, base + STAGE, base + OUT_LEN, text, size), "a packet");
      const genuine = decryptFinal(this.opening, base + TAIL, base + OUT_LEN) === 1;
      if (genuine) buf.set(bytes.subarray(STAGE, STAGE + size), off);
      bytes.fill(0, STAGE, STAGE + size);
      return genuine;
    }

    close(): void {
      if (this.sealing !== 0) freeContext(this.sealing);
      if (this.opening !== 0) freeContext(this.opening);
      this.sealing = 0;
      this.opening = 0;
    }
  }

  return { name: "evp", open: (key) => new Key(key) };
}
