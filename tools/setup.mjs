#!/usr/bin/env node
/**
 * Makes a clone ready to run: dependencies as the lockfile says, dist/ as new as the sources.
 * Plain Node, for it runs before anything is installed; silent when there is nothing to do.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { fileURLToPath } from "node:url";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..");
const stamp = path.join(root, "dist", ".built-from");
const builtFolders = ["sdk", "net", "provider", "runtime", "engine", "cli", "test/support/programs"];
const builtFiles = ["tsconfig.json", "tsconfig.build.json", "package-lock.json", "tools/kernels.mjs"];

/** Why node_modules is not what the lockfile asks for, or undefined when it is. */
export function whyInstall() {
  const installed = readJson(path.join(root, "node_modules", ".package-lock.json"));
  if (installed === undefined) return "nothing is installed yet";
  const wanted = readJson(path.join(root, "package-lock.json"));
  if (wanted === undefined) throw new Error("package-lock.json is missing or damaged: restore it from git.");
  for (const [place, entry] of Object.entries(wanted.packages)) {
    if (!place.includes("node_modules/") || entry.link) continue;
    const present = installed.packages[place];
    // npm leaves out optional packages that are made for another platform.
    if (present === undefined && (entry.optional || entry.peer)) continue;
    if (present?.version !== entry.version) return `${place} differs from the lockfile`;
  }
  return undefined;
}

/** Installs where needed. Throws with npm's own words when that fails. */
export function ensureDependencies(log = console.error) {
  const why = whyInstall();
  if (why === undefined) return;
  step(log, `npm ci (${why})`, "npm", ["ci", "--include=dev", "--no-audit", "--no-fund"]);
}

/** Builds dist/ where a source changed. Throws with the compiler's words when that fails. */
export function ensureBuild(log = console.error) {
  const digest = sourceDigest();
  if (fs.existsSync(stamp) && fs.readFileSync(stamp, "utf8") === digest) return;
  step(log, "npm run build (sources changed)", "npm", ["run", "--silent", "build"]);
  fs.writeFileSync(stamp, digest);
}

function step(log, title, command, args) {
  const start = Date.now();
  log(`setup: ${title} ...`);
  const done = spawnSync(command, args, { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  if (done.error) throw new Error(`${title} could not be started: ${done.error.message}`);
  if (done.status !== 0) throw new Error(`${title} failed:\n${done.stdout}${done.stderr}`);
  log(`setup: done in ${((Date.now() - start) / 1000).toFixed(0)} s`);
}

function sourceDigest() {
  const hash = createHash("sha256");
  const add = (file) => {
    const stat = fs.statSync(file);
    hash.update(`${path.relative(root, file)} ${stat.size} ${stat.mtimeMs}\n`);
  };
  for (const folder of builtFolders) {
    const at = path.join(root, folder);
    if (!fs.existsSync(at)) continue;
    const names = fs.readdirSync(at, { recursive: true }).filter((n) => n.endsWith(".ts") && !n.endsWith(".test.ts"));
    for (const name of names.sort()) add(path.join(at, name));
  }
  for (const file of builtFiles) add(path.join(root, file));
  return hash.digest("hex");
}

function readJson(file) {
  try {
    return JSON.parse(fs.readFileSync(file, "utf8"));
  } catch {
    return undefined;
  }
}

if (process.argv[1] && fs.realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  try {
    ensureDependencies();
    ensureBuild();
  } catch (error) {
    console.error(`setup: ${error.message}`);
    process.exitCode = 1;
  }
}
