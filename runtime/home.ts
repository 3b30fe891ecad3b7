/** The state folder and the paths in it. */
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { WarrenError } from "./errors";

/** Linux: sun_path holds 108 bytes with the closing zero. */
const SOCKET_PATH_LIMIT = 107;

export interface Home {
  readonly dir: string;
  readonly registry: string;
  readonly lock: string;
  readonly controlSocket: string;
  readonly keeperSocket: string;
  readonly daemonLog: string;
  readonly keeperLog: string;
  readonly logs: string;
  readonly sources: string;
  readonly endpoints: string;
  /** What Node programs on the link `userspace` load first. */
  readonly preload: string;
  /** The embedded engine's state. */
  readonly stacks: string;
}

/** The folder that `WARREN_HOME` names, else the default of this user. Touches nothing. */
export function homeDir(env: NodeJS.ProcessEnv = process.env): string {
  if (env.WARREN_HOME) return path.resolve(env.WARREN_HOME);
  if (process.getuid?.() === 0) return "/var/lib/warren";
  return path.join(env.XDG_STATE_HOME || path.join(os.homedir(), ".local", "state"), "warren");
}

export function home(dir: string = homeDir()): Home {
  const socketDir = shortSocketDir(dir);
  return {
    dir,
    registry: path.join(dir, "registry.sqlite"),
    lock: path.join(dir, "lock.sqlite"),
    controlSocket: path.join(socketDir, "control.sock"),
    keeperSocket: path.join(socketDir, "keeper.sock"),
    daemonLog: path.join(dir, "daemon.log"),
    keeperLog: path.join(dir, "keeper.log"),
    logs: path.join(dir, "logs"),
    sources: path.join(dir, "sources"),
    endpoints: path.join(dir, "endpoints.json"),
    preload: path.join(dir, "preload.cjs"),
    stacks: path.join(dir, "stacks"),
  };
}

/** What of the state folder is nobody else's business: which folders, and which folders in them; files always. Sources are known by their hash. */
export function privatePlaces(h: Home) {
  return {
    privateFolders: [...new Set([h.dir, path.dirname(h.controlSocket)])],
    privateNames: [h.logs, h.stacks].map((folder) => path.basename(folder)),
    readOnlyNames: [path.basename(h.sources)],
  };
}

/** A folder for the sockets: the state folder, or a private one under the temporary folder where that path is too long. */
function shortSocketDir(dir: string): string {
  if (Buffer.byteLength(path.join(dir, "control.sock")) <= SOCKET_PATH_LIMIT) return dir;
  const hash = createHash("sha256").update(dir).digest("hex").slice(0, 12);
  return path.join("/tmp", `warren-${process.getuid?.() ?? 0}-${hash}`);
}

const REMEDY = "set WARREN_HOME to a folder that this user may write";

/**
 * Call before connecting to a socket of this home: whoever made these folders, or may write into them, could listen there and be told
 * keys and environments. Folders that are not there yet are nobody's.
 * @throws WarrenError WARREN_PERMISSION
 */
export function refuseForeignHome(h: Home): void {
  const uid = process.getuid?.() ?? 0;
  const refuse = (message: string) => {
    throw new WarrenError("WARREN_PERMISSION", message, { path: "WARREN_HOME" });
  };
  const stat = fs.statSync(h.dir, { throwIfNoEntry: false });
  if (stat && stat.uid !== uid)
    refuse(
      `The state folder ${h.dir} belongs to user ${stat.uid}, but this is user ${uid}: run as that user, or ${REMEDY}.`,
    );
  if (stat && (stat.mode & 0o002) !== 0)
    refuse(`Everybody may write into the state folder ${h.dir}: run "chmod o-w" on it, or set WARREN_HOME to another.`);
  const socketDir = path.dirname(h.controlSocket);
  const s = socketDir === h.dir ? undefined : fs.lstatSync(socketDir, { throwIfNoEntry: false });
  if (s && (!s.isDirectory() || s.uid !== uid || (s.mode & 0o077) !== 0))
    refuse(`${socketDir} is not a private folder of user ${uid}: remove it, or set WARREN_HOME to a shorter path.`);
}

/**
 * Makes the folder and its parts.
 * The folder itself may be entered but not read by others: apps that run as another account reach their sources through it.
 * @throws WarrenError WARREN_PERMISSION when it cannot be made, written, or belongs to another user.
 */
export function prepareHome(h: Home): void {
  const uid = process.getuid?.() ?? 0;
  try {
    fs.mkdirSync(h.dir, { recursive: true, mode: 0o711 });
    refuseForeignHome(h);
    const stat = fs.statSync(h.dir);
    fs.accessSync(h.dir, fs.constants.W_OK | fs.constants.X_OK);
    // Apps of a root daemon run as another account; the engine, which may have made the folder first, makes private ones.
    if (uid === 0 && (stat.mode & 0o011) !== 0o011) fs.chmodSync(h.dir, (stat.mode & 0o777) | 0o011);
    fs.mkdirSync(h.logs, { recursive: true, mode: 0o700 });
    fs.mkdirSync(h.sources, { recursive: true, mode: 0o711 });
    const socketDir = path.dirname(h.controlSocket);
    fs.mkdirSync(socketDir, { recursive: true, mode: 0o700 });
    refuseForeignHome(h);
  } catch (error) {
    if (WarrenError.is(error)) throw error;
    const why = (error as Error).message;
    throw new WarrenError("WARREN_PERMISSION", `The state folder ${h.dir} cannot be used (${why}): ${REMEDY}.`, {
      path: "WARREN_HOME",
      cause: error,
    });
  }
}
