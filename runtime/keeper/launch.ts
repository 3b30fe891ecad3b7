/** Finds the keeper of a state folder, or starts it. */
import { type ChildProcess, spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { WarrenError } from "../errors";
import { type Home, prepareHome } from "../home";
import { VERSION } from "../version";
import { KeeperClient, type KeeperClientOptions } from "./client";

/** Exit code of a keeper that found another one at work. */
export const ANOTHER_KEEPER = 3;
/** Milliseconds; a loaded machine may take seconds to start Node. */
const START_TIMEOUT = 15_000;
/** Bytes after which the keeper's own log starts anew. */
const LOG_BYTES = 1 << 20;
/** Bounds on garbage: the keeper keeps little, and what it reads (logs, requests) is short-lived. */
const NODE_FLAGS = ["--max-semi-space-size=1", "--max-old-space-size=64"];

/**
 * Connects to the keeper of a state folder; starts it where none answers. Any number may call this at once: one keeper is left.
 * @throws WarrenError WARREN_PERMISSION for a folder or keeper of another user, WARREN_LINK_UNAVAILABLE where the keeper cannot
 *   run here, WARREN_NOT_READY where it does not answer in time.
 */
export async function ensureKeeper(h: Home, options: KeeperClientOptions = {}): Promise<KeeperClient> {
  const present = await connect(h, options);
  if (present) return present;
  prepareHome(h);
  const end = Date.now() + START_TIMEOUT;
  while (Date.now() < end) {
    const child = start(h);
    const exit = exitOf(child);
    while (Date.now() < end) {
      const client = await connect(h, options);
      if (client) {
        // Another one was faster: ours must not wait behind it and outlive it.
        const { pid } = await client.call("hello", { version: VERSION });
        if (pid !== child.pid) child.kill();
        return client;
      }
      const ended = exit();
      if (ended !== undefined && ended !== ANOTHER_KEEPER)
        throw new WarrenError("WARREN_NOT_READY", `The keeper ended at once (${ended}): ${lastLine(h.keeperLog)}`);
      await pause(20);
      // Another one holds the lock. It is about to listen, or about to end: then a second attempt gets the lock.
      if (ended === ANOTHER_KEEPER) {
        await pause(200);
        const other = await connect(h, options);
        if (other) return other;
        break;
      }
    }
  }
  throw new WarrenError(
    "WARREN_NOT_READY",
    `The keeper did not answer within ${START_TIMEOUT / 1000} s: see ${h.keeperLog}.`,
  );
}

/** @returns what a child ended with, or undefined while it runs. */
function exitOf(child: ChildProcess): () => number | string | undefined {
  let exit: number | string | undefined;
  child.on("error", (error) => {
    exit = error.message;
  });
  child.on("exit", (code, signal) => {
    exit = code ?? signal ?? "unknown";
  });
  return () => exit;
}

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

async function connect(h: Home, options: KeeperClientOptions): Promise<KeeperClient | undefined> {
  try {
    return await KeeperClient.connect(h.keeperSocket, options);
  } catch (error) {
    if (WarrenError.is(error) && error.code === "WARREN_CONTROL_UNREACHABLE") return undefined;
    throw error;
  }
}

function start(h: Home): ChildProcess {
  if ((fs.statSync(h.keeperLog, { throwIfNoEntry: false })?.size ?? 0) > LOG_BYTES)
    fs.renameSync(h.keeperLog, `${h.keeperLog}.1`);
  const log = fs.openSync(h.keeperLog, "a", 0o600);
  try {
    const child = spawn(process.execPath, [...NODE_FLAGS, program()], {
      cwd: "/",
      // Nothing of a hook's environment lives on in the keeper.
      env: {
        PATH: process.env.PATH ?? "/usr/sbin:/usr/bin:/sbin:/bin",
        WARREN_HOME: h.dir,
        ...(process.env.WARREN_KEEPER_IDLE_MS ? { WARREN_KEEPER_IDLE_MS: process.env.WARREN_KEEPER_IDLE_MS } : {}),
      },
      detached: true,
      // An inherited pipe would keep whoever waits for its end.
      stdio: ["ignore", log, log],
    });
    child.unref();
    return child;
  } finally {
    fs.closeSync(log);
  }
}

/** The built program, also when this file runs from its TypeScript source (tests). */
function program(): string {
  if (__filename.endsWith(".js")) return path.join(__dirname, "main.js");
  return path.join(__dirname, "..", "..", "dist", "runtime", "keeper", "main.js");
}

function lastLine(file: string): string {
  try {
    return fs.readFileSync(file, "utf8").trimEnd().split("\n").pop() ?? "";
  } catch {
    return `no ${file}`;
  }
}
