import { chacha20poly1305, xchacha20poly1305 } from "@noble/ciphers/chacha.js";
import { openField, sealField } from "./aead-handshake";
import { nodeAead } from "./aead-node";
import { hash, kdf1, kdf2, kdf3, mac } from "./kdf";
import { publicKeyOf } from "./keys";
import { INITIAL_CHAIN_KEY, INITIAL_HASH } from "./noise";
import { TestRandom } from "./testing/random";
import { KeyPair, PublicKey } from "./x25519";

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, "hex"));
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const counting = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => i);

describe("(c) 1: published vectors", () => {
  test("X25519, RFC 7748 section 6.1", () => {
    const alice = new KeyPair(hex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"));
    const bob = new KeyPair(hex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"));
    expect(text(alice.publicKey)).toBe("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
    expect(text(bob.publicKey)).toBe("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
    const shared = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742";
    expect(text(alice.shared(new PublicKey(bob.publicKey))!)).toBe(shared);
    expect(text(bob.shared(new PublicKey(alice.publicKey))!)).toBe(shared);
  });

  test("node:crypto and @noble/curves derive the same public keys", () => {
    const random = new TestRandom(7);
    for (let i = 0; i < 10; i++) {
      const key = random.bytes(32);
      expect(text(new KeyPair(key).publicKey)).toBe(text(publicKeyOf(key)));
    }
  });

  test("ChaCha20-Poly1305, RFC 8439 appendix A.5 (without its additional data: the ciphertext, not the tag)", () => {
    const key = hex("1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0");
    const ciphertext =
      "64a0861575861af460f062c79be643bd5e805cfd345cf389f108670ac76c8cb24c6cfc18755d43eea09ee94e382d26b0bdb7b73c321b0100d4f03b7f355894cf" +
      "332f830e710b97ce98c8a84abd0b948114ad176e008d33bd60f982b1ff37c8559797a06ef4f0ef61c186324e2b3506383606907b6a7c02b0f9f6157b53c867e4" +
      "b9166c767b804d46a59b5216cde7a4e99040c5a40433225ee282a1b0a06c523eaf4534d7f83fa1155b0047718cbc546a0d072b04b3564eea1b422273f548271a" +
      "0bb2316053fa76991955ebd63159434ecebb4e466dae5a1073a6727627097a1049e617d91d361094fa68f0ff77987130305beaba2eda04df997b714d6c6f2c29" +
      "a6ad5cb4022b02709b";
    const plaintext = Buffer.from(
      "Internet-Drafts are draft documents valid for a maximum of six months and may be updated, replaced, or obsoleted by other " +
        "documents at any time. It is inappropriate to use Internet-Drafts as reference material or to cite them other than as /“work in " +
        "progress./”",
    );
    const nonce = hex("000000000102030405060708");
    const oracle = chacha20poly1305(key, nonce, hex("f33388860000000000004e91"));
    expect(text(oracle.encrypt(plaintext))).toBe(`${ciphertext}eead9d67890cbb22392336fea1851f38`);

    const buf = new Uint8Array(plaintext.length + 16 + 7);
    buf.set(plaintext, 3);
    const aead = nodeAead.open(key);
    aead.seal(buf, 3, plaintext.length, 0x04030201, 0x08070605);
    expect(text(buf.subarray(3, 3 + plaintext.length))).toBe(ciphertext);
    expect(text(buf.subarray(3, 3 + plaintext.length + 16))).toBe(
      text(chacha20poly1305(key, nonce).encrypt(plaintext)),
    );
    expect(aead.unseal(buf, 3, plaintext.length + 16, 0x04030201, 0x08070605)).toBe(true);
    expect(Buffer.from(buf.subarray(3, 3 + plaintext.length))).toEqual(plaintext);
  });

  test("a wrong tag releases nothing", () => {
    const aead = nodeAead.open(counting(32));
    const buf = new Uint8Array(64);
    buf.fill(9, 0, 32);
    aead.seal(buf, 0, 32, 5, 0);
    const sealed = text(buf);
    buf[40] ^= 1;
    expect(aead.unseal(buf, 0, 48, 5, 0)).toBe(false);
    buf[40] ^= 1;
    expect(text(buf)).toBe(sealed);
    expect(aead.unseal(buf, 0, 48, 6, 0)).toBe(false);
    expect(aead.unseal(buf, 0, 15, 5, 0)).toBe(false);
    expect(aead.unseal(buf, 0, 48, 5, 0)).toBe(true);
  });

  test("handshake fields agree with RFC 8439 as @noble/ciphers has it", () => {
    const random = new TestRandom(8);
    for (const length of [0, 12, 32]) {
      const [key, plaintext, additional] = [random.bytes(32), random.bytes(length), random.bytes(32)];
      const sealed = sealField(key, plaintext, additional);
      expect(text(sealed)).toBe(text(chacha20poly1305(key, new Uint8Array(12), additional).encrypt(plaintext)));
      expect(text(openField(key, sealed, additional)!)).toBe(text(plaintext));
      sealed[length] ^= 128;
      expect(openField(key, sealed, additional)).toBeUndefined();
    }
  });

  test("XChaCha20-Poly1305, draft-irtf-cfrg-xchacha appendix A.3.1", () => {
    const sealed = xchacha20poly1305(
      hex("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f"),
      hex("404142434445464748494a4b4c4d4e4f5051525354555657"),
      hex("50515253c0c1c2c3c4c5c6c7"),
    ).encrypt(
      Buffer.from(
        "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.",
      ),
    );
    expect(text(sealed.subarray(0, 32))).toBe("bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb");
    expect(text(sealed.subarray(-16))).toBe("c0875924c1c7987947deafd8780acf49");
  });

  test("BLAKE2s: RFC 7693 appendix B, and keyed as in the reference implementation's known answers", () => {
    expect(text(hash(Buffer.from("abc")))).toBe("508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982");
    expect(text(mac(counting(32), counting(0)))).toBe("9536f9b267655743dee97b8a670f9f53");
    expect(text(mac(counting(32), counting(1)))).toBe("13bacfb85b48a1223c595f8c1e7e82cb");
    expect(text(mac(counting(32), counting(58)))).toBe("49552403790d8de0505a8e317a443687");
    expect(text(mac(counting(32), counting(255)))).toBe("cd075928ab7e6883e697fe7fd3ac43ee");
  });

  test.each([
    [
      "746573742d6b6579",
      "746573742d696e707574",
      "6f0e5ad38daba1bea8a0d213688736f19763239305e0f58aba697f9ffc41c633",
      "df1194df20802a4fe594cde27e92991c8cae66c366e8106aaa937a55fa371e8a",
      "fac6e2745a325f5dc5d11a5b165aad08b0ada28e7b4e666b7c077934a4d76c24",
    ],
    [
      "776972656775617264",
      "776972656775617264",
      "491d43bbfdaa8750aaf535e334ecbfe5129967cd64635101c566d4caefda96e8",
      "1e71a379baefd8a79aa4662212fcafe19a23e2b609a3db7d6bcba8f560e3d25f",
      "31e1ae48bddfbe5de38f295e5452b1909a1b4e38e183926af3780b0c1e1f0160",
    ],
    [
      "",
      "",
      "8387b46bf43eccfcf349552a095d8315c4055beb90208fb1be23b894bc2ed5d0",
      "58a0e5f6faefccf4807bff1f05fa8a9217945762040bcec2f4b4a62bdfe0e86e",
      "0ce6ea98ec548f8e281e93e32db65621c45eb18dc6f0a7ad94178610a2f7338e",
    ],
  ])("HKDF over HMAC-BLAKE2s, wireguard-go's vectors: key %s", (key, input, first, second, third) => {
    expect(text(kdf1(hex(key), hex(input)))).toBe(first);
    expect(kdf2(hex(key), hex(input)).map(text)).toEqual([first, second]);
    expect(kdf3(hex(key), hex(input)).map(text)).toEqual([first, second, third]);
  });

  test("the first chaining key and hash", () => {
    expect(text(INITIAL_CHAIN_KEY)).toBe("60e26daef327efc02ec335e2a025d2d016eb4206f87277f52d38d1988b78cd36");
    expect(text(INITIAL_HASH)).toBe("2211b361081ac566691243db458ad5322d9c6c662293e8b70ee19c65ba079ef3");
  });
});
