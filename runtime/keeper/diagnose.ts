/** Why a command could not be started, as a sentence. Asked only after a start failed: the kernel decides, this explains. */
import * as fs from "node:fs";
import * as path from "node:path";
import type { Account } from "./account";
import type { ProcessSpec } from "./protocol";

/** Mode bits only (no ACLs), which is why this explains and never forbids. */
function may(stat: fs.Stats, account: Account, bit: 1 | 4): boolean {
  if (account.uid === 0) return bit === 4 || stat.isDirectory() || (stat.mode & 0o111) !== 0;
  const shift = stat.uid === account.uid ? 6 : stat.gid === account.gid ? 3 : 0;
  return ((stat.mode >> shift) & bit) !== 0;
}

function statOf(file: string): fs.Stats | undefined {
  try {
    return fs.statSync(file);
  } catch {
    return undefined;
  }
}

/** The first folder on the way to `folder`, itself included, that the account may not enter. */
function barrier(folder: string, account: Account): string | undefined {
  let at = path.parse(folder).root;
  for (const part of ["", ...folder.split(path.sep).filter(Boolean)]) {
    at = path.join(at, part);
    const stat = statOf(at);
    if (stat === undefined || !stat.isDirectory()) return undefined;
    if (!may(stat, account, 1)) return at;
  }
  return undefined;
}

function inFolder(spec: ProcessSpec, account: Account): string | undefined {
  const folder = statOf(spec.cwd);
  const closed = barrier(spec.cwd, account);
  if (closed !== undefined)
    return `user ${account.name} may not enter ${closed}${closed === spec.cwd ? "" : ` on the way to ${spec.cwd}`}: give source or user`;
  if (folder === undefined) return `the working folder ${spec.cwd} does not exist`;
  if (!folder.isDirectory()) return `the working folder ${spec.cwd} is no folder`;
  return undefined;
}

function atFile(file: string, shown: string, where: string, account: Account): string | undefined {
  const stat = statOf(file);
  const closed = barrier(path.dirname(file), account);
  if (closed !== undefined) return `user ${account.name} may not enter ${closed}: give source or user`;
  if (stat === undefined) return `command "${shown}" does not exist${where}`;
  if (stat.isDirectory()) return `command "${shown}" is a folder${where}`;
  if (!may(stat, account, 1))
    return (stat.mode & 0o111) === 0
      ? `command "${shown}" is not executable${where}: run "chmod +x" on it`
      : `user ${account.name} may not execute "${shown}"${where}: give source or user`;
  const interpreter = interpreterOf(file);
  if (interpreter !== undefined && statOf(interpreter) === undefined)
    return `command "${shown}" asks for the interpreter ${interpreter}, which does not exist`;
  return undefined;
}

function interpreterOf(file: string): string | undefined {
  try {
    const fd = fs.openSync(file, "r");
    try {
      const head = Buffer.alloc(256);
      const length = fs.readSync(fd, head, 0, head.length, 0);
      return /^#!\s*(\S+)/.exec(head.toString("utf8", 0, length))?.[1];
    } finally {
      fs.closeSync(fd);
    }
  } catch {
    return undefined;
  }
}

/** @param said what the last program before the command wrote; the answer where nothing better is found. */
export function explainStart(spec: ProcessSpec, account: Account, said: string): string {
  const [command] = spec.command;
  const folder = inFolder(spec, account);
  if (folder !== undefined) return folder;
  if (command.includes("/"))
    return (
      atFile(path.resolve(spec.cwd, command), command, path.isAbsolute(command) ? "" : ` in ${spec.cwd}`, account) ??
      said
    );
  const search = spec.env.PATH ?? "/usr/bin:/bin";
  const places = search.split(":").map((place) => path.resolve(spec.cwd, place || ".", command));
  const there = places.find((file) => statOf(file) !== undefined);
  if (there === undefined) return `command "${command}" does not exist in any folder of PATH (${search})`;
  return atFile(there, there, "", account) ?? said;
}
