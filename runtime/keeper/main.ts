/** The program: `node dist/runtime/keeper/main.js`, with WARREN_HOME in the environment. One for each state folder. */
import * as fs from "node:fs";
import * as path from "node:path";
import { home, prepareHome } from "../home";
import { closeInherited } from "../native/inherited";
import { libcIfAny } from "../native/libc";
import { VERSION } from "../version";
import { Keeper } from "./keeper";
import { ANOTHER_KEEPER } from "./launch";
import { KeeperServer } from "./server";
import { realIo, Supervisor } from "./supervisor";

/** Milliseconds without sandboxes and without a daemon after which the keeper ends. */
const IDLE = Number(process.env.WARREN_KEEPER_IDLE_MS ?? 60_000);

function log(message: string): void {
  process.stderr.write(`${new Date().toISOString()} keeper[${process.pid}] ${message}\n`);
}

/** Kept: what nobody refers to is closed. */
let held: unknown;

/** One keeper for each state folder. The kernel frees the lock when the process ends, however it ends. */
async function holdLock(dir: string): Promise<boolean> {
  const c = libcIfAny();
  // Without flock(2) SQLite's lock does, which costs its library. One machine always takes the same way.
  if (!c) {
    const { takeLock } = require("../lock") as typeof import("../lock");
    held = await takeLock(path.join(dir, "keeper.lock.sqlite"), 0);
    return held !== undefined;
  }
  // The file stays: removing it would let two hold "the" lock.
  return c.tryLock(fs.openSync(path.join(dir, "keeper.lock"), "a", 0o600));
}

async function main(): Promise<void> {
  closeInherited();
  const h = home();
  prepareHome(h);
  if (!(await holdLock(h.dir))) {
    process.exitCode = ANOTHER_KEEPER;
    return;
  }
  const keeper = new Keeper({
    home: h.dir,
    version: VERSION,
    onProcess: (sandbox, state) => server.emitProcess(sandbox, state),
    log,
  });
  const supervisor = new Supervisor(realIo(log));
  let ending = false;
  const end = () => {
    ending = true;
    server.close();
    clearInterval(idle);
    // Nothing of use is left; a client that does not read must not keep the process.
    setTimeout(() => process.exit(0), 200).unref();
  };
  const server = new KeeperServer({ path: h.keeperSocket, keeper, supervisor, onEnd: end, log });
  await keeper.clearLeftovers();
  await server.listen();
  let idleSince = Date.now();
  const idle = setInterval(
    () => {
      if (keeper.size > 0 || server.subscribers > 0 || supervisor.active) idleSince = Date.now();
      else if (Date.now() - idleSince >= IDLE) end();
    },
    Math.min(IDLE, 5000),
  );
  const stop = () => {
    if (ending) return;
    ending = true;
    supervisor.forget();
    keeper
      .removeAll()
      .catch((error: Error) => log(error.message))
      .finally(end);
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
  process.on("SIGHUP", () => {});
  process.on("uncaughtException", (error) => log(`unexpected: ${error.stack}`));
  process.on("unhandledRejection", (error) => log(`unexpected: ${(error as Error)?.stack ?? error}`));
  log(`version ${VERSION} in ${h.dir}`);
}

main().catch((error: Error) => {
  log(error.message);
  process.exitCode = 1;
});
