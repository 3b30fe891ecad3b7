#!/usr/bin/env node
/**
 * `npm run bench` runs all benches one after the other, `npm run bench -- NAME…` those named; the table goes to the terminal and,
 * with the raw values as JSON, to bench/results/DATE-COMMIT.
 */
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { createRequire } from "node:module";
import * as os from "node:os";
import * as path from "node:path";
import { fileURLToPath } from "node:url";
import { guard, reap } from "../tools/reap.mjs";
import { ensureBuild, ensureDependencies } from "../tools/setup.mjs";

const here = path.dirname(fileURLToPath(import.meta.url));
const root = path.dirname(here);
const require = createRequire(import.meta.url);
const names = fs
  .readdirSync(here)
  .filter((name) => name.endsWith(".ts"))
  .map((name) => name.slice(0, -3));

function run(command, args) {
  const done = spawnSync(command, args, { cwd: root, encoding: "utf8" });
  return done.status === 0 ? done.stdout.trim() : undefined;
}

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !names.includes(name));
if (unknown.length) {
  console.error(`There is no bench ${unknown.join(", ")}; there are ${names.join(", ")}.`);
  process.exit(2);
}

try {
  ensureDependencies();
  ensureBuild();
} catch (error) {
  console.error(`bench: ${error.message}`);
  process.exit(1);
}
const compiled = spawnSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "tsconfig.bench.json"], {
  cwd: root,
  encoding: "utf8",
});
if (compiled.status !== 0) {
  console.error(compiled.stdout);
  process.exit(1);
}
reap();
guard();

const { table } = require(path.join(root, "dist", "bench", "lib", "figure.js"));
const results = [];
const missing = [];
for (const name of wanted.length ? wanted : names) {
  const { bench } = require(path.join(root, "dist", "bench", `${name}.js`));
  const reason = bench.unavailable();
  if (reason !== undefined) {
    missing.push(`${name}: ${reason}`);
    continue;
  }
  console.error(`== ${name}`);
  try {
    results.push({ name, figures: await bench.run((line) => console.error(`   ${line}`)) });
  } catch (error) {
    missing.push(`${name}: failed: ${error.message}`);
    process.exitCode = 1;
  }
}

const commit = run("git", ["rev-parse", "--short", "HEAD"]) ?? "unknown";
const dirty = run("git", ["status", "--porcelain", "--untracked-files=no"]) ? " with local changes" : "";
const cpu = os.cpus();
const machine = `${cpu.length} × ${cpu[0]?.model ?? "unknown"}, Linux ${os.release()}, Node ${process.version}`;
const date = new Date().toISOString().slice(0, 10);
const text = [
  `# Benches of ${date}, commit ${commit}${dirty}`,
  "",
  machine,
  "",
  ...results.map(({ name, figures }) => `## ${name}\n\n${table(figures)}\n`),
  ...(missing.length ? ["## Not run", "", ...missing.map((line) => `- ${line}`), ""] : []),
].join("\n");
console.log(text);
const folder = path.join(here, "results");
const file = path.join(folder, `${date}-${commit}${wanted.length ? `-${wanted.join("-")}` : ""}`);
fs.mkdirSync(folder, { recursive: true });
fs.writeFileSync(`${file}.md`, text);
fs.writeFileSync(
  `${file}.json`,
  `${JSON.stringify({ date, commit, dirty: dirty !== "", machine, results, missing }, null, 2)}\n`,
);
console.error(`written to ${path.relative(root, file)}.md and .json`);
// A handle that a bench left open must not keep the run.
process.exit();
