/** Echo requests one after the other, and what they came to. The clock of pauses is the caller's signal and Node's timers; the rest is values. */
import { setTimeout as pause } from "node:timers/promises";

export interface EchoOptions {
  readonly count: number;
  /** Milliseconds from a reply, or its absence, to the next request. */
  readonly interval: number;
  /** Aborted: no further request is sent, and nothing is waited for any more. */
  readonly signal: AbortSignal;
  /** Each outcome as it comes: milliseconds, or why there was no reply. `request` counts from 1. */
  readonly onOutcome: (request: number, outcome: number | Error) => void;
}

/**
 * @param ask one request: milliseconds to its reply. An error of it that `isLoss` knows is a lost request, any other ends all.
 * @returns milliseconds for each request that was answered or lost; undefined: lost. One that was waited for at the end is in neither.
 */
export async function echo(
  ask: () => Promise<number>,
  isLoss: (error: unknown) => error is Error,
  { count, interval, signal, onOutcome }: EchoOptions,
): Promise<(number | undefined)[]> {
  const times: (number | undefined)[] = [];
  const ended = new Promise<"ended">((resolve) => {
    if (signal.aborted) resolve("ended");
    signal.addEventListener("abort", () => resolve("ended"), { once: true });
  });
  for (let request = 1; request <= count && !signal.aborted; request++) {
    if (request > 1) await pause(interval, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) break;
    const outcome = await Promise.race([
      ended,
      ask().catch((error: unknown) => {
        if (isLoss(error)) return error;
        throw error;
      }),
    ]);
    if (outcome === "ended") break;
    onOutcome(request, outcome);
    times.push(typeof outcome === "number" ? outcome : undefined);
  }
  return times;
}

export interface EchoSummary {
  readonly sent: number;
  readonly received: number;
  /** Absent: there was no reply. */
  readonly milliseconds?: { readonly min: number; readonly mean: number; readonly max: number };
}

export function summarize(times: readonly (number | undefined)[]): EchoSummary {
  const known = times.filter((time) => time !== undefined);
  const counts = { sent: times.length, received: known.length };
  if (known.length === 0) return counts;
  const mean = known.reduce((sum, time) => sum + time, 0) / known.length;
  return { ...counts, milliseconds: { min: Math.min(...known), mean, max: Math.max(...known) } };
}
