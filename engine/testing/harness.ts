import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { destroy, type EngineEvent, preview, refresh, type StackOptions, type Summary, up } from "../index";
import type { DeploymentFile } from "../state";

/** One resource of the scenario program. */
export interface Declared {
  kind?: "thing" | "group" | "get" | "reference" | "foreign";
  name: string;
  args?: Record<string, unknown>;
  opts?: Record<string, unknown>;
  id?: string;
}

export interface Plan {
  resources: Declared[];
  outputs?: Record<string, string>;
  shuffle?: boolean;
  throws?: string;
  print?: string[];
}

export interface Call {
  hook: string;
  name: string;
  id?: string;
  olds?: boolean;
  inputs?: Record<string, unknown>;
}

export type StateResource = Record<string, unknown> & {
  urn: string;
  type: string;
  id?: string;
  inputs?: Record<string, unknown>;
  outputs?: Record<string, unknown>;
};

const OPERATIONS = { preview, up, refresh, destroy };

/** A stack of a fixture program, with a "cloud" (a folder) that its provider fills and the test looks into. */
export class World {
  readonly folder = fs.mkdtempSync(path.join(os.tmpdir(), "engine-test-"));
  readonly cloud = path.join(this.folder, "cloud");
  readonly stateDir = path.join(this.folder, "state");
  readonly project: string;
  readonly projectDir: string;
  events: EngineEvent[] = [];

  constructor(project = "scenario", projectDir = path.join(__dirname, "..", "testdata", project)) {
    this.project = project;
    this.projectDir = projectDir;
    fs.mkdirSync(this.cloud);
  }

  close(): void {
    fs.rmSync(this.folder, { recursive: true, force: true });
  }

  get env(): NodeJS.ProcessEnv {
    return { PATH: process.env.PATH, HOME: process.env.HOME, CLOUD: this.cloud };
  }

  options(extra: Partial<StackOptions> = {}): StackOptions {
    return {
      projectDir: this.projectDir,
      stateDir: this.stateDir,
      passphrase: "test",
      env: this.env,
      onEvent: (event) => this.events.push(event),
      ...extra,
    };
  }

  plan(plan: Plan): void {
    fs.writeFileSync(path.join(this.cloud, "plan.json"), JSON.stringify(plan));
  }

  /** Runs an operation with empty lists of events and calls; `plan` is what the program declares from now on. */
  async run(operation: keyof typeof OPERATIONS, plan?: Plan, extra: Partial<StackOptions> = {}): Promise<Summary> {
    if (plan !== undefined) this.plan(plan);
    this.events = [];
    fs.rmSync(path.join(this.cloud, "calls.jsonl"), { force: true });
    return OPERATIONS[operation](this.options(extra));
  }

  /** The calls of the provider in the last operation; `hooks` picks some. */
  calls(...hooks: string[]): Call[] {
    const file = path.join(this.cloud, "calls.jsonl");
    if (!fs.existsSync(file)) return [];
    const calls = fs.readFileSync(file, "utf8").trim().split("\n");
    return calls
      .map((line) => JSON.parse(line) as Call)
      .filter(({ hook }) => hooks.length === 0 || hooks.includes(hook));
  }

  /** `hook name` of the calls that change something. */
  changes(): string[] {
    return this.calls("create", "update", "delete").map(({ hook, name }) => `${hook} ${name}`);
  }

  /** What exists in the cloud, by id. */
  things(): Record<string, Record<string, unknown>> {
    const file = path.join(this.cloud, "db.json");
    return fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, "utf8")).things : {};
  }

  /** Changes the cloud behind the program's back. */
  drift(change: (things: Record<string, Record<string, unknown>>) => void): void {
    const file = path.join(this.cloud, "db.json");
    const db = JSON.parse(fs.readFileSync(file, "utf8"));
    change(db.things);
    fs.writeFileSync(file, JSON.stringify(db));
  }

  /** Makes a hook fail for one resource until `mend`. */
  sabotage(hook: string, name: string): void {
    fs.writeFileSync(path.join(this.cloud, `fail-${hook}-${name}`), "");
  }

  mend(): void {
    for (const file of fs.readdirSync(this.cloud)) {
      if (file.startsWith("fail-")) fs.rmSync(path.join(this.cloud, file));
    }
  }

  stateFile(stack = "dev"): string {
    return path.join(this.stateDir, this.project, `${stack}.json`);
  }

  state(stack = "dev"): DeploymentFile["deployment"] {
    return (JSON.parse(fs.readFileSync(this.stateFile(stack), "utf8")) as DeploymentFile).deployment;
  }

  resources(stack = "dev"): StateResource[] {
    return (this.state(stack).resources ?? []) as StateResource[];
  }

  /** The resource of that name in state. */
  resource(name: string, stack = "dev"): StateResource {
    const found = this.resources(stack).filter(({ urn }) => urn.endsWith(`::${name}`));
    if (found.length !== 1) throw new Error(`${found.length} resources named ${name}`);
    return found[0];
  }

  /** `op name` of finished operations, in order. */
  done(): string[] {
    const lines: string[] = [];
    for (const event of this.events) {
      if (event.kind === "resource" && event.status === "done") lines.push(`${event.op} ${event.resource.name}`);
    }
    return lines;
  }

  diagnostics(severity: string): string[] {
    const lines: string[] = [];
    for (const event of this.events) {
      if (event.kind === "diagnostic" && event.severity === severity) lines.push(event.message);
    }
    return lines;
  }
}
