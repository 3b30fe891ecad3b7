import type { Stack } from "../../../runtime/netstack/stack";

export interface PingResult {
  readonly sent: number;
  readonly received: number;
}

export interface PingSettings {
  /** @default 3 */
  readonly count?: number;
  /** Seconds. @default 0.05 */
  readonly interval?: number;
  /** Bytes of payload. @default 56 */
  readonly size?: number;
  /** Seconds for each answer. @default 5 */
  readonly deadline?: number;
  readonly dontFragment?: boolean;
}

/** What `ping` of traffic.ts does, from a stack. */
export async function ping(stack: Stack, to: string, settings: PingSettings): Promise<PingResult> {
  const { count = 3, interval = 0.05, deadline = 5, size } = settings;
  const answers: Promise<boolean>[] = [];
  for (let i = 0; i < count; i++) {
    if (i > 0) await new Promise((resolve) => setTimeout(resolve, interval * 1000));
    answers.push(
      new Promise((resolve) => {
        const handler = { onReply: () => resolve(true), onError: () => resolve(false) };
        stack.ping(to, handler, { timeout: deadline * 1000, payload: size });
      }),
    );
  }
  const received = (await Promise.all(answers)).filter(Boolean).length;
  return { sent: count, received };
}
