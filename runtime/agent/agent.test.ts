import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import type { Desired } from "../control/interface/desired";
import type { ApplyResult, DataPlaneConfig, DataPlaneEvent } from "../dataplane/config";
import { WarrenError } from "../errors";
import type { KeeperMethods, ProcessState, SandboxState } from "../keeper/protocol";
import type { Listener } from "../userspace/listeners";
import { LocalApp } from "../userspace/local-app";
import { Agent, type AgentOptions } from "./agent";
import { preferredPort } from "./plan";
import type { Plug } from "./plugs";
import { appOf, desiredOf, machine, running, settle, TCP } from "./testing/values";

type Methods = {
  [M in keyof KeeperMethods]: (params: Parameters<KeeperMethods[M]>[0]) => ReturnType<KeeperMethods[M]>;
};

/** All apps are on the link `userspace`, and listen on what is found. */
interface Local {
  found: readonly Listener[];
  tells: boolean;
}

/** An agent between a keeper and a data plane in memory; `steps` says in which order they were asked. */
class World {
  readonly steps: string[] = [];
  readonly reported: string[] = [];
  readonly configs: DataPlaneConfig[] = [];
  /** By step: why it fails. */
  readonly failing = new Map<string, Error>();
  /** Ports that somebody else has. */
  readonly foreignPorts = new Set<number>();
  readonly sandboxes = new Map<string, SandboxState>();
  emit: (event: DataPlaneEvent) => void = () => undefined;
  changed: () => void = () => undefined;
  readonly agent: Agent;
  private pids = 0;

  constructor(
    public desired: Desired,
    dir: string,
    local?: Local,
  ) {
    const health = { ...TCP, type: "none" as const };
    const withoutProbes = (value: Desired): Desired => ({
      ...value,
      networks: value.networks.map((network) => ({
        ...network,
        members: network.members.map((m) => (m.kind === "app" ? { ...m, spec: { ...m.spec, health } } : m)),
      })),
    });
    this.agent = new Agent({
      source: {
        current: () => withoutProbes(this.desired),
        watch: (onChange) => {
          this.changed = onChange;
          return () => void this.steps.push("unwatch");
        },
        reportPort: (hostId, port) => {
          this.reported.push(`${hostId} ${port}`);
          const hosts = this.desired.hosts.map((host) => (host.id === hostId ? { ...host, port } : host));
          this.desired = { ...this.desired, hosts };
        },
      },
      keeper: {
        call: async (method, params) => {
          await Promise.resolve();
          return this.methods[method](params);
        },
      },
      dataplane: {
        apply: async (config) => this.apply(config),
        onEvent: (listener) => {
          this.emit = listener;
          return () => undefined;
        },
      },
      ...(local && onUserspace(local)),
      machine,
      endpointsFile: path.join(dir, "endpoints.json"),
      log: () => undefined,
    });
  }

  private readonly methods: Methods = {
    hello: () => ({ version: "0", protocol: 1, pid: 1, uid: 0 }),
    subscribe: () => ({}),
    supervise: () => ({}),
    goodbye: () => ({}),
    probe: () => ({ ok: true, detail: "connected" }),
    list: () => {
      this.mayFail("list");
      return { sandboxes: [...this.sandboxes.values()] };
    },
    ensureSandbox: (spec) => {
      this.step(`ensure ${spec.id}`);
      const state: SandboxState = {
        ...this.sandboxes.get(spec.id),
        spec,
        link: spec.link ?? "tun",
        enter: ["/nowhere/enter"],
      };
      this.sandboxes.set(spec.id, state);
      return state;
    },
    removeSandbox: ({ id }) => {
      this.step(`remove ${id}`);
      this.sandboxes.delete(id);
      return {};
    },
    start: (spec) => {
      this.step(`start ${spec.sandbox}`);
      const sandbox = this.sandboxes.get(spec.sandbox)!;
      const process = sandbox.process?.spec.hash === spec.hash ? sandbox.process : { ...running(++this.pids), spec };
      this.sandboxes.set(spec.sandbox, { ...sandbox, process });
      return process;
    },
    stop: ({ sandbox }) => {
      this.step(`stop ${sandbox}`);
      const { process, ...rest } = this.sandboxes.get(sandbox)!;
      this.sandboxes.set(
        sandbox,
        process ? { ...rest, process: { ...process, state: "exited", pid: undefined } } : rest,
      );
      return {};
    },
  };

  private apply(config: DataPlaneConfig): ApplyResult {
    const links = config.gateways.flatMap((gateway) => gateway.links.map((link) => link.id));
    this.step(`apply ${links.join(" ") || "nothing"}`);
    this.configs.push(config);
    const free = config.ports.filter(({ port }) => !this.foreignPorts.has(port));
    return {
      ports: Object.fromEntries(free.map(({ id, port }) => [id, port || 50_000 + config.ports.length])),
      problems: config.ports
        .filter(({ port }) => this.foreignPorts.has(port))
        .map(({ id, port }) => ({ id, message: `UDP port ${port} is taken` })),
    };
  }

  private step(name: string): void {
    this.steps.push(name);
    this.mayFail(name);
  }

  private mayFail(name: string): void {
    const error = this.failing.get(name);
    if (error) throw error;
  }

  /** @returns the steps since the last call. */
  async after(action: () => void): Promise<string[]> {
    this.steps.length = 0;
    action();
    for (let turn = 0; turn < 10; turn++) await settle();
    return [...this.steps];
  }

  /** The desired state without an app. */
  without(name: string): Desired {
    const { networks, revision } = this.desired;
    const left = networks.map((network) => ({ ...network, members: network.members.filter((m) => m.name !== name) }));
    return { ...this.desired, revision: revision + 1, networks: left };
  }
}

function onUserspace(local: Local): Partial<AgentOptions> {
  const plug: Plug = { link: "userspace", loopback: { port: 12_000, proxy: 12_001, secret: "s" } };
  const app = new LocalApp(
    { port: 8080, loopbackPort: 12_000 },
    () => ({ mark: "m", pid: 1 }),
    () => local.found,
  );
  return {
    plugs: { decide: async (instances) => new Map(instances.map(({ id }) => [id, plug])), failed: () => false },
    userspace: { apply: async () => [], app: () => app },
    tellsListeners: local.tells,
  };
}

describe("the agent", () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "agent-"));
  const worlds: World[] = [];
  beforeEach(() => jest.useFakeTimers());
  afterEach(async () => {
    for (const world of worlds.splice(0)) await world.agent.stop();
    jest.useRealTimers();
  });
  afterAll(() => fs.rmSync(dir, { recursive: true, force: true }));
  const make = (desired: Desired = desiredOf(), local?: Local) => {
    const world = new World(desired, dir, local);
    worlds.push(world);
    return world;
  };
  const started = async (desired?: Desired, local?: Local) => {
    const world = make(desired, local);
    await world.after(() => world.agent.start());
    return world;
  };

  test("makes sandboxes, then tells the data plane, and starts processes last", async () => {
    const world = make();
    const steps = await world.after(() => world.agent.start());
    expect(steps).toEqual([
      "ensure mem_east.0",
      "ensure mem_west.0",
      // The second time the gateways know each other's ports.
      "apply mem_east.0 mem_west.0",
      "apply mem_east.0 mem_west.0",
      "start mem_east.0",
      "start mem_west.0",
    ]);
    expect(world.agent.appliedRevision).toBe(1);
    expect(world.agent.currentProblems).toEqual([]);
    expect(world.agent.instance("mem_east.0")).toMatchObject({ process: { pid: 1 }, revision: 1 });
  });

  test("what has not changed costs no work on its sandbox", async () => {
    const world = await started();
    const steps = await world.after(() => world.agent.wake());
    expect(steps).toEqual(["apply mem_east.0 mem_west.0", "start mem_east.0", "start mem_west.0"]);
  });

  test("compares again after half a minute though nobody called, and no longer once it is stopped", async () => {
    const world = await started();
    expect(await world.after(() => jest.advanceTimersByTime(30_000))).toContain("start mem_east.0");
    await world.agent.stop();
    expect(await world.after(() => jest.advanceTimersByTime(60_000))).toEqual([]);
    expect(await world.after(() => world.agent.wake())).toEqual([]);
  });

  test("takes over what an earlier daemon left running", async () => {
    const world = await started();
    const next = make();
    for (const [id, state] of world.sandboxes) next.sandboxes.set(id, state);
    const steps = await next.after(() => next.agent.start());
    expect(steps.filter((step) => step.startsWith("ensure"))).toEqual([]);
    expect(next.agent.instance("mem_west.0")?.process?.pid).toBe(2);
  });

  test("the data plane lets go of a link before its sandbox is removed", async () => {
    const world = await started();
    world.desired = world.without("east");
    const steps = await world.after(() => world.changed());
    expect(steps.slice(0, 2)).toEqual(["apply mem_west.0", "remove mem_east.0"]);
    expect(world.agent.instance("mem_east.0")).toBeUndefined();
  });

  test("something is gone only when its sandbox is", async () => {
    const world = await started();
    expect(world.agent.isGone("mem_east")).toBe(false);
    expect(world.agent.isGone("mem_never")).toBe(true);
    world.desired = world.without("east");
    expect(world.agent.isGone("mem_east")).toBe(false);
    world.failing.set("remove mem_east.0", new Error("busy"));
    await world.after(() => world.changed());
    expect(world.agent.isGone("mem_east")).toBe(false);
    expect(world.agent.currentProblems).toEqual(["cannot remove mem_east.0: busy"]);
    world.failing.clear();
    await world.after(() => jest.advanceTimersByTime(500));
    expect(world.agent.isGone("mem_east")).toBe(true);
    world.desired = { ...world.desired, revision: 3, networks: [] };
    await world.after(() => world.changed());
    expect(world.agent.isGone("net_1")).toBe(true);
    expect([...world.sandboxes]).toEqual([]);
  });

  test("a step that fails for one app stops no other, and is tried again at growing distances", async () => {
    const world = make();
    world.failing.set("ensure mem_east.0", new WarrenError("WARREN_LINK_UNAVAILABLE", "No TUN."));
    const steps = await world.after(() => world.agent.start());
    expect(steps).toContain("start mem_west.0");
    expect(steps).not.toContain("start mem_east.0");
    expect(world.agent.currentProblems).toEqual(["east (ord/0): No TUN."]);
    expect(world.agent.appliedRevision).toBe(-1);
    const east = world.agent.instance("mem_east.0")!;
    expect(east.describe()).toEqual({ state: "failed", detail: "No TUN." });
    expect(east.revision).toBe(1);
    for (const wait of [500, 1000, 2000, 4000, 8000, 15_000, 15_000]) {
      expect(await world.after(() => jest.advanceTimersByTime(wait - 1))).toEqual([]);
      expect(await world.after(() => jest.advanceTimersByTime(1))).toContain("ensure mem_east.0");
    }
    world.failing.clear();
    await world.after(() => jest.advanceTimersByTime(15_000));
    expect(east.describe()).toEqual({ state: "healthy" });
    expect(world.agent.currentProblems).toEqual([]);
    expect(world.agent.appliedRevision).toBe(1);
  });

  test("a process that cannot be started leaves the others and its own sandbox", async () => {
    const world = make();
    world.failing.set("start mem_east.0", new WarrenError("WARREN_APP_FAILED", "The user www does not exist."));
    await world.after(() => world.agent.start());
    expect(world.agent.instance("mem_east.0")?.describe().state).toBe("failed");
    expect(world.agent.instance("mem_west.0")?.describe().state).toBe("healthy");
    expect([...world.sandboxes.keys()]).toEqual(["mem_east.0", "mem_west.0"]);
  });

  test("without a keeper nothing is changed, and it is asked again", async () => {
    const world = await started();
    world.failing.set("list", new Error("The keeper is gone."));
    expect(await world.after(() => world.agent.wake())).toEqual([]);
    expect(world.agent.currentProblems).toEqual(["cannot compare: The keeper is gone."]);
    world.failing.clear();
    expect(await world.after(() => jest.advanceTimersByTime(500))).toContain("start mem_east.0");
    expect(world.agent.currentProblems).toEqual([]);
  });

  test("a new keeper, which has nothing, gets everything anew once the data plane has let go of the old", async () => {
    const world = await started();
    world.sandboxes.clear();
    const steps = await world.after(() => world.agent.wake());
    expect(steps).toEqual([
      "apply nothing",
      "ensure mem_east.0",
      "ensure mem_west.0",
      "apply mem_east.0 mem_west.0",
      "start mem_east.0",
      "start mem_west.0",
    ]);
    expect(world.agent.instance("mem_east.0")?.process?.pid).toBe(3);
  });

  test("a lost link wakes it; a peer that moved does not", async () => {
    const world = await started();
    const moved = { type: "endpoint", gateway: "net_1/host-ord", publicKey: "K", endpoint: "192.0.2.1:9" } as const;
    expect(await world.after(() => world.emit(moved))).toEqual([]);
    const lost = { type: "link-lost", link: "mem_east.0", reason: "its device is gone" } as const;
    expect(await world.after(() => world.emit(lost))).toContain("apply mem_east.0 mem_west.0");
  });

  test("many calls during a pass cost one more", async () => {
    const world = make();
    const steps = await world.after(() => {
      world.agent.start();
      for (let call = 0; call < 10; call++) world.agent.wake();
    });
    expect(steps.filter((step) => step === "start mem_east.0")).toHaveLength(2);
  });

  test("everyone who waits is told of a process's change", async () => {
    const world = await started();
    const state: ProcessState = { state: "backoff", since: 0, restarts: 1, lastExit: "exit code 1" };
    const waiting = world.agent.changes.until(
      () => world.agent.instance("mem_east.0")?.describe().state === "backoff",
      60_000,
    );
    world.agent.onProcess("mem_east.0", state);
    world.agent.onProcess("unknown", state);
    expect(await waiting).toBe(true);
  });

  test("a command that gives way to an upstream is stopped", async () => {
    const world = await started();
    const members = [appOf("east", "ord", "10.1.2.3", { upstream: "127.0.0.1:5432" })];
    world.desired = desiredOf({ revision: 2 }, { members });
    // The upstream itself needs real namespaces, of which there are none here.
    expect(await world.after(() => world.changed())).toContain("stop mem_east.0");
  });

  describe("listeners beyond loopback", () => {
    const everywhere: Listener = { protocol: "tcp", address: "0.0.0.0", port: 9000, inode: "1" };
    const east = (revision: number, requireLoopback: boolean) =>
      desiredOf({ revision }, { members: [appOf("east", "ord", "10.1.2.3", { requireLoopback })] });

    test("that are opened long after the start are warned of within half a minute, until they are closed", async () => {
      const local: Local = { found: [], tells: true };
      const world = await started(east(1, false), local);
      const warnings = () => world.agent.instance("mem_east.0")!.warnings;
      expect(warnings()).toEqual([]);
      local.found = [everywhere];
      expect(await world.after(() => jest.advanceTimersByTime(30_000))).not.toContain("stop mem_east.0");
      expect(warnings()).toEqual([expect.stringContaining("listens on 0.0.0.0:9000, beyond loopback")]);
      local.found = [];
      await world.after(() => jest.advanceTimersByTime(30_000));
      expect(warnings()).toEqual([]);
    });

    test("end the process with requireLoopback, for good; without it the same process may run again", async () => {
      const local: Local = { found: [], tells: true };
      const world = await started(east(1, true), local);
      local.found = [everywhere];
      world.failing.set("stop mem_east.0", new Error("The keeper is busy."));
      expect(await world.after(() => jest.advanceTimersByTime(30_000))).toContain("stop mem_east.0");
      world.failing.clear();
      // What failed is tried again.
      expect(await world.after(() => jest.advanceTimersByTime(500))).toContain("stop mem_east.0");
      local.found = [];
      const instance = world.agent.instance("mem_east.0")!;
      const detail = expect.stringMatching(
        /^it listens on 0\.0\.0\.0:9000, beyond loopback, and requireLoopback forbids/,
      );
      expect(await world.after(() => jest.advanceTimersByTime(30_000))).toEqual(["apply mem_east.0"]);
      expect([instance.describe(), instance.process, instance.warnings]).toEqual([
        { state: "failed", detail },
        expect.objectContaining({ state: "exited" }),
        [],
      ]);
      world.desired = east(2, false);
      expect(await world.after(() => world.changed())).toContain("start mem_east.0");
    });

    test("where nobody can tell, requireLoopback ends a process that runs already", async () => {
      const local: Local = { found: [], tells: false };
      const world = await started(east(1, false), local);
      expect(world.agent.instance("mem_east.0")!.describe()).toEqual({ state: "healthy" });
      world.desired = east(2, true);
      const steps = await world.after(() => world.changed());
      expect(steps).toContain("stop mem_east.0");
      expect(steps).not.toContain("start mem_east.0");
      expect(world.agent.instance("mem_east.0")!.describe()).toEqual({
        state: "failed",
        detail: expect.stringMatching(/^requireLoopback can be kept on Linux only/),
      });
    });
  });

  describe("UDP ports", () => {
    const fresh = (): Desired => desiredOf({ hosts: desiredOf().hosts.map((host) => ({ ...host, port: 0 })) });
    const [ord, iad] = [preferredPort("reg_1", "host-ord"), preferredPort("reg_1", "host-iad")];

    test("of new hosts follow from registry and host, and are reported", async () => {
      const world = await started(fresh());
      expect(world.reported).toEqual([`host-ord ${ord}`, `host-iad ${iad}`]);
      expect(world.agent.portOf("host-ord")).toBe(ord);
      expect(world.agent.portOf("host-nowhere")).toBeUndefined();
      const east = world.configs.at(-1)!.gateways[0]!;
      expect(east.peers.map((peer) => peer.endpoint)).toEqual([`127.0.0.1:${iad}`]);
      world.reported.length = 0;
      await world.after(() => world.agent.wake());
      expect(world.reported).toEqual([]);
    });

    test("that somebody else has give way to any other, once and for all", async () => {
      const world = make(fresh());
      world.foreignPorts.add(ord);
      await world.after(() => world.agent.start());
      expect(world.configs.map(({ ports }) => ports.map(({ port }) => port))).toEqual([
        [ord, iad],
        [0, iad],
      ]);
      expect(world.reported).toEqual(["host-ord 50002", `host-iad ${iad}`]);
      expect(world.agent.currentProblems).toEqual([]);
      await world.after(() => world.agent.wake());
      expect(world.configs.at(-1)!.ports.map(({ port }) => port)).toEqual([50_002, iad]);
    });

    test("that stand in peers' files are not given up: it is a problem until they are free", async () => {
      const world = make();
      world.foreignPorts.add(41001);
      await world.after(() => world.agent.start());
      expect(world.agent.currentProblems).toEqual(["host-ord: UDP port 41001 is taken"]);
      expect(world.reported).toEqual([]);
      world.foreignPorts.clear();
      await world.after(() => jest.advanceTimersByTime(500));
      expect(world.agent.currentProblems).toEqual([]);
      expect(world.agent.portOf("host-ord")).toBe(41001);
    });
  });
});
