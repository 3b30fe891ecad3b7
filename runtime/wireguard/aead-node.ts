/** The portable AEAD of transport messages: node:crypto, about 8 µs a packet. */
import { createCipheriv, createDecipheriv } from "node:crypto";
import { writeU32 } from "./bytes";
import { KEY_BYTES, TAG_BYTES } from "./constants";
import type { Aead, AeadKey } from "./types";

const ALGORITHM = "chacha20-poly1305";
const OPTIONS = { authTagLength: TAG_BYTES };

class NodeAeadKey implements AeadKey {
  private readonly key = new Uint8Array(KEY_BYTES);
  private readonly nonce = new Uint8Array(12);

  constructor(key: Uint8Array) {
    this.key.set(key);
  }

  seal(buf: Uint8Array, off: number, len: number, counterLo: number, counterHi: number): void {
    this.setNonce(counterLo, counterHi);
    const cipher = createCipheriv(ALGORITHM, this.key, this.nonce, OPTIONS);
    buf.set(cipher.update(buf.subarray(off, off + len)), off);
    cipher.final();
    buf.set(cipher.getAuthTag(), off + len);
  }

  unseal(buf: Uint8Array, off: number, len: number, counterLo: number, counterHi: number): boolean {
    const split = off + len - TAG_BYTES;
    if (split < off) return false;
    this.setNonce(counterLo, counterHi);
    const decipher = createDecipheriv(ALGORITHM, this.key, this.nonce, OPTIONS);
    decipher.setAuthTag(buf.subarray(split, split + TAG_BYTES));
    const plaintext = decipher.update(buf.subarray(off, split));
    try {
      decipher.final();
    } catch {
      plaintext.fill(0);
      return false; // the only failure of final() is the tag
    }
    buf.set(plaintext, off);
    return true;
  }

  close(): void {
    this.key.fill(0);
  }

  private setNonce(counterLo: number, counterHi: number): void {
    writeU32(this.nonce, 4, counterLo);
    writeU32(this.nonce, 8, counterHi);
  }
}

export const nodeAead: Aead = { name: "node:crypto", open: (key) => new NodeAeadKey(key) };
