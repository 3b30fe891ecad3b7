import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import type { Desired, DesiredMember } from "../control/interface/desired";
import type { PeerStatus } from "../dataplane/config";
import { WarrenError } from "../errors";
import type { KeeperMethods, ProcessSpec, ProcessState } from "../keeper/protocol";
import { Agent } from "./agent";
import { appOf, desiredOf, machine, running, settle, TCP } from "./testing/values";
import { View } from "./view";

type Methods = {
  [M in keyof KeeperMethods]: (params: Parameters<KeeperMethods[M]>[0]) => ReturnType<KeeperMethods[M]>;
};

const HEALTHY = { health: { ...TCP, type: "none" as const } };
const SIGNAL = new AbortController().signal;

/** A view of an agent whose keeper answers `start` with `states`, or fails with `failures`, by app instance. */
function setUp(members: readonly DesiredMember[], more: { logs?: string; hosts?: Desired["hosts"] } = {}) {
  const world = {
    desired: desiredOf(more.hosts ? { hosts: more.hosts } : {}, { members }),
    states: new Map<string, ProcessState>(),
    failures: new Map<string, Error>(),
    peers: [] as PeerStatus[],
  };
  const methods: Methods = {
    hello: () => ({ version: "0", protocol: 1, pid: 1, uid: 0 }),
    subscribe: () => ({}),
    supervise: () => ({}),
    goodbye: () => ({}),
    stop: () => ({}),
    removeSandbox: () => ({}),
    probe: () => ({ ok: false, detail: "nothing listens" }),
    list: () => ({ sandboxes: [] }),
    ensureSandbox: (spec) => ({ spec, link: "tun", enter: ["/nowhere/enter"] }),
    start: ({ sandbox }: ProcessSpec) => {
      const failure = world.failures.get(sandbox);
      if (failure) throw failure;
      return world.states.get(sandbox) ?? running(7);
    },
  };
  const source = { current: () => world.desired, watch: () => () => undefined, reportPort: () => undefined };
  const here = { ...machine, logFile: (id: string) => path.join(more.logs ?? "/nowhere", `${id}.log`) };
  const agent = new Agent({
    source,
    keeper: {
      call: async (method, params) => methods[method](params),
    },
    dataplane: {
      apply: async ({ ports }) => ({
        ports: Object.fromEntries(ports.map(({ id, port }) => [id, port])),
        problems: [],
      }),
      onEvent: () => () => undefined,
    },
    machine: here,
    endpointsFile: "/nowhere/endpoints.json",
    log: () => undefined,
  });
  agents.push(agent);
  const status = async () => ({ aead: "openssl", peers: world.peers, links: [], gateways: [], ports: [] });
  const view = new View(agent, source, { status }, here);
  const start = async () => {
    agent.start();
    for (let turn = 0; turn < 10; turn++) await settle();
  };
  return { world, agent, view, start };
}

const agents: Agent[] = [];
beforeEach(() => jest.useFakeTimers({ doNotFake: ["nextTick", "setImmediate"] }));
afterEach(async () => {
  for (const agent of agents.splice(0)) await agent.stop();
  jest.useRealTimers();
});

describe("readiness", () => {
  const east = appOf("east", "ord", "10.1.2.3", HEALTHY);
  const ended = { state: "exited", since: 0, restarts: 0, lastExit: "exit code 3", tail: "no database" } as const;
  const words = (state: string, detail: string) => `instance ord/0 of east is ${state}: ${detail}`;

  test("of a healthy app has nothing missing", async () => {
    const { view, start } = setUp([east]);
    await start();
    expect(await view.readiness("mem_east", 0, SIGNAL)).toEqual({ ready: true, missing: [], warnings: [] });
  });

  test("before the first pass names what is being prepared, and comes as soon as it is there", async () => {
    const { view, start } = setUp([east]);
    const missing = ["instance ord/0 of east is preparing"];
    expect(await view.readiness("mem_east", 0, SIGNAL)).toEqual({ ready: false, missing, warnings: [] });
    const waiting = view.readiness("mem_east", 60_000, SIGNAL);
    await start();
    expect((await waiting).ready).toBe(true);
  });

  test("of a member that nobody declared is refused, also when it goes during the wait", async () => {
    const { view, world, agent, start } = setUp([appOf("east", "ord", "10.1.2.3")]);
    await expect(view.readiness("mem_x", 0, SIGNAL)).rejects.toMatchObject({ code: "WARREN_NOT_FOUND" });
    await start();
    const waiting = view.readiness("mem_east", 60_000, SIGNAL);
    world.desired = desiredOf({ revision: 2 }, { members: [] });
    agent.changes.notify();
    await expect(waiting).rejects.toMatchObject({ code: "WARREN_NOT_FOUND" });
  });

  test("fails at once for what ended for good or cannot be started", async () => {
    const stopped = setUp([east]);
    stopped.world.states.set("mem_east.0", ended);
    await stopped.start();
    const failed = words("stopped", "exit code 3; its last output: no database");
    expect(await stopped.view.readiness("mem_east", 60_000, SIGNAL)).toMatchObject({ ready: false, failed });
    const broken = setUp([east]);
    broken.world.failures.set("mem_east.0", new WarrenError("WARREN_APP_FAILED", "The user www does not exist."));
    await broken.start();
    const why = words("failed", "The user www does not exist.");
    expect(await broken.view.readiness("mem_east", 60_000, SIGNAL)).toMatchObject({ ready: false, failed: why });
  });

  test("does not fail for what an older revision left: the newest may mend it", async () => {
    const { view, world, agent, start } = setUp([east]);
    world.states.set("mem_east.0", ended);
    await start();
    world.desired = { ...world.desired, revision: 2 };
    expect((await view.readiness("mem_east", 0, SIGNAL)).failed).toBeUndefined();
    world.states.set("mem_east.0", running(8));
    const waiting = view.readiness("mem_east", 60_000, SIGNAL);
    agent.wake();
    expect(await waiting).toEqual({ ready: true, missing: [], warnings: [] });
  });

  test.each([
    [1, undefined],
    [2, words("backoff", "exit code 3")],
  ])("after %i restarts in a row fails with %s", async (restarts, failed) => {
    const { view, world, start } = setUp([east]);
    world.states.set("mem_east.0", { state: "backoff", since: 0, restarts, lastExit: "exit code 3" });
    await start();
    const readiness = await view.readiness("mem_east", 0, SIGNAL);
    expect(readiness.missing).toEqual([words("backoff", "exit code 3")]);
    expect(readiness.failed).toBe(failed);
  });

  test("a region without a host is waited for", async () => {
    const { view, start } = setUp([appOf("east", "ord", "10.1.2.3", HEALTHY)], { hosts: [] });
    await start();
    const missing = ["instance ord/0 of east is waiting: there is no host in region ord"];
    expect(await view.readiness("mem_east", 0, SIGNAL)).toEqual({ ready: false, missing, warnings: [] });
  });

  test("of a peer is its gateway's port", async () => {
    const address = { slot: "peer", ipv4: "10.1.2.9" };
    const key = { publicKey: "laptop-public", routes: [] };
    const laptop = { kind: "peer", id: "mem_laptop", name: "laptop", hostId: "host-ord", address, ...key } as const;
    const { view, start } = setUp([laptop]);
    expect((await view.readiness("mem_laptop", 0, SIGNAL)).missing).toContain(
      "the gateway of host-ord has no UDP port yet",
    );
    await start();
    expect((await view.readiness("mem_laptop", 0, SIGNAL)).ready).toBe(true);
  });
});

describe("the way in and the log", () => {
  const logs = fs.mkdtempSync(path.join(os.tmpdir(), "view-"));
  afterAll(() => fs.rmSync(logs, { recursive: true, force: true }));

  test("entry names the namespaces, the account, the folder and the environment", async () => {
    const spec = { ...HEALTHY, cwd: "/srv", user: "root", env: { LD_PRELOAD: "/x.so", COLOUR: "blue" } };
    const { view, start } = setUp([appOf("east", "ord", "10.1.2.3", spec)]);
    await start();
    const entry = await view.entry("mem_east.0");
    expect(entry.prefix[0]).toBe("/nowhere/enter");
    expect(entry.prefix.slice(-4)).toEqual(["env", "--chdir=/srv", "--", "LD_PRELOAD=/x.so"]);
    expect(entry.cwd).toBe("/srv");
    expect(entry.env).toMatchObject({ COLOUR: "blue", FLY_APP_NAME: "east", PORT: "8080" });
    expect(entry.env).not.toHaveProperty("LD_PRELOAD");
  });

  test("entry waits for an agent that has not come to it, and not for what nobody declared", async () => {
    const { view, start } = setUp([appOf("east", "ord", "10.1.2.3", { ...HEALTHY, user: "root" })]);
    await expect(view.entry("mem_x.0")).rejects.toMatchObject({ code: "WARREN_NOT_FOUND" });
    const waiting = view.entry("mem_east.0");
    await start();
    expect((await waiting).prefix[0]).toBe("/nowhere/enter");
  });

  test("the log is the file's; an upstream has none here, and the refusal says why", async () => {
    fs.writeFileSync(path.join(logs, "mem_east.0.log"), "one\ntwo\n");
    const members = [
      appOf("east", "ord", "10.1.2.3", HEALTHY),
      appOf("db", "iad", "10.1.2.4", { ...HEALTHY, upstream: "127.0.0.1:5432" }),
    ];
    const { view, start } = setUp(members, { logs });
    await start();
    const text = async (id: string) => {
      const chunks: (string | Uint8Array)[] = [];
      for await (const chunk of view.logs(id, { lines: 1, follow: false, signal: SIGNAL })) chunks.push(chunk);
      return chunks.join("");
    };
    expect(await text("mem_east.0")).toBe("two\n");
    await expect(text("mem_db.0")).rejects.toMatchObject({
      code: "WARREN_NOT_FOUND",
      message: "db has no log here: 127.0.0.1:5432 runs on its own.",
    });
  });
});

test("status names instances, and tunnels by what is at their other end", async () => {
  const { view, world, start } = setUp([appOf("east", "ord", "10.1.2.3", HEALTHY)]);
  const gateway = "net_1/host-ord";
  world.peers = [
    { gateway, publicKey: "iad-public", endpoint: "127.0.0.1:41002", latestHandshake: 0, rx: 1, tx: 2 },
    { gateway, publicKey: "removed", rx: 0, tx: 0 },
    { gateway: "net_gone/host-ord", publicKey: "x", rx: 0, tx: 0 },
  ];
  await start();
  const tunnel = { networkId: "net_1", hostId: "host-ord" };
  expect(await view.status()).toEqual({
    applied: 1,
    problems: [],
    link: "tun",
    aead: "openssl",
    instances: [
      {
        id: "mem_east.0",
        memberId: "mem_east",
        slot: "ord/0",
        region: "ord",
        hostId: "host-ord",
        ipv4: "10.1.2.3",
        link: "tun",
        pid: 7,
        restarts: 0,
        state: "healthy",
      },
    ],
    gateways: [],
    tunnels: [
      {
        ...tunnel,
        remote: "host-iad",
        remoteKind: "gateway",
        publicKey: "iad-public",
        endpoint: "127.0.0.1:41002",
        latestHandshake: "1970-01-01T00:00:00.000Z",
        rx: 1,
        tx: 2,
      },
      { ...tunnel, remote: "unknown", remoteKind: "gateway", publicKey: "removed", rx: 0, tx: 0 },
    ],
    stacks: [],
  });
});
