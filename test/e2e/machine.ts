/** A Warren of its own for a test: real daemon, keeper, data plane and apps in a state folder of the test, driven as users drive it. */
import * as fs from "node:fs";
import * as path from "node:path";
import { type ControlClient, socketClient } from "../../provider/client";
import type {
  AppSpec,
  InstanceStatus,
  MemberRecord,
  NetworkRecord,
  Owner,
} from "../../runtime/control/interface/types";
import { type Home, home } from "../../runtime/home";
import { ownerOf } from "../../runtime/keeper/keeper";
import { hostProcesses } from "../../runtime/keeper/processes";
import { processesIn } from "../../runtime/keeper/strays";
import { newKeyPair } from "../support/keys";
import { Program, type RunOptions, type RunResult, run } from "../support/process";
import { ROOT } from "../support/repo";
import type { Scratch } from "../support/scratch";
import { waitFor } from "../support/wait";
import { AS_NOBODY, NOBODY } from "../support/without";

export const WARREN = path.join(ROOT, "dist", "cli", "warren.js");
const DAEMON_MODULE = path.join(ROOT, "dist", "provider", "daemon.js");
const HOME_MODULE = path.join(ROOT, "dist", "runtime", "home.js");

/** Answers `Hello from NAME!` as the tutorial's server does. */
const SERVER = `require("node:http").createServer((q, a) => a.end("Hello from " + process.env.FLY_APP_NAME + "!\\n")).listen(process.env.PORT)`;

export interface MachineOptions {
  readonly user?: "root" | "nobody";
  /** Of the state folder, below the scratch's. @default "home" */
  readonly folder?: string;
  /** argv before everything that runs for this machine, for example to change what it sees of the system. */
  readonly through?: readonly string[];
  /** The same, but before the account is changed. */
  readonly before?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export class Machine {
  readonly home: Home;
  readonly client: ControlClient;
  private readonly through: readonly string[];
  private readonly owner: Omit<Owner, "urn">;

  constructor(
    readonly scratch: Scratch,
    private readonly options: MachineOptions = {},
  ) {
    const nobody = options.user === "nobody";
    this.home = homeOf(scratch.file(options.folder ?? "home"), nobody);
    this.client = socketClient(this.home.controlSocket);
    if (nobody) {
      fs.mkdirSync(this.home.dir, { recursive: true });
      fs.chownSync(this.home.dir, NOBODY, NOBODY);
    }
    this.through = [...(options.before ?? []), ...(nobody ? AS_NOBODY : []), ...(options.through ?? [])];
    this.owner = { organization: "organization", project: "e2e", stack: "dev" };
    scratch.defer(() => this.end());
  }

  /** As a hook does it: finds the daemon or starts it, in a process of this machine's user. */
  async start(): Promise<this> {
    await this.ensureDaemon();
    return this;
  }

  ensureDaemon(options: RunOptions = {}): Promise<RunResult> {
    const code = `require(${JSON.stringify(DAEMON_MODULE)}).ensureDaemon(require(${JSON.stringify(HOME_MODULE)}).home())
      .then((c) => c.health().then((h) => { console.log(h.pid); return c.close(); }))
      .catch((e) => { console.log(JSON.stringify({ code: e.code, message: e.message, path: e.path })); process.exitCode = 1; })`;
    return this.run([process.execPath, "-e", code], { timeout: 30_000, ...options });
  }

  /** Runs a command as this machine's user, with its WARREN_HOME. */
  run(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    return run([...this.through, ...argv], { cwd: "/", ...options, env: { ...this.env, ...options.env } });
  }

  warren(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    return this.run([process.execPath, WARREN, ...args], options);
  }

  /** The program `warren`, going on while the test does. */
  startWarren(args: readonly string[]): Promise<Program> {
    const argv = [...this.through, process.execPath, WARREN, ...args];
    return Program.start(this.scratch, argv, { cwd: "/", env: this.env });
  }

  /** @returns standard output of a command inside an app's instance. */
  async exec(app: string, argv: readonly string[], options: RunOptions & { instance?: string } = {}): Promise<string> {
    const place = options.instance === undefined ? [] : ["--instance", options.instance];
    return (await this.warren(["exec", ...place, app, "--", ...argv], options)).stdout;
  }

  /** The answer to an HTTP request made inside an app's instance, in at most some seconds. */
  curl(app: string, url: string, options: { instance?: string; seconds?: number } = {}): Promise<string> {
    return this.exec(app, ["curl", "-sS", "--max-time", String(options.seconds ?? 10), url], options);
  }

  putNetwork(name: string, spec: Partial<NetworkRecord["spec"]> = {}): Promise<NetworkRecord> {
    return this.client.putNetwork(name, {
      owner: this.ownerOf(name),
      spec: { name, cidr: "10.1.2.0/24", reserved: [], regions: [], domain: "internal", mtu: 1420, tags: {}, ...spec },
    });
  }

  async deleteNetwork(name: string): Promise<void> {
    await this.client.deleteNetwork((await this.client.network(name)).id, this.ownerOf(name));
  }

  /** Creates or changes an app; by default a server that says hello in region ord. */
  async putApp(
    network: string,
    name: string,
    spec: Partial<AppSpec> = {},
    more: { ip?: string; stack?: string } = {},
  ): Promise<MemberRecord> {
    const { spec: space } = await this.client.network(network);
    const health = { type: "tcp", interval: 1, timeout: 2, threshold: 2, ...spec.health } as AppSpec["health"];
    const app = { ...APP, ...(spec.upstream ? {} : { command: this.server() }), ...spec, health };
    const owner = { ...this.ownerOf(name), ...(more.stack ? { stack: more.stack } : {}) };
    const known = (await this.client.members({ network })).find(
      (m) => m.name === name && m.owner.stack === owner.stack,
    );
    const pin = more.ip === undefined ? {} : { ip: more.ip };
    const { addresses } = await this.client.plan({
      network: space,
      owner,
      name,
      slots: app.regions.flatMap((region) => Array.from({ length: app.instances }, (_, i) => `${region}/${i}`)),
      old: known?.addresses ?? [],
      before: [],
      ...pin,
    });
    const body = { owner, name, kind: "app" as const, app, addresses, ...pin };
    return this.client.putMember(network, name, known ? { ...body, known } : body);
  }

  /** The same, and it works. @throws Error with what is missing. */
  async runApp(network: string, name: string, spec: Partial<AppSpec> = {}): Promise<MemberRecord> {
    const member = await this.putApp(network, name, spec);
    const { ready, missing } = await this.client.ready(member.id, 30);
    if (!ready) throw new Error(`${name}: ${missing.join("; ")}`);
    return member;
  }

  /** @returns its private key, which the registry does not have */
  async putPeer(network: string, name: string, ipv4: string, dns: "off" | "split" | "all" = "off"): Promise<string> {
    const { publicKey, privateKey } = newKeyPair();
    await this.client.putMember(network, name, {
      owner: this.ownerOf(name),
      name,
      kind: "peer",
      addresses: [{ slot: "peer", ipv4 }],
      peer: { publicKey, routes: [], dns, tags: {} },
    });
    return privateKey;
  }

  /** A peer's file for wg-quick. */
  async peerConfig(peer: string, privateKey: string): Promise<string> {
    const { stdout } = await this.warren(["config", peer]);
    return stdout.replace(/(# )?PrivateKey = .*/, `PrivateKey = ${privateKey}`);
  }

  /** The tutorial's two apps, in two regions, on one port: 10.1.2.3 and 10.1.2.4. */
  async runPair(): Promise<void> {
    await this.putNetwork("net");
    await this.putApp("net", "east", { regions: ["ord"] });
    await this.runApp("net", "west", { regions: ["iad"] });
    await this.runApp("net", "east", { regions: ["ord"] });
  }

  /** Who an object of this name belongs to. */
  ownerOf(name: string): Owner {
    return { ...this.owner, urn: `urn:pulumi:dev::e2e::warren::${name}` };
  }

  /** A script that apps of any account may read. @returns the command that runs it. */
  script(name: string, text: string): string[] {
    const file = this.scratch.file(`${name}.js`);
    fs.writeFileSync(file, text, { mode: 0o644 });
    return [process.execPath, file];
  }

  /** The command of a server that answers `Hello from NAME!`. */
  server(): string[] {
    return this.script("server", SERVER);
  }

  async instances(app: string): Promise<InstanceStatus[]> {
    const { members, instances } = await this.client.status();
    const ids = members.filter((member) => member.name === app).map((member) => member.id);
    return instances.filter((instance) => ids.includes(instance.memberId));
  }

  async instance(app: string): Promise<InstanceStatus> {
    return (await this.instances(app))[0]!;
  }

  /** Process ids of apps of this state folder, of any keeper that it ever had. */
  appProcesses(): number[] {
    const mark = `${ownerOf(this.home.dir)}/`;
    return [...new Set([...processesIn({ mark }), ...hostProcesses(mark)])];
  }

  /** Process ids of programs of Warren that serve this state folder. */
  processesOf(program: "warren.js" | "keeper/main.js"): number[] {
    return listPids().filter((pid) => {
      const args = read(`/proc/${pid}/cmdline`).split("\0");
      return (
        args.some((arg) => arg.endsWith(`/${program}`)) &&
        read(`/proc/${pid}/environ`).split("\0").includes(`WARREN_HOME=${this.home.dir}`) &&
        (program !== "warren.js" || args.includes("serve"))
      );
    });
  }

  async daemonPid(): Promise<number> {
    return (await this.client.health()).pid;
  }

  keeperPid(): number {
    const pids = this.processesOf("keeper/main.js");
    if (pids.length !== 1) throw new Error(`keepers: ${pids.join(", ") || "none"}`);
    return pids[0]!;
  }

  /** Lines of the daemon's log, for a failed expectation. */
  log(): string {
    return read(this.home.daemonLog);
  }

  get env(): Record<string, string> {
    return { ...this.scratch.env, WARREN_HOME: this.home.dir, ...this.options.env };
  }

  /** Ends everything; also what a failed test left in whatever state. */
  async end(): Promise<void> {
    await this.client.shutdown("stop").catch(() => undefined);
    const left = () => [
      ...this.processesOf("warren.js"),
      ...this.processesOf("keeper/main.js"),
      ...this.appProcesses(),
    ];
    await waitFor("the end of the daemon", () => left().length === 0, { timeout: 8000 }).catch(() => undefined);
    await waitFor("the end of all processes", () => {
      for (const pid of left()) kill(pid);
      return left().length === 0;
    });
    await this.client.close().catch(() => undefined);
    const sockets = path.dirname(this.home.controlSocket);
    if (sockets !== this.home.dir) fs.rmSync(sockets, { recursive: true, force: true });
  }
}

const APP: Omit<AppSpec, "health"> = {
  regions: ["ord"],
  instances: 1,
  port: 8080,
  cwd: "/",
  env: {},
  triggers: [],
  restart: "always",
  tags: {},
};

/** The paths as that user sees them: the place of sockets with long paths depends on the user. */
function homeOf(dir: string, nobody: boolean): Home {
  const own = home(dir);
  if (!nobody) return own;
  const theirs = (file: string) => file.replace(/^\/tmp\/warren-0-/, "/tmp/warren-65534-");
  return { ...own, controlSocket: theirs(own.controlSocket), keeperSocket: theirs(own.keeperSocket) };
}

export function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

export function listPids(): number[] {
  return fs.readdirSync("/proc").map(Number).filter(Number.isInteger);
}

/** "" for what is gone, or not for these eyes. */
export function read(file: string): string {
  try {
    return fs.readFileSync(file, "latin1");
  } catch {
    return "";
  }
}
