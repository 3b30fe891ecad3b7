import { seededRandom } from "../../test/support/programs/random";
import { addSum, checksum } from "./inet";

/** RFC 1071 section 4.1, word by word. */
function slowChecksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) {
    sum += (bytes[i] << 8) | (bytes[i + 1] ?? 0);
    sum = (sum & 0xffff) + (sum >>> 16);
  }
  return ~sum & 0xffff;
}

describe("the Internet checksum", () => {
  it("is that of RFC 1071 for every length, place and memory, also where all bits are set", () => {
    const random = seededRandom(7);
    const memories = [new Uint8Array(70_000).fill(255), Uint8Array.from({ length: 70_000 }, () => random() * 256)];
    const lengths = [...Array(300).keys(), 1419, 1420, 65_535, 65_536];
    for (const len of lengths)
      for (const off of [0, 1, 2, 3, 40])
        for (const buf of memories)
          expect(checksum(addSum(0, buf, off, len))).toBe(slowChecksum(buf.subarray(off, off + len)));
    const inner = memories[1].subarray(5, 2000);
    expect(checksum(addSum(0, inner, 3, 1500))).toBe(slowChecksum(inner.subarray(3, 1503)));
  });

  it("can be summed in parts that end at even places", () => {
    const bytes = Uint8Array.from({ length: 4000 }, (_, i) => i * 7);
    expect(checksum(addSum(addSum(0, bytes, 0, 2000), bytes, 2000, 2000))).toBe(slowChecksum(bytes));
  });
});
