import * as fs from "node:fs";
import { outputs } from "./index";
import { World } from "./testing/harness";

const PREVIEW_UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

describe("the life of a stack", () => {
  let world: World;
  beforeAll(() => {
    world = new World();
  });
  afterAll(() => world.close());

  const first = {
    resources: [
      { name: "a", args: { size: 1, region: "$config:region" } },
      { kind: "group" as const, name: "team" },
      { name: "b", args: { note: "$a.serial", password: "$secret:s3cret" }, opts: { parent: "team" } },
      { name: "c", args: { size: 3 }, opts: { dependsOn: ["b"] } },
    ],
    outputs: { serial: "$b.serial", address: "$a.address", password: "$b.password", token: "$a.token" },
    print: ["hello from the program"],
  };

  test("preview: shows checked inputs as outputs, the rest as unknown, and changes nothing", async () => {
    const summary = await world.run("preview", first);
    expect(summary.counts).toEqual({ create: 5, update: 0, replace: 0, delete: 0, same: 0, read: 0 });
    expect(summary.outputs.address).toEqual({ value: "addr-a", secret: false });
    expect(summary.outputs.serial).toEqual({ value: PREVIEW_UNKNOWN, secret: false, unknown: true });
    expect(summary.outputs.password).toEqual({ value: "s3cret", secret: true });
    expect(world.calls("create", "update", "delete", "read")).toEqual([]);
    expect(fs.existsSync(world.stateFile())).toBe(false);
    expect(world.events).toContainEqual({
      kind: "output",
      source: "program",
      stream: "stdout",
      line: "hello from the program",
    });
  });

  test("up: creates in order of dependency, keeps secrets secret, writes Pulumi's state", async () => {
    const summary = await world.run("up", first, { config: { region: "us" } });
    expect(summary.counts.create).toBe(5);
    expect(summary.outputs.token).toEqual({ value: "token-of-id-a-1", secret: true });
    expect(world.calls("configure")).toEqual([{ hook: "configure", name: "us" }]);
    expect(world.changes()).toEqual(["create a", "create b", "create c"]);
    expect(world.calls("create")[1].inputs).toMatchObject({ note: "serial-id-a-1", password: "s3cret" });

    const text = fs.readFileSync(world.stateFile(), "utf8");
    expect(text).not.toContain("s3cret");
    expect(text).not.toContain("token-of-id-a-1");
    expect(fs.statSync(world.stateFile()).mode & 0o777).toBe(0o600);
    expect(fs.existsSync(`${world.stateFile().slice(0, -5)}.lock`)).toBe(false);
    const b = world.resource("b");
    const stack = "urn:pulumi:dev::scenario::pulumi:pulumi:Stack::scenario-dev";
    expect(world.resource("scenario-dev")).toMatchObject({ urn: stack, custom: false });
    expect(world.resource("team")).toMatchObject({
      urn: "urn:pulumi:dev::scenario::test:index:Group::team",
      parent: stack,
    });
    expect(b.urn).toBe("urn:pulumi:dev::scenario::test:index:Group$pulumi-nodejs:dynamic/test:Thing::b");
    expect(b.provider).toBe(`${world.resource("default").urn}::${world.resource("default").id}`);
    expect(b.propertyDependencies).toMatchObject({ note: [world.resource("a").urn], password: [] });
    expect(b.inputs?.password).toEqual({
      "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270",
      ciphertext: expect.stringMatching(/^v1:/),
    });
    expect(b.outputs?.password).toMatchObject({ ciphertext: expect.any(String) });
    expect(world.resource("c").dependencies).toEqual([b.urn]);
    expect(await outputs(world.options())).toMatchObject({ password: "[secret]", serial: "serial-id-b-2" });
    expect(await outputs(world.options(), { showSecrets: true })).toMatchObject({ password: "s3cret" });
  });

  test("a second up changes nothing, not even ciphertexts", async () => {
    const before = world.resources();
    const summary = await world.run("up", undefined, { config: { region: "us" } });
    expect(summary.counts).toEqual({ create: 0, update: 0, replace: 0, delete: 0, same: 5, read: 0 });
    expect(world.changes()).toEqual([]);
    expect(world.resources()).toEqual(before);
  });

  const second = {
    resources: [
      { name: "a", args: { size: 2, region: "us" } },
      { kind: "group" as const, name: "team" },
      { name: "b", args: { note: "$a.serial", kind: "new" }, opts: { parent: "team" } },
    ],
    outputs: { serial: "$b.serial" },
  };

  test("preview and up: update, replace with the successor first, delete what is not declared", async () => {
    const expected = { create: 0, update: 1, replace: 1, delete: 1, same: 2, read: 0 };
    const planned = await world.run("preview", second);
    expect(planned.counts).toEqual(expected);
    expect(planned.outputs.serial.unknown).toBe(true);
    expect(world.changes()).toEqual([]);
    const replacement = world.events.find((e) => e.kind === "resource" && e.op === "replace" && e.status === "done");
    expect(replacement).toMatchObject({ replaceKeys: ["kind"], resource: { name: "b" } });

    const summary = await world.run("up", second);
    expect(summary.counts).toEqual(expected);
    expect(world.changes().slice(0, 2)).toEqual(["update a", "create b"]);
    expect(world.changes().slice(2).sort()).toEqual(["delete b", "delete c"]);
    // The first check of a changed resource sees its old inputs; the one for its successor does not.
    expect(
      world
        .calls("check")
        .filter(({ name }) => name === "b")
        .map(({ olds }) => olds),
    ).toEqual([true, false]);
    expect(Object.keys(world.things()).sort()).toEqual(["id-a-1", "id-b-4"]);
    expect(world.resource("b").id).toBe("id-b-4");
  });

  test("refresh takes over what drifted and forgets what is gone; up repairs both", async () => {
    world.drift((things) => {
      things["id-a-1"].size = 99;
      delete things["id-b-4"];
    });
    const summary = await world.run("refresh");
    expect(summary.counts).toMatchObject({ update: 1, delete: 1 });
    expect(world.resource("a").outputs?.size).toBe(99);
    expect(world.resource("a").inputs?.size).toBe(2);
    expect(world.resources().some(({ urn }) => urn.endsWith("::b"))).toBe(false);
    const repaired = await world.run("up", second);
    expect(repaired.counts).toMatchObject({ update: 1, create: 1 });
    expect(world.things()["id-a-1"].size).toBe(2);
  });

  test("destroy deletes in reverse and leaves an empty deployment", async () => {
    const summary = await world.run("destroy");
    expect(summary.counts.delete).toBe(4);
    expect(world.calls("delete", "deleted").map(({ hook, name }) => `${hook} ${name}`)).toEqual([
      "delete b",
      "deleted b",
      "delete a",
      "deleted a",
    ]);
    expect(world.resources()).toEqual([]);
    expect(world.things()).toEqual({});
  });
});

test("a classic dynamic.Resource in TypeScript, main in a sub-folder", async () => {
  const world = new World("classic");
  try {
    await world.run("up");
    expect(await outputs(world.options())).toEqual({ length: 9 });
    const summary = await world.run("up", undefined, { config: { greeting: "good morning" } });
    expect(summary.counts).toMatchObject({ update: 2, same: 1 });
    expect(fs.readFileSync(`${world.cloud}/second.txt`, "utf8")).toBe("12 letters");
    await world.run("destroy");
    expect(fs.readdirSync(world.cloud)).toEqual([]);
  } finally {
    world.close();
  }
}, 60_000);
