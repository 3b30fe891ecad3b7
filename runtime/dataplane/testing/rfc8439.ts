/** RFC 8439 word for word, on big integers and single words: slow, obvious, held to the published vectors (rfc8439.test.ts). */

const P = (1n << 130n) - 5n;
const CLAMP = 0x0ffffffc0ffffffc0ffffffc0fffffffn;

const littleEndian = (bytes: Uint8Array): bigint => bytes.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);

/** Section 2.5. @param key 32 bytes, r and s */
export function poly1305(key: Uint8Array, text: Uint8Array): Uint8Array {
  const r = littleEndian(key.subarray(0, 16)) & CLAMP;
  const s = littleEndian(key.subarray(16, 32));
  let a = 0n;
  for (let at = 0; at < text.length; at += 16)
    a = ((a + littleEndian(Uint8Array.from([...text.subarray(at, at + 16), 1]))) * r) % P;
  const tag = a + s;
  return Uint8Array.from({ length: 16 }, (_, i) => Number((tag >> BigInt(8 * i)) & 0xffn));
}

const rotate = (word: number, bits: number): number => ((word << bits) | (word >>> (32 - bits))) >>> 0;

/** Section 2.1. */
function quarterRound(s: Uint32Array, a: number, b: number, c: number, d: number): void {
  s[a] += s[b];
  s[d] = rotate(s[d] ^ s[a], 16);
  s[c] += s[d];
  s[b] = rotate(s[b] ^ s[c], 12);
  s[a] += s[b];
  s[d] = rotate(s[d] ^ s[a], 8);
  s[c] += s[d];
  s[b] = rotate(s[b] ^ s[c], 7);
}

/** Section 2.3: 64 bytes of the key stream. @param nonce 12 bytes */
export function chacha20Block(key: Uint8Array, counter: number, nonce: Uint8Array): Uint8Array {
  const words = (bytes: Uint8Array): number[] =>
    Array.from({ length: bytes.length / 4 }, (_, i) => Number(littleEndian(bytes.subarray(4 * i, 4 * i + 4))));
  const constants = words(new TextEncoder().encode("expand 32-byte k"));
  const initial = Uint32Array.from([...constants, ...words(key), counter, ...words(nonce)]);
  const state = Uint32Array.from(initial);
  for (let round = 0; round < 10; round++) {
    for (let i = 0; i < 4; i++) quarterRound(state, i, 4 + i, 8 + i, 12 + i);
    for (let i = 0; i < 4; i++) quarterRound(state, i, 4 + ((i + 1) % 4), 8 + ((i + 2) % 4), 12 + ((i + 3) % 4));
  }
  return Uint8Array.from({ length: 64 }, (_, i) => (state[i >> 2] + initial[i >> 2]) >>> (8 * (i & 3)));
}

/** Section 2.4. */
export function chacha20(key: Uint8Array, counter: number, nonce: Uint8Array, text: Uint8Array): Uint8Array {
  const out = Uint8Array.from(text);
  for (let at = 0; at < out.length; at += 64) {
    const block = chacha20Block(key, counter + at / 64, nonce);
    for (let i = at; i < Math.min(at + 64, out.length); i++) out[i] ^= block[i - at];
  }
  return out;
}

/** Section 2.8: the ciphertext and, behind it, its tag. */
export function sealed(key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, text: Uint8Array): Uint8Array {
  const oneTimeKey = chacha20Block(key, 0, nonce).subarray(0, 32);
  const ciphertext = chacha20(key, 1, nonce, text);
  const padded = (bytes: Uint8Array): number[] => [...bytes, ...new Array(-bytes.length & 15).fill(0)];
  const length = (bytes: Uint8Array): number[] =>
    Array.from({ length: 8 }, (_, i) => (i < 4 ? (bytes.length >>> (8 * i)) & 0xff : 0));
  const authenticated = Uint8Array.from([...padded(aad), ...padded(ciphertext), ...length(aad), ...length(ciphertext)]);
  return Uint8Array.from([...ciphertext, ...poly1305(oneTimeKey, authenticated)]);
}
