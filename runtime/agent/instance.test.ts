import type { AppSpec } from "../control/interface/types";
import { WarrenError } from "../errors";
import type { Probe, ProcessState, SandboxState } from "../keeper/protocol";
import type { LocalApp } from "../userspace/local-app";
import { Instance } from "./instance";
import { planInstances } from "./plan";
import { appOf, desiredOf, machine, running, settle, TCP } from "./testing/values";

/** An instance of an app with this spec, whose probes see what `sees` says. */
function setUp(spec: Partial<AppSpec> = {}) {
  const planOf = (changed: Partial<AppSpec>) =>
    planInstances(desiredOf({}, { members: [appOf("east", "ord", "10.1.2.3", changed)] }), machine)[0]!;
  const probes: Probe[] = [];
  const told: string[] = [];
  const world = { sees: { ok: false, detail: "nothing listens on 10.1.2.3:8080" } };
  const instance = new Instance(planOf(spec), {
    probe: async (probe) => {
      probes.push(probe);
      return world.sees;
    },
    changed: () => void told.push("changed"),
    healthChanged: ({ healthState }) => void told.push(healthState),
  });
  const sandbox: SandboxState = { spec: instance.plan.sandbox, link: "tun", enter: ["nsenter"] };
  return { instance, sandbox, planOf, probes, told, world };
}

describe("an instance in words", () => {
  const NOT_YET = "nothing answers yet on port 8080 (not probed yet)";
  const LAST_OUTPUT = "exit code 3; its last output: Error: no database";
  beforeEach(() => jest.useFakeTimers());
  afterEach(() => jest.useRealTimers());
  const describeIn = (state: ProcessState, spec: Partial<AppSpec> = {}) => {
    const { instance, sandbox } = setUp(spec);
    instance.update(instance.plan, { ...sandbox, process: { ...state, spec: instance.plan.process! } });
    return instance.describe();
  };

  test("is being prepared until it has a sandbox and a process", () => {
    const { instance, sandbox } = setUp();
    expect(instance.describe()).toEqual({ state: "preparing" });
    instance.update(instance.plan, sandbox);
    expect(instance.describe()).toEqual({ state: "preparing" });
    expect(instance.healthState).toBe("unknown");
  });

  test("requireLoopback is refused where nobody tells who listens where, before anything is started", () => {
    const plug = { link: "userspace", loopback: { port: 1, proxy: 2, secret: "s" } } as const;
    const refused = /^requireLoopback can be kept on Linux only: .*Leave it out, or run the app on Linux$/;
    for (const [requireLoopback, tellsListeners, starts] of [
      [true, false, false],
      [true, true, true],
      [false, false, true],
    ] as const) {
      const { instance } = setUp({ requireLoopback });
      const shell = { probe: () => Promise.reject(), changed: () => {}, healthChanged: () => {}, tellsListeners };
      const watched = new Instance({ ...instance.plan, plug }, shell);
      expect(watched.mayRun(watched.plan.process!.hash)).toBe(starts);
      expect(watched.describe()).toEqual(
        starts ? { state: "preparing" } : { state: "failed", detail: expect.stringMatching(refused) },
      );
    }
  });

  test("a look at its listeners that fails is a probe that failed, and the next one comes", async () => {
    const plug = { link: "userspace", loopback: { port: 1, proxy: 2, secret: "s" } } as const;
    const { instance } = setUp({ health: { ...TCP, interval: 1 } });
    let looks = 0;
    const local = {
      forget: () => undefined,
      tcpEnds: () => {
        looks++;
        throw new Error("EMFILE: too many open files, scandir '/proc'");
      },
    } as unknown as LocalApp;
    const shell = { probe: () => Promise.reject(), changed: () => {}, healthChanged: () => {}, local: () => local };
    const watched = new Instance({ ...instance.plan, plug }, shell);
    watched.update(watched.plan, { spec: watched.plan.sandbox, link: "userspace", enter: [] });
    watched.onProcess(running(1));
    await jest.advanceTimersByTimeAsync(5000);
    expect(looks).toBeGreaterThan(1);
    expect(watched.describe()).toEqual({ state: "starting", detail: expect.stringContaining("EMFILE") });
    watched.close();
  });

  test("a failed step is told; only what cannot pass by itself counts as failed", () => {
    const { instance } = setUp();
    instance.fail(new Error("no space left on device"));
    expect(instance.describe()).toEqual({ state: "preparing", detail: "no space left on device" });
    instance.fail(new WarrenError("WARREN_CONTROL_UNREACHABLE", "The keeper is gone."));
    expect(instance.describe()).toEqual({ state: "preparing", detail: "The keeper is gone." });
    instance.fail(new WarrenError("WARREN_APP_FAILED", "The user www does not exist on this machine."));
    expect(instance.describe()).toEqual({ state: "failed", detail: "The user www does not exist on this machine." });
    instance.fail(new WarrenError("WARREN_LINK_UNAVAILABLE", "No TUN."));
    expect(instance.describe()).toEqual({ state: "failed", detail: "No TUN." });
  });

  const ended = { pid: undefined, lastExit: "exit code 3", tail: "Error: no database\n" };
  test.each<[string, ProcessState, { state: string; detail?: string }]>([
    ["backoff", running(1, { state: "backoff", ...ended }), { state: "backoff", detail: LAST_OUTPUT }],
    ["exited", running(1, { state: "exited", ...ended }), { state: "stopped", detail: LAST_OUTPUT }],
    ["failed", running(1, { state: "failed", ...ended }), { state: "failed", detail: "exit code 3" }],
    ["exited in silence", running(1, { state: "exited", tail: "\n" }), { state: "stopped", detail: "it ended" }],
    ["starting", running(1, { state: "starting" }), { state: "starting", detail: NOT_YET }],
    ["running, not probed yet", running(1), { state: "starting", detail: NOT_YET }],
  ])("a process that is %s", (_what, state, words) => {
    expect(describeIn(state)).toEqual(words);
  });

  test("without a health check a process that runs is healthy", () => {
    const health = { ...TCP, type: "none" as const };
    expect(describeIn(running(1), { health })).toEqual({ state: "healthy" });
    expect(describeIn(running(1, { state: "starting" }), { health })).toEqual({ state: "starting" });
    expect(describeIn(running(1, { state: "backoff", ...ended }), { health }).state).toBe("backoff");
  });

  test("the port named is the one that is asked", () => {
    const detail = "nothing answers yet on port 9090 (not probed yet)";
    expect(describeIn(running(1), { health: { ...TCP, port: 9090 } })).toEqual({ state: "starting", detail });
  });
});

describe("an instance's health", () => {
  beforeEach(() => jest.useFakeTimers());
  afterEach(() => jest.useRealTimers());
  const pass = (ms: number) => jest.advanceTimersByTimeAsync(ms);

  test("is asked for in the sandbox as the app says", async () => {
    const health = { ...TCP, type: "http" as const, port: 9090, path: "/up" };
    const { instance, sandbox, probes } = setUp({ health });
    instance.update(instance.plan, sandbox);
    instance.onProcess(running(1));
    await settle();
    const where = { address: "10.1.2.3", port: 9090, path: "/up" };
    expect(probes).toEqual([{ sandbox: "mem_east.0", type: "http", ...where, timeout: 2000 }]);
    instance.close();
  });

  test("one answer makes healthy, only the threshold of failures unhealthy, one answer healthy again", async () => {
    const { instance, sandbox, told, world } = setUp();
    instance.update(instance.plan, sandbox);
    instance.onProcess(running(1));
    await settle();
    const detail = "nothing answers yet on port 8080 (nothing listens on 10.1.2.3:8080)";
    expect(instance.describe()).toEqual({ state: "starting", detail });
    world.sees = { ok: true, detail: "connected" };
    await pass(1000);
    expect(instance.describe()).toEqual({ state: "healthy" });
    world.sees = { ok: false, detail: "no answer" };
    await pass(5000);
    expect(instance.describe()).toEqual({ state: "healthy" });
    await pass(5000);
    expect(instance.describe()).toEqual({ state: "unhealthy", detail: "no answer" });
    expect(instance.healthState).toBe("unhealthy");
    world.sees = { ok: true, detail: "connected" };
    await pass(5000);
    expect(told).toEqual(["changed", "healthy", "unhealthy", "healthy"]);
    instance.close();
  });

  test("is unknown after a restart, and the new process is probed at once", async () => {
    const { instance, sandbox, probes, world } = setUp();
    world.sees = { ok: true, detail: "connected" };
    instance.update(instance.plan, sandbox);
    instance.onProcess(running(1));
    await settle();
    expect(instance.healthState).toBe("healthy");
    world.sees = { ok: false, detail: "not up yet" };
    instance.onProcess(running(2, { restarts: 1 }));
    expect(instance.healthState).toBe("unknown");
    await settle();
    expect(probes).toHaveLength(2);
    expect(instance.describe().state).toBe("starting");
    instance.close();
  });

  test("a word on the same process changes nothing; its end makes unknown and ends the probes", async () => {
    const { instance, sandbox, probes, world } = setUp();
    world.sees = { ok: true, detail: "connected" };
    instance.update(instance.plan, sandbox);
    instance.onProcess(running(1, { state: "starting" }));
    await settle();
    instance.onProcess(running(1));
    await settle();
    expect(instance.healthState).toBe("healthy");
    expect(probes).toHaveLength(1);
    instance.onProcess({ state: "backoff", since: 0, restarts: 0, lastExit: "exit code 1" });
    expect(instance.healthState).toBe("unknown");
    await pass(60_000);
    expect(probes).toHaveLength(1);
    instance.close();
  });

  test("a keeper that cannot be asked is a failed probe", async () => {
    const { instance, sandbox } = setUp();
    const failing = new Instance(instance.plan, {
      probe: () => Promise.reject(new Error("The keeper is gone.")),
      changed: () => undefined,
      healthChanged: () => undefined,
    });
    failing.update(failing.plan, sandbox);
    failing.onProcess(running(1));
    await settle();
    expect(failing.describe().detail).toBe("nothing answers yet on port 8080 (The keeper is gone.)");
    failing.close();
  });

  test("is no longer asked for once the app has no check any more, nor after the end", async () => {
    const { instance, sandbox, probes, planOf } = setUp();
    instance.update(instance.plan, sandbox);
    instance.onProcess(running(1));
    await settle();
    instance.update(planOf({ health: { ...TCP, type: "none" } }), { ...sandbox });
    await pass(60_000);
    expect(probes).toHaveLength(1);
    expect(instance.healthState).toBe("healthy");
    instance.update(planOf({}), { ...sandbox });
    instance.onProcess(running(1));
    await settle();
    expect(probes).toHaveLength(2);
    instance.close();
    await pass(60_000);
    expect(probes).toHaveLength(2);
  });

  test("a sandbox that is gone takes the process with it", async () => {
    const { instance, sandbox } = setUp();
    instance.update(instance.plan, sandbox);
    instance.onProcess(running(1));
    instance.update(instance.plan, undefined);
    expect(instance.process).toBeUndefined();
    expect(instance.describe()).toEqual({ state: "preparing" });
    instance.close();
  });

  test("the end of a command whose place an upstream has taken says nothing about the upstream", () => {
    const { instance, sandbox, planOf, told } = setUp();
    instance.update(instance.plan, { ...sandbox, process: { ...running(1), spec: instance.plan.process! } });
    expect(instance.process?.pid).toBe(1);
    instance.update(planOf({ upstream: "127.0.0.1:5432" }), sandbox);
    instance.onProcess({ state: "exited", since: 0, restarts: 0 });
    expect(instance.process).toBeUndefined();
    expect(instance.describe()).toEqual({ state: "preparing" });
    expect(told).toEqual([]);
  });
});
