import { type ChildProcess, spawn } from "node:child_process";
import { StringDecoder } from "node:string_decoder";

/** How often a child looks whether the engine still lives, in ms. */
const WATCH_MS = 500;
/** How long a child may take to end when it is told to, in ms; Pulumi's own figure. */
const STOP_MS = 5_000;

/**
 * Run in each child before anything else. The child ends when the engine is gone, so that a killed engine leaves no
 * process behind; threads and grandchildren inherit the argument and are left alone. Errors are never coloured: the
 * SDK asks for it when a program throws, and Node 20's `inspect` then loops for ever on a stack line whose path has one
 * part after `node_modules`.
 */
function preload(enginePid: number): string {
  const source = `
    import util from "node:util";
    import { isMainThread } from "node:worker_threads";
    util.inspect = new Proxy(util.inspect, {
      apply: (inspect, self, [value, options, ...rest]) =>
        value instanceof Error && options?.colors === true
          ? inspect.call(self, value, { ...options, colors: false })
          : inspect.call(self, value, options, ...rest),
    });
    if (isMainThread && process.ppid === ${enginePid}) {
      setInterval(() => { if (process.ppid !== ${enginePid}) process.exit(1); }, ${WATCH_MS}).unref();
    }`;
  return `data:text/javascript,${encodeURIComponent(source)}`;
}

export interface NodeChildOptions {
  script: string;
  nodeArgs?: string[];
  args: string[];
  cwd: string;
  env: NodeJS.ProcessEnv;
  onLine(stream: "stdout" | "stderr", line: string): void;
}

export interface ExitStatus {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** A Node process of our own, whose output comes line by line. */
export class NodeChild {
  readonly #child: ChildProcess;
  /** Resolves when the process has ended and all of its output was delivered. */
  readonly exited: Promise<ExitStatus>;
  #ended = false;

  constructor(options: NodeChildOptions) {
    // Its own process group: Ctrl-C in a terminal reaches the engine alone, which lets running operations finish.
    this.#child = spawn(
      process.execPath,
      ["--import", preload(process.pid), ...(options.nodeArgs ?? []), options.script, ...options.args],
      { cwd: options.cwd, env: options.env, stdio: ["ignore", "pipe", "pipe"], detached: true },
    );
    this.exited = new Promise((resolve, reject) => {
      this.#child.once("error", reject);
      this.#child.once("close", (code, signal) => {
        this.#ended = true;
        resolve({ code, signal });
      });
    });
    // Whoever needs the result awaits `exited`; a failed start must not end the engine before that.
    this.exited.catch(() => {});
    for (const stream of ["stdout", "stderr"] as const) {
      splitLines(this.#child[stream]!, (line) => options.onLine(stream, line));
    }
  }

  /** Asks the process to end, and after a while makes it; resolves when it has. */
  async stop(): Promise<void> {
    if (this.#ended) return;
    this.#child.kill("SIGTERM");
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), STOP_MS);
    // A grandchild that keeps the pipes open must not keep the engine.
    const gone = new Promise<void>((resolve) => this.#child.once("exit", () => resolve()));
    if (this.#child.exitCode === null && this.#child.signalCode === null) await Promise.race([gone, this.exited]);
    clearTimeout(timer);
    this.#child.stdout?.destroy();
    this.#child.stderr?.destroy();
  }
}

function splitLines(stream: NodeJS.ReadableStream, onLine: (line: string) => void): void {
  const decoder = new StringDecoder("utf8");
  let rest = "";
  stream.on("data", (chunk: Buffer) => {
    const lines = (rest + decoder.write(chunk)).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) onLine(line.replace(/\r$/, ""));
  });
  stream.on("end", () => {
    if (rest !== "") onLine(rest);
    rest = "";
  });
}
