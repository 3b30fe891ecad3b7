/**
 * The examples on the real Pulumi CLI, with a backend, home and passphrase in a temporary folder. Skipped where the CLI, its Node
 * language host or the launcher of its dynamic providers is not on the PATH.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import { pathWithoutGo, Stage } from "../examples/stage";
import { findProgram } from "../support/needs";
import { type RunOptions, type RunResult, run } from "../support/process";
import { Scratch } from "../support/scratch";
import { waitFor } from "../support/wait";

const PROGRAMS = ["pulumi", "pulumi-language-nodejs", "pulumi-resource-pulumi-nodejs"];
const absent = PROGRAMS.filter((name) => findProgram(name) === undefined);
const title = "the real Pulumi CLI";
const describeCli = (body: () => void) =>
  absent.length === 0 ? describe(title, body) : describe.skip(`${title} (skipped: needs ${absent.join(", ")})`, body);

/** A backend of its own, whose commands run on the stage's daemon. */
class Cli {
  private readonly env: Record<string, string>;

  constructor(
    readonly stage: Stage,
    tools: string,
  ) {
    const { scratch } = stage;
    for (const name of PROGRAMS) fs.symlinkSync(findProgram(name) as string, path.join(tools, name));
    fs.mkdirSync(scratch.file("backend"));
    this.env = {
      ...scratch.env,
      PATH: tools,
      WARREN_HOME: stage.home,
      PULUMI_HOME: scratch.file("pulumi-home"),
      PULUMI_BACKEND_URL: `file://${scratch.file("backend")}`,
      PULUMI_CONFIG_PASSPHRASE: "test",
      PULUMI_SKIP_UPDATE_CHECK: "true",
    };
  }

  run(dir: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    const all = { timeout: 120_000, ...options, cwd: dir, env: this.env };
    return run(["pulumi", ...args, "--stack", "dev", "--non-interactive"], all);
  }

  async init(dir: string): Promise<void> {
    await run(["pulumi", "stack", "init", "dev", "--non-interactive"], { cwd: dir, env: this.env });
  }

  up(dir: string, ...flags: string[]): Promise<RunResult> {
    return this.run(dir, ["up", "--yes", "--skip-preview", ...flags]);
  }

  async outputs(dir: string): Promise<Record<string, string>> {
    return JSON.parse((await this.run(dir, ["stack", "output", "--json", "--show-secrets"])).stdout);
  }
}

describeCli(() => {
  let scratch: Scratch;
  let stage: Stage;
  let cli: Cli;
  beforeEach(() => {
    scratch = new Scratch();
    const tools = pathWithoutGo(scratch);
    for (const name of ["npm", "git", "uname"]) {
      const program = findProgram(name);
      if (program) fs.symlinkSync(program, path.join(tools, name));
    }
    stage = new Stage(scratch, { env: { PATH: tools } });
    cli = new Cli(stage, tools);
  });
  afterEach(() => scratch.dispose(), 60_000);

  it("runs the tutorial; a lost registry comes back by a plain up, with the same keys", async () => {
    const dir = stage.copy("fly-tutorial");
    await cli.init(dir);
    const preview = JSON.parse((await cli.run(dir, ["preview", "--json"])).stdout);
    const planned = preview.steps.filter((step: { urn: string }) => step.urn.includes("api-service"));
    expect(
      planned.map((s: { newState: { inputs: { privateIp: string } } }) => s.newState.inputs.privateIp).sort(),
    ).toEqual(["10.1.2.4", "10.1.2.5"]);

    await cli.up(dir);
    const first = await cli.outputs(dir);
    expect(first).toMatchObject({ eastIp: "10.1.2.4", westIp: "10.1.2.5" });
    const privateKey = /PrivateKey = (\S+)/.exec(first.config)![1];
    const hello = () => stage.curlFrom("api-service-east", "http://api-service-west.internal:8080");
    expect(await hello()).toBe("Hello from api-service-west!\n");

    const state = (await cli.run(dir, ["stack", "export"])).stdout;
    expect(state).not.toContain(privateKey);
    expect(state.match(/"ciphertext"/g)?.length).toBeGreaterThan(2);
    await cli.up(dir, "--expect-no-changes");
    await cli.run(dir, ["refresh", "--yes", "--skip-preview", "--expect-no-changes"]);

    await stage.warren(["serve", "--stop"]);
    for (const file of fs.readdirSync(stage.home))
      if (file.startsWith("registry.sqlite")) fs.rmSync(path.join(stage.home, file));
    await cli.up(dir);
    expect(await cli.outputs(dir)).toEqual(first);
    expect(await hello()).toBe("Hello from api-service-west!\n");
    await cli.up(dir, "--expect-no-changes");

    await cli.run(dir, ["destroy", "--yes", "--skip-preview"]);
    expect(await stage.json("networks")).toEqual([]);
    await waitFor("the end of the apps", () => !stage.processes().some((line) => line.includes("server.js")));
  }, 300_000);

  it("runs two stacks in one network", async () => {
    const platform = stage.copy("two-stacks/platform");
    const service = stage.copy("two-stacks/service");
    await cli.init(platform);
    await cli.up(platform);
    await cli.init(service);
    await cli.up(service);
    expect(await cli.outputs(service)).toMatchObject({ readerIp: "10.20.0.4" });
    expect(await stage.curlFrom("reader", "http://reader.internal:8080")).toMatch(/^The clock says/);
    const refused = await cli.run(platform, ["destroy", "--yes", "--skip-preview"], { mayFail: true });
    expect(refused.code).not.toBe(0);
    expect(refused.stdout + refused.stderr).toMatch(/reader .*two-stacks-service/);
    await cli.run(service, ["destroy", "--yes", "--skip-preview"]);
    await cli.run(platform, ["destroy", "--yes", "--skip-preview"]);
    expect(await stage.json("networks")).toEqual([]);
  }, 300_000);

  it("refuses a policy about nobody in preview, says in words what one takes, and changes it in place", async () => {
    const server = `["${process.execPath}", "-e", "require('http').createServer((q, a) => a.end('hello')).listen(process.env.PORT)"]`;
    const write = (policy: string) =>
      stage.program(
        "walls",
        `const network = new warren.Network("net", { cidr: "10.1.2.0/24", policy: ${policy} });
         for (const name of ["east", "west"]) new warren.App(name, { network, command: ${server} });`,
      );
    const dir = write(`[{ from: "east", to: "wets", ports: 8080 }]`);
    await cli.init(dir);
    const refused = await cli.run(dir, ["preview"], { mayFail: true });
    expect(refused.code).not.toBe(0);
    expect(refused.stdout + refused.stderr).toContain(
      'policy[0].to: "wets" names nobody: network net has no member wets',
    );

    write("[]");
    await cli.up(dir);
    expect(await stage.curlFrom("east", "http://west.internal:8080")).toBe("hello");
    write(`[{ from: "west", to: "west" }, { from: "west", to: "east" }]`);
    const unreachable = await cli.run(dir, ["preview"], { mayFail: true });
    expect(unreachable.code).not.toBe(0);
    expect(unreachable.stdout + unreachable.stderr).toContain("nobody reaches west:8080");

    write(`[{ from: "east", to: "west", ports: 8080 }]`);
    const lost = "east loses everything on west but west:8080";
    expect((await cli.run(dir, ["preview"])).stdout).toContain(lost);
    expect((await cli.up(dir)).stdout).toContain(lost);
    expect(await stage.curlFrom("east", "http://west.internal:8080")).toBe("hello");
    await cli.up(dir, "--expect-no-changes");
    await cli.run(dir, ["destroy", "--yes", "--skip-preview"]);
    expect(await stage.json("networks")).toEqual([]);
  }, 300_000);

  it("takes over a stack of the embedded engine: nothing to change, and destroy works", async () => {
    const dir = stage.copy("fly-tutorial");
    const passphrase = { env: { PULUMI_CONFIG_PASSPHRASE: "test" } };
    await stage.warren(["up", dir], passphrase);
    const file = path.join(stage.home, "stacks", "fly-tutorial", "dev.json");
    await cli.init(dir);
    await cli.run(dir, ["stack", "import", "--file", file]);
    await cli.run(dir, ["preview", "--expect-no-changes"]);
    expect((await cli.outputs(dir)).config).toContain("Address = 10.1.2.3/24");
    await cli.run(dir, ["destroy", "--yes", "--skip-preview"]);
    expect(await stage.json("networks")).toEqual([]);
  }, 300_000);
});
