/** ChaCha20-Poly1305 with additional data and nonce 0, for the fields of handshake messages. [paper 5.4] */
import { createCipheriv, createDecipheriv } from "node:crypto";
import { concatBytes } from "./bytes";
import { TAG_BYTES } from "./constants";

const ALGORITHM = "chacha20-poly1305";
const ZERO_NONCE = new Uint8Array(12);
const OPTIONS = { authTagLength: TAG_BYTES };

/** @returns ciphertext and tag. */
export function sealField(key: Uint8Array, plaintext: Uint8Array, additional: Uint8Array): Uint8Array {
  const cipher = createCipheriv(ALGORITHM, key, ZERO_NONCE, OPTIONS);
  cipher.setAAD(additional, { plaintextLength: plaintext.length });
  const body = cipher.update(plaintext);
  cipher.final();
  return concatBytes(body, cipher.getAuthTag());
}

/** @returns the plaintext, or undefined when the tag is wrong. */
export function openField(key: Uint8Array, sealed: Uint8Array, additional: Uint8Array): Uint8Array | undefined {
  const split = sealed.length - TAG_BYTES;
  const decipher = createDecipheriv(ALGORITHM, key, ZERO_NONCE, OPTIONS);
  decipher.setAAD(additional, { plaintextLength: split });
  decipher.setAuthTag(sealed.subarray(split));
  const plaintext = decipher.update(sealed.subarray(0, split));
  try {
    decipher.final();
  } catch {
    return undefined; // the only failure of final() is the tag
  }
  return plaintext;
}
