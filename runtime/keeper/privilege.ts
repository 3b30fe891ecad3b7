/** Whether the keeper makes its namespaces with the machine's own privileges or in a user namespace. */
import * as fs from "node:fs";

/** CHOWN, KILL, SETGID, SETUID, SETPCAP, NET_ADMIN, SYS_PTRACE, SYS_ADMIN: what making, entering and emptying a sandbox takes. */
const NEEDED = [0, 5, 6, 7, 8, 12, 19, 21].reduce((mask, bit) => mask | (1n << BigInt(bit)), 0n);

/** CHOWN, KILL, SETGID, SETUID: what running a process as another account, and ending it, takes. */
const ACCOUNTS = [0, 5, 6, 7].reduce((mask, bit) => mask | (1n << BigInt(bit)), 0n);

function effective(status: string): bigint {
  return BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0"}`);
}

/** True: root with its capabilities. False: another user, or a root without them (a container); then a user namespace is used. */
export function isPrivileged(status: string = fs.readFileSync("/proc/self/status", "latin1")): boolean {
  return process.geteuid?.() === 0 && (effective(status) & NEEDED) === NEEDED;
}

/** Whether this process may start others under any account. */
export function mayChangeAccount(): boolean {
  if (process.geteuid?.() !== 0) return false;
  if (process.platform !== "linux") return true;
  return (effective(fs.readFileSync("/proc/self/status", "latin1")) & ACCOUNTS) === ACCOUNTS;
}
