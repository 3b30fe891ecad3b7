import { type Declared, World } from "./testing/harness";

describe("options of resources", () => {
  let world: World;
  beforeEach(() => {
    world = new World();
  });
  afterEach(() => world.close());

  test("delete-before-replace takes along the dependents that would be replaced, and only those", async () => {
    const declare = (kind: string): Declared[] => [
      { name: "base", args: { kind, dbr: true } },
      { name: "linked", args: { link: "$base.serial" } },
      { name: "noted", args: { note: "$base.serial" } },
      { name: "after", args: {}, opts: { dependsOn: ["base"] } },
      { name: "chain", args: { link: "$linked.serial" }, opts: { deleteBeforeReplace: true } },
    ];
    await world.run("up", { resources: declare("one") });
    const planned = await world.run("preview", { resources: declare("two") });
    expect(planned.counts).toEqual({ create: 0, update: 1, replace: 3, delete: 0, same: 2, read: 0 });
    const summary = await world.run("up");
    expect(summary.counts).toEqual(planned.counts);
    const changes = world.changes();
    expect(changes.slice(0, 4)).toEqual(["delete chain", "delete linked", "delete base", "create base"]);
    expect(changes.slice(4).sort()).toEqual(["create chain", "create linked", "update noted"]);
    expect(world.resources().some((r) => r.pendingReplacement)).toBe(false);
    expect(world.resources().map(({ urn }) => urn.split("::").pop())).toHaveLength(7);
    expect(Object.keys(world.things())).toHaveLength(5);
  }, 60_000);

  test("ignoreChanges, replaceOnChanges, aliases, timeouts, retainOnDelete, deletedWith", async () => {
    await world.run("up", {
      resources: [
        { name: "ignored", args: { size: 1, tags: { x: "1", y: "1" } } },
        { name: "structural", args: { size: 1, structural: true } },
        { name: "former", args: { size: 1 } },
        { kind: "group", name: "team" },
        { name: "team-child", args: {}, opts: { parent: "team" } },
        { name: "kept", args: {}, opts: { retainOnDelete: true } },
        { name: "host", args: {} },
        { name: "guest", args: {}, opts: { deletedWith: "host" } },
      ],
    });
    const ids = Object.fromEntries(["former", "team-child"].map((name) => [name, world.resource(name).id]));
    const summary = await world.run("up", {
      resources: [
        { name: "ignored", args: { size: 2, tags: { x: "2", y: "1" } }, opts: { ignoreChanges: ["size", "tags.x"] } },
        { name: "structural", args: { size: 2, structural: true }, opts: { replaceOnChanges: ["size"] } },
        {
          name: "renamed",
          args: { name: "former", size: 1, address: "addr-former" },
          opts: { aliases: [{ name: "former" }], customTimeouts: { create: "5m", delete: "1h30m" } },
        },
        { kind: "group", name: "crew", opts: { aliases: [{ name: "team" }] } },
        { name: "crew-child", args: { name: "team-child", address: "addr-team-child" }, opts: { parent: "crew" } },
      ],
    });
    expect(summary.counts).toEqual({ create: 0, update: 0, replace: 1, delete: 3, same: 5, read: 0 });
    expect(world.changes().sort()).toEqual(["create structural", "delete host", "delete structural"]);
    expect(world.resource("ignored").inputs).toMatchObject({ size: 1, tags: { x: "1", y: "1" } });
    expect(world.resource("renamed")).toMatchObject({
      id: ids.former,
      customTimeouts: { create: 300, delete: 5400 },
    });
    expect(world.resource("crew-child").id).toBe(ids["team-child"]);
    expect(Object.values(world.things()).map(({ name }) => name)).toContain("kept");
  }, 60_000);

  test("a protected resource is neither deleted nor replaced, and nothing else is deleted then", async () => {
    const options = { opts: { protect: true } };
    await world.run("up", { resources: [{ name: "safe", args: { kind: "a" }, ...options }, { name: "other" }] });
    const refused = { code: "ENGINE_PROTECTED", urn: expect.stringMatching(/::safe$/) };
    await expect(world.run("up", { resources: [] })).rejects.toMatchObject(refused);
    await expect(world.run("destroy")).rejects.toMatchObject(refused);
    await expect(
      world.run("up", { resources: [{ name: "safe", args: { kind: "b" }, ...options }] }),
    ).rejects.toMatchObject(refused);
    expect(Object.keys(world.things())).toHaveLength(2);
    await world.run("up", { resources: [{ name: "safe", args: { kind: "a" } }] });
    await world.run("destroy");
    expect(world.things()).toEqual({});
  }, 60_000);
});
