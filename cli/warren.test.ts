/** The program as it is typed: what it prints where, and its exit codes, on a machine where nothing runs. */
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";

const PROGRAM = path.join(__dirname, "..", "dist", "cli", "warren.js");
let dir: string;
beforeAll(() => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), "warren-cli-"));
});
afterAll(() => fs.rmSync(dir, { recursive: true }));

function warren(...args: string[]) {
  const env = { ...process.env, WARREN_HOME: path.join(dir, "home") };
  const { status, stdout, stderr } = spawnSync(process.execPath, [PROGRAM, ...args], {
    env,
    encoding: "utf8",
    timeout: 30_000,
  });
  return { status, stdout, stderr };
}

test("asking an empty machine starts nothing and makes nothing", () => {
  expect(warren("status").stdout).toMatch(/^Nothing here yet/);
  expect(warren("networks").stdout).toBe("NETWORK   RANGE   GATEWAY   DNS   MEMBERS   STACK\n");
  expect(JSON.parse(warren("peers", "--json").stdout)).toEqual([]);
  expect(JSON.parse(warren("--json", "apps").stdout)).toEqual([]);
  expect(JSON.parse(warren("serve", "--stop", "--json").stdout)).toEqual({ stopped: false });
  expect(fs.existsSync(path.join(dir, "home"))).toBe(false);
});

test("a failure is one sentence on standard error and a non-zero exit", () => {
  const { status, stdout, stderr } = warren("exec", "api", "--", "true");
  expect([status, stdout]).toEqual([1, ""]);
  expect(stderr).toMatch(/^warren: There is no Warren registry in .*home: declare a Network .*\n$/);
  expect(warren("up", path.join(dir, "none")).stderr).toBe(`warren: ${path.join(dir, "none")} has no Pulumi.yaml.\n`);
});

test.each([
  [["frob"], "frob"],
  [["status", "--frob"], "--frob"],
  [["logs", "api", "-n", "many"], "many"],
  [["config"], "peer"],
])("what it does not understand is named: %j", (args, named) => {
  const { status, stderr } = warren(...args);
  expect(status).toBe(1);
  expect(stderr).toMatch(/^warren: .*\n$/);
  expect(stderr).toContain(named);
  const error = JSON.parse(warren("--json", ...args).stderr);
  expect(error).toMatchObject({ error: { code: "WARREN_INVALID_INPUT", message: expect.stringContaining(named) } });
});

test("--json gives errors as JSON with a stable code", () => {
  expect(JSON.parse(warren("config", "laptop", "--json").stderr)).toMatchObject({
    error: { code: "WARREN_NOT_FOUND" },
  });
  expect(JSON.parse(warren("preview", dir, "--json").stderr)).toMatchObject({ error: { code: "ENGINE_PROJECT" } });
});

test("without a command, and when asked, it says what it can do", () => {
  const { status, stderr } = warren();
  expect(status).toBe(1);
  expect(stderr).toContain("Usage: warren");
  expect(warren("--help")).toMatchObject({ status: 0, stderr: "" });
  expect(warren("--version").stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
});

const systemd = fs.existsSync("/run/systemd/system");
(systemd ? test.skip : test)(`service install needs systemd${systemd ? " (skipped: systemd runs here)" : ""}`, () => {
  expect(warren("service", "install", "--json")).toMatchObject({
    status: 1,
    stderr: expect.stringContaining("WARREN_UNSUPPORTED"),
  });
});
