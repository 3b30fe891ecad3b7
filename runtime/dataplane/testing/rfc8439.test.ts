import { chacha20Block, poly1305, sealed } from "./rfc8439";
import { AEAD, POLY1305 } from "./rfc8439-vectors";

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

test.each(POLY1305.map((vector) => [vector.name, vector] as const))("the slow Poly1305: %s", (_name, vector) => {
  expect(text(poly1305(vector.key, vector.text))).toBe(vector.tag);
});

test.each(AEAD.map((vector) => [vector.name, vector] as const))("the slow ChaCha20-Poly1305: %s", (_name, vector) => {
  const got = text(sealed(vector.key, vector.nonce, vector.aad, vector.text));
  expect(got.slice(0, -32)).toBe(vector.ciphertext);
  if (vector.tag !== undefined) expect(got.slice(-32)).toBe(vector.tag);
});

test("the slow ChaCha20: A.1 vectors 1 and 2", () => {
  expect(text(chacha20Block(new Uint8Array(32), 0, new Uint8Array(12)))).toBe(
    "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586",
  );
  expect(text(chacha20Block(new Uint8Array(32), 1, new Uint8Array(12)))).toBe(
    "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f",
  );
});
