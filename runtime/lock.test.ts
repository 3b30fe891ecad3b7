import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { takeLock } from "./lock";

let dir: string;
beforeEach(() => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), "warren-lock-"));
});
afterEach(() => fs.rmSync(dir, { recursive: true }));

test("a second holder is refused until the first lets go", async () => {
  const file = path.join(dir, "lock.sqlite");
  const first = await takeLock(file, 0);
  expect(first).toBeDefined();
  expect(await takeLock(file, 100)).toBeUndefined();
  const waiting = takeLock(file, 5000);
  first?.release();
  const second = await waiting;
  expect(second).toBeDefined();
  second?.release();
});

test("nobody waits for a lock that its holder will keep, or takes it once that has let go", async () => {
  const file = path.join(dir, "lock.sqlite");
  const first = await takeLock(file, 0);
  let kept = false;
  const waiting = takeLock(file, 5000, async () => kept);
  kept = true;
  expect(await waiting).toBeUndefined();
  first?.release();
});

test("a holder that takes the file away leaves the folder clean, and the next one locks a new file", async () => {
  const file = path.join(dir, "lock.sqlite");
  const first = await takeLock(file, 0);
  const waiting = takeLock(file, 5000);
  first?.release({ remove: true });
  const second = await waiting;
  expect(second).toBeDefined();
  expect(fs.existsSync(file)).toBe(true);
  expect(await takeLock(file, 0)).toBeUndefined();
  second?.release({ remove: true });
  expect(fs.readdirSync(dir)).toEqual([]);
});

test("nobody else may open the lock, and so hold it", async () => {
  const file = path.join(dir, "lock.sqlite");
  const lock = await takeLock(file, 0);
  for (const name of fs.readdirSync(dir)) expect(fs.statSync(path.join(dir, name)).mode & 0o077).toBe(0);
  lock?.release();
});

test("a holder that is killed with SIGKILL leaves no lock behind", async () => {
  const file = path.join(dir, "lock.sqlite");
  const script = `const D = require("libsql"); const d = new D(${JSON.stringify(file)});
    d.exec("BEGIN EXCLUSIVE; CREATE TABLE IF NOT EXISTS holder (pid INTEGER)"); console.log("held"); setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] });
  await new Promise((resolve) => child.stdout.once("data", resolve));
  expect(await takeLock(file, 0)).toBeUndefined();
  child.kill("SIGKILL");
  const lock = await takeLock(file, 5000);
  expect(lock).toBeDefined();
  lock?.release();
});
