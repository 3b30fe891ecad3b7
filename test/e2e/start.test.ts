import * as fs from "node:fs";
import * as path from "node:path";
import { ownerOf } from "../../runtime/keeper/keeper";
import { describeNeeding } from "../support/needs";
import { run } from "../support/process";
import { ROOT } from "../support/repo";
import { useScratch } from "../support/scratch";
import { waitFor } from "../support/wait";
import { AS_NOBODY } from "../support/without";
import { Machine, read } from "./machine";

describeNeeding(["linux", "root", "tun"], "the start of a daemon", () => {
  const scratch = useScratch();

  it("ten hooks at once start exactly one, and all of them reach it", async () => {
    const machine = new Machine(scratch, { folder: "ten" });
    const answers = await Promise.all(Array.from({ length: 10 }, () => machine.ensureDaemon({ timeout: 60_000 })));
    const pids = new Set(answers.map(({ stdout }) => stdout.trim()));
    expect([...pids]).toEqual([String(await machine.daemonPid())]);
    await waitFor("one daemon", () => machine.processesOf("warren.js").length === 1);
    expect(read(machine.home.daemonLog).match(/ daemon version=/g)).toHaveLength(1);
  }, 60_000);

  it("by a newer package takes the place of an older daemon, and the apps run on", async () => {
    const machine = await new Machine(scratch, { folder: "newer" }).start();
    await machine.runPair();
    const before = { pid: await machine.daemonPid(), keeper: machine.keeperPid(), app: await machine.instance("east") };
    const copy = path.join(scratch.dir, "package");
    fs.mkdirSync(copy);
    fs.cpSync(path.join(ROOT, "dist"), path.join(copy, "dist"), { recursive: true });
    fs.symlinkSync(path.join(ROOT, "node_modules"), path.join(copy, "node_modules"));
    const json = JSON.parse(fs.readFileSync(path.join(ROOT, "package.json"), "utf8"));
    fs.writeFileSync(path.join(copy, "package.json"), JSON.stringify({ ...json, version: "99.0.0" }));
    await machine.run([process.execPath, path.join(copy, "dist", "cli", "warren.js"), "status"]);
    const { version, pid } = await machine.client.health();
    expect(version).toBe("99.0.0");
    expect(pid).not.toBe(before.pid);
    const after = await waitFor("the app's health", async () => {
      const instance = await machine.instance("east");
      return instance?.state === "healthy" && instance;
    });
    expect(after).toMatchObject({ pid: before.app.pid, restarts: 0, ipv4: before.app.ipv4 });
    expect(machine.keeperPid()).toBe(before.keeper);
    expect(await machine.curl("east", "http://west.internal:8080")).toBe("Hello from west!\n");
    // The older package works with it, and does not take it back.
    await machine.warren(["status"]);
    expect(await machine.daemonPid()).toBe(pid);
  }, 60_000);
});

describe.each(["root", "nobody"] as const)("after the last network is gone, as %s", (user) => {
  describeNeeding(["linux", "root", "tun"], "the daemon ends by itself", () => {
    const scratch = useScratch();

    it("and leaves no process, socket, namespace, device, lease or file", async () => {
      const folder = "f".repeat(120);
      const temporary = scratch.file("tmp");
      fs.mkdirSync(temporary, { mode: 0o777 });
      fs.chmodSync(temporary, 0o777);
      const machine = new Machine(scratch, { user, folder });
      await machine.ensureDaemon({ env: { TMPDIR: temporary, WARREN_IDLE_SECONDS: "1" } });
      const sockets = path.dirname(machine.home.controlSocket);
      expect(sockets).not.toBe(machine.home.dir);
      await machine.runPair();
      const { hosts } = await machine.client.status();
      const inside = machine.appProcesses();
      expect(inside.length).toBeGreaterThanOrEqual(2);
      await machine.deleteNetwork("net");
      expect(machine.appProcesses()).toEqual([]);
      const running = () => [...machine.processesOf("warren.js"), ...machine.processesOf("keeper/main.js")];
      await waitFor("the end of daemon and keeper", () => running().length === 0);
      expect(fs.existsSync(sockets)).toBe(false);
      // An unprivileged owner may not remove the folder itself from a folder of root's.
      if (user === "root") expect(fs.existsSync(machine.home.dir)).toBe(false);
      else expect(fs.readdirSync(machine.home.dir)).toEqual([]);
      expect(fs.readdirSync(temporary)).toEqual([]);
      // Namespaces and devices live as long as a process, a descriptor of daemon or keeper, or a mount holds them: none is left.
      expect(machine.appProcesses()).toEqual([]);
      expect(read("/proc/self/mountinfo")).not.toContain(ownerOf(machine.home.dir));
      const udp = (await run(["ss", "-Hlun"])).stdout;
      for (const { port } of hosts) expect(udp).not.toContain(`127.0.0.1:${port} `);
    }, 60_000);
  });
});

describeNeeding(["linux", "root", "tun"], "a daemon of another user", () => {
  const scratch = useScratch();

  it("is not taken over: one sentence says whose it is and what to do", async () => {
    const machine = await new Machine(scratch).start();
    const env = { ...machine.env };
    const asked = await run([...AS_NOBODY, process.execPath, path.join(ROOT, "dist", "cli", "warren.js"), "status"], {
      env,
      cwd: "/",
      mayFail: true,
    });
    expect(asked.code).toBe(1);
    expect(asked.stderr).toMatch(
      /^warren: The state folder .* belongs to user 0, but this is user 65534: run as that user, or set WARREN_HOME to a folder that this user may write\.\n$/,
    );
    expect(machine.processesOf("warren.js")).toHaveLength(1);
  });
});
