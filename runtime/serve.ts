/** `warren serve`: control, agent and data plane of this machine in one process. Order of start and end; the parts do the work. */
import * as fs from "node:fs";
import * as net from "node:net";
import * as path from "node:path";
import { Agent } from "./agent/agent";
import { measureRoundTrips } from "./agent/distance";
import { KeeperLink } from "./agent/keeper-link";
import { LINK_SETTING, LinkChoice, parseLinkSetting } from "./agent/link-choice";
import { thisMachine, writePreload } from "./agent/machine";
import { type NameService, serveNames } from "./agent/names";
import { Plugs } from "./agent/plugs";
import { Reach } from "./agent/reach";
import { View } from "./agent/view";
import { type Control, createControl } from "./control";
import { daemonEnvironment } from "./daemon-environment";
import { startDataPlane } from "./dataplane/api";
import { WarrenError } from "./errors";
import { type Home, home as homeOf, prepareHome } from "./home";
import { checkTunLink } from "./keeper/capabilities";
import { type Lock, takeLock } from "./lock";
import { fileLog, type Log } from "./log";
import { closeInherited } from "./native/inherited";
import { GatewaySockets } from "./uapi/gateway-sockets";
import { EGRESS_SETTING, parseEgressAllow, Userspace } from "./userspace";
import { VERSION } from "./version";

/** Milliseconds that a daemon waits for another one that is on its way out. */
const LOCK_WAIT = 5000;
/** Milliseconds without a network and without a question, after which everything ends and goes; WARREN_IDLE_SECONDS says otherwise. */
const IDLE = 15_000;
/** Milliseconds between looks at the registry for that. */
const IDLE_POLL = 1000;

export interface ServeOptions {
  /** Goes on although the registry is empty: a service manager would only start it again. */
  readonly stay: boolean;
}

type End = "keep" | "stop" | "empty";

/** Resolves when the daemon has ended; at once where another one serves this folder. */
export async function serve(options: ServeOptions): Promise<void> {
  // A hook's pipes, kept open by a daemon that outlives it, would hang whoever reads them.
  closeInherited();
  // Standard error tells whoever started the daemon why it cannot start; nobody reads it later.
  process.stderr.on("error", () => undefined);
  const home = homeOf();
  prepareHome(home);
  const log = fileLog(home.daemonLog);
  // One that waited for a daemon that serves would come to life when that is told to end.
  const lock = await takeLock(home.lock, LOCK_WAIT, () => answers(home.controlSocket));
  if (!lock) {
    log("info", "another daemon serves this folder", { pid: process.pid });
    return;
  }
  try {
    await run(home, options, log, lock);
  } catch (error) {
    log("error", (error as Error).message, { code: (error as WarrenError).code, stack: (error as Error).stack });
    // Nothing that has started by now may keep a process alive that serves nobody.
    setImmediate(() => process.exit(1));
    throw error;
  }
}

async function run(home: Home, options: ServeOptions, log: Log, lock: Lock): Promise<void> {
  log("info", "daemon", { version: VERSION, pid: process.pid, node: process.version });
  crashOnly(log);
  const links = new LinkChoice(parseLinkSetting(process.env[LINK_SETTING]), checkTunLink, (reason) =>
    log("warn", "link userspace", { reason }),
  );
  const egressAllow = parseEgressAllow(process.env[EGRESS_SETTING]);
  const idle = idleSetting();
  const ends = new Ends();
  const control = createControl({
    home,
    onShutdown: (apps) => ends.push(apps),
    onError: (error) => log("error", (error as Error).message, { stack: (error as Error).stack }),
  });
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, () => ends.push("keep"));
  let agent: Agent | undefined;
  const keeper = new KeeperLink({
    home,
    supervise: {
      command: [process.execPath, program(), "serve", ...(options.stay ? ["--stay"] : [])],
      env: daemonEnvironment(home.dir),
      log: home.daemonLog,
    },
    log,
    onProcess: (sandbox, state) => agent?.onProcess(sandbox, state),
    onLost: () => agent?.wake(),
  });
  const dataplane = await startDataPlane({ keeperSocket: home.keeperSocket, log: (message) => log("info", message) });
  dataplane.onEvent((event) => {
    if (event.type === "failed") throw new WarrenError("WARREN_INTERNAL", `The data plane ended: ${event.reason}`);
  });
  // Who is answered can count on all that may fail at a start.
  await control.listen();
  writePreload(home);
  const machine = thisMachine(home);
  const userspace = new Userspace({
    pipe: (id) => dataplane.pipe(id),
    dns: () => names?.handler,
    processOf: (id) => agent?.processOf(id),
    egressAllow,
    onBounds: (stack, lost) => log("warn", "a bound was reached", { stack, lost }),
  });
  const roundTrip = measureRoundTrips(dataplane);
  let names: NameService | undefined;
  const sockets = new GatewaySockets(home.dir, dataplane, log);
  agent = new Agent({
    source: control.desired,
    keeper,
    dataplane: sockets.following,
    machine,
    plugs: new Plugs(links),
    userspace,
    roundTrip,
    endpointsFile: home.endpoints,
    log,
  });
  names = serveNames(dataplane, control.desired, agent, roundTrip);
  agent.start();
  control.attachNames(names);
  control.attachAgent(
    new View(
      agent,
      control.desired,
      dataplane,
      machine,
      () => links.current,
      () => userspace.counters(),
    ),
  );
  control.attachDial(new Reach(userspace, keeper, agent));
  const watch = () => options.stay || watchUnused(control, idle, () => ends.push("empty"));
  watch();

  let how = await ends.next();
  // A hook may declare something at this very moment: look once more when no call can come in.
  while (how === "empty") {
    await control.deafen();
    if (control.isEmpty()) break;
    await control.listen();
    watch();
    how = await ends.next();
  }
  log("info", "ending", { how });
  // From here on nobody is told that something works.
  await control.deafen();
  await agent.stop();
  userspace.close();
  sockets.close();
  names.close();
  await keeper.goodbye(how === "keep" ? "keep" : "stop");
  await dataplane.stop();
  await control.close();
  const empty = how === "empty";
  if (empty) removeState(home);
  lock.release({ remove: empty });
  if (empty) removeFolders(home);
  process.exit(0);
}

/** Whether a daemon takes calls there. One on its way out does not. */
function answers(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(socketPath);
    const settle = (is: boolean): void => {
      socket.destroy();
      resolve(is);
    };
    socket.on("connect", () => settle(true)).on("error", () => settle(false));
  });
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

function idleSetting(): number {
  const text = process.env.WARREN_IDLE_SECONDS;
  if (text === undefined || text === "") return IDLE;
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000;
  throw new WarrenError(
    "WARREN_INVALID_INPUT",
    `WARREN_IDLE_SECONDS=${text} is no whole number of seconds: unset it for ${IDLE / 1000}.`,
    { path: "WARREN_IDLE_SECONDS" },
  );
}

function watchUnused(control: Control, idle: number, onUnused: () => void): void {
  const timer = setInterval(() => {
    if (control.unusedFor() < idle) return;
    clearInterval(timer);
    onUnused();
  }, IDLE_POLL);
}

/** Reasons to end, in the order in which they came. */
class Ends {
  private readonly reasons: End[] = [];
  private wake: () => void = () => undefined;

  push(reason: End): void {
    this.reasons.push(reason);
    this.wake();
  }

  async next(): Promise<End> {
    while (this.reasons.length === 0)
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    return this.reasons.shift()!;
  }
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
    home.preload,
    home.controlSocket,
    home.keeperSocket,
    // Its keeper has gone, and only a daemon starts another.
    path.join(home.dir, "keeper.lock"),
    path.join(home.dir, "keeper.lock.sqlite"),
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

/** The file that this process was started with: `dist/cli/warren.js`. */
function program(): string {
  return fs.realpathSync(process.argv[1] as string);
}
