import fc from "fast-check";
import { CookieJar } from "./cookie";
import { parseInitiation, parseResponse } from "./messages";
import { authenticateInitiation, consumeResponse, createInitiation, createResponse, openInitiation } from "./noise";
import { KeyPair, PublicKey } from "./x25519";

const fill = (byte: number): Uint8Array => new Uint8Array(32).fill(byte);
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

const initiatorStatic = new KeyPair(fill(0x11));
const responderStatic = new KeyPair(fill(0x22));
const staticShared = () => initiatorStatic.shared(new PublicKey(responderStatic.publicKey))!;
const TIMESTAMP = Uint8Array.from(Buffer.from("400000006553f10a0000002a", "hex"));

function initiate() {
  return createInitiation({
    local: initiatorStatic,
    remote: new PublicKey(responderStatic.publicKey),
    staticShared: staticShared(),
    ephemeral: new KeyPair(fill(0x33)),
    timestamp: TIMESTAMP,
    localIndex: 0x01020304,
  })!;
}

function respond(message: Uint8Array, presharedKey: Uint8Array) {
  const opened = openInitiation(responderStatic, parseInitiation(message)!)!;
  expect(text(opened.remoteStatic)).toBe(text(initiatorStatic.publicKey));
  expect(text(authenticateInitiation(opened, staticShared())!)).toBe(text(TIMESTAMP));
  return createResponse({
    initiation: opened,
    remote: new PublicKey(initiatorStatic.publicKey),
    ephemeral: new KeyPair(fill(0x44)),
    presharedKey,
    localIndex: 0x0a0b0c0d,
  })!;
}

test("(c) 2: a handshake with fixed keys gives the bytes that another implementation gives", () => {
  const { message, state } = initiate();
  new CookieJar(responderStatic.publicKey).addMacs(message, 0);
  expect(text(message)).toBe(
    "01000000040302017b0d47d93427f8311160781c7c733fd89f88970aef490d8aa0ee19a4cb8a1b1481e498317da959fba46669572516a5e6c021bfa620bb6c56" +
      "ca0082e1feae14988c2c64d024c617734a263f76a008df04d0f94bad8ee75ec8e1c2697fa182811f564c843ddb4513a21d8d5af4b07fa685e5343b0427212030" +
      "e0de1e6100000000000000000000000000000000",
  );
  const response = respond(message, fill(0x55));
  new CookieJar(initiatorStatic.publicKey).addMacs(response.message, 0);
  expect(text(response.message)).toBe(
    "020000000d0c0b0a04030201ff2ee45601ec1b67310c7790404585ae697331eee1c1f8cf2419731c1fff3e6bcb8edaa29bd1262cc9d09bbd6f6473b05258104e" +
      "4c52f2783addcc73afd9df5b00000000000000000000000000000000",
  );
  const keys = consumeResponse({
    state,
    local: initiatorStatic,
    presharedKey: fill(0x55),
    message: parseResponse(response.message)!,
  })!;
  expect(text(keys.send)).toBe("a007faf842d83f5bd3be20a14e0ffcec34c84867b78b051980602713205922de");
  expect(text(keys.receive)).toBe("d982d5cd10d34a7802b6c19fa441cd9164d70e4f4d62007ab416879ee8bd1b99");
  expect(text(response.keys.send)).toBe(text(keys.receive));
  expect(text(response.keys.receive)).toBe(text(keys.send));
});

test("(c) 2: a wrong pre-shared key fails, and the true response is still accepted after it", () => {
  const { message, state } = initiate();
  const consume = (response: Uint8Array, presharedKey: Uint8Array) =>
    consumeResponse({ state, local: initiatorStatic, presharedKey, message: parseResponse(response)! });
  const response = respond(message, fill(0)).message;
  expect(consume(response, fill(1))).toBeUndefined();
  expect(consume(response, fill(0))).toBeDefined();
});

test("(c) 2: any changed bit of an initiation or response is noticed", () => {
  const initiation = initiate();
  const response = respond(initiation.message, fill(0)).message;
  fc.assert(
    fc.property(fc.integer({ min: 8 * 8, max: 116 * 8 - 1 }), (bit) => {
      const forged = initiation.message.slice();
      forged[bit >>> 3] ^= 1 << (bit & 7);
      const opened = openInitiation(responderStatic, parseInitiation(forged)!);
      const timestamp = opened && authenticateInitiation(opened, staticShared());
      // X25519 ignores the ephemeral key's highest bit, the transcript does not.
      expect(timestamp).toBeUndefined();
    }),
    { numRuns: 100 },
  );
  fc.assert(
    fc.property(fc.integer({ min: 12 * 8, max: 60 * 8 - 1 }), (bit) => {
      const forged = response.slice();
      forged[bit >>> 3] ^= 1 << (bit & 7);
      const message = parseResponse(forged)!;
      expect(
        consumeResponse({ state: initiation.state, local: initiatorStatic, presharedKey: fill(0), message }),
      ).toBeUndefined();
    }),
    { numRuns: 100 },
  );
});

test("(c) 5: an ephemeral key of low order is refused", () => {
  const { message, state } = initiate();
  const forged = message.slice();
  forged.fill(0, 8, 40);
  expect(openInitiation(responderStatic, parseInitiation(forged)!)).toBeUndefined();
  const response = respond(message, fill(0)).message;
  response.fill(0, 12, 44);
  expect(
    consumeResponse({ state, local: initiatorStatic, presharedKey: fill(0), message: parseResponse(response)! }),
  ).toBeUndefined();
});
