import fc from "fast-check";
import { WarrenError } from "../errors";
import {
  formatKey,
  generatePresharedKey,
  generatePrivateKey,
  isLowOrder,
  parseKey,
  parsePublicKey,
  publicKeyOf,
} from "./keys";

test("keys survive the way to text and back, and fit X25519", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (key) => {
      expect(parseKey(formatKey(key))).toEqual(key);
    }),
  );
  const key = generatePrivateKey();
  expect([key[0] & 7, key[31] & 192]).toEqual([0, 64]);
  expect(generatePresharedKey()).toHaveLength(32);
});

test("the public key of a known private one, as `wg pubkey` prints it", () => {
  expect(formatKey(publicKeyOf(parseKey("ERERERERERERERERERERERERERERERERERERERERERE=")))).toBe(
    "e06Qm75//kTEZaIgA31gjuNYl9Me+XLwf3SJLLD3PxM=",
  );
});

test.each([
  ["empty", ""],
  ["31 bytes", Buffer.alloc(31).toString("base64")],
  ["33 bytes", Buffer.alloc(33).toString("base64")],
  ["stray bits at the end", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB="],
  ["the URL alphabet", "-_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="],
  ["a line break", `${Buffer.alloc(32).toString("base64")}\n`],
])("refused without repeating it: %s", (_, text) => {
  const error = (() => {
    try {
      return parseKey(text, "privateKey");
    } catch (caught) {
      return caught as WarrenError;
    }
  })();
  expect(error).toBeInstanceOf(WarrenError);
  expect(error).toMatchObject({ code: "WARREN_INVALID_INPUT", path: "privateKey" });
  if (text !== "") expect((error as WarrenError).message).not.toContain(text.trim());
});

test("(c) 5: the points of low order, also with the bit that X25519 ignores", () => {
  for (const hex of [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  ]) {
    const key = Uint8Array.from(Buffer.from(hex, "hex"));
    expect(isLowOrder(key)).toBe(true);
    expect(() => parsePublicKey(formatKey(key))).toThrow("low order");
    key[31] |= 128;
    expect(isLowOrder(key)).toBe(true);
  }
  expect(isLowOrder(publicKeyOf(generatePrivateKey()))).toBe(false);
});
