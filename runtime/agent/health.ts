/** An instance's health from its probes: values in, values out. */
import type { Health } from "../control/interface/types";

export type HealthState = "unknown" | "healthy" | "unhealthy";

export interface HealthRecord {
  readonly state: HealthState;
  /** Failures in a row. */
  readonly failures: number;
  /** What the last probe saw. */
  readonly detail: string;
}

export const UNKNOWN: HealthRecord = { state: "unknown", failures: 0, detail: "not probed yet" };

/** Milliseconds between probes of an instance that was never healthy: a start is noticed at once, a slow one costs little. */
const STARTING_INTERVALS = [50, 50, 100, 100, 200, 300, 500];

/** One success makes healthy; `threshold` failures in a row make a healthy instance unhealthy. */
export function observe(before: HealthRecord, ok: boolean, detail: string, health: Health): HealthRecord {
  if (ok) return { state: "healthy", failures: 0, detail };
  const failures = before.failures + 1;
  const state = before.state === "healthy" && failures >= health.threshold ? "unhealthy" : before.state;
  return { state, failures, detail };
}

/** Milliseconds until the next probe. */
export function nextProbe(record: HealthRecord, health: Health): number {
  if (record.state !== "unknown") return health.interval * 1000;
  return STARTING_INTERVALS[record.failures] ?? Math.min(health.interval * 1000, 1000);
}
