import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import type { EngineEvent } from "./index";
import { type Plan, World } from "./testing/harness";

const DIST = path.join(__dirname, "..", "dist", "engine", "index.js");

describe("stacks beside each other and over time", () => {
  let world: World;
  beforeEach(() => {
    world = new World();
  });
  afterEach(() => world.close());

  test("a reference to another stack, and get", async () => {
    const outputs = { serial: "$a.serial", token: "$a.token" };
    await world.run("up", { resources: [{ name: "a", args: { size: 5 } }], outputs }, { stack: "producer" });
    const { id } = world.resource("a", "producer");
    const consumer: Plan = {
      resources: [
        { kind: "reference", name: "ref", id: "organization/scenario/producer" },
        { kind: "get", name: "seen", id },
        { name: "b", args: { note: "$ref.serial", password: "$ref.token", size: "$seen.size" } },
      ],
      outputs: { token: "$ref.token", size: "$seen.size" },
    };
    const summary = await world.run("up", consumer);
    expect(summary.counts).toMatchObject({ create: 2, read: 2 });
    expect(summary.outputs).toMatchObject({ token: { value: "token-of-id-a-1", secret: true } });
    expect(world.calls("create")[0].inputs).toMatchObject({ note: "serial-id-a-1", password: "token-of-id-a-1" });
    expect(fs.readFileSync(world.stateFile(), "utf8")).not.toContain("token-of-id-a-1");
    expect(world.resource("seen")).toMatchObject({ external: true, id });

    await world.run("destroy");
    expect(Object.keys(world.things())).toEqual([id]);
    const missing: Plan = { resources: [{ kind: "reference", name: "ref", id: "nowhere" }] };
    await expect(world.run("preview", missing)).rejects.toMatchObject({
      code: "ENGINE_STACK_REFERENCE",
      message: expect.stringContaining('"nowhere" does not exist'),
    });
  }, 60_000);

  test("the order in which registrations arrive does not matter to the state", async () => {
    const resources = [
      ...["a", "b", "c", "d"].map((name) => ({ name, args: { size: 1 } })),
      { kind: "group" as const, name: "team" },
      { name: "e", args: { note: "$a.address", other: "$d.address" }, opts: { parent: "team" } },
      { name: "f", args: { password: "$secret:x" }, opts: { dependsOn: ["b"] } },
    ];
    const shape = () =>
      world
        .resources()
        .map(({ urn, parent, inputs, dependencies, propertyDependencies }) =>
          JSON.stringify(
            { urn, parent, keys: Object.keys(inputs ?? {}).sort(), dependencies, propertyDependencies },
            undefined,
          ),
        )
        .sort();
    const isOrdered = () => {
      const seen = new Set<string>();
      for (const { urn, dependencies = [] } of world.resources()) {
        for (const needed of dependencies as string[]) expect(seen).toContain(needed);
        seen.add(urn);
      }
    };
    await world.run("up", { resources });
    const expected = shape();
    await world.run("destroy");
    await world.run("up", { resources, shuffle: true });
    expect(shape()).toEqual(expected);
    isOrdered();
    const again = await world.run("up");
    expect(again.counts).toMatchObject({ same: 8, create: 0, update: 0, delete: 0, replace: 0 });
  }, 60_000);

  test("an abort: what runs ends, nothing new starts, the next up goes on", async () => {
    const abort = new AbortController();
    const resources = [
      { name: "slow", args: { delay: 800 } },
      { name: "next", args: { note: "$slow.serial" } },
    ];
    const onEvent = (event: EngineEvent) => {
      if (event.kind === "resource" && event.status === "started" && event.resource.name === "slow") abort.abort();
    };
    const run = world.run("up", { resources }, { signal: abort.signal, onEvent });
    await expect(run).rejects.toMatchObject({ code: "ENGINE_CANCELLED" });
    expect(world.resources().map(({ urn }) => urn.split("::").pop())).toEqual(["scenario-dev", "default", "slow"]);
    expect(world.state().pending_operations).toBeUndefined();
    const summary = await world.run("up");
    expect(summary.counts).toMatchObject({ create: 1, same: 2 });
  }, 60_000);

  test("impatience after an abort: what still runs is ended and stays in the state as pending", async () => {
    const abort = new AbortController();
    const impatience = new AbortController();
    const resources = [{ name: "endless", args: { delay: 600_000 } }];
    const run = world.run("up", { resources }, { signal: abort.signal, impatience: impatience.signal });
    run.catch(() => {});
    await waitFor(() => world.calls("create").some(({ name }) => name === "endless"));
    abort.abort();
    impatience.abort();
    await expect(run).rejects.toMatchObject({ code: "ENGINE_CANCELLED" });
    expect(world.state().pending_operations).toMatchObject([{ type: "creating" }]);
    expect((await world.run("up", { resources: [{ name: "endless" }] })).counts).toMatchObject({ create: 1 });
  }, 60_000);

  test("a lock names its holder; kill -9 loses nothing that was done, and leaves no process", async () => {
    world.plan({
      resources: [{ name: "quick" }, { name: "endless", args: { delay: 600_000, note: "$quick.serial" } }],
    });
    const script = `require(${JSON.stringify(DIST)}).up({...JSON.parse(process.argv[1]), onEvent(){}})`;
    const { projectDir, stateDir, passphrase } = world.options();
    const engine = spawn(process.execPath, ["-e", script, JSON.stringify({ projectDir, stateDir, passphrase })], {
      env: world.env,
      stdio: "inherit",
    });
    const gone = new Promise((resolve) => engine.once("exit", resolve));
    try {
      await waitFor(() => world.calls("create").some(({ name }) => name === "endless"));
      await expect(world.run("refresh")).rejects.toMatchObject({
        code: "ENGINE_LOCKED",
        message: expect.stringContaining(`Process ${engine.pid} `),
      });
    } finally {
      engine.kill("SIGKILL");
      await gone;
    }
    expect(world.resource("quick").id).toBe("id-quick-1");
    expect(world.state().pending_operations).toMatchObject([{ type: "creating" }]);
    await waitFor(() => !processes().some((environment) => environment.includes(world.cloud)));
    const summary = await world.run("up", { resources: [{ name: "quick" }, { name: "endless" }] });
    expect(world.diagnostics("warning")).toEqual([expect.stringContaining("::endless")]);
    expect(summary.counts).toMatchObject({ create: 1, same: 2 });
  }, 90_000);
});

async function waitFor(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 40_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error("waited in vain");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** The environments of this machine's processes. */
function processes(): string[] {
  return fs
    .readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return fs.readFileSync(`/proc/${pid}/environ`, "utf8");
      } catch {
        return "";
      }
    });
}
