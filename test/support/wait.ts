/** Waiting for something real to become true, with a sentence when it does not. */

export function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/**
 * Asks again and again until the answer is neither undefined nor false; an exception counts as "not yet".
 * @param what completes the sentence "… did not happen within N s", for the error
 * @throws Error with the last answer or exception when the time is over
 */
export async function waitFor<T>(
  what: string,
  ask: () => Promise<T | undefined | false> | T | undefined | false,
  options: { timeout?: number; interval?: number } = {},
): Promise<T> {
  const timeout = options.timeout ?? 10_000;
  const until = Date.now() + timeout;
  let last: unknown;
  for (;;) {
    try {
      const answer = await ask();
      if (answer !== undefined && answer !== false) return answer;
      last = answer;
    } catch (error) {
      last = error;
    }
    if (Date.now() >= until) break;
    await sleep(options.interval ?? 50);
  }
  const detail = last instanceof Error ? `: ${last.message}` : "";
  throw new Error(`${what} did not happen within ${timeout / 1000} s${detail}`, { cause: last });
}
