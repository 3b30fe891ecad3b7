/** Waits that double, as a pure rule: shared by apps and the daemon's supervision. */

export interface BackoffRule {
  /** Milliseconds. */
  readonly first: number;
  readonly longest: number;
  /** A run of this length starts anew from `first`. */
  readonly resetAfter: number;
}

export const APP_BACKOFF: BackoffRule = { first: 1000, longest: 60_000, resetAfter: 60_000 };
export const DAEMON_BACKOFF: BackoffRule = { first: 200, longest: 30_000, resetAfter: 60_000 };

/**
 * @param previous the wait before the run that ended, milliseconds; 0: there was none.
 * @param ran how long that run lasted, milliseconds.
 * @returns the wait before the next run, milliseconds.
 */
export function nextWait(rule: BackoffRule, previous: number, ran: number): number {
  if (previous === 0 || ran >= rule.resetAfter) return rule.first;
  return Math.min(previous * 2, rule.longest);
}
