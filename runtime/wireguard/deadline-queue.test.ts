import * as fc from "fast-check";
import { DeadlineQueue } from "./deadline-queue";

interface Item {
  readonly name: number;
  queueSlot: number;
}

type Step = readonly [what: "bring" | "put" | "remove" | "clear" | "take", item: number, deadline: number];

const step: fc.Arbitrary<Step> = fc.tuple(
  fc.oneof(
    { weight: 40, arbitrary: fc.constantFrom("bring" as const, "put" as const) },
    { weight: 10, arbitrary: fc.constantFrom("remove" as const, "take" as const) },
    { weight: 1, arbitrary: fc.constant("clear" as const) },
  ),
  fc.integer({ min: 0, max: 60 }),
  // Few values, so that many are equal.
  fc.oneof(fc.integer({ min: 0, max: 30 }), fc.constant(Number.POSITIVE_INFINITY)),
);

test("the earliest comes first, whatever is put, brought forward, taken out and put again", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
      const queue = new DeadlineQueue<Item>();
      const items = Array.from({ length: 61 }, (_, name): Item => ({ name, queueSlot: -1 }));
      const oracle = new Map<Item, number>();
      for (const [what, name, deadline] of steps) {
        const item = items[name];
        if (what === "clear") {
          queue.clear();
          oracle.clear();
        } else if (what === "take") {
          const first = queue.first();
          if (first !== undefined) {
            queue.remove(first);
            oracle.delete(first);
          }
        } else if (what === "remove" || (what === "put" && deadline === Number.POSITIVE_INFINITY)) {
          if (what === "put") queue.put(item, deadline);
          else queue.remove(item);
          oracle.delete(item);
        } else if (deadline !== Number.POSITIVE_INFINITY) {
          if (what === "put") queue.put(item, deadline);
          else queue.bring(item, deadline);
          oracle.set(item, what === "put" ? deadline : Math.min(deadline, oracle.get(item) ?? deadline));
        }
        const earliest = Math.min(Number.POSITIVE_INFINITY, ...oracle.values());
        expect([queue.size, queue.next()]).toEqual([oracle.size, earliest]);
        const first = queue.first();
        expect(first === undefined ? earliest : oracle.get(first)).toBe(earliest);
        for (const one of items) expect(one.queueSlot >= 0).toBe(oracle.has(one));
      }
    }),
    { numRuns: 60 },
  );
});

test("taken out one after the other they come in order", () => {
  const queue = new DeadlineQueue<Item>();
  const deadlines = Array.from({ length: 1000 }, (_, i) => (i * 7919) % 1009);
  deadlines.forEach((deadline, name) => {
    queue.put({ name, queueSlot: -1 }, deadline);
  });
  const order: number[] = [];
  for (let first = queue.first(); first !== undefined; first = queue.first()) {
    order.push(queue.next());
    queue.remove(first);
  }
  expect(order).toEqual([...deadlines].sort((a, b) => a - b));
});
