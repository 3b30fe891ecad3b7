import { spawn, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { describeNeeding } from "../../test/support/needs";
import { useScratch } from "../../test/support/scratch";
import { waitFor } from "../../test/support/wait";
import { KeeperClient } from "./client";
import {
  ACCOUNTS,
  alive,
  describeAccounts,
  end,
  leftovers,
  makeHome,
  processSpec,
  reaches,
  sandboxSpec,
  startKeeper,
} from "./testing/keepers";

const LAUNCH = path.join(__dirname, "..", "..", "dist", "runtime", "keeper", "launch.js");
const HOME = path.join(__dirname, "..", "..", "dist", "runtime", "home.js");

describeNeeding(["linux", "tun"], "the life of a keeper", () => {
  const scratch = useScratch();
  let homes = 0;
  const connect = (socket: string) => waitFor("a keeper", () => KeeperClient.connect(socket));

  describeAccounts("of", (who) => {
    const freshHome = () => makeHome(scratch, who, `life-${homes++}`);

    it("begins once, however many start it at once, and holds nothing of its starter", async () => {
      const h = freshHome();
      const script = `
        const { ensureKeeper } = require(${JSON.stringify(LAUNCH)});
        const { home } = require(${JSON.stringify(HOME)});
        ensureKeeper(home(${JSON.stringify(h.dir)}))
          .then(async (client) => { console.log((await client.call("hello", { version: "t" })).pid); client.close(); })`;
      const pids = await Promise.all(
        Array.from(
          { length: 4 },
          () =>
            new Promise<string>((resolve, reject) => {
              // Descriptor 3 is inherited: the keeper must not keep it.
              const child = spawn(process.execPath, ["-e", script], {
                uid: who.uid,
                gid: who.uid,
                env: { ...scratch.env, PATH: process.env.PATH },
                stdio: ["ignore", "pipe", "inherit", "pipe"],
              });
              let out = "";
              child.stdout!.on("data", (data) => {
                out += data;
              });
              // `close` waits until no one holds the pipes.
              child.on("close", (code) => (code === 0 ? resolve(out.trim()) : reject(new Error(`code ${code}`))));
            }),
        ),
      );
      expect(new Set(pids).size).toBe(1);
      expect(fs.statSync(h.keeperSocket).mode & 0o777).toBe(0o600);
      const pid = Number(pids[0]);
      expect(fs.readFileSync(`/proc/${pid}/cmdline`, "utf8")).toContain("main.js");
      const client = await connect(h.keeperSocket);
      await client.call("goodbye", { apps: "stop" });
      client.close();
      await waitFor("its end", () => !alive(pid));
      expect(fs.existsSync(h.keeperSocket)).toBe(false);
    });

    it("ends by itself when it has nothing to hold", async () => {
      const h = freshHome();
      const keeper = await startKeeper(scratch, who, h, { WARREN_KEEPER_IDLE_MS: "200" });
      await keeper.client.call("ensureSandbox", sandboxSpec("a.0"));
      keeper.client.close();
      await new Promise((resolve) => setTimeout(resolve, 600));
      expect(keeper.child.exitCode).toBeNull();
      const client = await connect(h.keeperSocket);
      await client.call("removeSandbox", { id: "a.0" });
      client.close();
      await waitFor("its end", () => keeper.child.exitCode === 0);
      expect(fs.existsSync(h.keeperSocket)).toBe(false);
    });

    it("ended by kill -9 takes the apps along, and the next one ends what is left", async () => {
      const h = freshHome();
      const first = await startKeeper(scratch, who, h);
      await first.client.call("ensureSandbox", sandboxSpec("a.0"));
      const pids = path.join(scratch.dir, `life-pids-${who.uid}`);
      fs.writeFileSync(pids, "");
      fs.chmodSync(pids, 0o666);
      const script = `setsid sh -c 'echo $$ >>${pids}; exec sleep 100' & sleep 100 & exec sleep 100`;
      const { pid } = await first.client.call("start", processSpec(first, "a.0", ["sh", "-c", script]));
      await waitFor("the escaped process", () => fs.readFileSync(pids, "utf8").trim() !== "");
      await reaches(first, "a.0", "running");
      const inSandbox = leftovers(h);
      expect(inSandbox.length).toBe(3);
      await end(first.child, "SIGKILL");
      await waitFor("the end of the app", () => !alive(pid!));
      const second = await startKeeper(scratch, who, h);
      expect(inSandbox.filter(alive)).toEqual([]);
      expect((await second.client.call("list", {})).sandboxes).toEqual([]);
    });

    it("goes on with its apps when the daemon says goodbye, and brings it back when it does not", async () => {
      const h = freshHome();
      const keeper = await startKeeper(scratch, who, h);
      await keeper.client.call("ensureSandbox", sandboxSpec("a.0"));
      const { pid } = await keeper.client.call("start", processSpec(keeper, "a.0", ["sleep", "100"]));
      const started = path.join(h.dir, "started");
      const command = ["/bin/sh", "-c", `echo "$MARK" >>${started}`];
      const supervise = { command, env: { PATH: "/usr/bin:/bin", MARK: "back" }, log: h.daemonLog };

      const leaves = await connect(h.keeperSocket);
      await leaves.call("supervise", supervise);
      await leaves.call("goodbye", { apps: "keep" });
      leaves.close();
      await new Promise((resolve) => setTimeout(resolve, 400));
      expect(fs.existsSync(started)).toBe(false);

      const dies = await connect(h.keeperSocket);
      await dies.call("supervise", supervise);
      dies.close();
      await waitFor("the daemon to be started twice", () => fs.readFileSync(started, "utf8") === "back\nback\n");
      expect(alive(pid!)).toBe(true);

      const last = await connect(h.keeperSocket);
      await last.call("supervise", supervise);
      await last.call("goodbye", { apps: "stop" });
      expect(alive(pid!)).toBe(false);
      await waitFor("its end", () => keeper.child.exitCode === 0);
    });

    it("ends whole on SIGTERM", async () => {
      const h = freshHome();
      const keeper = await startKeeper(scratch, who, h);
      await keeper.client.call("ensureSandbox", sandboxSpec("a.0"));
      const { pid } = await keeper.client.call("start", processSpec(keeper, "a.0", ["sleep", "100"]));
      keeper.child.kill("SIGTERM");
      await waitFor("its end", () => keeper.child.exitCode === 0);
      expect(alive(pid!)).toBe(false);
      expect(fs.readdirSync(h.dir).sort()).toEqual(["keeper.lock", "keeper.log", "logs", "sources"]);
    });
  });

  it("of another user is refused with a sentence", async () => {
    if (process.getuid!() !== 0) return;
    const h = makeHome(scratch, ACCOUNTS[0], `life-${homes++}`);
    await startKeeper(scratch, ACCOUNTS[0], h);
    const script = `
      const { ensureKeeper } = require(${JSON.stringify(LAUNCH)});
      const { home } = require(${JSON.stringify(HOME)});
      ensureKeeper(home(${JSON.stringify(h.dir)})).catch((error) => console.log(error.code, error.message))`;
    const { stdout } = spawnSync(process.execPath, ["-e", script], { uid: 65534, gid: 65534, encoding: "utf8" });
    expect(stdout).toBe(
      `WARREN_PERMISSION The keeper at ${h.keeperSocket} belongs to another user: run as that user, or set WARREN_HOME.\n`,
    );
  });

  it("refuses what it does not know, and goes on", async () => {
    const keeper = await startKeeper(scratch, ACCOUNTS[0], makeHome(scratch, ACCOUNTS[0], `life-${homes++}`));
    await expect(keeper.client.call("dance" as never, {} as never)).rejects.toMatchObject({ code: "WARREN_VERSION" });
    await expect(
      keeper.client.call("probe", { sandbox: "x", type: "tcp", address: "10.0.0.1", port: 1, timeout: 1 }),
    ).rejects.toMatchObject({ code: "WARREN_NOT_FOUND" });
    const { client } = keeper;
    expect(await client.call("hello", { version: "t" })).toMatchObject({ protocol: 1, pid: keeper.child.pid });
    await end(keeper.child, "SIGKILL");
    await expect(client.call("list", {})).rejects.toMatchObject({ code: "WARREN_CONTROL_UNREACHABLE" });
  });
});
