/** Real keepers for tests, as root and as an account without privileges. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { describeNeeding } from "../../../test/support/needs";
import type { Scratch } from "../../../test/support/scratch";
import { waitFor } from "../../../test/support/wait";
import { type Home, home } from "../../home";
import { KeeperClient } from "../client";
import { ownerOf } from "../keeper";
import { hostProcesses } from "../processes";
import type { ProcessSpec, ProcessState, SandboxSpec } from "../protocol";
import { killAll, processesIn } from "../strays";

export const MAIN = path.join(__dirname, "..", "..", "..", "dist", "runtime", "keeper", "main.js");
export const NOBODY = 65534;

export interface Who {
  readonly name: string;
  readonly uid: number;
}

/** Root tests both ways; another user only its own. */
export const ACCOUNTS: Who[] =
  process.getuid!() === 0
    ? [
        { name: "root", uid: 0 },
        { name: "nobody", uid: NOBODY },
      ]
    : [{ name: "this user", uid: process.getuid!() }];

/** `describe` for each account whose keeper can open a TUN device here; skipped with the reason for the others. */
export function describeAccounts(name: string, body: (who: Who) => void): void {
  for (const who of ACCOUNTS)
    describeNeeding(who.uid === NOBODY ? ["tun-for-all"] : [], `${name} ${who.name}`, () => body(who));
}

export interface RunningKeeper {
  readonly home: Home;
  readonly who: Who;
  readonly child: ChildProcess;
  readonly client: KeeperClient;
  readonly events: { sandbox: string; state: ProcessState }[];
}

/** A state folder that belongs to the account. */
export function makeHome(scratch: Scratch, who: Who, name = `home-${who.uid}`): Home {
  const dir = scratch.file(name);
  fs.mkdirSync(dir, { recursive: true, mode: 0o711 });
  fs.chownSync(dir, who.uid, who.uid);
  return home(dir);
}

/**
 * @param prepare a shell script that runs before the keeper, as root in a mount namespace of its own: another machine's /etc.
 */
function keeperCommand(who: Who, prepare: string | undefined): { argv: string[]; uid: number } {
  if (prepare === undefined) return { argv: [process.execPath, MAIN], uid: who.uid };
  const become = who.uid === 0 ? "" : `setpriv --reuid=${who.uid} --regid=${who.uid} --clear-groups`;
  const script = `set -e; ${prepare}; exec ${become} ${process.execPath} ${MAIN}`;
  return { argv: ["unshare", "--mount", "sh", "-c", script], uid: 0 };
}

/** Starts the built keeper; whatever becomes of it, its processes are gone at the end of the scratch. */
export async function startKeeper(
  scratch: Scratch,
  who: Who,
  h: Home,
  env: Record<string, string> = {},
  prepare?: string,
) {
  if (!fs.existsSync(MAIN)) throw new Error(`${MAIN} is missing: run "npm run build" first`);
  const log = fs.openSync(h.keeperLog, "a", 0o600);
  const { argv, uid } = keeperCommand(who, prepare);
  const child = spawn(argv[0], argv.slice(1), {
    cwd: "/",
    env: { ...scratch.env, WARREN_HOME: h.dir, PATH: process.env.PATH, ...env },
    uid,
    gid: uid,
    stdio: ["ignore", "ignore", log],
  });
  fs.closeSync(log);
  scratch.defer(async () => {
    await end(child, "SIGKILL");
    await killAll(() => leftovers(h));
  });
  const events: RunningKeeper["events"] = [];
  const client = await waitFor("the keeper's socket", async () => {
    if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`);
    return KeeperClient.connect(h.keeperSocket, { onProcess: (sandbox, state) => events.push({ sandbox, state }) });
  });
  scratch.defer(() => client.close());
  await client.call("subscribe", {});
  return { home: h, who, child, client, events } satisfies RunningKeeper;
}

/** What lives in the sandboxes of a state folder's keepers. */
export function leftovers(h: Home): number[] {
  const mark = `${ownerOf(h.dir)}/`;
  return [...new Set([...processesIn({ mark }), ...hostProcesses(mark)])];
}

export async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill(signal);
  await gone;
}

export function sandboxSpec(id: string, more: Partial<SandboxSpec> = {}): SandboxSpec {
  return {
    id,
    addresses: ["10.1.2.4", "fd00::4"],
    routes: ["10.1.2.0/24", "fd00::/64"],
    mtu: 1420,
    nameservers: ["10.1.2.2"],
    searchDomain: "internal",
    hosts: ["10.1.2.4 api.internal"],
    ...more,
  };
}

let hashes = 0;

export function processSpec(
  keeper: RunningKeeper,
  sandbox: string,
  command: string[],
  more: Partial<ProcessSpec> = {},
) {
  return {
    sandbox,
    command,
    cwd: "/",
    env: { PATH: "/usr/bin:/bin" },
    user: String(NOBODY === keeper.who.uid || keeper.who.uid === 0 ? NOBODY : keeper.who.uid),
    restart: "never",
    log: path.join(keeper.home.logs, `${sandbox}.log`),
    logBytes: 1 << 20,
    stopTimeout: 3000,
    hash: String(++hashes),
    ...more,
  } satisfies ProcessSpec;
}

/** Runs a command inside by the sandbox's `enter`, as the keeper's account, from a process that is not the keeper. */
export async function inside(keeper: RunningKeeper, id: string, ...command: string[]): Promise<string> {
  const { sandboxes } = await keeper.client.call("list", {});
  const [file, ...args] = sandboxes.find((s) => s.spec.id === id)!.enter;
  const result = spawnSync(file, [...args, ...command], {
    encoding: "utf8",
    uid: keeper.who.uid,
    gid: keeper.who.uid,
    cwd: "/",
    timeout: 10_000,
  });
  if (result.status !== 0) throw new Error(`${command.join(" ")} ended with ${result.status}: ${result.stderr}`);
  return result.stdout;
}

export async function stateOf(keeper: RunningKeeper, id: string): Promise<ProcessState | undefined> {
  return (await keeper.client.call("list", {})).sandboxes.find((s) => s.spec.id === id)?.process;
}

/** Until the process of a sandbox is in one of these states. */
export function reaches(keeper: RunningKeeper, id: string, ...states: ProcessState["state"][]): Promise<ProcessState> {
  return waitFor(`${id} being ${states.join(" or ")}`, async () => {
    const state = await stateOf(keeper, id);
    if (state && states.includes(state.state)) return state;
    throw new Error(JSON.stringify(state));
  });
}

/** Running, and no zombie. */
export function alive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(fs.readFileSync(`/proc/${pid}/status`, "latin1"));
  } catch {
    return false;
  }
}
