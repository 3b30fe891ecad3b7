/**
 * The processes of an app that has no namespaces of its own. Each has the sandbox's mark in its environment, which a fork and an exec
 * pass on; one that gave its environment up is known by its session or by its parents.
 */
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";

/** The variable that has the mark. */
export const MARK_VARIABLE = "WARREN_SANDBOX";

export interface ProcessEntry {
  readonly pid: number;
  readonly parent: number;
  readonly group: number;
  readonly session: number;
}

export interface ProcessTable {
  /** Zombies are none. */
  list(): readonly ProcessEntry[];
  /** The mark; undefined: none, or another user's process. */
  markOf(pid: number): string | undefined;
}

/** One line of /proc/PID/stat (proc_pid_stat(5)); undefined for a zombie. */
export function parseStat(stat: string): ProcessEntry | undefined {
  // The name in parentheses may hold anything.
  const [state, parent, group, session] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  if (state === "Z" || state === "X") return undefined;
  return { pid: Number.parseInt(stat, 10), parent: Number(parent), group: Number(group), session: Number(session) };
}

const linuxTable: ProcessTable = {
  list() {
    const entries: ProcessEntry[] = [];
    for (const name of fs.readdirSync("/proc")) {
      if (!/^\d+$/.test(name)) continue;
      try {
        const entry = parseStat(fs.readFileSync(`/proc/${name}/stat`, "latin1"));
        if (entry) entries.push(entry);
      } catch {
        // Ended meanwhile.
      }
    }
    return entries;
  },
  markOf(pid) {
    try {
      const environment = fs.readFileSync(`/proc/${pid}/environ`, "utf8");
      const at = `\0${environment}`.indexOf(`\0${MARK_VARIABLE}=`);
      return at < 0 ? undefined : environment.slice(at + MARK_VARIABLE.length + 1).split("\0", 1)[0];
    } catch {
      return undefined;
    }
  },
};

/** Systems without /proc show no foreign environment: there a process that left its session and its parents is not found. */
const psTable: ProcessTable = {
  list() {
    const text = execFileSync("ps", ["-A", "-o", "pid=,ppid=,pgid=,stat="], { encoding: "utf8", timeout: 5000 });
    return text.split("\n").flatMap((line) => {
      const [pid, parent, group, stat] = line.trim().split(/\s+/);
      if (stat === undefined || stat.startsWith("Z")) return [];
      return [{ pid: Number(pid), parent: Number(parent), group: Number(group), session: Number(group) }];
    });
  },
  markOf: () => undefined,
};

const table: ProcessTable = process.platform === "linux" ? linuxTable : psTable;

/**
 * Process ids of a sandbox without namespaces, never that of the caller.
 * @param mark of the sandbox, or its beginning up to the `/`: then of all sandboxes of that owner.
 * @param leader the app's first process, which leads a session of its own, while that is known to be alive.
 */
export function hostProcesses(mark: string, leader?: number, from: ProcessTable = table): number[] {
  const all = from.list();
  const found = new Set<number>();
  const isOurs = (pid: number) => {
    const has = from.markOf(pid);
    return has !== undefined && (mark.endsWith("/") ? has.startsWith(mark) : has === mark);
  };
  for (const { pid, session, group } of all)
    if ((leader !== undefined && (session === leader || group === leader)) || isOurs(pid)) found.add(pid);
  found.delete(process.pid);
  for (let grown = true; grown; ) {
    grown = false;
    for (const { pid, parent } of all)
      if (found.has(parent) && !found.has(pid) && pid !== process.pid) {
        found.add(pid);
        grown = true;
      }
  }
  return [...found];
}
