/** `warren serve --stop`: the daemon, the keeper and the apps end; the registry stays. */
import { setTimeout as sleep } from "node:timers/promises";
import { socketClient } from "../../provider/client";
import { WarrenError } from "../../runtime/errors";
import { home } from "../../runtime/home";
import { type Context, print, printJson } from "../context";

/** Milliseconds for apps to end; each has its own, shorter bound. */
const TIMEOUT = 30_000;

export async function stop({ json }: Context): Promise<void> {
  const client = socketClient(home().controlSocket);
  let asked = false;
  try {
    await client.shutdown("stop");
    asked = true;
    const end = Date.now() + TIMEOUT;
    while (Date.now() < end) {
      await client.health();
      await sleep(50);
    }
    throw new WarrenError(
      "WARREN_NOT_READY",
      `The daemon did not end within ${TIMEOUT / 1000} s: see ${home().daemonLog}.`,
    );
  } catch (error) {
    if (!WarrenError.is(error) || error.code !== "WARREN_CONTROL_UNREACHABLE") throw error;
    if (json) printJson({ stopped: asked });
    else print(asked ? "The daemon and its apps have ended." : "No daemon runs.");
  } finally {
    await client.close();
  }
}
