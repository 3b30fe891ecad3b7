/** Checks an AEAD before any packet is trusted to it. */
import { randomBytes } from "node:crypto";
import { nodeAead } from "../wireguard/aead-node";
import type { Aead } from "../wireguard/types";

/** Sizes around the boundaries of Poly1305 (16) and ChaCha20 (64) blocks, and of full packets. */
const SIZES = [0, 1, 15, 16, 17, 31, 32, 63, 64, 65, 127, 128, 129, 255, 256, 257, 1024, 1420, 1424];
const HEADROOM = 128;

/**
 * Compares with node:crypto at sizes around every block boundary, checks that forged tags are refused with the text left
 * sealed, and that no byte around the packet changes. Published vectors are in the tests.
 * @param place a piece of the memory in which packets will lie.
 * @throws Error naming the first difference.
 */
export function selfTest(aead: Aead, place: Uint8Array): void {
  const reference = nodeAead;
  for (const size of SIZES) {
    for (const [lo, hi] of [
      [0, 0],
      [1, 0],
      [0xffffffff, 0x12345678],
    ]) {
      const secret = randomBytes(32);
      const text = randomBytes(size);
      const want = new Uint8Array(size + 16);
      want.set(text);
      const theirs = reference.open(secret);
      theirs.seal(want, 0, size, lo, hi);
      theirs.close();

      const key = aead.open(secret);
      const at = place.subarray(0, HEADROOM + size + 16 + 64);
      at.fill(0xa5);
      at.set(text, HEADROOM);
      key.seal(at, HEADROOM, size, lo, hi);
      const fail = (what: string): never => {
        key.close();
        throw new Error(`the AEAD "${aead.name}" ${what} (${size} bytes)`);
      };
      if (Buffer.compare(at.subarray(HEADROOM, HEADROOM + size + 16), want) !== 0) fail("seals wrongly");
      for (let i = 0; i < at.length; i++)
        if ((i < HEADROOM || i >= HEADROOM + size + 16) && at[i] !== 0xa5) fail("writes outside its packet");
      at[HEADROOM + size + 15] ^= 1;
      if (key.unseal(at, HEADROOM, size + 16, lo, hi)) fail("accepts a forged tag");
      if (Buffer.compare(at.subarray(HEADROOM, HEADROOM + size), want.subarray(0, size)) !== 0)
        fail("releases a text that it could not verify");
      at[HEADROOM + size + 15] ^= 1;
      if (!key.unseal(at, HEADROOM, size + 16, lo, hi)) fail("refuses a genuine tag");
      if (Buffer.compare(at.subarray(HEADROOM, HEADROOM + size), text) !== 0) fail("opens wrongly");
      key.close();
    }
  }
}
