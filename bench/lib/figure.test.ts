import { type Figure, judged, median, ratio, spread, table } from "./figure";

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

test("a contender that could not be had stands in the table with its reason, and decides no goal", () => {
  const skipped = { name: "wireguard-go", values: [], skipped: "it is not built" };
  const goal = { text: "≥ 1", met: (ratio: number) => ratio >= 1 };
  const { what, unit, ours } = figure;
  const open = judged({ what, unit, ours, other: [skipped, { name: "boringtun", values: [1] }] }, goal);
  expect(open).not.toHaveProperty("met");
  expect(judged({ ...figure, other: { name: "boringtun", values: [1] } }, goal).met).toBe(true);
  const lines = table([open, open]).split("\n");
  expect(lines[2]).toBe(
    "| throughput, Gbit/s | 2.00 (1.00 to 3.00) | wireguard-go: skipped; 1.00 boringtun | 2.00 | ≥ 1 | 3 |",
  );
  expect(lines.slice(-1)).toEqual(["- skipped: wireguard-go: it is not built"]);
  expect(lines.filter((line) => line.startsWith("- skipped"))).toHaveLength(1);
});
