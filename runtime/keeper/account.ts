/** The account that an app runs as, and the way to become it with nothing of the keeper's power left. */
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import { WarrenError } from "../errors";
import { isPrivileged } from "./privilege";
import { tool } from "./tools";

/** The highest account number: the one above it means "leave it as it is" to the kernel, and setpriv wraps larger ones. */
const HIGHEST_ID = 0xffff_fffe;

export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  /** Listed in the account database, so that its further groups are known. */
  readonly listed: boolean;
}

/** One line of passwd(5). */
function parsePasswd(line: string): Account | undefined {
  const [name, , uid, gid] = line.split(":");
  return /^\d+$/.test(uid ?? "") && /^\d+$/.test(gid ?? "")
    ? { name, uid: Number(uid), gid: Number(gid), listed: true }
    : undefined;
}

/** The account of this process: its name, or its number where it has none, as in a container that runs under any. */
export function ownName(): string {
  try {
    return os.userInfo().username;
  } catch {
    return String(process.geteuid?.() ?? 0);
  }
}

/**
 * Finds an account by name or number.
 * @throws WarrenError WARREN_APP_FAILED for one that this machine does not know.
 */
export function findAccount(user: string, passwd: string = fs.readFileSync("/etc/passwd", "utf8")): Account {
  const digits = /^\d+$/.test(user);
  const numeric = digits && Number(user) <= HIGHEST_ID;
  for (const line of passwd.split("\n")) {
    const account = parsePasswd(line);
    if (account && (account.name === user || (numeric && account.uid === Number(user)))) return account;
  }
  if ((numeric || !digits) && /^[A-Za-z0-9_][A-Za-z0-9_.@-]*\$?$/.test(user)) {
    try {
      // Accounts of a directory service.
      const account = parsePasswd(execFileSync("getent", ["passwd", user], { encoding: "utf8", timeout: 5000 }).trim());
      if (account) return account;
    } catch {
      // Not known there either, or no getent.
    }
  }
  // macOS keeps its accounts elsewhere.
  if (user === ownName()) return { name: user, uid: process.geteuid!(), gid: process.getegid!(), listed: true };
  if (numeric) return { name: user, uid: Number(user), gid: Number(user), listed: false };
  throw new WarrenError("WARREN_APP_FAILED", `The user ${user} does not exist on this machine.`, { path: "user" });
}

/**
 * argv before a command that shall run as this account: no capabilities, none to be gained, none to be inherited.
 * @param dieWithParent killed with the process that starts it.
 * @throws WarrenError WARREN_APP_FAILED for another account than the own where the keeper is not root.
 */
export function becomeAccount(account: Account, dieWithParent: boolean, privileged = isPrivileged()): string[] {
  const own = process.geteuid!();
  if (!privileged && account.uid !== own)
    throw new WarrenError(
      "WARREN_APP_FAILED",
      `Only a Warren that runs as root can run an app as ${account.name}: leave out user, or run Warren as root.`,
      { path: "user" },
    );
  return [
    tool("setpriv"),
    ...(privileged
      ? [`--reuid=${account.uid}`, `--regid=${account.gid}`, account.listed ? "--init-groups" : "--clear-groups"]
      : []),
    "--no-new-privs",
    // Root would regain them all with the next exec. Others have lost theirs by now and gain none (no-new-privs); an empty bounding
    // set would only forbid them programs with file capabilities, such as ping.
    ...(account.uid === 0 ? ["--bounding-set=-all"] : []),
    "--inh-caps=-all",
    "--ambient-caps=-all",
    ...(dieWithParent ? ["--pdeathsig=KILL"] : []),
  ];
}
