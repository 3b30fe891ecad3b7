/** A network's seed, and the key pairs of its gateways that follow from it. */
import { hkdfSync, randomBytes } from "node:crypto";
import { x25519 } from "@noble/curves/ed25519.js";

/** base64, 32 bytes. */
export function newSeed(): string {
  return randomBytes(32).toString("base64");
}

export interface KeyPair {
  /** base64. */
  readonly privateKey: string;
  readonly publicKey: string;
}

const derived = new Map<string, KeyPair>();
/** Far more gateways than one machine runs; the derivation is only slow, so that forgetting costs nothing but time. */
const REMEMBERED = 1000;

/** HKDF-SHA256 (RFC 5869) of the seed, without salt, info `warren gateway v1 HOST_ID`; clamped as X25519 wants it (RFC 7748 section 5). */
export function gatewayKeys(seed: string, hostId: string): KeyPair {
  const index = `${seed} ${hostId}`;
  const known = derived.get(index);
  if (known) return known;
  const key = new Uint8Array(
    hkdfSync("sha256", Buffer.from(seed, "base64"), new Uint8Array(0), `warren gateway v1 ${hostId}`, 32),
  );
  key[0] &= 248;
  key[31] = (key[31] & 127) | 64;
  const pair = {
    privateKey: Buffer.from(key).toString("base64"),
    publicKey: Buffer.from(x25519.getPublicKey(key)).toString("base64"),
  };
  if (derived.size >= REMEMBERED) derived.clear();
  derived.set(index, pair);
  return pair;
}
