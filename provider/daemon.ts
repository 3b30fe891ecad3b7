/** Finds the daemon of a state folder, and starts it where none runs. */
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { ErrorAnswer, HealthAnswer } from "../runtime/control/interface/types";
import { API_VERSION } from "../runtime/control/interface/version";
import { daemonEnvironment } from "../runtime/daemon-environment";
import { WarrenError, type WarrenErrorCode } from "../runtime/errors";
import { type Home, prepareHome, refuseForeignHome } from "../runtime/home";
import { VERSION } from "../runtime/version";
import { type ControlClient, socketClient } from "./client";

/** Milliseconds from the start of a daemon until it must answer. */
const START_TIMEOUT = 20_000;
const START_ATTEMPTS = 3;
/** Milliseconds that another daemon has to answer after ours ended; grows with each attempt. */
const EXIT_GRACE = 1_000;
/** Milliseconds between two looks at the socket of a daemon that is starting or ending. */
const POLL = 50;
/** Characters kept of what a daemon says on its standard error while it starts. */
const MOST_SAID = 16_384;

/** What this file asks of the machine; tests pass their own. */
export interface DaemonShell {
  version: string;
  spawnDaemon(home: Home): StartingDaemon;
  now(): number;
  sleep(ms: number): Promise<void>;
  connect(socketPath: string): ControlClient;
}

export interface StartingDaemon {
  exited(): boolean;
  /** All that it said on its standard error so far. */
  said(): string;
  /** From now on what it says is of no interest. */
  letGo(): void;
}

/**
 * A client of the daemon that serves this folder. Starts one where none answers, and takes the place of an older version
 * while its apps run on. Any number of processes may do this at once: the daemon's own lock lets one live.
 * @throws WarrenError WARREN_PERMISSION (daemon or folder of another user), WARREN_VERSION, WARREN_CONTROL_UNREACHABLE, and what
 *   keeps the daemon from starting, with its own code and sentence.
 */
export async function ensureDaemon(home: Home, shell: DaemonShell = realShell): Promise<ControlClient> {
  refuseForeignHome(home);
  const client = shell.connect(home.controlSocket);
  try {
    let health = await tryHealth(client);
    if (health && isOlder(health.version, shell.version)) {
      const { pid } = health;
      await client.shutdown("keep").catch(ignoreUnreachable);
      await until(shell, START_TIMEOUT, async () => {
        const now = await tryHealth(client);
        return now === undefined || now.pid !== pid;
      });
      health = undefined;
    }
    if (!health) {
      prepareHome(home);
      health = await start(home, client, shell);
    }
    if (health.apiVersion !== API_VERSION)
      throw new WarrenError(
        "WARREN_VERSION",
        `The daemon that runs in ${home.dir} is version ${health.version} and speaks another control interface ` +
          `(${health.apiVersion}) than pulumi-warren ${shell.version} (${API_VERSION}): update pulumi-warren in this project.`,
      );
    return client;
  } catch (error) {
    await client.close();
    throw error;
  }
}

/** Like ensureDaemon where a registry exists on disk; undefined where there is none, and then nothing is started or made. */
export async function peekDaemon(home: Home, shell: DaemonShell = realShell): Promise<ControlClient | undefined> {
  try {
    fs.statSync(home.registry);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw new WarrenError(
      "WARREN_PERMISSION",
      `The state folder ${home.dir} cannot be read (${(error as Error).message}): run as its owner, or set WARREN_HOME to a folder of your own.`,
      { path: "WARREN_HOME", cause: error },
    );
  }
  return ensureDaemon(home, shell);
}

async function start(home: Home, client: ControlClient, shell: DaemonShell): Promise<HealthAnswer> {
  const deadline = shell.now() + START_TIMEOUT;
  // A daemon that ends at once may have met the lock of one that was just leaving: try again, but not for ever.
  for (let attempt = 1; attempt <= START_ATTEMPTS; attempt++) {
    const daemon = shell.spawnDaemon(home);
    try {
      let graceEnd = Number.POSITIVE_INFINITY;
      while (shell.now() < deadline && shell.now() < graceEnd) {
        const health = await tryHealth(client);
        if (health) return health;
        if (daemon.exited()) {
          const reason = reasonIn(daemon.said());
          if (reason) throw reason;
          if (graceEnd === Number.POSITIVE_INFINITY) graceEnd = shell.now() + EXIT_GRACE * attempt;
        }
        await shell.sleep(POLL);
      }
    } finally {
      daemon.letGo();
    }
  }
  throw new WarrenError(
    "WARREN_CONTROL_UNREACHABLE",
    `The Warren daemon in ${home.dir} did not start.${lastLines(home.daemonLog)}`,
  );
}

/** undefined where nothing listens (no socket, or one that its daemon left behind). */
async function tryHealth(client: ControlClient): Promise<HealthAnswer | undefined> {
  try {
    return await client.health();
  } catch (error) {
    if (WarrenError.is(error) && error.code === "WARREN_CONTROL_UNREACHABLE") return undefined;
    throw error;
  }
}

async function until(shell: DaemonShell, timeout: number, done: () => Promise<boolean>): Promise<void> {
  const deadline = shell.now() + timeout;
  while (shell.now() < deadline) {
    if (await done()) return;
    await shell.sleep(POLL);
  }
}

function ignoreUnreachable(error: unknown): void {
  if (!(WarrenError.is(error) && error.code === "WARREN_CONTROL_UNREACHABLE")) throw error;
}

/** Why a daemon ended, from its last words; undefined where it gave no reason that concerns anybody but itself. */
function reasonIn(said: string): WarrenError | undefined {
  try {
    const { error } = JSON.parse(said.trimEnd().split("\n").at(-1)!) as ErrorAnswer;
    if (!error.code.startsWith("WARREN_") || error.code === "WARREN_INTERNAL") return undefined;
    return new WarrenError(error.code as WarrenErrorCode, error.message, { path: error.path });
  } catch {
    return undefined;
  }
}

/** The end of the daemon's log, for a person who must find out why it does not start. */
function lastLines(file: string, count = 5): string {
  try {
    const lines = fs.readFileSync(file, "utf8").trimEnd().split("\n").slice(-count);
    return ` The end of ${file}:\n${lines.join("\n")}`;
  } catch {
    return ` It left no log in ${file}: try "warren serve" by hand.`;
  }
}

/** True when version a is older than b: numbers by value, a pre-release before its release. */
export function isOlder(a: string, b: string): boolean {
  const parse = (v: string) => {
    const [core, ...pre] = v.split("+")[0].split("-");
    return { numbers: core.split(".").map(Number), pre: pre.join("-") };
  };
  const x = parse(a);
  const y = parse(b);
  for (let i = 0; i < 3; i++) {
    const d = (x.numbers[i] || 0) - (y.numbers[i] || 0);
    if (d !== 0) return d < 0;
  }
  if (x.pre === y.pre) return false;
  if (x.pre === "" || y.pre === "") return y.pre === "";
  return x.pre.localeCompare(y.pre, "en", { numeric: true }) < 0;
}

const realShell: DaemonShell = {
  version: VERSION,
  now: Date.now,
  sleep: (ms) => sleep(ms),
  connect: socketClient,
  spawnDaemon(home) {
    // An inherited pipe would hang `pulumi up` until the daemon ends, an inherited folder would pin a mount. The pipe here is our own.
    const child = spawn(process.execPath, [daemonProgram(), "serve", "--json"], {
      detached: true,
      stdio: ["ignore", "ignore", "pipe"],
      cwd: "/",
      env: daemonEnvironment(home.dir),
    });
    let exited = false;
    let said = "";
    // "close" comes after the last of what it said.
    for (const event of ["close", "error"]) child.on(event, () => (exited = true));
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      said = (said + text).slice(-MOST_SAID);
    });
    child.unref();
    return { exited: () => exited, said: () => said, letGo: () => child.stderr.destroy() };
  },
};

/** The program `warren` of this package: beside this file in dist/, or in dist/ when this runs from the sources. */
function daemonProgram(): string {
  for (let dir = __dirname; dir !== path.dirname(dir); dir = path.dirname(dir)) {
    if (!fs.existsSync(path.join(dir, "package.json"))) continue;
    const program = path.join(dir, "dist", "cli", "warren.js");
    if (fs.existsSync(program)) return program;
    break;
  }
  throw new WarrenError(
    "WARREN_INTERNAL",
    'The program dist/cli/warren.js of pulumi-warren is missing: run "npm run build" in a clone, or install the package again.',
  );
}
