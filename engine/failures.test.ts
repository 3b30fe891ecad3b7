import * as fs from "node:fs";
import { World } from "./testing/harness";

describe("what goes wrong leaves a true state", () => {
  let world: World;
  beforeEach(() => {
    world = new World();
  });
  afterEach(() => world.close());

  test("a failed create: what runs beside it ends, nothing new starts, and the next up goes on", async () => {
    const plan = {
      resources: [
        { name: "bad" },
        { name: "slow", args: { delay: 600 } },
        { name: "next", args: { note: "$slow.serial" } },
        { name: "later", args: { note: "$bad.serial" } },
      ],
    };
    world.sabotage("create", "bad");
    await expect(world.run("up", plan)).rejects.toMatchObject({
      code: "ENGINE_OPERATION_FAILED",
      message: expect.stringContaining("cannot create bad"),
      urn: expect.stringMatching(/::bad$/),
    });
    expect(world.calls("created").map(({ name }) => name)).toEqual(["slow"]);
    expect(world.resources().map(({ urn }) => urn.split("::").pop())).toEqual(["scenario-dev", "default", "slow"]);
    expect(world.state().pending_operations).toBeUndefined();
    expect(world.diagnostics("error")).toEqual([expect.stringContaining("cannot create bad")]);

    world.mend();
    const summary = await world.run("up");
    expect(summary.counts).toMatchObject({ create: 3, same: 2 });
    expect(world.changes().sort()).toEqual(["create bad", "create later", "create next"]);
    world.sabotage("delete", "slow");
    await expect(world.run("destroy")).rejects.toMatchObject({ code: "ENGINE_OPERATION_FAILED" });
    expect(world.resources().some(({ urn }) => urn.endsWith("::slow"))).toBe(true);
    expect(world.resources().some(({ urn }) => urn.endsWith("::next"))).toBe(false);
    world.mend();
    await world.run("destroy");
    expect(world.things()).toEqual({});
  }, 60_000);

  test("initialization errors are kept, and force an update", async () => {
    world.sabotage("init", "sulky");
    await expect(world.run("up", { resources: [{ name: "sulky" }] })).rejects.toMatchObject({
      message: expect.stringContaining("it sulks"),
    });
    expect(world.resource("sulky")).toMatchObject({ id: "id-sulky-1", initErrors: ["it sulks"] });
    expect(world.resource("sulky").outputs?.token).toMatchObject({ ciphertext: expect.any(String) });
    world.mend();
    const summary = await world.run("up");
    expect(summary.counts).toMatchObject({ update: 1, create: 0 });
    expect(world.resource("sulky").initErrors).toBeUndefined();
  }, 60_000);

  test("a refused input names property and reason, in preview already", async () => {
    await expect(world.run("preview", { resources: [{ name: "big", args: { size: "huge" } }] })).rejects.toMatchObject({
      code: "ENGINE_CHECK_FAILED",
      message: expect.stringContaining('property "size": nothing is that big'),
      urn: expect.stringMatching(/::big$/),
    });
  });

  test("a provider that dies in an operation: it stays on record as pending", async () => {
    world.sabotage("crash", "doomed");
    await expect(world.run("up", { resources: [{ name: "doomed" }] })).rejects.toMatchObject({
      code: "ENGINE_PROVIDER_CRASHED",
    });
    expect(world.state().pending_operations).toMatchObject([
      { type: "creating", resource: { urn: expect.stringMatching(/::doomed$/) } },
    ]);
    world.mend();
    await world.run("up");
    expect(world.diagnostics("warning")).toEqual([expect.stringContaining("::doomed")]);
    expect(world.state().pending_operations).toBeUndefined();
  }, 60_000);

  test("an exception of the program is shown with its own frames, and deletes nothing", async () => {
    await world.run("up", { resources: [{ name: "kept" }] });
    await expect(world.run("up", { resources: [], throws: "my mistake" })).rejects.toMatchObject({
      code: "ENGINE_PROGRAM_FAILED",
      message: expect.stringContaining("my mistake"),
    });
    const [message] = world.diagnostics("error");
    expect(message).toContain("testdata/scenario/index.js");
    expect(message).not.toContain("node_modules");
    expect(Object.keys(world.things())).toHaveLength(1);
  }, 60_000);

  test.each([
    ["import", { name: "x", opts: { import: "some-id" } }, 'option "import"'],
    ["a provider plugin's resource", { kind: "foreign" as const, name: "x" }, "aws:s3/bucket:Bucket"],
  ])("%s is refused by name", async (_, resource, text) => {
    await expect(world.run("preview", { resources: [resource] })).rejects.toMatchObject({
      code: "ENGINE_UNSUPPORTED",
      message: expect.stringContaining(text),
    });
  });

  test("projects that cannot be run are refused before anything starts", async () => {
    const refuse = async (yaml: string, code: string, text: string) => {
      const dir = fs.mkdtempSync(`${world.folder}/project-`);
      if (yaml !== "") fs.writeFileSync(`${dir}/Pulumi.yaml`, yaml);
      await expect(world.run("preview", undefined, { projectDir: dir })).rejects.toMatchObject({
        code,
        message: expect.stringContaining(text),
      });
    };
    await refuse("", "ENGINE_PROJECT", "has no Pulumi.yaml");
    await refuse("name: p\nruntime: python\n", "ENGINE_UNSUPPORTED", '"python"');
    await refuse("name: p\nruntime: nodejs\nmain: nowhere\n", "ENGINE_PROJECT", "nowhere");
    await refuse("name: p\nruntime: nodejs\n", "ENGINE_SDK", "npm install");
    expect(fs.readdirSync(world.cloud)).toEqual([]);
  });
});
