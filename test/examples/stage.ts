/** An example on a stage of its own: a copy of its folder, a state folder, and the program `warren` as a person would run it. */
import * as fs from "node:fs";
import * as path from "node:path";
import type { Summary } from "../../engine";
import type { Namespace } from "../support/namespace";
import { findProgram } from "../support/needs";
import { type RunOptions, type RunResult, run } from "../support/process";
import { ROOT } from "../support/repo";
import type { Scratch } from "../support/scratch";
import { waitFor } from "../support/wait";
import { AS_NOBODY, NOBODY, WITH_NOTHING } from "../support/without";

const WARREN = path.join(ROOT, "dist", "cli", "warren.js");
/** Milliseconds: a Pulumi program in TypeScript is compiled at each operation, on a machine that may be busy. */
const OPERATION_TIMEOUT = 120_000;

export interface StageOptions {
  /** Daemon, apps and commands live in this network namespace. @default the machine's own */
  readonly within?: Namespace;
  /** As the account nobody; `with-nothing`: also without capabilities, koffi and /dev/net/tun. @default as who runs the tests */
  readonly unprivileged?: boolean | "with-nothing";
  readonly env?: Readonly<Record<string, string>>;
}

/** One state folder with its daemon, and copies of examples. */
export class Stage {
  readonly home: string;
  private readonly dir: string;

  constructor(
    readonly scratch: Scratch,
    readonly options: StageOptions = {},
  ) {
    this.dir = scratch.file(`stage${Math.random().toString(36).slice(2, 6)}`);
    fs.mkdirSync(this.dir, { mode: 0o711 });
    this.home = path.join(this.dir, "warren");
    if (options.unprivileged) fs.chownSync(this.dir, NOBODY, NOBODY);
    scratch.defer(() => this.end());
  }

  /** A copy that still resolves this repository's packages: tests and a demo may run side by side, and tests edit programs. */
  copy(example: string): string {
    const to = path.join(this.dir, path.basename(example));
    const left = new Set(["node_modules", "build"]);
    fs.cpSync(path.join(ROOT, "examples", example), to, {
      recursive: true,
      filter: (file) => !left.has(path.basename(file)),
    });
    return this.adopt(to);
  }

  /** A program of the test's own, in JavaScript; `pulumi` and `warren` are at hand. */
  program(name: string, body: string, files: Readonly<Record<string, string>> = {}): string {
    const dir = path.join(this.dir, name);
    fs.mkdirSync(dir, { recursive: true });
    const head = `const pulumi = require("@pulumi/pulumi");\nconst warren = require("pulumi-warren");\n`;
    const all = {
      "Pulumi.yaml": `name: ${name}\nruntime: nodejs\n`,
      "package.json": JSON.stringify({ name, private: true, main: "index.js" }),
      "index.js": `${head}${body}\n`,
      ...files,
    };
    for (const [file, text] of Object.entries(all)) fs.writeFileSync(path.join(dir, file), text);
    return fs.existsSync(path.join(dir, "node_modules")) ? dir : this.adopt(dir);
  }

  private adopt(dir: string): string {
    if (this.options.unprivileged)
      for (const file of ["", ...(fs.readdirSync(dir, { recursive: true }) as string[])])
        fs.chownSync(path.join(dir, file), NOBODY, NOBODY);
    fs.symlinkSync(path.join(ROOT, "node_modules"), path.join(dir, "node_modules"));
    return dir;
  }

  warren(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    return this.run([process.execPath, WARREN, ...args], options);
  }

  /** Any command, as this stage's account and with its environment. */
  run(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    const { unprivileged } = this.options;
    const through = unprivileged === "with-nothing" ? WITH_NOTHING : unprivileged ? AS_NOBODY : [];
    const env = {
      ...this.scratch.env,
      WARREN_HOME: this.home,
      ...(unprivileged ? { HOME: this.dir, XDG_RUNTIME_DIR: "" } : {}),
      ...this.options.env,
      ...options.env,
    };
    const all = { timeout: OPERATION_TIMEOUT, ...options, env };
    const whole = [...through, ...argv];
    return this.options.within ? this.options.within.run(whole, all) : run(whole, all);
  }

  /** An operation on a stack, and what it came to. */
  async stack(
    operation: "preview" | "up" | "refresh" | "destroy",
    dir: string,
    ...flags: string[]
  ): Promise<Pick<Summary, "counts" | "outputs">> {
    const { stdout } = await this.warren([operation, dir, "--json", ...flags]);
    return JSON.parse(stdout);
  }

  async output(dir: string, name: string): Promise<string> {
    const { stdout } = await this.warren(["output", dir, name, "--show-secrets"]);
    return stdout;
  }

  async json<T>(...args: string[]): Promise<T> {
    return JSON.parse((await this.warren([...args, "--json"])).stdout);
  }

  /** What an app hears when it asks a URL; tried again while the way is not there yet. */
  curlFrom(app: string, url: string, timeout = 15_000): Promise<string> {
    const argv = ["exec", app, "--", "curl", "-sS", "--fail", "--max-time", "5", url];
    return waitFor(`${app} asking ${url}`, async () => (await this.warren(argv)).stdout, { timeout });
  }

  /** Process ids of the daemon. */
  async daemonPid(): Promise<number> {
    return (await this.json<{ pid: number }>("status")).pid;
  }

  /** Processes that live in this state folder: daemon, keeper, helpers, apps. */
  processes(): string[] {
    return fs
      .readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
      .flatMap((pid) => {
        try {
          const environ = fs.readFileSync(`/proc/${pid}/environ`, "latin1");
          const command = fs.readFileSync(`/proc/${pid}/cmdline`, "latin1").replaceAll("\0", " ");
          return `${environ}${command}`.includes(this.dir) ? [`${pid} ${command}`] : [];
        } catch {
          return []; // Ended meanwhile.
        }
      });
  }

  private async end(): Promise<void> {
    if (!fs.existsSync(this.home)) return;
    await this.warren(["serve", "--stop"], { timeout: 40_000 });
    await waitFor("the end of all processes of the stage", () => this.processes().length === 0).catch((error) => {
      throw new Error(`${error.message}\n${this.processes().join("\n")}`);
    });
  }
}

/** A PATH with all that Warren uses, and no Go. */
export function pathWithoutGo(scratch: Scratch): string {
  const tools = scratch.file("tools");
  fs.mkdirSync(tools);
  for (const name of ["sh", "env", "ip", "unshare", "nsenter", "setpriv", "curl"]) {
    const program = findProgram(name);
    if (program) fs.symlinkSync(program, path.join(tools, name));
  }
  fs.symlinkSync(process.execPath, path.join(tools, "node"));
  return tools;
}

/** Plain values of a stack's outputs. */
export function values(summary: Pick<Summary, "outputs">): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(summary.outputs).map(([name, output]) => [name, output.unknown ? undefined : output.value]),
  );
}

/** What an operation that changed nothing counts. */
export const NOTHING = { create: 0, update: 0, replace: 0, delete: 0 };

export function edit(file: string, from: string | RegExp, to: string): void {
  const text = fs.readFileSync(file, "utf8");
  const edited = text.replace(from, to);
  if (edited === text) throw new Error(`${from} is not in ${file}`);
  fs.writeFileSync(file, edited);
}
