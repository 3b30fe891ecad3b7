import * as fs from "node:fs";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import * as path from "node:path";
import { describeNeeding } from "../../test/support/needs";
import { useScratch } from "../../test/support/scratch";
import { waitFor } from "../../test/support/wait";
import { hostProcesses, parseStat } from "./processes";
import {
  ACCOUNTS,
  alive,
  end,
  leftovers,
  makeHome,
  processSpec,
  type RunningKeeper,
  reaches,
  sandboxSpec,
  startKeeper,
} from "./testing/keepers";

const KOFFI = path.join(__dirname, "..", "..", "node_modules", "koffi");
const WITHOUT_KOFFI = `mount -t tmpfs none ${KOFFI}`;
const loopback = { port: 18080, proxy: 18081, secret: "s" };
const userspace = { link: "userspace", loopback } as const;

const MACHINES = ACCOUNTS.flatMap((who) => [
  { who, title: `of ${who.name}`, prepare: undefined as string | undefined },
  ...(process.getuid!() === 0 ? [{ who, title: `of ${who.name} without koffi`, prepare: WITHOUT_KOFFI }] : []),
]);

describeNeeding(["linux"], "a sandbox of the link userspace", () => {
  const scratch = useScratch();

  describe.each(MACHINES)("made by a keeper $title", ({ who, prepare, title }) => {
    let keeper: RunningKeeper;
    const startOne = () =>
      startKeeper(
        scratch,
        who,
        makeHome(scratch, who, title.replaceAll(" ", "-")),
        { WARREN_KEEPER_IDLE_MS: "60000" },
        prepare,
      );
    const run = (command: string[], more = {}) =>
      keeper.client.call("start", processSpec(keeper, "u.0", command, more));

    beforeAll(async () => {
      keeper = await startOne();
      await keeper.client.call("ensureSandbox", sandboxSpec("u.0", userspace));
    });

    it("says what it is: nothing to enter, ports that stay", async () => {
      const [state] = (await keeper.client.call("list", {})).sandboxes;
      expect(state).toMatchObject({ link: "userspace", enter: [], spec: { loopback } });
      expect(state.mark).toMatch(/^warren-[0-9a-f]{12}\/u\.0$/);
    });

    it("refuses another link and other ports for one that lives", async () => {
      await expect(keeper.client.call("ensureSandbox", sandboxSpec("u.0"))).rejects.toMatchObject({
        code: "WARREN_INVALID_INPUT",
        path: "link",
      });
      const other = { ...userspace, loopback: { ...loopback, port: 1 } };
      await expect(keeper.client.call("ensureSandbox", sandboxSpec("u.0", other))).rejects.toMatchObject({
        path: "loopback",
      });
    });

    it("runs a command as the app's account, in its folder, with its output in the log", async () => {
      const spec = processSpec(keeper, "u.0", ["sh", "-c", "id -u; pwd; echo $WARREN_SANDBOX >&2"], { cwd: "/usr" });
      await keeper.client.call("start", spec);
      await reaches(keeper, "u.0", "exited");
      const [state] = (await keeper.client.call("list", {})).sandboxes;
      await waitFor("its log", () => {
        const said = fs.readFileSync(spec.log, "utf8").split("\n").filter(Boolean).sort();
        expect(said).toEqual(["/usr", spec.user, state.mark].sort());
        return true;
      });
    });

    it("explains a command that does not exist", async () => {
      await run(["/no/such/program"]);
      const { lastExit } = await reaches(keeper, "u.0", "failed");
      expect(lastExit).toContain('command "/no/such/program" does not exist');
    });

    it("ends everything that came from the app, also what left its session, its parents and its environment", async () => {
      const script = "setsid sleep 600 & (setsid env -i sleep 601 &) ; trap '' TERM; sleep 602; sleep 603";
      await run(["sh", "-c", script], { stopTimeout: 100 });
      await reaches(keeper, "u.0", "running");
      const [state] = (await keeper.client.call("list", {})).sandboxes;
      const pids = hostProcesses(state.mark!, state.process!.pid);
      expect(pids.length).toBeGreaterThanOrEqual(3);
      await keeper.client.call("stop", { sandbox: "u.0" });
      const escaped = pids.filter(alive);
      // One without any trace of the app is nobody's.
      for (const pid of escaped) process.kill(pid, "SIGKILL");
      expect(escaped.length).toBeLessThanOrEqual(1);
    });

    it("probes on loopback, of either family", async () => {
      const server = http.createServer((_, response) => response.end("hello"));
      await new Promise<void>((resolve) => server.listen(0, "::1", resolve));
      const { port } = server.address() as AddressInfo;
      const probe = { sandbox: "u.0", address: "127.0.0.1", port, timeout: 2000 };
      try {
        expect(await keeper.client.call("probe", { ...probe, type: "tcp" })).toEqual({
          ok: true,
          detail: `connected to [::1]:${port}`,
        });
        expect(await keeper.client.call("probe", { ...probe, type: "http", path: "/x" })).toEqual({
          ok: true,
          detail: `HTTP 200 from [::1]:${port}/x`,
        });
      } finally {
        server.close();
        server.closeAllConnections();
      }
      expect(await keeper.client.call("probe", { ...probe, type: "tcp" })).toEqual({
        ok: false,
        detail: `nothing listens on 127.0.0.1:${port}`,
      });
    });

    it("is known to the next keeper after the first was killed, which ends its processes", async () => {
      await run(["sh", "-c", "setsid sleep 600 & sleep 600"]);
      await reaches(keeper, "u.0", "running");
      const [state] = (await keeper.client.call("list", {})).sandboxes;
      await end(keeper.child, "SIGKILL");
      const pids = hostProcesses(state.mark!);
      expect(pids.length).toBeGreaterThan(0);
      keeper = await startOne();
      await waitFor("their end", () => pids.filter(alive).length === 0);
      await keeper.client.call("ensureSandbox", sandboxSpec("u.0", userspace));
    });

    it("leaves nothing when it is removed", async () => {
      await run(["sleep", "600"]);
      await reaches(keeper, "u.0", "running");
      await keeper.client.call("removeSandbox", { id: "u.0" });
      expect(leftovers(keeper.home)).toEqual([]);
    });
  });
});

describe("processes of a sandbox without namespaces", () => {
  const entry = (pid: number, parent: number, session: number) => ({ pid, parent, group: session, session });
  const table = {
    list: () => [
      entry(10, 1, 10), // leader
      entry(11, 10, 10), // its child
      entry(12, 1, 12), // left session and parents, has the mark
      entry(13, 12, 13), // child of that, no mark
      entry(20, 1, 20), // a stranger
      entry(21, 1, 21), // another sandbox
    ],
    markOf: (pid: number) => ({ 10: "w/a", 11: "w/a", 12: "w/a", 21: "w/b" })[pid],
  };

  it("are found by mark, session and parents", () => {
    expect(hostProcesses("w/a", 10, table).sort()).toEqual([10, 11, 12, 13]);
    expect(hostProcesses("w/a", undefined, table).sort()).toEqual([10, 11, 12, 13]);
    expect(hostProcesses("w/", undefined, table).sort()).toEqual([10, 11, 12, 13, 21]);
    expect(hostProcesses("w/c", undefined, table)).toEqual([]);
  });

  it("are read from the kernel's line, whatever the name", () => {
    expect(parseStat("77 (a) b) S 5 6 7 0 -1 4194560")).toEqual({ pid: 77, parent: 5, group: 6, session: 7 });
    expect(parseStat("78 (x) Z 5 6 7 0")).toBeUndefined();
  });
});
