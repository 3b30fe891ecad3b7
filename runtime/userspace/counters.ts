/** What the stacks of this process have done and lost, for `status`; and a word in the log where a bound was reached. */
import type { Stack } from "../netstack/stack";

export interface StackCounters {
  /** Instance id, `NETWORK_ID/HOST_ID/stack` of a gateway, or `outside`: what all apps share on their way out. */
  readonly id: string;
  /** Packets; one of 64 KiB that is split later counts once. */
  readonly packetsIn: number;
  readonly packetsOut: number;
  /** TCP connections that are open now, and the bytes that they buffer. */
  readonly connections: number;
  readonly memory: number;
  /** What went no further, by reason; only reasons that there were. */
  readonly lost: Readonly<Record<string, number>>;
}

/** Reasons that say of a bound that it was reached: somebody floods, or the bound is too low for what runs here. */
const BOUNDS: ReadonlySet<string> = new Set([
  "ip fragment-limit",
  "ip rate",
  "tcp backlog",
  "tcp limit",
  "tcp memory",
  "connections refused",
  "waiting connections refused",
  "datagram pairs evicted",
  "datagrams dropped",
  "proxy strangers evicted",
  "echo requests refused",
]);

/** @param lost what its users count beside the stack, by reason; the same reason may be several users' */
export function countersOf(id: string, stack: Stack, lost: readonly Record<string, number>[]): StackCounters {
  const { rx, tx, drops } = stack.counters;
  const tcp = stack.tcp.stats();
  const named = (prefix: string, counts: Record<string, number>) =>
    Object.entries(counts).map(([reason, count]) => [`${prefix} ${reason}`, count] as const);
  return {
    id,
    packetsIn: rx,
    packetsOut: tx,
    connections: tcp.connections,
    memory: tcp.memory,
    lost: present([...named("ip", drops), ...named("tcp", tcp.drops), ...Object.entries(sumOf(lost))]),
  };
}

function sumOf(counts: readonly Record<string, number>[]): Record<string, number> {
  const sum: Record<string, number> = {};
  for (const [reason, count] of counts.flatMap(Object.entries<number>)) sum[reason] = (sum[reason] ?? 0) + count;
  return sum;
}

export function present(counts: readonly (readonly [string, number])[]): Record<string, number> {
  return Object.fromEntries(counts.filter(([, count]) => count > 0));
}

/** Tells of each bound that was reached since the last look. */
export class BoundWatch {
  private before = new Map<string, StackCounters>();

  /** @param tell gets what was lost since then, by reason */
  constructor(private readonly tell: (id: string, lost: Record<string, number>) => void) {}

  look(now: readonly StackCounters[]): void {
    for (const { id, lost } of now) {
      const known = this.before.get(id)?.lost ?? {};
      const grown = present(
        Object.entries(lost)
          .filter(([reason]) => BOUNDS.has(reason))
          // A stack that was made anew counts from 0.
          .map(([reason, count]) => [reason, count - Math.min(known[reason] ?? 0, count)] as const),
      );
      if (Object.keys(grown).length > 0) this.tell(id, grown);
    }
    this.before = new Map(now.map((counters) => [counters.id, counters]));
  }
}
