/** Brings the daemon back when it goes without a word. */
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import { DAEMON_BACKOFF, nextWait } from "./backoff";
import type { Supervise } from "./protocol";

export interface SupervisorIo {
  /** @param onEnd called once when the started process ends, or could not be started after all. */
  start(supervise: Supervise, onEnd: () => void): void;
  now(): number;
  setTimer(run: () => void, ms: number): { clear(): void };
  log(message: string): void;
}

export class Supervisor {
  private supervise: Supervise | undefined;
  private timer: { clear(): void } | undefined;
  private since = 0;
  private wait = 0;
  /** The start that has not reported yet. */
  private attempt = 0;

  constructor(private readonly io: SupervisorIo) {}

  /** Whether a daemon is wanted. */
  get active(): boolean {
    return this.supervise !== undefined;
  }

  /** A daemon is there and wants to be brought back. */
  watch(supervise: Supervise): void {
    this.timer?.clear();
    this.timer = undefined;
    this.attempt++;
    this.supervise = supervise;
    this.since = this.io.now();
  }

  /** The daemon's connection ended. */
  lost(): void {
    if (this.supervise === undefined || this.timer !== undefined) return;
    this.wait = nextWait(DAEMON_BACKOFF, this.wait, this.io.now() - this.since);
    this.io.log(`the daemon is gone; starting it again in ${this.wait} ms`);
    this.timer = this.io.setTimer(() => {
      this.timer = undefined;
      if (this.supervise === undefined) return;
      this.since = this.io.now();
      const attempt = ++this.attempt;
      // Once it has reported by `supervise`, the end of its connection says that it is gone.
      const onEnd = () => {
        if (attempt === this.attempt) this.lost();
      };
      try {
        this.io.start(this.supervise, onEnd);
      } catch (error) {
        this.io.log(`the daemon cannot be started: ${(error as Error).message}`);
        this.lost();
      }
    }, this.wait);
  }

  forget(): void {
    this.timer?.clear();
    this.timer = undefined;
    this.attempt++;
    this.supervise = undefined;
    this.wait = 0;
  }
}

export function realIo(log: (message: string) => void): SupervisorIo {
  return {
    start({ command, env, log: file }, onEnd) {
      const fd = fs.openSync(file, "a", 0o600);
      try {
        const child = spawn(command[0], command.slice(1), {
          cwd: "/",
          env: { ...env },
          detached: true,
          stdio: ["ignore", fd, fd],
        });
        child.on("error", (error) => {
          log(`the daemon cannot be started: ${error.message}`);
          onEnd();
        });
        child.on("exit", onEnd);
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
