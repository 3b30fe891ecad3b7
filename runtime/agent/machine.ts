/** What this machine is like, as far as apps notice. */
import * as fs from "node:fs";
import * as path from "node:path";
import type { Home } from "../home";
import { findAccount, ownName } from "../keeper/account";
import { mayChangeAccount } from "../keeper/privilege";
import type { Machine } from "./plan";

const STANDARD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/** A root daemon's apps run as this account unless they name one. */
const UNPRIVILEGED_USER = "nobody";

export function thisMachine(home: Home): Machine {
  const node = path.dirname(process.execPath);
  return {
    defaultUser: mayChangeAccount() ? UNPRIVILEGED_USER : ownName(),
    // The Node that runs Warren is there for apps too, after the system's own programs.
    path: STANDARD_PATH.split(":").includes(node) ? STANDARD_PATH : `${STANDARD_PATH}:${node}`,
    lang: process.env.LANG ?? "C.UTF-8",
    homeOf: (user) => homeOf(user) ?? "/",
    logFile: (instanceId) => path.join(home.logs, `${instanceId}.log`),
    sourceDir: (hash) => path.join(home.sources, hash),
    preload: (user) => preloadFor(home, user),
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

/** Puts the file in its place. It stands alone, so that a copy will do: the package's own folder is often closed to apps' accounts. */
export function writePreload(home: Home): void {
  const built = path.join(__dirname, "..", "userspace", "preload.js");
  if (!fs.existsSync(built)) return;
  fs.copyFileSync(built, `${home.preload}.new`);
  fs.chmodSync(`${home.preload}.new`, 0o644);
  fs.renameSync(`${home.preload}.new`, home.preload);
}

/** Node refuses to start where it cannot read it. Grants are safe only where the system names the account behind a connection. */
function preloadFor(home: Home, user: string): string | undefined {
  if (process.platform !== "linux" || !fs.existsSync(home.preload) || /\s/.test(home.preload)) return undefined;
  try {
    const { uid } = findAccount(user);
    if (uid === 0 || uid === process.getuid?.()) return home.preload;
    for (let folder = path.dirname(home.preload); ; folder = path.dirname(folder)) {
      const stat = fs.statSync(folder);
      if ((stat.mode & 0o001) === 0 && stat.uid !== uid) return undefined;
      if (folder === path.dirname(folder)) return home.preload;
    }
  } catch {
    // An account that does not exist: its app says so.
    return undefined;
  }
}
