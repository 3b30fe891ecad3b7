import { describeNeeding } from "../../test/support/needs";
import { FixedMemory, foreign } from "./foreign";
import { FIRST_FREE_OFFSET, NativeMemory } from "./native-memory";

describeNeeding(["linux"], "native code", () => {
  test("an address is given for bytes inside the memory only", () => {
    const memory = new FixedMemory(new ArrayBuffer(64));
    expect(memory.address(0, 64)).toBe(memory.base);
    expect(memory.address(64, 0)).toBe(memory.base + 64);
    for (const [off, len] of [
      [-1, 1],
      [0, 65],
      [64, 1],
      [1, -1],
      [Number.NaN, 1],
      [0, Number.NaN],
    ])
      expect(() => memory.address(off, len)).toThrow(RangeError);
  });

  test("an address is written as eight bytes, the low ones first", () => {
    const memory = new FixedMemory(new ArrayBuffer(16));
    memory.setPointer(8, 0x1fedcba987654);
    expect(memory.view.getBigUint64(8, true)).toBe(0x1fedcba987654n);
    expect(() => memory.setPointer(12, 1)).toThrow(RangeError);
  });

  test("what a call writes there is seen here, and its errno", () => {
    const memory = new FixedMemory(new ArrayBuffer(64));
    const read = foreign().bind<number | string>("readlink", "int64_t", ["str", "uint64_t", "uint64_t"]);
    const length = Number(read("/proc/self", memory.address(8, 32), 32));
    expect(Buffer.from(memory.bytes.slice(8, 8 + length)).toString()).toBe(String(process.pid));
    expect([Number(read("/no/such/file", memory.address(8, 32), 32)), foreign().errno()]).toEqual([-1, 2]);
  });

  test("a symbol that this process does not have is refused by name", () => {
    expect(() => foreign().bind("warren_has_no_such_symbol", "int", [])).toThrow(/warren_has_no_such_symbol/);
  });

  test("what is reserved of a packet memory overlaps neither other places nor the first page", () => {
    const memory = new NativeMemory(3);
    const first = memory.reserve(1000);
    const second = memory.reserve(65_000);
    expect([first % 64, second % 64, first + 1000 <= memory.bytes.length, second + 65_000 <= first]).toEqual([
      0,
      0,
      true,
      true,
    ]);
    expect(() => memory.reserve(second - FIRST_FREE_OFFSET + 64)).toThrow(RangeError);
  });
});
