import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { WarrenError } from "../runtime/errors";
import { type Home, home } from "../runtime/home";
import type { ControlClient } from "./client";
import { type DaemonShell, ensureDaemon, isOlder, peekDaemon } from "./daemon";

let dir: string;
let place: Home;
beforeEach(() => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), "warren-daemon-"));
  place = home(path.join(dir, "home"));
});
afterEach(() => fs.rmSync(dir, { recursive: true, force: true }));

/** A machine on which one daemon at most answers. */
class Fake implements DaemonShell {
  version = "1.2.0";
  time = 0;
  spawned = 0;
  running: { version: string; pid: number; apiVersion?: number } | undefined;
  error: WarrenError | undefined;
  stopped: string[] = [];
  /** Milliseconds from a spawn until it answers; undefined: it ends at once. */
  startsIn: number | undefined = 300;
  said = "";
  private ready = Number.POSITIVE_INFINITY;

  now = () => this.time;
  sleep = async (ms: number) => {
    this.time += ms;
    if (this.time >= this.ready && !this.running) this.running = { version: this.version, pid: 2 };
  };
  spawnDaemon = () => {
    this.spawned++;
    const ends = this.startsIn === undefined;
    if (!ends) this.ready = this.time + this.startsIn!;
    return { exited: () => ends, said: () => this.said, letGo: () => {} };
  };
  connect = () =>
    ({
      health: async () => {
        if (this.error) throw this.error;
        if (!this.running) throw new WarrenError("WARREN_CONTROL_UNREACHABLE", "nobody");
        return { apiVersion: 1, registryId: "r", ...this.running };
      },
      shutdown: async (apps: string) => {
        this.stopped.push(apps);
        this.running = undefined;
      },
      close: async () => {},
    }) as unknown as ControlClient;
}

it("uses the daemon that answers", async () => {
  const shell = new Fake();
  shell.running = { version: "1.2.0", pid: 1 };
  await ensureDaemon(place, shell);
  expect(shell.spawned).toBe(0);
});

it("starts one where none answers, also over a socket that one left behind", async () => {
  const shell = new Fake();
  await ensureDaemon(place, shell);
  expect(shell).toMatchObject({ spawned: 1, running: { pid: 2 } });
});

it("tries again when its daemon ended at once, and then shows the end of the log", async () => {
  const shell = new Fake();
  shell.startsIn = undefined;
  fs.mkdirSync(place.dir, { recursive: true });
  fs.writeFileSync(place.daemonLog, "first\nregistry.sqlite is damaged\n");
  await expect(ensureDaemon(place, shell)).rejects.toThrow(/did not start[\s\S]*registry.sqlite is damaged/);
  expect(shell.spawned).toBe(3);
  expect(shell.time).toBeLessThan(20_000);
});

it("passes on why its daemon cannot start, in the daemon's own words and at once", async () => {
  const shell = new Fake();
  shell.startsIn = undefined;
  const error = { code: "WARREN_STORAGE", message: "The disk is full: free some space.", path: "WARREN_HOME" };
  shell.said = `(node:1) Warning: something\n${JSON.stringify({ error })}\n`;
  await expect(ensureDaemon(place, shell)).rejects.toMatchObject(error);
  expect(shell.spawned).toBe(1);
});

it("takes the place of an older daemon and keeps its apps", async () => {
  const shell = new Fake();
  shell.running = { version: "1.1.9", pid: 1 };
  await ensureDaemon(place, shell);
  expect(shell).toMatchObject({ stopped: ["keep"], spawned: 1, running: { version: "1.2.0" } });
});

it("works with a newer daemon that speaks the same interface, and refuses one that does not", async () => {
  const shell = new Fake();
  shell.running = { version: "2.0.0", pid: 1 };
  await ensureDaemon(place, shell);
  shell.running = { version: "2.0.0", pid: 1, apiVersion: 2 };
  await expect(ensureDaemon(place, shell)).rejects.toMatchObject({ code: "WARREN_VERSION" });
  expect(shell).toMatchObject({ spawned: 0, stopped: [] });
});

it("says that a daemon is another user's", async () => {
  const shell = new Fake();
  shell.error = new WarrenError("WARREN_PERMISSION", "belongs to another user");
  await expect(ensureDaemon(place, shell)).rejects.toMatchObject({ code: "WARREN_PERMISSION" });
  expect(shell.spawned).toBe(0);
});

it("starts nothing and makes nothing where no registry is on disk", async () => {
  const shell = new Fake();
  expect(await peekDaemon(place, shell)).toBeUndefined();
  expect(fs.existsSync(place.dir)).toBe(false);
  fs.mkdirSync(place.dir, { recursive: true });
  fs.writeFileSync(place.registry, "");
  expect(await peekDaemon(place, shell)).toBeDefined();
  expect(shell.spawned).toBe(1);
});

it.each([
  ["1.2.3", "1.2.4", true],
  ["1.2.10", "1.2.9", false],
  ["1.2.3", "1.2.3", false],
  ["1.2.3-rc.2", "1.2.3", true],
  ["1.2.3-rc.2", "1.2.3-rc.10", true],
  ["1.2.3", "1.2.3-rc.1", false],
])("%s older than %s: %s", (a, b, older) => {
  expect(isOlder(a, b)).toBe(older);
});

test("a folder that somebody else may have put a socket into is not trusted with a connection", async () => {
  const long = home(path.join(dir, "x".repeat(110)));
  const squatted = path.dirname(long.controlSocket);
  fs.mkdirSync(squatted, { mode: 0o755 });
  const open = home(path.join(dir, "open"));
  fs.mkdirSync(open.dir);
  fs.chmodSync(open.dir, 0o1777);
  try {
    for (const place of [long, open]) {
      const machine = new Fake();
      machine.connect = () => {
        throw new Error("it connects");
      };
      await expect(ensureDaemon(place, machine)).rejects.toMatchObject({ code: "WARREN_PERMISSION" });
    }
  } finally {
    fs.rmdirSync(squatted);
  }
});
