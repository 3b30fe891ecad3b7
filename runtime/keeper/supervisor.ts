/** Brings the daemon back when it goes without a word. */
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import { DAEMON_BACKOFF, nextWait } from "./backoff";
import type { Supervise } from "./protocol";

export interface SupervisorIo {
  start(supervise: Supervise): void;
  now(): number;
  setTimer(run: () => void, ms: number): { clear(): void };
  log(message: string): void;
}

export class Supervisor {
  private supervise: Supervise | undefined;
  private timer: { clear(): void } | undefined;
  private since = 0;
  private wait = 0;

  constructor(private readonly io: SupervisorIo = realIo(() => {})) {}

  /** Whether a daemon is wanted. */
  get active(): boolean {
    return this.supervise !== undefined;
  }

  /** A daemon is there and wants to be brought back. */
  watch(supervise: Supervise): void {
    this.timer?.clear();
    this.timer = undefined;
    this.supervise = supervise;
    this.since = this.io.now();
  }

  /** The daemon's connection ended, or one that was started did not come. */
  lost(): void {
    if (this.supervise === undefined || this.timer !== undefined) return;
    this.wait = nextWait(DAEMON_BACKOFF, this.wait, this.io.now() - this.since);
    this.io.log(`the daemon is gone; starting it again in ${this.wait} ms`);
    this.timer = this.io.setTimer(() => {
      this.timer = undefined;
      if (this.supervise === undefined) return;
      this.since = this.io.now();
      try {
        this.io.start(this.supervise);
      } catch (error) {
        this.io.log(`the daemon cannot be started: ${(error as Error).message}`);
      }
      // Until it reports by `supervise`, it counts as gone: `watch` ends this.
      this.lost();
    }, this.wait);
  }

  forget(): void {
    this.timer?.clear();
    this.timer = undefined;
    this.supervise = undefined;
    this.wait = 0;
  }
}

export function realIo(log: (message: string) => void): SupervisorIo {
  return {
    start({ command, env, log: file }) {
      const fd = fs.openSync(file, "a", 0o600);
      try {
        const child = spawn(command[0], command.slice(1), {
          cwd: "/",
          env: { ...env },
          detached: true,
          stdio: ["ignore", fd, fd],
        });
        child.on("error", (error) => log(`the daemon cannot be started: ${error.message}`));
        child.unref();
      } finally {
        fs.closeSync(fd);
      }
    },
    now: Date.now,
    setTimer(run, ms) {
      const timer = setTimeout(run, ms);
      return { clear: () => clearTimeout(timer) };
    },
    log,
  };
}
