import { randomBytes } from "node:crypto";
import { poly1305 } from "../dataplane/testing/rfc8439";
import { POLY1305 } from "../dataplane/testing/rfc8439-vectors";
import { CHACHA_STREAM, CHACHA_TAG, loadChaCha } from "./kernels";

/** The compiler's libraries for Node leave it out. */
declare const WebAssembly: {
  Memory: new (size: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer };
};

const memory = new WebAssembly.Memory({ initial: 2, maximum: 2 });
const bytes = new Uint8Array(memory.buffer);
const kernel = loadChaCha({ memory });
const WORK = 0;
const TEXT = 4096;

/** Of a ciphertext padded as in section 2.8, without additional data. */
function slowTag(key: Uint8Array, text: Uint8Array): string {
  const padded = new Uint8Array(Math.ceil(text.length / 16) * 16 + 16);
  padded.set(text);
  new DataView(padded.buffer).setBigUint64(padded.length - 8, BigInt(text.length), true);
  return Buffer.from(poly1305(key, padded)).toString("hex");
}

function tag(key: Uint8Array, text: Uint8Array): string {
  bytes.set(key, WORK + CHACHA_STREAM);
  bytes.set(text, TEXT);
  kernel.authenticate(WORK, TEXT, text.length);
  return Buffer.from(bytes.slice(WORK + CHACHA_TAG, WORK + CHACHA_TAG + 16)).toString("hex");
}

// As in RFC 8439 appendix A.3, vectors 7 to 11: sums at and around 2^130 - 5 and carries through all limbs.
const EXTREMES = [0x00, 0x01, 0x02, 0x04, 0x0f, 0x7f, 0x80, 0xfb, 0xfe, 0xff];
const repeated = (length: number, byte: number, first = byte) => {
  const out = new Uint8Array(length).fill(byte);
  if (length > 0) out[0] = first;
  return out;
};

test("Poly1305 agrees with arithmetic on big integers where limbs overflow", () => {
  for (const low of EXTREMES)
    for (const high of [0x00, 0xff])
      for (const first of EXTREMES)
        for (const length of [0, 1, 15, 16, 17, 32, 48, 64, 65]) {
          const key = Uint8Array.from([...repeated(16, high, low), ...repeated(16, first)]);
          const text = repeated(length, high, first);
          expect(tag(key, text)).toBe(slowTag(key, text));
        }
});

test("Poly1305 agrees with RFC 8439 in its slow form on the texts and one-time keys of appendix A.3", () => {
  expect(POLY1305).toHaveLength(12);
  for (const { key, text } of POLY1305) expect(tag(key, text)).toBe(slowTag(key, text));
});

test("Poly1305 agrees with arithmetic on big integers at random", () => {
  for (let i = 0; i < 2000; i++) {
    const key = randomBytes(32);
    const text = randomBytes(i % 97);
    expect(tag(key, text)).toBe(slowTag(key, text));
  }
});

test("nothing of key and key stream stays in the work area", () => {
  bytes.set(randomBytes(32), WORK);
  kernel.seal(WORK, TEXT, 500, 1, 2);
  expect(bytes.subarray(WORK, WORK + 512).every((byte) => byte === 0)).toBe(true);
});
