import { blake2s } from "@noble/hashes/blake2.js";
import { KeyedBlake2s } from "./keyed-blake2s";
import { TestRandom } from "./testing/random";

test("every length around the block borders has the result of another implementation, and no other", () => {
  const random = new TestRandom(16);
  for (const length of [1, 3, 4, 63, 64, 65, 116, 127, 128, 129, 191, 192, 193, 400])
    for (const keyLength of [1, 16, 31, 32]) {
      const key = random.bytes(keyLength);
      const data = new Uint8Array(length + 20);
      data.set(random.bytes(length));
      data.set(blake2s(data.subarray(0, length), { key, dkLen: 16 }), length + 2);
      const mac = new KeyedBlake2s(key);
      expect(mac.verifies(data, length, length + 2)).toBe(true);
      for (const bit of [0, 5, length * 8 - 1, (length + 2) * 8, (length + 18) * 8 - 1]) {
        data[bit >> 3] ^= 1 << (bit & 7);
        expect(mac.verifies(data, length, length + 2)).toBe(false);
        data[bit >> 3] ^= 1 << (bit & 7);
      }
      // The state that all share is not touched by another key in between.
      expect(new KeyedBlake2s(random.bytes(32)).verifies(data, length, length + 2)).toBe(false);
      expect(mac.verifies(data, length, length + 2)).toBe(true);
    }
});
