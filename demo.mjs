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
const TABLE = [
  "PEER NAME            APP NAME           REGION   VIRTUAL IP",
  "my-private-network   api-service-east   ord      10.1.2.4",
  "my-private-network   api-service-west   iad      10.1.2.5",
  "laptop               -                  -        10.1.2.3",
].join("\n");
/** A name that nobody's own stack of the example has: the CLI writes its settings into the example's folder. */
const STACK = "warren-demo";
const stackSettings = path.join(example, `Pulumi.${STACK}.yaml`);

const { values: flags } = parseArgs({
  options: { engine: { type: "string", default: "embedded" }, keep: { type: "boolean", default: false } },
});
if (!["embedded", "pulumi"].includes(flags.engine)) {
  console.error(`demo: --engine=${flags.engine} is unknown: use embedded or pulumi.`);
  process.exit(2);
}

if (flags.engine === "pulumi" && spawnSync("pulumi", ["version"]).error) {
  console.error(
    "demo: --engine=pulumi needs the Pulumi CLI on the PATH; without it the embedded engine does the same.",
  );
  process.exit(2);
}

try {
  ensureDependencies();
  ensureBuild();
} catch (error) {
  console.error(`demo: ${error.message}`);
  process.exit(1);
}

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
  fs.rmSync(stackSettings, { force: true });
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
    show(`pulumi ${operation}`, "pulumi", [operation, "--stack", STACK, "--non-interactive", ...sure]);
  },
}[flags.engine];

/** Shows a command of warren, and sees to it that it says what the tutorial promises. */
function expectCli(shown, args, wanted) {
  console.log(`\n$ ${shown}`);
  const done = spawnSync(process.execPath, [warren, ...args], { cwd: example, env, encoding: "utf8" });
  process.stdout.write(done.stdout + done.stderr);
  if (done.status !== 0 || done.stdout.trim() !== wanted)
    throw new Error(`"${shown}" should have answered:\n${wanted}`);
}

function curl(from, url, wanted) {
  const args = ["exec", from, "--", "curl", "--silent", "--show-error", "--max-time", "10", url];
  expectCli(`warren exec ${from} -- curl ${url}`, args, wanted);
}

/** The part of the program that declares something. */
function declarations() {
  const program = fs.readFileSync(path.join(example, "index.ts"), "utf8");
  return program.slice(program.indexOf("const network")).trimEnd();
}

/** What the Pulumi CLI needs in another shell. */
function exports() {
  const names = ["PULUMI_HOME", "PULUMI_BACKEND_URL", "PULUMI_CONFIG_PASSPHRASE"];
  return names.map((name) => `  export ${name}=${env[name]}`).join("\n");
}

let up = false;
process.once("SIGINT", () => {
  // The child in the foreground got it too; the clean-up below follows.
});
try {
  console.log(`\nexamples/fly-tutorial/index.ts declares\n\n${declarations().replace(/^(?=.)/gm, "    ")}`);
  if (flags.engine === "pulumi")
    show(`pulumi stack init ${STACK}`, "pulumi", ["stack", "init", STACK, "--non-interactive"]);
  stack("preview");
  up = true;
  stack("up");
  expectCli("warren peers", ["peers"], TABLE);
  curl(EAST, "http://10.1.2.5:8080", `Hello from ${WEST}!`);
  curl(WEST, "http://10.1.2.4:8080", `Hello from ${EAST}!`);
  curl(EAST, `http://${WEST}.internal:8080`, `Hello from ${WEST}!`);
  cli("status");
  if (flags.keep) {
    console.log(`\nIt goes on. Look around with\n  export WARREN_HOME=${env.WARREN_HOME}\n  node ${warren} status`);
    if (flags.engine === "embedded") console.log(`and end it with\n  node ${warren} destroy ${example}`);
    else console.log(`and end it with\n  pulumi destroy --cwd ${example} --stack ${STACK} --yes\nafter\n${exports()}`);
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
      if (flags.engine === "pulumi") fs.rmSync(stackSettings, { force: true });
      if (!process.exitCode) console.log("\nAll of it came true, and nothing is left of it.");
    } catch (error) {
      console.error(`\ndemo: ${error.message}\nWhat is left is in ${temp}.`);
      process.exitCode = 1;
    }
  }
}
