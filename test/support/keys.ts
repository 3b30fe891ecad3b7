import * as crypto from "node:crypto";

export interface KeyPair {
  /** base64, as `wg` has them. */
  readonly privateKey: string;
  readonly publicKey: string;
}

/** Node derives the public half from the private one and does not look at this. */
const ANY_PUBLIC = "A".repeat(43);

/**
 * An X25519 key pair, made by OpenSSL rather than by the code under test. Not by `generateKeyPairSync`: in Node 20.20 a garbage collection
 * during the export of a key that it made waits for a lock for ever.
 */
export function newKeyPair(): KeyPair {
  const secret = crypto.randomBytes(32);
  // Clamped, as `wg genkey` gives them and interfaces tell them.
  secret[0] &= 248;
  secret[31] = (secret[31] & 127) | 64;
  const jwk = { kty: "OKP", crv: "X25519", d: secret.toString("base64url"), x: ANY_PUBLIC };
  const { x } = crypto.createPrivateKey({ key: jwk, format: "jwk" }).export({ format: "jwk" });
  return { privateKey: secret.toString("base64"), publicKey: Buffer.from(x!, "base64url").toString("base64") };
}

export function newPresharedKey(): string {
  return crypto.randomBytes(32).toString("base64");
}
