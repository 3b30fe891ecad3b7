/** One app's process: started, watched, started again, and stopped with everything that came from it. */
import { type ChildProcess, spawn } from "node:child_process";
import * as fs from "node:fs";
import * as net from "node:net";
import { PassThrough, type Readable } from "node:stream";
import { WarrenError } from "../errors";
import { libcIfAny } from "../native/libc";
import { type Account, findAccount } from "./account";
import type { AppSandbox } from "./app-sandbox";
import { APP_BACKOFF, nextWait } from "./backoff";
import { explainStart } from "./diagnose";
import { type LaunchCommand, launchCommand } from "./launch-command";
import { LogFile, Tail } from "./log-file";
import type { ProcessSpec, ProcessState } from "./protocol";
import { killAll, signal } from "./strays";

/** Milliseconds until a start counts as `running`. */
const STARTING = 1000;
/** Milliseconds for output that is still on its way after the end of a process. */
const DRAIN = 1000;
/** Exit codes of the programs between keeper and command: env(1) cannot change folder, execute, find; setpriv(1) refuses. */
const START_FAILURES = new Set([1, 125, 126, 127]);
/** How those programs begin what they say. */
const START_MESSAGE = /^\S*(env|setpriv): /;

interface Run {
  readonly child: ChildProcess;
  readonly account: Account;
  readonly started: number;
  readonly tail: Tail;
  readonly output: Readable;
  /** Bytes of output so far. */
  bytes: number;
}

export class App {
  private current: ProcessState;
  private run: Run | undefined;
  /** Restart, or end of `starting`. */
  private timer: NodeJS.Timeout | undefined;
  private wait = 0;
  private restarts = 0;
  private stopping = false;
  private ended: Promise<void> = Promise.resolve();
  private readonly log: LogFile;

  constructor(
    private readonly sandbox: AppSandbox,
    readonly spec: ProcessSpec,
    private readonly onChange: (state: ProcessState) => void,
    warn: (message: string) => void,
  ) {
    this.log = new LogFile(spec.log, spec.logBytes, warn);
    this.current = { state: "starting", since: Date.now(), restarts: 0 };
  }

  get state(): ProcessState {
    return this.current;
  }

  start(): void {
    let run: Run;
    try {
      run = this.spawn();
    } catch (error) {
      // Too many processes or descriptors passes; an account that does not exist does not.
      if (WarrenError.is(error)) this.change({ state: "failed", lastExit: error.message });
      else this.restartLater(`spawn ${(error as Error).message}`, 0);
      return;
    }
    this.run = run;
    this.change({ state: "starting", pid: run.child.pid, lastExit: this.current.lastExit, tail: this.current.tail });
    this.timer = setTimeout(() => this.change({ ...this.current, state: "running" }), STARTING);
    this.ended = new Promise((resolve) => {
      run.child.once("exit", (code, killedBy) => {
        void this.afterExit(run, code, killedBy).then(resolve);
      });
    });
  }

  /** SIGTERM to the process group, SIGKILL after `stopTimeout` to all that came from the app. Resolves when none is left. */
  async stop(): Promise<void> {
    this.stopping = true;
    clearTimeout(this.timer);
    const { run } = this;
    const leader = run?.child.pid;
    if (run && leader !== undefined) {
      if (run.child.exitCode === null && run.child.signalCode === null) signal(-leader, "SIGTERM");
      const end = Date.now() + this.spec.stopTimeout;
      for (
        let pause = 5;
        this.sandbox.offspring(leader).length > 0 && Date.now() < end;
        pause = Math.min(pause * 2, 50)
      )
        await new Promise((resolve) => setTimeout(resolve, pause));
      const left = await killAll(() => this.sandbox.offspring(leader));
      if (left.length > 0)
        throw new WarrenError(
          "WARREN_INTERNAL",
          `Processes ${left.join(", ")} of ${this.spec.sandbox} cannot be killed.`,
        );
      await this.ended;
    }
    this.log.close();
    if (this.current.state !== "failed")
      this.change({ state: "exited", lastExit: this.current.lastExit, tail: this.current.tail });
  }

  private spawn(): Run {
    const { spec } = this;
    if (spec.command[0].includes("="))
      throw new WarrenError("WARREN_APP_FAILED", `command "${spec.command[0]}" may not contain "=".`, {
        path: "command",
      });
    const account = findAccount(spec.user);
    const command = launchCommand(this.sandbox, spec, account);
    const { child, output } = spawnWithOutput(command, this.sandbox.privileged ? account : undefined);
    const run: Run = { child, account, started: Date.now(), tail: new Tail(), output, bytes: 0 };
    output.on("data", (data: Buffer) => {
      run.bytes += data.length;
      run.tail.append(data);
      this.log.append(data);
    });
    output.on("error", () => output.destroy());
    if (child.pid === undefined) {
      output.destroy();
      child.on("error", () => {});
      if (command.direct)
        throw new WarrenError("WARREN_APP_FAILED", explainStart(spec, account, "the command cannot be started"));
      throw new Error("failed");
    }
    child.on("error", () => {});
    return run;
  }

  private async afterExit(run: Run, code: number | null, killedBy: NodeJS.Signals | null): Promise<void> {
    clearTimeout(this.timer);
    // Before `stop` has a right to: a leader that ends on SIGTERM may have children that are still at their clean-up.
    if (!this.stopping) await killAll(() => this.sandbox.offspring(run.child.pid!));
    await this.drained(run);
    const ran = Date.now() - run.started;
    const lastExit = code === null ? `signal ${killedBy}` : `exit code ${code}`;
    const tail = run.tail.text();
    this.run = this.stopping ? this.run : undefined;
    if (this.stopping) {
      this.current = { ...this.current, lastExit, tail };
    } else if (code !== null && START_FAILURES.has(code) && run.bytes < 1000 && START_MESSAGE.test(tail)) {
      this.change({ state: "failed", lastExit: explainStart(this.spec, run.account, tail), tail });
    } else if (this.spec.restart === "always" || (this.spec.restart === "on-failure" && code !== 0)) {
      this.restartLater(lastExit, ran, tail);
    } else {
      this.log.close();
      this.change({ state: "exited", lastExit, tail });
    }
  }

  /** Waits for the end of the output, which a process that left the sandbox could keep open for ever. */
  private async drained(run: Run): Promise<void> {
    if (!run.output.destroyed) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, this.stopping ? Math.max(DRAIN, this.spec.stopTimeout) : DRAIN);
        run.output.once("close", () => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
    run.output.destroy();
  }

  private restartLater(lastExit: string, ran: number, tail?: string): void {
    this.wait = nextWait(APP_BACKOFF, this.wait, ran);
    this.change({ state: "backoff", lastExit, tail });
    this.timer = setTimeout(() => {
      this.restarts++;
      this.start();
    }, this.wait);
  }

  private change(next: Pick<ProcessState, "state" | "pid" | "lastExit" | "tail">): void {
    const { state, pid, lastExit, tail } = next;
    this.current = {
      state,
      since: Date.now(),
      restarts: this.restarts,
      ...(pid === undefined ? {} : { pid }),
      ...(lastExit === undefined ? {} : { lastExit }),
      ...(tail === undefined ? {} : { tail }),
    };
    this.onChange(this.current);
  }
}

/** @param owner of the pipe that the output goes to, so that the app may open /dev/stdout. */
function spawnWithOutput(
  command: LaunchCommand,
  owner: Account | undefined,
): { child: ChildProcess; output: Readable } {
  const [file, ...args] = command.argv;
  const { cwd, env, uid, gid } = command;
  const options = { cwd, env, detached: true, ...(uid === undefined ? {} : { uid, gid }) };
  const c = libcIfAny();
  if (!c) {
    const child = spawn(file, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
    const output = new PassThrough();
    let open = 2;
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.on("data", (data) => output.write(data));
      stream.on("error", () => stream.destroy());
      stream.on("close", () => {
        if (--open === 0) output.end();
      });
    }
    output.on("close", () => {
      child.stdout!.destroy();
      child.stderr!.destroy();
    });
    return { child, output };
  }
  const [readEnd, writeEnd] = c.pipe();
  try {
    if (owner) fs.fchownSync(writeEnd, owner.uid, owner.gid);
    const child = spawn(file, args, { ...options, stdio: ["ignore", writeEnd, writeEnd] });
    return { child, output: new net.Socket({ fd: readEnd, readable: true, writable: false }) };
  } catch (error) {
    c.close(readEnd);
    throw error;
  } finally {
    c.close(writeEnd);
  }
}
