import { execFileSync, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { World } from "./testing/harness";

/** What the real engine needs on the PATH to run a Node program with dynamic resources. */
const NEEDED = ["pulumi", "pulumi-language-nodejs", "pulumi-resource-pulumi-nodejs"];

function missing(): string[] {
  const folders = (process.env.PATH ?? "").split(path.delimiter);
  return NEEDED.filter((name) => !folders.some((folder) => fs.existsSync(path.join(folder, name))));
}

const absent = missing();
const onCli = absent.length === 0 ? test : test.skip;
const reason = absent.length === 0 ? "" : ` [skipped: ${absent.join(", ")} not on the PATH]`;

onCli(
  `after "stack import" the real engine expects no changes, and destroys${reason}`,
  async () => {
    const world = new World();
    // The CLI writes Pulumi.dev.yaml beside Pulumi.yaml, so it gets a copy that still resolves this repository's SDK.
    const copy = fs.mkdtempSync(path.join(__dirname, "testdata", "tmp-"));
    try {
      await world.run("up", {
        resources: [
          { name: "a", args: { size: 1, region: "$config:region" } },
          { kind: "group", name: "team" },
          { name: "b", args: { note: "$a.serial", password: "$secret:s3cret" }, opts: { parent: "team" } },
          { name: "c", args: { tags: { x: ["1"] } }, opts: { dependsOn: ["b"], customTimeouts: { create: "5m" } } },
        ],
        outputs: { serial: "$b.serial", password: "$b.password" },
      });
      fs.cpSync(world.projectDir, copy, { recursive: true });
      const home = path.join(world.folder, "home");
      fs.mkdirSync(path.join(world.folder, "backend"));
      const env = {
        ...world.env,
        PULUMI_HOME: home,
        PULUMI_BACKEND_URL: `file://${world.folder}/backend`,
        PULUMI_CONFIG_PASSPHRASE: "test",
        PULUMI_SKIP_UPDATE_CHECK: "true",
      };
      const pulumi = (...args: string[]) => {
        const run = spawnSync("pulumi", [...args, "--non-interactive"], { cwd: copy, env, encoding: "utf8" });
        if (run.status !== 0) throw new Error(`pulumi ${args.join(" ")}: ${run.stdout}\n${run.stderr}`);
        return run.stdout;
      };
      pulumi("stack", "init", "dev");
      pulumi("stack", "import", "--file", world.stateFile());
      pulumi("preview", "--expect-no-changes");
      expect(pulumi("stack", "output", "password", "--show-secrets").trim()).toBe("s3cret");

      // And back: what the real engine exports is a state that this one finds unchanged.
      pulumi("up", "--yes", "--skip-preview", "--expect-no-changes");
      fs.writeFileSync(world.stateFile(), pulumi("stack", "export"));
      const summary = await world.run("preview");
      expect(summary.counts).toEqual({ create: 0, update: 0, replace: 0, delete: 0, same: 5, read: 0 });

      pulumi("destroy", "--yes", "--skip-preview");
      expect(world.things()).toEqual({});
      console.log(
        `real CLI ${execFileSync("pulumi", ["version"], { env, encoding: "utf8" }).trim() || "(source build)"}`,
      );
    } finally {
      fs.rmSync(copy, { recursive: true, force: true });
      world.close();
    }
  },
  120_000,
);
