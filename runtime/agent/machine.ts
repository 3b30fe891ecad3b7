/** What this machine is like, as far as apps notice. */
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import type { Home } from "../home";
import type { Machine } from "./plan";

const STANDARD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/** A root daemon's apps run as this account unless they name one. */
const UNPRIVILEGED_USER = "nobody";

export function thisMachine(home: Home): Machine {
  const node = path.dirname(process.execPath);
  return {
    defaultUser: process.getuid?.() === 0 ? UNPRIVILEGED_USER : os.userInfo().username,
    // The Node that runs Warren is there for apps too, after the system's own programs.
    path: STANDARD_PATH.split(":").includes(node) ? STANDARD_PATH : `${STANDARD_PATH}:${node}`,
    lang: process.env.LANG ?? "C.UTF-8",
    homeOf: (user) => homeOf(user) ?? "/",
    logFile: (instanceId) => path.join(home.logs, `${instanceId}.log`),
    sourceDir: (hash) => path.join(home.sources, hash),
  };
}

/** The home folder in the account database, where there is one; accounts like `nobody` have none. */
function homeOf(user: string): string | undefined {
  try {
    const line = fs
      .readFileSync("/etc/passwd", "utf8")
      .split("\n")
      .find((entry) => entry.startsWith(`${user}:`));
    const dir = line?.split(":")[5];
    return dir && fs.existsSync(dir) ? dir : undefined;
  } catch {
    return undefined;
  }
}
