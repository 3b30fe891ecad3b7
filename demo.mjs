#!/usr/bin/env node
/**
 * `npm run demo`: the tutorial comes true on this machine, then everything goes again.
 * Plain Node, for it runs in a fresh clone; it installs what it needs first.
 *   npm run demo                        on the embedded engine
 *   npm run demo -- --engine=pulumi     on the Pulumi CLI of the PATH, with a backend, home and passphrase of its own
 *   npm run demo -- --keep              leaves it running and says how to look around
 */
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { ensureBuild, ensureDependencies } from "./tools/setup.mjs";

const root = path.dirname(fileURLToPath(import.meta.url));
const example = path.join(root, "examples", "fly-tutorial");
const warren = path.join(root, "dist", "cli", "warren.js");
const EAST = "api-service-east";
const WEST = "api-service-west";

const { values: flags } = parseArgs({
  options: { engine: { type: "string", default: "embedded" }, keep: { type: "boolean", default: false } },
});
if (!["embedded", "pulumi"].includes(flags.engine)) {
  console.error(`demo: --engine=${flags.engine} is unknown: use embedded or pulumi.`);
  process.exit(2);
}

ensureDependencies();
ensureBuild();

const temp = fs.mkdtempSync(path.join(os.tmpdir(), "warren-demo-"));
// Apps of a root daemon run as another account and reach their sources through this folder.
fs.chmodSync(temp, 0o711);
const env = { ...process.env, WARREN_HOME: path.join(temp, "warren") };
if (flags.engine === "pulumi") {
  Object.assign(env, {
    PULUMI_HOME: path.join(temp, "pulumi-home"),
    PULUMI_BACKEND_URL: `file://${path.join(temp, "backend")}`,
    PULUMI_CONFIG_PASSPHRASE: randomBytes(16).toString("hex"),
    PULUMI_SKIP_UPDATE_CHECK: "true",
  });
  delete env.PULUMI_CONFIG_PASSPHRASE_FILE;
  fs.mkdirSync(path.join(temp, "backend"));
}

/** What a person would type, shown, then run. */
function show(shown, command, args, options = {}) {
  console.log(`\n$ ${shown}`);
  const done = spawnSync(command, args, { cwd: example, env, stdio: ["ignore", "inherit", "inherit"], ...options });
  if (done.error) throw new Error(`"${shown}" could not be started: ${done.error.message}`);
  if (done.status !== 0) throw new Error(`"${shown}" failed${done.signal ? ` (${done.signal})` : ""}.`);
}

const cli = (...args) => show(["warren", ...args].join(" "), process.execPath, [warren, ...args]);

const stack = {
  embedded: (operation) => cli(operation, "."),
  pulumi: (operation) => {
    const sure = operation === "preview" ? [] : ["--yes", "--skip-preview"];
    show(`pulumi ${operation}`, "pulumi", [operation, "--stack", "demo", "--non-interactive", ...sure]);
  },
}[flags.engine];

/** The two lines of the tutorial, and that the answer is the other app's. */
function curl(from, url, wanted) {
  const args = ["exec", from, "--", "curl", "--silent", "--show-error", "--max-time", "10", url];
  const shown = `warren exec ${from} -- curl ${url}`;
  console.log(`\n$ ${shown}`);
  const done = spawnSync(process.execPath, [warren, ...args], { cwd: example, env, encoding: "utf8" });
  process.stdout.write(done.stdout + done.stderr);
  if (done.status !== 0 || done.stdout.trim() !== wanted)
    throw new Error(`"${shown}" should have answered "${wanted}".`);
}

let up = false;
process.once("SIGINT", () => {
  // The child in the foreground got it too; the clean-up below follows.
});
try {
  if (flags.engine === "pulumi")
    show("pulumi stack init demo", "pulumi", ["stack", "init", "demo", "--non-interactive"]);
  stack("preview");
  up = true;
  stack("up");
  cli("peers");
  curl(EAST, "http://10.1.2.5:8080", `Hello from ${WEST}!`);
  curl(WEST, "http://10.1.2.4:8080", `Hello from ${EAST}!`);
  curl(EAST, `http://${WEST}.internal:8080`, `Hello from ${WEST}!`);
  cli("status");
  if (flags.keep) {
    console.log(`\nIt goes on. Look around with\n  export WARREN_HOME=${env.WARREN_HOME}\n  node ${warren} status`);
    console.log(`and end it with\n  node ${warren} destroy ${example}`);
  }
} catch (error) {
  console.error(`\ndemo: ${error.message}`);
  process.exitCode = 1;
} finally {
  if (!flags.keep || process.exitCode) {
    try {
      if (up) stack("destroy");
      // The daemon ends by itself some time after its last network has gone; the demo need not wait for that.
      spawnSync(process.execPath, [warren, "serve", "--stop"], { env, stdio: "ignore" });
      fs.rmSync(temp, { recursive: true, force: true });
      if (!process.exitCode) console.log("\nAll of it came true, and nothing is left of it.");
    } catch (error) {
      console.error(`\ndemo: ${error.message}\nWhat is left is in ${temp}.`);
      process.exitCode = 1;
    }
  }
}
