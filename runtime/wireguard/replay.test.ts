import fc from "fast-check";
import { ReplayWindow } from "./replay";

const WINDOW = 8128n;
const MAX = 2n ** 64n - 1n;
const REJECT = 2n ** 64n - 2n ** 13n - 1n;

function accept(window: ReplayWindow, counter: bigint): boolean {
  return window.accept(Number(counter & 0xffffffffn), Number(counter >> 32n));
}

describe("(c) 8: the kernel's test of its replay counter", () => {
  const LIMIT = WINDOW + 1n;
  const points: [bigint, boolean][] = [
    [0n, true],
    [1n, true],
    [1n, false],
    [9n, true],
    [8n, true],
    [7n, true],
    [7n, false],
    [LIMIT, true],
    [LIMIT - 1n, true],
    [LIMIT - 1n, false],
    [LIMIT - 2n, true],
    [2n, true],
    [2n, false],
    [LIMIT + 16n, true],
    [3n, false],
    [LIMIT + 16n, false],
    [LIMIT * 4n, true],
    [LIMIT * 4n - (LIMIT - 1n), true],
    [10n, false],
    [LIMIT * 4n - LIMIT, false],
    [LIMIT * 4n - (LIMIT + 1n), false],
    [LIMIT * 4n - (LIMIT - 2n), true],
    [LIMIT * 4n + 1n - LIMIT, false],
    [0n, false],
    [REJECT, false],
    [REJECT - 1n, true],
    [REJECT, false],
    [REJECT - 1n, false],
    [REJECT - 2n, true],
    [REJECT + 1n, false],
    [REJECT + 2n, false],
    [REJECT - 2n, false],
    [REJECT - 3n, true],
    [0n, false],
  ];

  test("34 points", () => {
    expect(points).toHaveLength(34);
    const window = new ReplayWindow();
    points.forEach(([counter, expected], i) => {
      expect([i + 1, accept(window, counter)]).toEqual([i + 1, expected]);
    });
  });

  const up = (from: bigint, to: bigint): bigint[] =>
    Array.from({ length: Number(to - from) + 1 }, (_, i) => from + BigInt(i));
  const down = (from: bigint, to: bigint): bigint[] => up(to, from).reverse();

  test.each<[string, bigint[], [bigint, boolean][]]>([
    [
      "upward from 1",
      up(1n, WINDOW),
      [
        [0n, true],
        [0n, false],
      ],
    ],
    [
      "upward from 2",
      up(2n, WINDOW + 1n),
      [
        [1n, true],
        [0n, false],
      ],
    ],
    ["downward to 1", down(WINDOW + 1n, 1n), []],
    ["downward to 2", down(WINDOW + 2n, 2n), [[0n, false]]],
    [
      "downward, then one up",
      down(WINDOW, 1n),
      [
        [WINDOW + 1n, true],
        [0n, false],
      ],
    ],
    [
      "downward, zero, then one up",
      down(WINDOW, 1n),
      [
        [0n, true],
        [WINDOW + 1n, true],
      ],
    ],
  ])("sweep %s", (_, sweep, after) => {
    const window = new ReplayWindow();
    expect(sweep.every((counter) => accept(window, counter))).toBe(true);
    for (const [counter, expected] of after) expect([counter, accept(window, counter)]).toEqual([counter, expected]);
  });
});

test("(c) 8: random counters against a set, also across the halves of the counter", () => {
  const near = (base: bigint) =>
    fc.bigInt({ min: base > 20000n ? base - 20000n : 0n, max: base + 20000n < MAX ? base + 20000n : MAX });
  fc.assert(
    fc.property(
      fc
        .constantFrom(20000n, 2n ** 31n, 2n ** 32n, 2n ** 53n, 2n ** 63n, REJECT)
        .chain((base) => fc.array(fc.oneof(near(base), fc.bigInt({ min: 0n, max: MAX })), { maxLength: 200 })),
      (counters) => {
        const window = new ReplayWindow();
        const seen = new Set<bigint>();
        let last = 0n;
        for (const counter of counters) {
          const expected = counter < REJECT && counter + WINDOW >= last && !seen.has(counter);
          expect(accept(window, counter)).toBe(expected);
          if (!expected) continue;
          seen.add(counter);
          if (counter > last) last = counter;
        }
      },
    ),
    { numRuns: 300 },
  );
});
