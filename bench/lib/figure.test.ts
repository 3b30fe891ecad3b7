import { type Figure, median, ratio, spread, table } from "./figure";

const figure: Figure = {
  what: "throughput",
  unit: "Gbit/s",
  ours: [3, 1, 2],
  other: { name: "wireguard-go", values: [4, 4] },
  goal: "≥ 1",
  met: false,
};

test("medians, spreads and ratios", () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 2, 3])).toBe(2.5);
  expect(spread([3, 1, 2])).toBe("2.00 (1.00 to 3.00)");
  expect(spread([1234])).toBe("1234");
  expect(ratio(figure)).toBe(0.5);
});

test("a line of the table", () => {
  expect(table([figure]).split("\n")[2]).toBe(
    "| throughput, Gbit/s | 2.00 (1.00 to 3.00) | 4.00 (4.00 to 4.00) wireguard-go | 0.50 | ≥ 1: not met | 3 |",
  );
});

test("a figure that is compared with several", () => {
  const several = { ...figure, other: [figure.other, { name: "boringtun", values: [1] }] } as Figure;
  expect(ratio(several)).toBe(0.5);
  expect(table([several]).split("\n")[2]).toBe(
    "| throughput, Gbit/s | 2.00 (1.00 to 3.00) | 4.00 (4.00 to 4.00) wireguard-go; 1.00 boringtun | 0.50; 2.00 | ≥ 1: not met | 3 |",
  );
});
