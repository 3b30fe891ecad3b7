/** `warren serve`: control, agent and data plane of this machine in one process. Order of start and end; the parts do the work. */
import * as fs from "node:fs";
import * as path from "node:path";
import { Agent } from "./agent/agent";
import { KeeperLink } from "./agent/keeper-link";
import { thisMachine } from "./agent/machine";
import { serveNames } from "./agent/names";
import { View } from "./agent/view";
import { type Control, createControl } from "./control";
import { DataPlane } from "./dataplane/dataplane";
import { WarrenError } from "./errors";
import { type Home, home as homeOf, prepareHome } from "./home";
import { checkTunLink } from "./keeper/capabilities";
import { type Lock, takeLock } from "./lock";
import { fileLog, type Log } from "./log";
import { closeInherited } from "./native/inherited";
import { VERSION } from "./version";

/** Milliseconds that a daemon waits for another one that is on its way out. */
const LOCK_WAIT = 5000;
/** Milliseconds that an empty registry is kept before everything ends and goes. */
const IDLE = 15_000;
/** Milliseconds between looks at the registry for that. */
const IDLE_POLL = 1000;
/** What the keeper gives a daemon that it brings back. */
const ENVIRONMENT = ["WARREN_LINK", "WARREN_AEAD", "PATH", "HOME", "LANG", "TMPDIR", "XDG_RUNTIME_DIR"];

export interface ServeOptions {
  /** Goes on although the registry is empty: a service manager would only start it again. */
  readonly stay: boolean;
}

type End = "keep" | "stop" | "empty";

/** Resolves when the daemon has ended; at once where another one serves this folder. */
export async function serve(options: ServeOptions): Promise<void> {
  // A hook's pipes, kept open by a daemon that outlives it, would hang whoever reads them.
  closeInherited();
  const home = homeOf();
  prepareHome(home);
  const log = fileLog(home.daemonLog);
  const lock = await takeLock(home.lock, LOCK_WAIT);
  if (!lock) {
    log("info", "another daemon serves this folder", { pid: process.pid });
    return;
  }
  try {
    await run(home, options, log, lock);
  } catch (error) {
    log("error", (error as Error).message, { code: (error as WarrenError).code, stack: (error as Error).stack });
    throw error;
  }
}

async function run(home: Home, options: ServeOptions, log: Log, lock: Lock): Promise<void> {
  log("info", "daemon", { version: VERSION, pid: process.pid, node: process.version });
  crashOnly(log);
  checkLinkSetting();
  let end: (how: End) => void = () => undefined;
  const ended = new Promise<End>((resolve) => {
    end = resolve;
  });
  const control = createControl({
    home,
    onShutdown: (apps) => end(apps),
    onError: (error) => log("error", (error as Error).message, { stack: (error as Error).stack }),
  });
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, () => end("keep"));
  await control.listen();
  let agent: Agent | undefined;
  const keeper = new KeeperLink({
    home,
    supervise: {
      command: [process.execPath, program(), "serve", ...(options.stay ? ["--stay"] : [])],
      env: environment(home),
      log: home.daemonLog,
    },
    log,
    onProcess: (sandbox, state) => agent?.onProcess(sandbox, state),
    onLost: () => agent?.wake(),
  });
  await checkTunLink();
  const dataplane = await DataPlane.start({ keeperSocket: home.keeperSocket, log: (message) => log("info", message) });
  dataplane.onEvent((event) => {
    if (event.type === "failed") throw new WarrenError("WARREN_INTERNAL", `The data plane ended: ${event.reason}`);
  });
  const machine = thisMachine(home);
  agent = new Agent({
    source: control.desired,
    keeper,
    dataplane,
    machine,
    endpointsFile: home.endpoints,
    log,
  });
  const closeNames = serveNames(dataplane, control.desired, agent);
  agent.start();
  control.attachAgent(new View(agent, control.desired, dataplane, machine));
  if (!options.stay) watchEmpty(control, () => end("empty"));

  const how = await ended;
  log("info", "ending", { how });
  await agent.stop();
  closeNames();
  await keeper.goodbye(how === "keep" ? "keep" : "stop");
  await dataplane.stop();
  // Asked once more with the lock held: a hook may have declared something meanwhile.
  const empty = how === "empty" && control.isEmpty();
  await control.close();
  if (empty) removeState(home);
  lock.release({ remove: empty });
  if (empty) removeFolders(home);
  process.exit(0);
}

/** A daemon in an unknown state is worse than none: the keeper brings it back within a second. */
function crashOnly(log: Log): void {
  const crash = (error: unknown) => {
    log("error", `crash: ${(error as Error)?.message ?? error}`, { stack: (error as Error)?.stack });
    process.exit(1);
  };
  process.on("uncaughtException", crash);
  process.on("unhandledRejection", crash);
}

function checkLinkSetting(): void {
  const wanted = process.env.WARREN_LINK;
  if (wanted === undefined || wanted === "" || wanted === "tun") return;
  throw new WarrenError(
    wanted === "userspace" ? "WARREN_UNSUPPORTED" : "WARREN_INVALID_INPUT",
    wanted === "userspace"
      ? 'WARREN_LINK=userspace is not supported yet: unset it to use the link "tun".'
      : `WARREN_LINK=${wanted} is unknown: unset it, or set it to tun.`,
    { path: "WARREN_LINK" },
  );
}

function watchEmpty(control: Control, onEmpty: () => void): void {
  let since: number | undefined;
  const timer = setInterval(() => {
    if (!control.isEmpty()) since = undefined;
    else {
      since ??= Date.now();
      if (Date.now() - since >= IDLE) {
        clearInterval(timer);
        onEmpty();
      }
    }
  }, IDLE_POLL);
}

/** Nothing is declared any more: what the daemon wrote goes; what others put into the folder stays. */
function removeState(home: Home): void {
  const logs = [home.daemonLog, home.keeperLog].flatMap((file) => [file, `${file}.1`]);
  for (const file of [
    ...logs,
    home.registry,
    `${home.registry}-wal`,
    `${home.registry}-shm`,
    home.endpoints,
    home.controlSocket,
    home.keeperSocket,
    // Its keeper has gone, and only a daemon starts another.
    path.join(home.dir, "keeper.lock"),
  ])
    fs.rmSync(file, { force: true });
  for (const dir of [home.logs, home.sources]) fs.rmSync(dir, { recursive: true, force: true });
}

function removeFolders(home: Home): void {
  for (const dir of [home.dir, path.dirname(home.controlSocket)]) {
    try {
      fs.rmdirSync(dir);
    } catch {
      // Not empty: somebody else's files.
    }
  }
}

function environment(home: Home): Record<string, string> {
  const env: Record<string, string> = { WARREN_HOME: home.dir };
  for (const name of ENVIRONMENT) if (process.env[name] !== undefined) env[name] = process.env[name];
  return env;
}

/** The file that this process was started with: `dist/cli/warren.js`. */
function program(): string {
  return fs.realpathSync(process.argv[1] as string);
}
