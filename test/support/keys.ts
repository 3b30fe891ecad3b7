import * as crypto from "node:crypto";

export interface KeyPair {
  /** base64, as `wg` has them. */
  readonly privateKey: string;
  readonly publicKey: string;
}

/** An X25519 key pair, made by OpenSSL rather than by the code under test. */
export function newKeyPair(): KeyPair {
  const { privateKey } = crypto.generateKeyPairSync("x25519");
  const { d, x } = privateKey.export({ format: "jwk" });
  const base64 = (text: string) => Buffer.from(text, "base64url").toString("base64");
  return { privateKey: base64(d!), publicKey: base64(x!) };
}

export function newPresharedKey(): string {
  return crypto.randomBytes(32).toString("base64");
}
