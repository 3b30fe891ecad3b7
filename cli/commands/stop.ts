/** `warren serve --stop`: the daemon, the keeper and the apps end; the registry stays. */
import { setTimeout as sleep } from "node:timers/promises";
import { type ControlClient, socketClient } from "../../provider/client";
import { WarrenError } from "../../runtime/errors";
import { home } from "../../runtime/home";
import { type Context, print, printJson } from "../context";

/** Milliseconds for apps to end; each has its own, shorter bound. */
const TIMEOUT = 30_000;

export async function stop({ json }: Context): Promise<void> {
  const client = socketClient(home().controlSocket);
  try {
    const pid = await askToEnd(client);
    if (pid !== undefined) await endOf(pid);
    if (json) printJson({ stopped: pid !== undefined });
    else print(pid === undefined ? "No daemon runs." : "The daemon and its apps have ended.");
  } finally {
    await client.close();
  }
}

/** @returns its process id; undefined where none runs. */
async function askToEnd(client: ControlClient): Promise<number | undefined> {
  try {
    const { pid } = await client.health();
    await client.shutdown("stop");
    return pid;
  } catch (error) {
    if (WarrenError.is(error) && error.code === "WARREN_CONTROL_UNREACHABLE") return undefined;
    throw error;
  }
}

/** It takes no calls long before its apps have ended, so its process tells. */
async function endOf(pid: number): Promise<void> {
  const end = Date.now() + TIMEOUT;
  while (isAlive(pid)) {
    if (Date.now() >= end)
      throw new WarrenError(
        "WARREN_NOT_READY",
        `The daemon did not end within ${TIMEOUT / 1000} s: see ${home().daemonLog}.`,
      );
    await sleep(50);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
