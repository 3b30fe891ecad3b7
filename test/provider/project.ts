/**
 * For tests through the embedded engine: programs in folders of their own, a real control in this process with an agent that obeys.
 * The hooks run in Pulumi's dynamic-provider process, from dist/.
 */
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { destroy, type EngineEvent, preview, refresh, type Summary, up } from "../../engine";
import { Changes } from "../../runtime/agent/changes";
import { type NameService, serveNames } from "../../runtime/agent/names";
import { type AgentView, type Control, createControl } from "../../runtime/control";
import type { Readiness } from "../../runtime/control/interface/types";
import { type Home, home, prepareHome } from "../../runtime/home";

const root = path.join(__dirname, "..", "..");

const OPERATIONS = { preview, up, refresh, destroy };

export class Machine {
  /** By its name the reaper knows whose it was. */
  readonly dir = fs.mkdtempSync(path.join(os.tmpdir(), `wt${process.pid}x`));
  readonly home: Home = home(path.join(this.dir, "home"));
  control: Control | undefined;
  private names: NameService | undefined;
  readiness: (id: string) => Readiness = () => ({ ready: true, missing: [], warnings: [] });

  async start(): Promise<Control> {
    prepareHome(this.home);
    const control = createControl({ home: this.home });
    control.attachAgent(this.agent(control));
    const health = { instance: () => undefined, changes: new Changes() };
    this.names = serveNames({ onDns: () => undefined }, control.desired, health, () => undefined);
    control.attachNames(this.names);
    await control.listen();
    this.control = control;
    return control;
  }

  async stop(): Promise<void> {
    this.names?.close();
    await this.control?.close();
    this.control = undefined;
  }

  /** As if the registry's file were lost; the machine is the same. */
  async loseRegistry(): Promise<void> {
    await this.stop();
    for (const file of fs.readdirSync(this.home.dir))
      if (file.startsWith("registry.sqlite")) fs.rmSync(path.join(this.home.dir, file));
    await this.start();
  }

  async close(): Promise<void> {
    await this.stop();
    fs.rmSync(this.dir, { recursive: true, force: true });
  }

  project(name: string): Project {
    const dir = path.join(this.dir, name);
    fs.mkdirSync(dir);
    fs.writeFileSync(path.join(dir, "Pulumi.yaml"), `name: ${name}\nruntime: nodejs\n`);
    fs.writeFileSync(path.join(dir, "package.json"), JSON.stringify({ name, private: true, main: "index.js" }));
    fs.symlinkSync(path.join(root, "node_modules"), path.join(dir, "node_modules"));
    return new Project(this, dir);
  }

  private agent(control: Control): AgentView {
    const bind = () => {
      for (const host of control.registry.hosts()) if (host.port === 0) control.registry.setPort(host.id, 51820);
    };
    control.registry.onChange(() => setImmediate(() => this.control === control && bind()));
    return {
      readiness: async (id) => this.readiness(control.registry.member(id).name),
      settled: async () => true,
      status: () => ({ applied: 0, problems: [], link: "tun", aead: "", instances: [], tunnels: [] }),
      entry: () => Promise.reject(new Error("not part of this test")),
      // biome-ignore lint/correctness/useYield: not part of this test
      logs: async function* () {
        throw new Error("not part of this test");
      },
    };
  }
}

export class Project {
  events: EngineEvent[] = [];

  constructor(
    private readonly machine: Machine,
    readonly dir: string,
  ) {}

  /** The body of the program; `pulumi`, `warren` and `net` (a Network of 10.1.2.0/24) are at hand. */
  write(body: string, net = `new warren.Network("net", { cidr: "10.1.2.0/24" })`): this {
    const head = `const pulumi = require("@pulumi/pulumi");\nconst warren = require("pulumi-warren");\n`;
    fs.writeFileSync(path.join(this.dir, "index.js"), `${head}const net = ${net};\n${body}\n`);
    return this;
  }

  run(operation: keyof typeof OPERATIONS, config: Record<string, string> = {}): Promise<Summary> {
    this.events = [];
    return OPERATIONS[operation]({
      projectDir: this.dir,
      stateDir: path.join(this.machine.dir, "state"),
      passphrase: "test",
      config,
      env: { PATH: process.env.PATH, HOME: this.machine.dir, WARREN_HOME: this.machine.home.dir },
      onEvent: (event) => this.events.push(event),
    });
  }

  /** `op name` of every resource that something was done to. */
  done(): string[] {
    return this.events
      .flatMap((e) =>
        e.kind === "resource" && e.status === "done" && e.op !== "same" ? [`${e.op} ${e.resource.name}`] : [],
      )
      .sort();
  }

  /** The state file as it is on disk. */
  state(): {
    text: string;
    resources: { urn: string; id?: string; outputs?: Record<string, unknown>; initErrors?: string[] }[];
  } {
    const file = path.join(this.machine.dir, "state", path.basename(this.dir), "dev.json");
    const text = fs.readFileSync(file, "utf8");
    return { text, resources: JSON.parse(text).deployment.resources };
  }
}
