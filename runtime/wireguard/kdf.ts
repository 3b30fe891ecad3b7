/**
 * Hash, MAC and key derivation of the handshake. [paper 5.4]
 * Measured here for 116 bytes: BLAKE2s 2.0 µs and HMAC-BLAKE2s 3.6 µs in node:crypto, against 5.4 and about 13 µs in
 * @noble/hashes; keyed BLAKE2s, which node:crypto lacks, 7.5 µs in @noble/hashes.
 */
import { createHash, createHmac } from "node:crypto";
import { blake2s } from "@noble/hashes/blake2.js";
import { MAC_BYTES } from "./constants";

const BLAKE2S = "blake2s256";
const ONE = Uint8Array.of(1);
const TWO = Uint8Array.of(2);
const THREE = Uint8Array.of(3);

/** BLAKE2s-256 of the parts joined. */
export function hash(...parts: readonly Uint8Array[]): Uint8Array {
  const state = createHash(BLAKE2S);
  for (const part of parts) state.update(part);
  return state.digest();
}

/** Keyed BLAKE2s-128: MAC1, MAC2 and cookies. */
export function mac(key: Uint8Array, data: Uint8Array): Uint8Array {
  return blake2s(data, { key, dkLen: MAC_BYTES });
}

function hmac(key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array {
  const state = createHmac(BLAKE2S, key);
  for (const part of parts) state.update(part);
  return state.digest();
}

export function kdf1(key: Uint8Array, input: Uint8Array): Uint8Array {
  const secret = hmac(key, input);
  const first = hmac(secret, ONE);
  secret.fill(0);
  return first;
}

export function kdf2(key: Uint8Array, input: Uint8Array): [Uint8Array, Uint8Array] {
  const secret = hmac(key, input);
  const first = hmac(secret, ONE);
  const second = hmac(secret, first, TWO);
  secret.fill(0);
  return [first, second];
}

export function kdf3(key: Uint8Array, input: Uint8Array): [Uint8Array, Uint8Array, Uint8Array] {
  const secret = hmac(key, input);
  const first = hmac(secret, ONE);
  const second = hmac(secret, first, TWO);
  const third = hmac(secret, second, THREE);
  secret.fill(0);
  return [first, second, third];
}
