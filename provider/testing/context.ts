/** For tests of the hooks: the real registry and address plan behind a client without HTTP, a clock and agent that obey. */
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import type { Readiness } from "../../runtime/control/interface/types";
import { Registry } from "../../runtime/control/registry";
import type { ControlClient } from "../client";
import type { Crud, HookContext, Props } from "../core/crud";

export class World {
  readonly dir = fs.mkdtempSync(path.join(os.tmpdir(), "warren-hooks-"));
  /** As if no registry were on disk, until the first ensure. */
  onDisk = false;
  adopt: string | undefined;
  endpoint: string | undefined;
  time = Date.parse("2026-01-01T00:00:00Z");
  readonly sources = new Set<string>();
  readonly calls: string[] = [];
  /** What the agent says of each member. */
  readiness: (id: string) => Readiness = () => ({ ready: true, missing: [], warnings: [] });
  private seed = 0;
  private generation = 0;
  registry!: Registry;

  constructor() {
    this.newRegistry();
  }

  /** An empty registry in the same folder: the old one is lost. `elsewhere`: another machine's. */
  newRegistry(elsewhere = false): void {
    this.registry?.close();
    this.generation++;
    const dir = elsewhere ? path.join(this.dir, `machine${this.generation}`) : this.dir;
    fs.mkdirSync(dir, { recursive: true });
    this.registry = new Registry({
      file: path.join(this.dir, `r${this.generation}.sqlite`),
      dir,
      now: () => this.time,
    });
  }

  close(): void {
    this.registry.close();
    fs.rmSync(this.dir, { recursive: true, force: true });
  }

  readonly ctx: HookContext = (() => {
    const world = this;
    return {
      peek: async () => (world.onDisk ? world.client() : undefined),
      ensure: async () => {
        world.onDisk = true;
        return world.client();
      },
      get adopt() {
        return world.adopt;
      },
      get endpoint() {
        return world.endpoint;
      },
      programDir: world.dir,
      now: () => world.time,
      random: (bytes: number) =>
        createHash("sha512")
          .update(String(world.seed++))
          .digest()
          .subarray(0, bytes),
    };
  })();

  private client(): ControlClient {
    const { registry } = this;
    const bind = () => {
      for (const host of registry.hosts()) if (host.port === 0) registry.setPort(host.id, 51820);
    };
    const log = (what: string) => this.calls.push(what);
    // All that hooks ask; the CLI asks more.
    const asked: Partial<ControlClient> = {
      health: async () => ({ version: "0.0.0", apiVersion: 1, registryId: registry.id, pid: 1 }),
      plan: async (request) => ({ addresses: registry.plan(request) }),
      networks: async () => registry.networks(),
      network: async (id) => registry.network(id),
      putNetwork: async (name, body) => {
        log(`put network ${name}`);
        return registry.putNetwork(name, body);
      },
      deleteNetwork: async (id, owner) => registry.deleteNetwork(id, owner),
      members: async (filter) => registry.members(filter),
      member: async (id) => registry.member(id),
      putMember: async (network, name, body) => {
        log(`put ${name}`);
        const { id } = registry.putMember(network, name, body);
        bind();
        return registry.member(id);
      },
      deleteMember: async (id) => registry.deleteMember(id),
      ready: async (id, seconds) => {
        const answer = this.readiness(id);
        if (!answer.ready) this.time += seconds * 1000;
        return answer;
      },
      hasSource: async (hash) => this.sources.has(hash),
      putSource: async (hash) => {
        this.sources.add(hash);
      },
      close: async () => {},
    };
    return asked as ControlClient;
  }
}

/** What the SDK adds to a program's inputs. */
export function hidden(kind: string, name: string, stack = "dev"): Props {
  const urn = `urn:pulumi:${stack}::shop::pulumi-nodejs:dynamic/warren:${kind}::${name}`;
  return { owner: { organization: "acme", project: "shop", stack, urn }, __provider: "p" };
}

/** One resource, driven as Pulumi's engine drives it, without previews. */
export class Driven {
  id: string | undefined;
  inputs: Props = {};
  outs: Props = {};

  constructor(
    private readonly world: World,
    private readonly crud: Crud,
  ) {}

  async check(news: Props): Promise<Props> {
    const { inputs, failures } = await this.crud.check(this.world.ctx, this.inputs, news);
    if (failures.length > 0) throw new Error(failures.map((f) => `${f.property}: ${f.reason}`).join("\n"));
    return inputs;
  }

  /** @returns what was done */
  async up(news: Props): Promise<"create" | "same" | "update" | "replace"> {
    const { ctx } = this.world;
    let inputs = await this.check(news);
    if (this.id === undefined) {
      await this.create(inputs);
      return "create";
    }
    const diff = await this.crud.diff(ctx, this.id, this.outs, inputs);
    if (!diff.changes) {
      this.inputs = inputs;
      return "same";
    }
    if (diff.replaces.length > 0) {
      expect(diff.deleteBeforeReplace).toBe(true);
      this.inputs = {};
      inputs = await this.check(news);
      await this.crud.delete(ctx, this.id, this.outs);
      await this.create(inputs);
      return "replace";
    }
    this.outs = (await this.crud.update(ctx, this.id, this.outs, inputs)).outs;
    this.inputs = inputs;
    return "update";
  }

  async refresh(): Promise<"kept" | "gone"> {
    const result = await this.crud.read(this.world.ctx, this.id!, this.outs);
    if (!result) return "gone";
    this.outs = result.props;
    return "kept";
  }

  async destroy(): Promise<void> {
    await this.crud.delete(this.world.ctx, this.id!, this.outs);
    this.id = undefined;
    this.inputs = {};
    this.outs = {};
  }

  private async create(inputs: Props): Promise<void> {
    const { id, outs } = await this.crud.create(this.world.ctx, inputs);
    this.id = id;
    this.inputs = inputs;
    this.outs = outs;
  }
}
