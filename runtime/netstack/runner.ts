/** A stack on a real clock and a packet pipe. */
import type { PacketPipe } from "../dataplane/pipe";
import { WarrenError } from "../errors";
import type { StackOptions } from "./options";
import { Stack } from "./stack";

export interface RunnerOptions extends Partial<Pick<StackOptions, "transparent" | "limits" | "segments" | "sum">> {
  readonly pipe: PacketPipe;
  readonly addresses: readonly string[];
  readonly mtu: number;
  /** The timer keeps the process alive. @default false */
  readonly ref?: boolean;
}

export class StackRunner {
  readonly stack: Stack;

  constructor(readonly options: RunnerOptions) {
    this.stack = new Stack({
      ...options,
      output: (buf, off, len, segment) => options.pipe.send(buf, off, len, segment),
      now: () => performance.now(),
      random: () => {
        throw new WarrenError("WARREN_UNSUPPORTED", "This part of the network stack is under construction today.");
      },
    });
  }

  /** Ends all connections and lets go of the pipe. */
  close(): void {
    this.stack.close();
  }
}
