/** Keys as people see them: base64 of 32 bytes. */
import { randomBytes } from "node:crypto";
import { x25519 } from "@noble/curves/ed25519.js";
import { WarrenError } from "../errors";
import { equalBytes, isZero } from "./bytes";
import { KEY_BYTES } from "./constants";

/** @param random swapped in tests. @returns 32 bytes, clamped as `wg genkey` does. */
export function generatePrivateKey(random: (bytes: number) => Uint8Array = randomBytes): Uint8Array {
  return clamp(random(KEY_BYTES));
}

export function generatePresharedKey(random: (bytes: number) => Uint8Array = randomBytes): Uint8Array {
  return Uint8Array.from(random(KEY_BYTES));
}

export function publicKeyOf(privateKey: Uint8Array): Uint8Array {
  return x25519.getPublicKey(privateKey);
}

/** A private key with the bits set that X25519 sets anyway. [RFC 7748, 5] */
export function clamp(key: Uint8Array): Uint8Array {
  const out = Uint8Array.from(key);
  out[0] &= 248;
  out[31] = (out[31] & 127) | 64;
  return out;
}

export function formatKey(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.length).toString("base64");
}

/**
 * @param path the input's name for the error, which never shows the text: it may be a private key.
 * @returns 32 bytes.
 * @throws WarrenError WARREN_INVALID_INPUT
 */
export function parseKey(text: string, path = "key"): Uint8Array {
  const canonical = /^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/.test(text);
  if (!canonical)
    throw new WarrenError(
      "WARREN_INVALID_INPUT",
      `${path} is no WireGuard key: it must be 44 characters of base64 that stand for 32 bytes, as \`wg genkey\` or \`wg pubkey\` print them.`,
      { path },
    );
  return Uint8Array.from(Buffer.from(text, "base64"));
}

/** @throws WarrenError WARREN_INVALID_INPUT also for a point of low order, with which no secret can be shared. */
export function parsePublicKey(text: string, path = "publicKey"): Uint8Array {
  const key = parseKey(text, path);
  requireUsablePublicKey(key, path);
  return key;
}

/** @throws WarrenError WARREN_INVALID_INPUT */
export function requireUsablePublicKey(key: Uint8Array, path: string): void {
  if (isLowOrder(key))
    throw new WarrenError(
      "WARREN_INVALID_INPUT",
      `${path} is a point of low order, which gives no secret: make a key pair with \`wg genkey | tee private | wg pubkey\` and use that public key.`,
      { path },
    );
}

/** The u-coordinates of low order and their unreduced twins. [https://cr.yp.to/ecdh.html#validate; RFC 7748, 6.1] */
const LOW_ORDER = [
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0100000000000000000000000000000000000000000000000000000000000000",
  "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
  "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
].map((hex) => Uint8Array.from(Buffer.from(hex, "hex")));

/** X25519 ignores the highest bit, and so does this. */
export function isLowOrder(publicKey: Uint8Array): boolean {
  const masked = Uint8Array.from(publicKey);
  masked[31] &= 127;
  return isZero(masked) || LOW_ORDER.some((point) => equalBytes(point, masked));
}
