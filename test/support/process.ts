/** Processes with a time limit, captured output, and a certain end. */
import { type ChildProcess, spawn } from "node:child_process";
import type { Scratch } from "./scratch";
import { waitFor } from "./wait";

export interface RunOptions {
  /** Milliseconds. @default 20000 */
  readonly timeout?: number;
  readonly input?: string;
  readonly cwd?: string;
  /** Added to this process's environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** True: a non-zero exit is an answer, not an error. */
  readonly mayFail?: boolean;
}

export interface RunResult {
  /** -1: ended by a signal. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** @throws Error with the command's output when it fails, or does not end in time */
export function run(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const timeout = options.timeout ?? 20_000;
  return new Promise((resolve, reject) => {
    const child = spawn(argv[0], argv.slice(1), {
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      stdio: ["pipe", "pipe", "pipe"],
      detached: true,
    });
    let stdout = "";
    let stderr = "";
    let timedOut = false;
    child.stdout.setEncoding("utf8").on("data", (text) => {
      stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text) => {
      stderr += text;
    });
    child.stdin.on("error", () => {}); // A command that reads no input may close it first.
    child.stdin.end(options.input ?? "");
    const timer = setTimeout(() => {
      timedOut = true;
      killGroup(child, "SIGKILL");
    }, timeout);
    child.once("error", (error) => {
      clearTimeout(timer);
      reject(new Error(`${argv.join(" ")}: ${error.message}`, { cause: error }));
    });
    child.once("close", (code) => {
      clearTimeout(timer);
      const said = `\n${stdout}${stderr}`.trimEnd();
      if (timedOut) reject(new Error(`${argv.join(" ")}: not done within ${timeout / 1000} s${said}`));
      else if (code !== 0 && !options.mayFail) reject(new Error(`${argv.join(" ")}: exit code ${code}${said}`));
      else resolve({ code: code ?? -1, stdout, stderr });
    });
  });
}

export interface ProgramOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Milliseconds between SIGTERM and SIGKILL. @default 3000 */
  readonly stopTimeout?: number;
}

/** A long-running process in a process group of its own, stopped at the latest when its scratch is disposed. */
export class Program {
  readonly pid: number;
  stdout = "";
  stderr = "";
  /** Set once it has ended: `exit code 3`, `signal SIGKILL`. */
  ended: string | undefined;
  private readonly onEnd: Promise<void>;

  private constructor(
    readonly argv: readonly string[],
    readonly child: ChildProcess,
    private readonly stopTimeout: number,
  ) {
    this.pid = child.pid!;
    child.stdout!.setEncoding("utf8").on("data", (text) => {
      this.stdout += text;
    });
    child.stderr!.setEncoding("utf8").on("data", (text) => {
      this.stderr += text;
    });
    child.stdin!.on("error", () => {}); // Its end is told by `ended`.
    this.onEnd = new Promise((resolve) => {
      child.once("exit", (code, signal) => {
        this.ended = signal ? `signal ${signal}` : `exit code ${code}`;
        resolve();
      });
    });
  }

  static async start(scratch: Scratch, argv: readonly string[], options: ProgramOptions = {}): Promise<Program> {
    const child = spawn(argv[0], argv.slice(1), {
      cwd: options.cwd,
      env: { ...process.env, ...scratch.env, ...options.env },
      stdio: ["pipe", "pipe", "pipe"],
      detached: true,
    });
    await new Promise<void>((resolve, reject) => {
      child.once("spawn", resolve);
      child.once("error", (error) => reject(new Error(`${argv.join(" ")}: ${error.message}`, { cause: error })));
    });
    const program = new Program(argv, child, options.stopTimeout ?? 3000);
    scratch.defer(() => program.stop());
    return program;
  }

  /** All it said, for error messages. */
  get output(): string {
    return `${this.argv.join(" ")}${this.ended ? ` (${this.ended})` : ""}\n${this.stdout}${this.stderr}`;
  }

  signal(signal: NodeJS.Signals): void {
    if (this.ended === undefined) this.child.kill(signal);
  }

  /** SIGTERM, then SIGKILL, to its whole process group; done when it is gone. */
  async stop(): Promise<void> {
    if (this.ended === undefined) {
      killGroup(this.child, "SIGTERM");
      const timer = setTimeout(() => killGroup(this.child, "SIGKILL"), this.stopTimeout);
      await this.onEnd;
      clearTimeout(timer);
    }
    killGroup(this.child, "SIGKILL"); // What it started may have stayed behind.
  }

  async kill(): Promise<void> {
    killGroup(this.child, "SIGKILL");
    await this.onEnd;
  }

  exited(timeout = 10_000): Promise<string> {
    return waitFor(`the end of ${this.argv.join(" ")}`, () => this.ended, { timeout });
  }

  /** Waits until its standard output has matched; fails at once when it ends before. */
  async said(pattern: RegExp, timeout = 10_000): Promise<RegExpExecArray> {
    const found = await waitFor(
      `${pattern} in the output of ${this.argv.join(" ")}`,
      () => pattern.exec(this.stdout) ?? (this.ended !== undefined ? "ended" : undefined),
      { timeout },
    ).catch((error) => {
      throw new Error(`${error.message}\n${this.output}`);
    });
    if (found === "ended") throw new Error(`ended without ${pattern}: ${this.output}`);
    return found as RegExpExecArray;
  }
}

function killGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
