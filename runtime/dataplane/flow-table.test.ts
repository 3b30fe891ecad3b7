/** The flow table against a map. */
import fc from "fast-check";
import { FlowTable } from "./flow-table";

type Ends = readonly [number, number, number, number];

const keyOf = ([a, b, p, q]: Ends): Int32Array =>
  Int32Array.from(
    [a, 0, 0, 7, b, 0, 0, 9, (p << 16) | q, (6 << 8) | 17].map((word, i) => (i === 3 || i === 7 ? 0 : word)),
  );
const back = ([a, b, p, q]: Ends): Ends => [b, a, q, p];

test("what was put in is found in both directions until it is over or removed", () => {
  const ends = fc.tuple(fc.nat(3), fc.nat(3), fc.nat(3), fc.nat(3));
  const step = fc.record({
    what: fc.constantFrom("find", "put", "remove", "wait"),
    ends,
    life: fc.integer({ min: 1, max: 50 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), fc.integer(), (steps, seed) => {
      const table = new FlowTable(4096, seed);
      const oracle = new Map<string, { until: number; mark: number }>();
      let now = 0;
      let marks = 0;
      for (const { what, ends, life } of steps) {
        if (what === "wait") now += life;
        const forth = oracle.get(String(ends));
        const other = oracle.get(String(back(ends)));
        const there = forth !== undefined && forth.until > now ? forth : undefined;
        const found = there ?? (other !== undefined && other.until > now ? other : undefined);
        const slot = table.find(keyOf(ends), now);
        expect(slot >= 0 ? table.mark[slot] : undefined).toBe(found?.mark);
        if (slot >= 0 && String(ends) !== String(back(ends))) expect(table.reversed).toBe(there === undefined);
        if (what === "put" && slot < 0) {
          const at = table.insert(keyOf(ends), now + life, now);
          table.mark[at] = ++marks;
          oracle.delete(String(back(ends)));
          oracle.set(String(ends), { until: now + life, mark: marks });
        } else if (what === "remove" && slot >= 0) {
          table.remove(slot);
          oracle.delete(String(there === undefined ? back(ends) : ends));
        }
      }
      expect(table.count(now)).toBe([...oracle.values()].filter(({ until }) => until > now).length);
      expect(table.evicted).toBe(0);
    }),
    { numRuns: 200 },
  );
});

test("a flood of beginnings grows nothing and costs no flow that was answered", () => {
  const gone: number[] = [];
  const table = new FlowTable(1024, 42, (slot) => gone.push(slot));
  const answered = Array.from({ length: 150 }, (_, i): Ends => [1, 2, i, 80]);
  let kept = 0;
  for (const ends of answered) table.firm[table.insert(keyOf(ends), 1e9, 0)] = 1;
  for (const ends of answered) if (table.find(keyOf(ends), 1) >= 0) kept++;
  for (let i = 0; i < 100_000; i++) table.insert(keyOf([i, 3, i & 0xffff, 443]), 1e9, i);
  expect(answered.filter((ends) => table.find(keyOf(ends), 1e6) >= 0).length).toBe(kept);
  expect([kept, table.count(1e6), table.capacity]).toEqual([150, 1024, 1024]);
  expect(table.evicted).toBe(100_150 - 1024);
  expect(gone.length).toBe(table.evicted);
});

test("of those that were answered, the one that was seen longest ago gives way; what is over goes first", () => {
  const table = new FlowTable(8, 1);
  for (let i = 0; i < 8; i++) table.firm[table.insert(keyOf([1, 2, i, 80]), i === 5 ? 50 : 1000, i)] = 1;
  table.insert(keyOf([1, 2, 100, 80]), 1000, 60);
  expect([table.find(keyOf([1, 2, 0, 80]), 60) >= 0, table.evicted]).toEqual([true, 0]);
  table.firm[table.find(keyOf([1, 2, 100, 80]), 60)] = 1;
  table.insert(keyOf([1, 2, 101, 80]), 1000, 61);
  expect([table.find(keyOf([1, 2, 0, 80]), 61), table.find(keyOf([1, 2, 1, 80]), 61) >= 0]).toEqual([-1, true]);
});
