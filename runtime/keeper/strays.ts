/** The processes that live in a sandbox, found through /proc: also those that left their app's process group. */
import * as fs from "node:fs";

export interface Membership {
  /** Source name of the sandbox's mounts, or its beginning up to the `/`: then all sandboxes of that owner. */
  readonly mark: string;
  /** Inode of its network namespace, while that is known to be alive. */
  readonly net?: number;
}

function namespaceInode(pid: number | "self", name: "net" | "mnt"): number | undefined {
  try {
    return Number(/\[(\d+)\]/.exec(fs.readlinkSync(`/proc/${pid}/ns/${name}`))?.[1]);
  } catch {
    // Ended meanwhile, or another user's.
    return undefined;
  }
}

function hasMark(pid: number, mark: string): boolean {
  try {
    const whole = mark.endsWith("/") ? mark : `${mark} `;
    return fs.readFileSync(`/proc/${pid}/mountinfo`, "utf8").includes(` tmpfs ${whole}`);
  } catch {
    return false;
  }
}

/** Process ids in a sandbox. Zombies are none: they have left their namespaces. */
export function processesIn(member: Membership): number[] {
  // Only Linux has namespaces.
  if (process.platform !== "linux") return [];
  const own = namespaceInode("self", "mnt");
  const found: number[] = [];
  for (const entry of fs.readdirSync("/proc")) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    const mnt = namespaceInode(pid, "mnt");
    if (mnt === undefined || mnt === own) continue;
    if ((member.net !== undefined && namespaceInode(pid, "net") === member.net) || hasMark(pid, member.mark))
      found.push(pid);
  }
  return found;
}

function parentOf(pid: number): number {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, "latin1");
    // The name in parentheses may hold anything.
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
  } catch {
    return 0;
  }
}

/**
 * Those of `pids` that came from the keeper's apps. The others are guests (`warren exec`): their line of parents leaves the sandbox to a
 * live process that is none of the keeper's own ancestors, whereas orphans of an app go to one of these or to the keeper.
 */
export function withoutGuests(pids: readonly number[], parent: (pid: number) => number = parentOf): number[] {
  const inside = new Set(pids);
  const line = new Set<number>([0, 1]);
  for (let pid = process.pid; pid > 1 && !line.has(pid); pid = parent(pid)) line.add(pid);
  return pids.filter((pid) => {
    let at = pid;
    while (inside.has(at)) at = parent(at);
    return line.has(at);
  });
}

/** @returns whether the process was there. */
export function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    process.kill(pid, name);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
    throw error;
  }
}

/**
 * Kills until none is left; forks that race with it are found in the next round.
 * @param timeout milliseconds.
 * @returns those that remain (stuck in the kernel).
 */
export async function killAll(find: () => readonly number[], timeout = 5000): Promise<readonly number[]> {
  const end = Date.now() + timeout;
  for (;;) {
    const pids = find();
    if (pids.length === 0 || Date.now() > end) return pids;
    for (const pid of pids) signal(pid, "SIGKILL");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
