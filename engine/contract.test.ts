import * as fs from "node:fs";
import * as path from "node:path";
import { DynamicProvider } from "./provider";
import { Sdk } from "./sdk";
import { World } from "./testing/harness";
import { UNKNOWN } from "./values";

/**
 * What the engine relies on and Pulumi does not promise: the arguments of `cmd/run`, and the protocol of
 * `cmd/dynamic-provider`. ENGINE_CONTRACT_SDK names the folder of another @pulumi/pulumi to hold to it.
 */
const SDK = process.env.ENGINE_CONTRACT_SDK ?? path.join(__dirname, "..", "node_modules", "@pulumi", "pulumi");

describe(`contract with ${path.relative(process.cwd(), SDK)}`, () => {
  let world: World;
  beforeAll(() => {
    world = new World("scenario", "");
    const dir = path.join(world.folder, "program");
    fs.cpSync(path.join(__dirname, "testdata", "scenario"), dir, { recursive: true });
    fs.mkdirSync(path.join(dir, "node_modules", "@pulumi"), { recursive: true });
    fs.symlinkSync(fs.realpathSync(SDK), path.join(dir, "node_modules", "@pulumi", "pulumi"));
    Object.assign(world, { projectDir: dir });
  });
  afterAll(() => world.close());

  test("cmd/run takes our arguments, configuration and answers", async () => {
    const plan = {
      resources: [
        { name: "a", args: { region: "$config:region", password: "$configSecret:word" } },
        { name: "b", args: { note: "$a.token" } },
      ],
      outputs: { note: "$b.note", password: "$a.password" },
    };
    const config = { word: "hush" };
    const planned = await world.run("preview", plan, { config });
    expect(planned.outputs.note).toMatchObject({ unknown: true });
    const summary = await world.run("up", plan, { config });
    expect(summary.outputs).toEqual({
      note: { value: "token-of-id-a-1", secret: true },
      password: { value: "hush", secret: true },
    });
  }, 60_000);

  test("cmd/dynamic-provider: plain values in, results, unknowns, failures and lost initializations out", async () => {
    const sdk = Sdk.load(world.projectDir);
    const lines: string[] = [];
    const provider = await DynamicProvider.start({
      sdk,
      programDir: world.projectDir,
      project: "scenario",
      stack: "dev",
      config: { "scenario:region": "eu" },
      secretKeys: [],
      env: world.env,
      engineAddress: "127.0.0.1:1",
      onLine: (_, line) => lines.push(line),
    });
    try {
      const urn = "urn:pulumi:dev::scenario::pulumi-nodejs:dynamic/test:Thing::x";
      const blob = 'exports.handler=()=>require("./provider.cjs")';
      const inputs = { name: "x", __provider: blob };
      expect(await provider.check(urn, {}, inputs)).toEqual({ inputs: { ...inputs, address: "addr-x" }, failures: [] });
      const huge = await provider.check(urn, inputs, { ...inputs, size: "huge" });
      expect(huge.failures).toEqual([{ property: "size", reason: "nothing is that big" }]);
      const unknown = await provider.check(urn, {}, { ...inputs, note: UNKNOWN });
      expect(unknown.inputs.note).toBe(UNKNOWN);

      const made = await provider.create(urn, inputs, 0);
      expect(made.outputs).toMatchObject({ name: "x", token: `token-of-${made.id}`, __provider: blob });
      const olds = { inputs, outputs: made.outputs };
      expect(await provider.diff(urn, made.id, olds, inputs)).toMatchObject({ changed: false, replaceKeys: [] });
      expect(await provider.diff(urn, made.id, olds, { ...inputs, kind: "k", dbr: true })).toMatchObject({
        changed: true,
        replaceKeys: ["kind"],
        deleteBeforeReplace: true,
      });
      expect(await provider.diff(urn, made.id, olds, { ...inputs, structural: true })).toMatchObject({
        changed: true,
        changedKeys: ["structural"],
      });
      expect(await provider.update(urn, made.id, made.outputs, { ...inputs, size: 2 }, 0)).toMatchObject({ size: 2 });
      expect(await provider.read(urn, made.id, inputs, made.outputs)).toMatchObject({
        id: made.id,
        outputs: { size: 2 },
      });
      await provider.delete(urn, made.id, made.outputs, 0);
      expect((await provider.read(urn, made.id, inputs, made.outputs)).id).toBe("");

      world.sabotage("init", "x");
      await expect(provider.create(urn, inputs, 0)).rejects.toMatchObject({
        name: "InitFailed",
        id: expect.stringMatching(/^id-x-/),
        reasons: ["it sulks"],
        properties: { name: "x", __provider: blob },
      });
    } finally {
      world.mend();
      await provider.stop();
    }
  }, 60_000);
});
