/** What a bench measures, and how it is shown. */

export interface Figure {
  readonly what: string;
  readonly unit: string;
  /** One value for each round. */
  readonly ours: readonly number[];
  /** The same of what it is compared with, where there is something; the first is the one that a goal speaks of. */
  readonly other?: Compared | readonly Compared[];
  /** What DESIGN or an issue asks for, in words. */
  readonly goal?: string;
  readonly met?: boolean;
  /** How it was measured, where that is not plain. */
  readonly note?: string;
}

export interface Compared {
  readonly name: string;
  /** None where it was skipped. */
  readonly values: readonly number[];
  /** Why it was skipped. */
  readonly skipped?: string;
}

export interface Goal {
  readonly text: string;
  readonly met: (ratio: number) => boolean;
}

export interface Bench {
  /** Why it cannot run on this machine; undefined when it can. */
  unavailable(): string | undefined;
  run(log: (line: string) => void): Promise<Figure[]>;
}

/** How often each contender has its turn; WARREN_BENCH_ROUNDS says otherwise, to try a bench out. */
export const ROUNDS = Number(process.env.WARREN_BENCH_ROUNDS || 5);

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function compared(figure: Figure): readonly Compared[] {
  if (figure.other === undefined) return [];
  return "name" in figure.other ? [figure.other] : figure.other;
}

/** Ours over the other's, of the medians; the first of several. Undefined where that was skipped. */
export function ratio(figure: Figure): number | undefined {
  const first = compared(figure)[0];
  return first === undefined || first.values.length === 0 ? undefined : median(figure.ours) / median(first.values);
}

/** The figure with a goal for its ratio, and whether it is met where there is a ratio. */
export function judged(figure: Figure, goal: Goal | undefined): Figure {
  if (goal === undefined) return figure;
  const value = ratio(figure);
  return { ...figure, goal: goal.text, ...(value === undefined ? {} : { met: goal.met(value) }) };
}

export function round(value: number): string {
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

/** `median (min to max)`. */
export function spread(values: readonly number[]): string {
  if (values.length === 1) return round(values[0]);
  return `${round(median(values))} (${round(Math.min(...values))} to ${round(Math.max(...values))})`;
}

export function table(figures: readonly Figure[]): string {
  const rows = figures.map((figure) => {
    const others = compared(figure);
    const had = others.filter(({ values }) => values.length > 0);
    return [
      `${figure.what}, ${figure.unit}`,
      spread(figure.ours),
      others
        .map(({ name, values }) => (values.length > 0 ? `${spread(values)} ${name}` : `${name}: skipped`))
        .join("; "),
      had.map((other) => (median(figure.ours) / median(other.values)).toFixed(2)).join("; "),
      figure.goal === undefined
        ? ""
        : `${figure.goal}${figure.met === undefined ? "" : figure.met ? ": met" : ": not met"}`,
      String(figure.ours.length),
    ];
  });
  const head = ["figure", "ours: median (min to max)", "compared with", "ratio", "goal", "rounds"];
  const lines = [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`);
  const notes = figures.filter((f) => f.note).map((f) => `- ${f.what}: ${f.note}`);
  const reasons = figures.flatMap((figure) =>
    compared(figure).flatMap(({ name, skipped }) => (skipped === undefined ? [] : [`- skipped: ${name}: ${skipped}`])),
  );
  return [...lines, "", ...notes, ...new Set(reasons)].join("\n");
}
