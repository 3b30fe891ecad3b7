import { randomBytes } from "node:crypto";
import { FixedMemory, foreign } from "../native/foreign";
import { loadKernels } from "../native/kernels";
import { NativeMemory } from "../native/native-memory";
import { PlainMemory } from "../native/plain-memory";
import { nodeAead } from "../wireguard/aead-node";
import type { Aead } from "../wireguard/types";
import { openEvp, openOpenssl } from "./aead-openssl";
import { selfTest } from "./aead-selftest";
import { openWasm } from "./aead-wasm";
import { AEAD_NAMES, selectAead } from "./select-aead";
import { sealed } from "./testing/rfc8439";
import { AEAD, POLY1305 } from "./testing/rfc8439-vectors";

const hex = (text: string) => Uint8Array.from(Buffer.from(text.replace(/\s/g, ""), "hex"));
const memory = new NativeMemory(16);
const kernels = loadKernels(memory);

const opened: [string, () => Aead][] = [
  ["openssl", () => openOpenssl(memory, kernels)],
  ["openssl without kernels", () => openOpenssl(memory)],
  ["evp", () => openEvp(memory)],
  ["wasm", () => openWasm(memory)],
  ["wasm on a memory of its own", () => openWasm()],
  ["node", () => nodeAead],
];

describe.each(opened)("AEAD %s", (name, make) => {
  const aead = make();

  // The tag of nothing: Poly1305 of one zero block (the lengths) under the one-time key of RFC 8439 A.4 vector 1.
  test("the tag of nothing under the zero key", () => {
    const key = aead.open(new Uint8Array(32));
    const buf = new Uint8Array(256);
    key.seal(buf, 128, 0, 0, 0);
    expect(Buffer.from(buf.subarray(128, 144)).toString("hex")).toBe("4eb972c9a8fb3a1b382bb4d36f5ffad1");
    key.close();
  });

  // RFC 8439 appendix A.1 vector 2: key 0, nonce 0, block 1: the key stream that the first 64 bytes of text are mixed with.
  test("RFC 8439 A.1 vector 2: zeros encrypt to the key stream of block 1", () => {
    const key = aead.open(new Uint8Array(32));
    const buf = new Uint8Array(512);
    key.seal(buf, 128, 64, 0, 0);
    expect(buf.subarray(128, 192)).toEqual(
      hex(`9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed
           29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f`),
    );
    key.close();
  });

  // Those whose nonces are WireGuard's. It has no additional data, so the tag is that of the RFC's own text in its slow form.
  test.each(
    AEAD.filter(({ nonce }) => nonce.subarray(0, 4).every((byte) => byte === 0)).map((v) => [v.name, v] as const),
  )(
    "RFC 8439 %s: its ciphertext, and the tag of that without additional data",
    (_vector, { key: secret, nonce, text, ciphertext }) => {
      const counter = new DataView(nonce.buffer, nonce.byteOffset + 4, 8);
      const [lo, hi] = [counter.getUint32(0, true), counter.getUint32(4, true)];
      for (const place of [memory.bytes.subarray(70000, 74096), new Uint8Array(4096)]) {
        const key = aead.open(secret);
        place.set(text, 200);
        key.seal(place, 200, text.length, lo, hi);
        const got = Buffer.from(place.subarray(200, 200 + text.length + 16));
        expect(got.toString("hex", 0, text.length)).toBe(ciphertext);
        expect(Buffer.compare(got, sealed(secret, nonce, new Uint8Array(0), text))).toBe(0);
        expect(key.unseal(place, 200, text.length + 16, lo, hi)).toBe(true);
        expect(Buffer.compare(place.subarray(200, 200 + text.length), text)).toBe(0);
        key.close();
      }
    },
  );

  test("agrees with RFC 8439 in its slow form around every boundary of a block, with counters of all widths", () => {
    const place = memory.bytes.subarray(70000, 74096);
    const sizes = [0, 1, 15, 16, 17, 47, 48, 63, 64, 65, 127, 128, 129, 191, 192, 193, 255, 256, 257, 1420];
    const counters = [0, 1, 0xff, 0x7fffffff, 0x80000000, 0xffffffff];
    for (const [i, size] of sizes.entries()) {
      const secret = randomBytes(32);
      const text = randomBytes(size);
      const [lo, hi] = [counters[i % 6], counters[(i >> 1) % 6]];
      const nonce = new Uint8Array(12);
      new DataView(nonce.buffer).setUint32(4, lo, true);
      new DataView(nonce.buffer).setUint32(8, hi, true);
      const key = aead.open(secret);
      place.set(text, 200);
      key.seal(place, 200, size, lo, hi);
      expect(Buffer.compare(place.subarray(200, 216 + size), sealed(secret, nonce, new Uint8Array(0), text))).toBe(0);
      key.close();
    }
  });

  test("agrees with node:crypto at every size up to 200 and keeps to its bytes, inside and outside the shared memory", () => {
    const reference = nodeAead;
    for (const place of [memory.bytes.subarray(70000, 74096), new Uint8Array(4096)]) {
      for (let size = 0; size <= 200; size++) {
        const secret = randomBytes(32);
        const text = randomBytes(size);
        const want = Buffer.alloc(size + 16);
        want.set(text);
        const r = reference.open(secret);
        r.seal(want, 0, size, size, 7);
        const key = aead.open(secret);
        place.fill(0x5a);
        place.set(text, 300);
        key.seal(place, 300, size, size, 7);
        expect(Buffer.compare(place.subarray(300, 316 + size), want)).toBe(0);
        expect(place.subarray(0, 300).every((b) => b === 0x5a)).toBe(true);
        expect(place.subarray(316 + size).every((b) => b === 0x5a)).toBe(true);
        const flip = size === 0 ? 300 : 300 + (size >> 1);
        place[flip] ^= 0x80;
        expect(key.unseal(place, 300, size + 16, size, 7)).toBe(false);
        place[flip] ^= 0x80;
        expect(key.unseal(place, 300, size + 16, size + 1, 7)).toBe(false);
        expect(key.unseal(place, 300, size + 16, size, 7)).toBe(true);
        expect(Buffer.compare(place.subarray(300, 300 + size), text)).toBe(0);
        r.close();
        key.close();
      }
    }
  });

  test("refuses every single flipped bit of a tag", () => {
    const key = aead.open(randomBytes(32));
    const buf = new Uint8Array(256);
    key.seal(buf, 128, 20, 5, 0);
    for (let bit = 0; bit < 128; bit++) {
      const copy = Uint8Array.from(buf);
      copy[148 + (bit >> 3)] ^= 1 << (bit & 7);
      expect(key.unseal(copy, 128, 36, 5, 0)).toBe(false);
    }
    key.close();
  });

  test("a range outside the buffer, a text shorter than its tag, a closed key", () => {
    if (name === "node") return; // plain views of a Buffer: nothing to check by hand
    const key = aead.open(randomBytes(32));
    expect(() => key.seal(new Uint8Array(64), 60, 0, 0, 0)).toThrow(RangeError);
    expect(() => key.unseal(new Uint8Array(64), 40, 30, 0, 0)).toThrow(RangeError);
    expect(key.unseal(new Uint8Array(64), 0, 15, 0, 0)).toBe(false);
    key.close();
    expect(() => key.seal(new Uint8Array(64), 0, 16, 0, 0)).toThrow(/after close/);
  });

  test("passes the self-test of the start", () => {
    selfTest(aead, memory.bytes.subarray(70000, 74096));
  });
});

// What the AEAD "openssl" is made of; no key of an AEAD leads to these one-time keys.
test.each(POLY1305.map((vector) => [vector.name, vector] as const))(
  "OpenSSL's own Poly1305, as this Node exports it: RFC 8439 %s",
  (_name, { key, text, tag }) => {
    const work = new FixedMemory(new ArrayBuffer(1024));
    const [keyAt, textAt, tagAt, stateAt] = [0, 32, 480, 512];
    work.bytes.set(key, keyAt);
    work.bytes.set(text, textAt);
    foreign().bind("Poly1305_Init", "void", ["uint64_t", "uint64_t"])(
      work.address(stateAt, 512),
      work.address(keyAt, 32),
    );
    const update = foreign().bind("Poly1305_Update", "void", ["uint64_t", "uint64_t", "size_t"]);
    // In two pieces, the first of whole blocks, as for packets.
    const first = text.length & ~15;
    update(work.address(stateAt, 512), work.address(textAt, first), first);
    update(work.address(stateAt, 512), work.address(textAt + first, text.length - first), text.length - first);
    foreign().bind("Poly1305_Final", "void", ["uint64_t", "uint64_t"])(
      work.address(stateAt, 512),
      work.address(tagAt, 16),
    );
    expect(Buffer.from(work.bytes.subarray(tagAt, tagAt + 16)).toString("hex")).toBe(tag);
  },
);

test("the self-test finds an AEAD that seals wrongly and one that takes any tag", () => {
  const good = nodeAead;
  const place = new Uint8Array(4096);
  const wrap = (change: Partial<ReturnType<Aead["open"]>>): Aead => ({
    name: "broken",
    open: (secret) => {
      const key = good.open(secret);
      return {
        seal: change.seal ?? key.seal.bind(key),
        unseal: change.unseal ?? key.unseal.bind(key),
        close: () => key.close(),
      };
    },
  });
  expect(() => selfTest(wrap({ seal: () => {} }), place)).toThrow(/seals wrongly/);
  expect(() => selfTest(wrap({ unseal: () => true }), place)).toThrow(/forged tag/);
});

test("one that fails its self-test is passed over for the next, and that is said once", () => {
  const said: string[] = [];
  const own = new NativeMemory(16);
  const takesAnyTag = { ...loadKernels(own), finishOpen: () => 1 };
  expect(selectAead(undefined, own, takesAnyTag, (line) => said.push(line)).name).toBe("evp");
  expect(said).toEqual([
    'The AEAD "openssl" is passed over for a slower one: the AEAD "openssl" accepts a forged tag (0 bytes)',
  ]);
  expect(() => selectAead("openssl", own, takesAnyTag)).toThrow(/does not work in this Node/);
});

test("without native code the first that needs none is taken, and nothing is said of those that do", () => {
  const said: string[] = [];
  const plain = new PlainMemory(16);
  expect(selectAead(undefined, plain, loadKernels(plain), (line) => said.push(line)).name).toBe("wasm");
  expect(said).toEqual([]);
});

test("WARREN_AEAD forces one; an unknown name lists the choices", () => {
  for (const name of AEAD_NAMES) expect(selectAead(name, memory, kernels).name).toMatch(name);
  expect(selectAead(undefined, memory).name).toBe("openssl");
  expect(() => selectAead("aes", memory)).toThrow(/choices are openssl, evp, wasm, node/);
});
