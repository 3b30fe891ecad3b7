import { machineId } from "../../runtime/machine-id";
import { describeNeeding, tunFor } from "../support/needs";
import { useScratch } from "../support/scratch";
import { waitFor } from "../support/wait";
import { Machine, read } from "./machine";

const NONE = { type: "none", interval: 1, timeout: 1, threshold: 1 } as const;

describe.each(["root", "nobody"] as const)("an app's process, as %s", (user) => {
  describeNeeding(["linux", "root", tunFor(user)], "is looked after", () => {
    const scratch = useScratch();
    const machine = new Machine(scratch, { user });
    beforeAll(async () => {
      // Nothing of the daemon's own environment may reach an app.
      await machine.ensureDaemon({ env: { SECRET_OF_THE_ENGINE: "x", NODE_OPTIONS: "--no-deprecation", LANG: "C" } });
      await machine.putNetwork("net", { regions: ["ord"] });
    }, 30_000);

    it("has exactly the environment that is promised", async () => {
      const command = machine.script("env", "console.log(JSON.stringify(process.env)); setInterval(() => {}, 1e6)");
      const { id } = await machine.runApp("net", "env", { command, env: { MINE: "1", HOME: "/mine" }, health: NONE });
      const log = await waitFor("its output", async () => (await machine.warren(["logs", "env"])).stdout || undefined);
      const env = JSON.parse(log);
      const common = {
        APP_NAME: "env",
        REGION: "ord",
        PRIVATE_IP: (await machine.instance("env")).ipv4!,
        MACHINE_ID: machineId(`${id}.0`),
      };
      const both = Object.entries(common).flatMap(([name, value]) => [
        [`FLY_${name}`, value],
        [`WARREN_${name}`, value],
      ]);
      const path = expect.stringMatching(/^\/usr\/local\/sbin:\/usr\/local\/bin:/);
      expect(env).toEqual({
        PATH: path,
        HOME: "/mine",
        LANG: "C",
        MINE: "1",
        PORT: "8080",
        WARREN_PORT: "8080",
        ...Object.fromEntries(both),
      });
      const { TERM: _, ...entered } = JSON.parse(
        await machine.exec("env", machine.script("env1", "console.log(JSON.stringify(process.env))")),
      );
      expect(entered).toEqual(env);
    });

    it("is started again when it ends, each time later", async () => {
      const command = ["sh", "-c", "echo started; sleep 0.1; exit 3"];
      await machine.putApp("net", "ends", { command, health: NONE });
      const start = Date.now();
      const third = await waitFor("a second restart", async () => {
        const instance = await machine.instance("ends");
        return instance?.restarts === 2 && instance.state === "backoff" && instance;
      });
      expect(Date.now() - start).toBeGreaterThan(1000 + 2000);
      expect(third.detail).toBe("exit code 3; its last output: started");
      const { stdout } = await machine.warren(["logs", "ends"]);
      expect(stdout).toBe("started\n".repeat(3));
    });

    it("is stopped with its whole process group, also a child that ignores SIGTERM and one that left the group", async () => {
      const child = machine.script(
        "child",
        'process.on("SIGTERM", () => {}); console.log("child", process.pid); setInterval(() => {}, 1e6)',
      );
      const command = ["sh", "-c", `${child.join(" ")} & setsid ${child.join(" ")} & wait`];
      const { id } = await machine.runApp("net", "stubborn", { command, health: NONE });
      const instance = (await machine.instance("stubborn")).id;
      await waitFor(
        "both children",
        async () => (await machine.warren(["logs", "stubborn"])).stdout.match(/child/g)?.length === 2,
      );
      const inside = () =>
        machine
          .appProcesses()
          .filter((pid) => read(`/proc/${pid}/environ`).includes(`WARREN_MACHINE_ID=${machineId(instance)}`));
      expect(inside().length).toBeGreaterThanOrEqual(3);
      await machine.client.deleteMember(id);
      expect(inside()).toEqual([]);
    });

    it("has a log that can be followed while it goes on", async () => {
      const command = ["sh", "-c", "i=0; while true; do i=$((i+1)); echo line $i; sleep 0.2; done"];
      await machine.runApp("net", "talks", { command, health: NONE });
      const logs = await machine.startWarren(["logs", "talks", "-f"]);
      await logs.said(/line 1\n[\s\S]*line 5\n/);
      logs.signal("SIGINT");
      expect(await logs.exited()).toBe("exit code 0");
      const { stdout } = await machine.warren(["logs", "talks", "-n", "2"]);
      expect(stdout).toMatch(/^line \d+\nline \d+\n$/);
    });

    it("gets exec's standard streams and signals, and gives its exit code back", async () => {
      await machine.runApp("net", "exec", { command: ["sleep", "1000"], health: NONE });
      expect(await machine.exec("exec", ["cat"], { input: "through\n" })).toBe("through\n");
      const failed = await machine.warren(["exec", "exec", "--", "sh", "-c", "echo out; echo err >&2; exit 7"], {
        mayFail: true,
      });
      expect(failed).toEqual({ code: 7, stdout: "out\n", stderr: "err\n" });
      const killed = await machine.warren(["exec", "exec", "--", "sh", "-c", "kill -KILL $$"], { mayFail: true });
      expect(killed.code).toBe(128 + 9);
      const missing = await machine.warren(["exec", "exec", "--", "no-such-program"], { mayFail: true });
      expect(missing).toMatchObject({ code: 127, stderr: expect.stringContaining("no-such-program") });
      const trap = await machine.startWarren([
        "exec",
        "exec",
        "--",
        "sh",
        "-c",
        'trap "echo caught; exit 5" TERM; echo ready; while true; do sleep 0.1; done',
      ]);
      await trap.said(/ready/);
      trap.signal("SIGTERM");
      expect(await trap.exited()).toBe("exit code 5");
      expect(trap.stdout).toBe("ready\ncaught\n");
    });
  });
});
