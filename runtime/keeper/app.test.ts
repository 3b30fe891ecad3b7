import * as fs from "node:fs";
import * as net from "node:net";
import * as path from "node:path";
import { describeNeeding } from "../../test/support/needs";
import { useScratch } from "../../test/support/scratch";
import { waitFor } from "../../test/support/wait";
import type { ProcessSpec } from "./protocol";
import {
  alive,
  describeAccounts,
  inside,
  makeHome,
  processSpec,
  type RunningKeeper,
  reaches,
  sandboxSpec,
  startKeeper,
  stateOf,
} from "./testing/keepers";

describeNeeding(["linux", "tun"], "an app", () => {
  const scratch = useScratch();

  describeAccounts("of a keeper of", (who) => {
    let keeper: RunningKeeper;
    const log = (id: string) => fs.readFileSync(path.join(keeper.home.logs, `${id}.log`), "utf8");
    const start = (id: string, command: string[], more: Partial<ProcessSpec> = {}) =>
      keeper.client.call("start", processSpec(keeper, id, command, more));

    beforeAll(async () => {
      keeper = await startKeeper(scratch, who, makeHome(scratch, who));
      await keeper.client.call("ensureSandbox", sandboxSpec("a.0"));
    });

    it("runs as its account with no capabilities, in its folder, with exactly its environment", async () => {
      await start("a.0", [
        "grep",
        "-hE",
        "^(Uid|Gid|Groups|CapInh|CapPrm|CapEff|CapAmb|NoNewPrivs)",
        "/proc/self/status",
      ]);
      const ended = await reaches(keeper, "a.0", "exited");
      const uid = who.uid || 65534;
      const ids = Array(4).fill(uid).join("\\t");
      expect(ended.tail).toMatch(new RegExp(`^Uid:\\t${ids}\\nGid:\\t${ids}\\n`));
      expect(ended.tail!.match(/^Cap.*$/gm)).toEqual(
        ["Inh", "Prm", "Eff", "Amb"].map((set) => `Cap${set}:\t0000000000000000`),
      );
      expect(ended.tail).toContain("NoNewPrivs:\t1");
      await start("a.0", ["env"], { env: { PATH: "/usr/bin:/bin", SECRET: "a b\nc" } });
      expect((await reaches(keeper, "a.0", "exited")).tail).toBe("PATH=/usr/bin:/bin\nSECRET=a b\nc");
      await start("a.0", ["pwd"], { cwd: "/usr" });
      expect((await reaches(keeper, "a.0", "exited")).tail).toBe("/usr");
    });

    it("has its loader's variables, but the programs that start it as root have not", async () => {
      const env = { PATH: "/usr/bin:/bin", LD_PRELOAD: "/nonexistent/evil.so", SECRET: "x" };
      await start("a.0", ["/usr/bin/env"], { env });
      const { tail } = await reaches(keeper, "a.0", "exited");
      // The loader of each program that sees the variable complains of a library that is not there.
      expect(tail!.match(/evil\.so' from LD_PRELOAD cannot be preloaded/g)).toHaveLength(1);
      expect(tail).toMatch(/^LD_PRELOAD=\/nonexistent\/evil\.so$/m);
      expect(tail).toMatch(/^SECRET=x$/m);
    });

    it("finds of the state folder the delivered sources alone, also those that come later", async () => {
      const { dir, sources } = keeper.home;
      const own = (file: string) => fs.chownSync(file, who.uid, who.uid);
      fs.mkdirSync(path.join(sources, "later"));
      fs.writeFileSync(path.join(sources, "later", "program"), "hello");
      fs.writeFileSync(path.join(dir, "registry.sqlite"), "seed", { mode: 0o600 });
      fs.mkdirSync(path.join(dir, "stacks"));
      for (const file of ["sources/later", "sources/later/program", "registry.sqlite", "stacks"])
        own(path.join(dir, file));
      const look = `ls -A ${dir}; cat ${dir}/registry.sqlite; umount ${dir}; cat ${sources}/later/program; touch ${dir}/x; touch ${sources}/y`;
      // Further namespaces of its own do not help it.
      await start("a.0", ["sh", "-c", `${look}; unshare -Urm sh -c 'umount ${dir}; ls -A ${dir}'`]);
      const { tail } = await reaches(keeper, "a.0", "exited");
      expect(tail).toMatch(/^sources$/m);
      expect(tail).toMatch(/^hello/m);
      expect(tail).toMatch(/registry\.sqlite: No such file/);
      expect(tail).not.toMatch(/seed|keeper\.sock|keeper\.log|stacks$/m);
      expect(tail!.match(/touch.*Read-only|touch.*Permission denied/g)).toHaveLength(2);
      fs.rmSync(path.join(dir, "registry.sqlite"));
    });

    it("whose environment came damaged is refused without a word of it", async () => {
      let said = "";
      const socket = net.connect(keeper.home.keeperSocket);
      socket.setEncoding("utf8").on("data", (text) => {
        said += text;
      });
      const damaged = ['{"SECRET":"sesame', "null", "[1"];
      socket.write(`${damaged.join("\n")}\n`);
      const answers = await waitFor("an answer to each", () => {
        const lines = said.split("\n").slice(0, -1);
        return lines.length === damaged.length && lines;
      });
      for (const answer of answers)
        expect(JSON.parse(answer)).toMatchObject({ error: { code: "WARREN_INVALID_INPUT" } });
      socket.destroy();
      expect(said + fs.readFileSync(keeper.home.keeperLog, "utf8")).not.toContain("sesame");
    });

    it("has output that it may open by name, in order, whole at its end", async () => {
      await start("a.0", ["sh", "-c", "echo one; echo two >&2; echo three >/dev/stdout; exec seq 1 50000"], {
        log: path.join(keeper.home.logs, "order.log"),
      });
      expect(await reaches(keeper, "a.0", "exited")).toMatchObject({ lastExit: "exit code 0" });
      const lines = log("order").trim().split("\n");
      expect(lines.slice(0, 4)).toEqual(["one", "two", "three", "1"]);
      expect(lines).toHaveLength(50_003);
      expect(fs.statSync(path.join(keeper.home.logs, "order.log")).mode & 0o777).toBe(0o600);
    });

    it("has a log that is rotated twice and no more", async () => {
      const file = path.join(keeper.home.logs, "rotated.log");
      await start("a.0", ["seq", "1", "60000"], { log: file, logBytes: 70_000 });
      await reaches(keeper, "a.0", "exited");
      expect(
        fs
          .readdirSync(keeper.home.logs)
          .filter((name) => name.startsWith("rotated"))
          .sort(),
      ).toEqual(["rotated.log", "rotated.log.1", "rotated.log.2"]);
      const kept = [".2", ".1", ""].map((end) => fs.readFileSync(file + end, "utf8")).join("");
      expect(kept.endsWith("59999\n60000\n")).toBe(true);
    });

    it("goes on where its log cannot be written", async () => {
      const node = `${fs.existsSync("/dev/full") ? "/dev/full" : "/nonexistent/x"}`;
      await start("a.0", ["sh", "-c", "seq 1 30000; exit 7"], { log: node });
      const ended = await reaches(keeper, "a.0", "exited");
      expect(ended.lastExit).toBe("exit code 7");
      expect(ended.tail).toContain("30000");
      expect(fs.readFileSync(keeper.home.keeperLog, "utf8").match(/output of \S+ is dropped/g)).toHaveLength(1);
    });

    it("is started again with growing waits while it ends at once", async () => {
      await start("a.0", ["sh", "-c", "echo no; exit 3"], { restart: "on-failure" });
      const first = await reaches(keeper, "a.0", "backoff");
      expect(first).toMatchObject({ lastExit: "exit code 3", tail: "no", restarts: 0 });
      const second = await waitFor("the second run's end", async () => {
        const state = await reaches(keeper, "a.0", "backoff");
        return state.restarts === 1 && state;
      });
      expect(second.lastExit).toBe("exit code 3");
      await start("a.0", ["sh", "-c", "kill -9 $$"], { restart: "never" });
      expect(await reaches(keeper, "a.0", "exited")).toMatchObject({ lastExit: "signal SIGKILL" });
    });

    it("is left alone by a start with the same hash, and replaced by one with another", async () => {
      const spec = processSpec(keeper, "a.0", ["sleep", "100"]);
      const { pid } = await keeper.client.call("start", spec);
      expect((await reaches(keeper, "a.0", "running")).pid).toBe(pid);
      expect((await keeper.client.call("start", spec)).pid).toBe(pid);
      const next = await start("a.0", ["sleep", "100"]);
      expect(next.pid).not.toBe(pid);
      expect(alive(pid!)).toBe(false);
      await keeper.client.call("stop", { sandbox: "a.0" });
      expect(alive(next.pid!)).toBe(false);
    });

    it("is stopped with children that ignore SIGTERM and ones that left its group", async () => {
      const pids = scratch.file(`stop-${who.uid}`);
      fs.writeFileSync(pids, "");
      fs.chmodSync(pids, 0o666);
      const script = `echo $$ >>${pids}
        sh -c 'trap "" TERM; echo $$ >>${pids}; while :; do sleep 0.1; done' &
        setsid sh -c 'echo $$ >>${pids}; exec sleep 100' &
        exec sleep 100`;
      await start("a.0", ["sh", "-c", script], { stopTimeout: 300 });
      const read = () => fs.readFileSync(pids, "utf8").trim().split("\n").filter(Boolean).map(Number);
      await waitFor("three processes", () => read().length === 3);
      await keeper.client.call("stop", { sandbox: "a.0" });
      expect(read().filter(alive)).toEqual([]);
    });

    it("gets the time to clean up that its stop timeout gives", async () => {
      const script = "trap 'sleep 0.3; echo clean; exit 0' TERM; echo ready; while :; do sleep 0.05; done";
      await start("a.0", ["sh", "-c", script], { log: path.join(keeper.home.logs, "clean.log") });
      await waitFor("its trap", () => log("clean").includes("ready"));
      await keeper.client.call("stop", { sandbox: "a.0" });
      expect(log("clean")).toMatch(/^ready\n(.*\n)*clean\n$/);
    });

    it("that cannot be started says why", async () => {
      const closed = scratch.file(`closed-${who.uid}`);
      fs.mkdirSync(closed, { recursive: true, mode: 0o700 });
      fs.chmodSync(closed, 0o000);
      const folder = scratch.file(`app-${who.uid}`);
      fs.mkdirSync(folder);
      fs.chmodSync(folder, 0o755);
      fs.writeFileSync(path.join(folder, "plain"), "#!/bin/sh\n", { mode: 0o644 });
      fs.writeFileSync(path.join(folder, "odd"), "#!/no/such/interpreter\n", { mode: 0o755 });
      const account = who.uid === 0 || who.uid === 65534 ? "nobody" : expect.any(String);
      const cases: [string[], string, string][] = [
        [["./server"], folder, `command "./server" does not exist in ${folder}`],
        [["no-such-program"], folder, `command "no-such-program" does not exist in any folder of PATH (/usr/bin:/bin)`],
        [["./plain"], folder, `command "./plain" is not executable in ${folder}: run "chmod +x" on it`],
        [["./odd"], folder, `command "./odd" asks for the interpreter /no/such/interpreter, which does not exist`],
        [["true"], `${folder}/none`, `the working folder ${folder}/none does not exist`],
        [["true"], closed, `user ${account} may not enter ${closed}: give source or user`],
        [["/usr"], folder, `command "/usr" is a folder`],
      ];
      for (const [command, cwd, sentence] of cases) {
        await start("a.0", command, { cwd, restart: "always" });
        expect((await reaches(keeper, "a.0", "failed", "backoff", "exited")).lastExit).toBe(sentence);
      }
      await start("a.0", ["true"], { user: "no-such-user" });
      expect(await reaches(keeper, "a.0", "failed")).toMatchObject({
        lastExit: "The user no-such-user does not exist on this machine.",
      });
      if (who.uid !== 0) {
        await start("a.0", ["true"], { user: "root" });
        expect((await reaches(keeper, "a.0", "failed")).lastExit).toMatch(
          /^Only a Warren that runs as root can run an app as root/,
        );
      }
    });

    it("is probed from inside, again and again, whatever the last probe's end", async () => {
      const server = `
        const http = require("http"), net = require("net");
        http.createServer((q, r) => { r.statusCode = q.url === "/ok" ? 204 : 503; r.end("x".repeat(100000)); }).listen(8080, "::");
        net.createServer(() => {}).listen(8081);
        net.createServer((s) => s.resetAndDestroy()).listen(8082, () => console.log("up"));`;
      await start("a.0", [process.execPath, "-e", server], { log: path.join(keeper.home.logs, "server.log") });
      await waitFor("the server", () => log("server").includes("up"));
      const probe = (type: "tcp" | "http", port: number, address = "10.1.2.4", p = "/ok") =>
        keeper.client.call("probe", { sandbox: "a.0", type, address, port, path: p, timeout: 300 });
      for (let round = 0; round < 3; round++) {
        expect(await probe("tcp", 8080)).toEqual({ ok: true, detail: "connected to 10.1.2.4:8080" });
        expect(await probe("tcp", 9999)).toEqual({ ok: false, detail: "nothing listens on 10.1.2.4:9999" });
        expect(await probe("http", 8080)).toEqual({ ok: true, detail: "HTTP 204 from 10.1.2.4:8080/ok" });
        expect(await probe("http", 8080, "fd00::4", "/bad")).toEqual({
          ok: false,
          detail: "HTTP 503 from [fd00::4]:8080/bad",
        });
        expect(await probe("http", 8081)).toEqual({ ok: false, detail: "no answer from 10.1.2.4:8081 within 300 ms" });
        expect((await probe("http", 8082)).ok).toBe(false);
        expect((await probe("tcp", 8082)).ok).toBe(true);
        // Routed into the device, where nobody answers.
        expect(await probe("tcp", 80, "10.1.2.200")).toEqual({
          ok: false,
          detail: "no answer from 10.1.2.200:80 within 300 ms",
        });
        expect((await probe("tcp", 80, "192.0.2.1")).detail).toContain("ENETUNREACH");
      }
      // A server without error handlers lives on: no probe ends with a reset.
      expect((await stateOf(keeper, "a.0"))!).toMatchObject({ state: "running", restarts: 0 });
      const many = await Promise.all(Array.from({ length: 20 }, () => probe("http", 8080)));
      expect(many.every((result) => result.ok)).toBe(true);
    });

    it("listens in its own namespace only", async () => {
      const { pid } = (await stateOf(keeper, "a.0"))!;
      expect(fs.readlinkSync(`/proc/${pid}/ns/net`)).not.toBe(fs.readlinkSync("/proc/self/ns/net"));
      expect(await inside(keeper, "a.0", "readlink", "/proc/self/ns/net")).toBe(
        `${fs.readlinkSync(`/proc/${pid}/ns/net`)}\n`,
      );
      const script = `fetch("http://10.1.2.4:8080/ok").then((r) => console.log(r.status))`;
      expect(await inside(keeper, "a.0", process.execPath, "-e", script)).toBe("204\n");
    });

    it("makes events of what becomes of it", () => {
      const states = new Set(keeper.events.map((event) => event.state.state));
      expect([...states].sort()).toEqual(["backoff", "exited", "failed", "running", "starting"]);
    });
  });
});
