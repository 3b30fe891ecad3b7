#!/usr/bin/env node
/**
 * Removes what dead test and bench runs left behind. All that a run makes carries its process id in the name (`wt<pid>x…`:
 * namespaces, devices, temporary folders) or in the environment of its processes (WARREN_TEST_SCRATCH, or a WARREN_HOME in such a
 * folder: daemons and keepers keep no other), so that nothing of a living run, or of anyone else, is touched.
 *
 *   node tools/reap.mjs           removes what dead runs left
 *   node tools/reap.mjs --guard   the same, after standard input closes: its parent died, in whatever way
 */
import { spawn, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { fileURLToPath } from "node:url";

const owned = /^wt(\d+)x/;
const UAPI_FOLDER = "/var/run/wireguard";
/** How long the guard waits for the workers of a dead run to be gone. Milliseconds. */
const GUARD_PATIENCE = 20_000;

/** @returns what was removed, one line each */
export function reap() {
  const removed = [];
  const dead = (name) => {
    const pid = owned.exec(name)?.[1];
    return pid !== undefined && !fs.existsSync(`/proc/${pid}`);
  };
  if (process.platform === "linux") {
    removed.push(...killProcesses(dead));
    if (process.getuid() === 0) removed.push(...removeNamespaces(dead));
    for (const name of list(UAPI_FOLDER)) if (dead(name)) fs.rmSync(path.join(UAPI_FOLDER, name), { force: true });
  }
  for (const name of list(os.tmpdir())) {
    if (!dead(name)) continue;
    fs.rmSync(path.join(os.tmpdir(), name), { recursive: true, force: true });
    removed.push(`folder ${name}`);
  }
  return removed;
}

/** Starts a process that reaps once this one has ended, also by SIGKILL. */
export function guard() {
  if (process.platform !== "linux") return;
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), "--guard"], {
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
    cwd: "/",
  });
  child.unref();
  child.stdin.unref();
}

function killProcesses(dead) {
  const killed = [];
  for (const pid of list("/proc")) {
    if (!/^\d+$/.test(pid)) continue;
    let scratch;
    try {
      scratch = /(?:^|\0)(?:WARREN_TEST_SCRATCH=|WARREN_HOME=[^\0]*\/(?=wt\d+x))([^\0/]*)/.exec(
        fs.readFileSync(`/proc/${pid}/environ`, "latin1"),
      )?.[1];
    } catch {
      continue; // Gone already, or another user's.
    }
    if (scratch === undefined || !dead(scratch)) continue;
    try {
      process.kill(Number(pid), "SIGKILL");
      killed.push(`process ${pid} of ${scratch}`);
    } catch (error) {
      if (error.code !== "ESRCH") killed.push(`process ${pid} of ${scratch} cannot be killed: ${error.code}`);
    }
  }
  return killed;
}

function removeNamespaces(dead) {
  const removed = [];
  for (const name of list("/var/run/netns")) {
    if (!dead(name)) continue;
    const pids = spawnSync("ip", ["netns", "pids", name], { encoding: "utf8" }).stdout ?? "";
    for (const pid of pids.split("\n").filter(Boolean)) {
      try {
        process.kill(Number(pid), "SIGKILL");
      } catch {
        // Ended meanwhile.
      }
    }
    spawnSync("ip", ["netns", "del", name], { stdio: "ignore" });
    removed.push(`namespace ${name}`);
  }
  for (const name of list("/sys/class/net")) {
    if (!dead(name)) continue;
    spawnSync("ip", ["link", "del", name], { stdio: "ignore" });
    removed.push(`device ${name}`);
  }
  return removed;
}

function list(folder) {
  try {
    return fs.readdirSync(folder);
  } catch {
    return [];
  }
}

async function guardUntilParentEnds() {
  process.stdin.resume();
  await new Promise((resolve) => process.stdin.once("close", resolve).once("end", resolve));
  const until = Date.now() + GUARD_PATIENCE;
  do {
    reap();
    await new Promise((resolve) => setTimeout(resolve, 500));
  } while (Date.now() < until && anythingLeft());
}

function anythingLeft() {
  return [...list(os.tmpdir()), ...list("/var/run/netns")].some((name) => owned.test(name));
}

if (process.argv[1] && fs.realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  // No top-level await: Jest requires this file.
  if (process.argv[2] === "--guard") void guardUntilParentEnds();
  else for (const line of reap()) console.log(`removed ${line}`);
}
