/** A stack on a real clock and a packet pipe. */
import { randomBytes } from "node:crypto";
import { performance } from "node:perf_hooks";
import type { PacketPipe } from "../dataplane/pipe";
import type { StackOptions } from "./options";
import { Stack } from "./stack";
import { Memory } from "./tcp/memory";

export interface RunnerOptions
  extends Partial<Pick<StackOptions, "transparent" | "limits" | "tcp" | "segments" | "sum" | "memory">> {
  readonly pipe: PacketPipe;
  readonly addresses: readonly string[];
  readonly mtu: number;
  /** The stack's timer keeps the process alive. @default false */
  readonly ref?: boolean;
}

/** Bytes that the connections of all stacks of a process may buffer: what apps and their peers do adds up here, not with each of them. */
const PROCESS_MEMORY = new Memory(512 * 1024 * 1024);
/** Milliseconds: a peer that vanished without a word holds its connection for some eleven minutes, and not for ever. */
const KEEP_ALIVE = 60_000;
/** Longest delay that Node's timers take. */
const MAX_DELAY = 2 ** 31 - 1;
/** Random bytes fetched at once: one call for many ports and sequence numbers. */
const POOL = 4096;

export class StackRunner {
  readonly stack: Stack;
  private timer: NodeJS.Timeout | undefined;
  /** When `timer` fires; Infinity: none is set. */
  private due = Number.POSITIVE_INFINITY;
  private closed = false;

  /** @throws WarrenError WARREN_INVALID_INPUT */
  constructor(private readonly options: RunnerOptions) {
    const { pipe } = options;
    this.stack = new Stack({
      memory: PROCESS_MEMORY,
      ...options,
      tcp: { keepAlive: KEEP_ALIVE, ...options.tcp },
      output: (buf, off, len, segment) => pipe.send(buf, off, len, segment),
      now: () => performance.now(),
      random: pooledRandom(),
      schedule: (run) => queueMicrotask(() => this.run(run)),
      later: (run) => setImmediate(() => this.run(run)),
    });
    pipe.onPacket = (buf, off, len, segment) => this.stack.input(buf, off, len, segment);
    pipe.onRoundEnd = () => {
      this.stack.roundEnd();
      this.arm();
    };
    pipe.onDrain = () => {
      this.stack.drained();
      this.arm();
    };
  }

  /** Ends all connections and lets go of the pipe. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.stack.close();
    clearTimeout(this.timer);
    const { pipe } = this.options;
    pipe.onPacket = () => {};
    pipe.onRoundEnd = () => {};
    pipe.onDrain = () => {};
  }

  private run(work: () => void): void {
    work();
    this.arm();
  }

  /** One timer for all: set anew only where it would fire too late; one that fires early looks again. */
  private arm(): void {
    if (this.closed) return;
    const next = this.stack.nextTimer();
    if (next >= this.due) return;
    clearTimeout(this.timer);
    this.due = next;
    const delay = Math.min(MAX_DELAY, Math.max(0, Math.ceil(next - performance.now())));
    this.timer = setTimeout(() => {
      this.due = Number.POSITIVE_INFINITY;
      if (this.stack.nextTimer() <= performance.now()) this.stack.tick();
      this.arm();
    }, delay);
    if (!this.options.ref) this.timer.unref();
  }
}

function pooledRandom(): (bytes: number) => Uint8Array {
  let pool = Buffer.alloc(0);
  let at = 0;
  return (bytes) => {
    if (bytes > POOL) return randomBytes(bytes);
    if (at + bytes > pool.length) {
      pool = randomBytes(POOL);
      at = 0;
    }
    at += bytes;
    return pool.subarray(at - bytes, at);
  };
}
