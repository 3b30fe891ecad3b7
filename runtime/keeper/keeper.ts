/** What the keeper holds and does, behind the methods of its protocol. */
import { createHash } from "node:crypto";
import { WarrenError } from "../errors";
import { home, privatePlaces } from "../home";
import { App } from "./app";
import type { AppSandbox } from "./app-sandbox";
import { checkTunLink } from "./capabilities";
import { HostSandbox } from "./host-sandbox";
import { hostProcesses } from "./processes";
import { KEEPER_VERSION, type KeeperMethods, type ProcessState, type SandboxSpec, type SandboxState } from "./protocol";
import { Sandbox } from "./sandbox";
import { killAll, processesIn } from "./strays";

/** Milliseconds before a failed process may be tried again by the same `start`. */
const FAILED_AGAIN_AFTER = 5000;

interface Held {
  readonly sandbox: AppSandbox;
  app?: App;
}

/** The methods that concern sandboxes; the others belong to a connection. */
type Methods = {
  [M in Exclude<keyof KeeperMethods, "subscribe" | "supervise" | "goodbye">]: (
    params: Parameters<KeeperMethods[M]>[0],
  ) => Promise<ReturnType<KeeperMethods[M]>>;
};

export interface KeeperOptions {
  /** The state folder: sandboxes of its keepers, past and present, carry a mark made of it. */
  readonly home: string;
  readonly version: string;
  readonly onProcess: (sandbox: string, state: ProcessState) => void;
  readonly log: (message: string) => void;
}

/** By this the sandboxes of one state folder are told from those of others. */
export function ownerOf(homeDir: string): string {
  return `warren-${createHash("sha256").update(homeDir).digest("hex").slice(0, 12)}`;
}

export class Keeper implements Methods {
  private readonly held = new Map<string, Held>();
  /** Sandbox → its last operation: one after the other. */
  private readonly queues = new Map<string, Promise<unknown>>();
  private readonly owner: string;

  constructor(private readonly options: KeeperOptions) {
    this.owner = ownerOf(options.home);
  }

  get size(): number {
    return this.held.size + this.queues.size;
  }

  /** Ends what a keeper that was killed left behind; call before the first sandbox is made. */
  async clearLeftovers(): Promise<void> {
    const mark = `${this.owner}/`;
    const find = () => [...new Set([...processesIn({ mark }), ...hostProcesses(mark)])];
    const pids = find();
    if (pids.length === 0) return;
    this.options.log(`ending processes of an earlier keeper: ${pids.join(", ")}`);
    await killAll(find);
  }

  async hello(): Promise<ReturnType<KeeperMethods["hello"]>> {
    return {
      version: this.options.version,
      protocol: KEEPER_VERSION,
      pid: process.pid,
      uid: process.getuid!(),
    };
  }

  async list(): Promise<{ sandboxes: SandboxState[] }> {
    return { sandboxes: [...this.held.values()].map(stateOf) };
  }

  ensureSandbox(spec: SandboxSpec): Promise<SandboxState> {
    return this.inTurn(spec.id, async () => {
      let held = this.held.get(spec.id);
      if (held === undefined) {
        held = { sandbox: await this.create(spec) };
        this.held.set(spec.id, held);
      } else {
        if (held.sandbox.link !== (spec.link ?? "tun"))
          throw new WarrenError(
            "WARREN_INVALID_INPUT",
            `The link of ${spec.id} is fixed for its life: remove it first.`,
            {
              path: "link",
            },
          );
        held.sandbox.update(spec);
      }
      return stateOf(held);
    });
  }

  removeSandbox({ id }: { id: string }): Promise<Record<string, never>> {
    return this.inTurn(id, async () => {
      const held = this.held.get(id);
      if (held === undefined) return {};
      await held.app?.stop();
      const { sandbox } = held;
      const left = await killAll(() => sandbox.processes());
      if (left.length > 0)
        throw new WarrenError("WARREN_INTERNAL", `Processes ${left.join(", ")} in ${id} cannot be killed.`);
      await sandbox.prober.close();
      this.held.delete(id);
      sandbox.close();
      return {};
    });
  }

  start(spec: Parameters<KeeperMethods["start"]>[0]): Promise<ProcessState> {
    return this.inTurn(spec.sandbox, async () => {
      const held = this.get(spec.sandbox);
      const present = held.app;
      if (present && present.spec.hash === spec.hash) {
        const { state, since } = present.state;
        if (state !== "failed" || Date.now() - since < FAILED_AGAIN_AFTER) return present.state;
      }
      await present?.stop();
      const app = new App(
        held.sandbox,
        spec,
        (state) => {
          // A process that was replaced has nothing to say any more.
          if (held.app === app) this.options.onProcess(spec.sandbox, state);
        },
        this.options.log,
      );
      held.app = app;
      app.start();
      return app.state;
    });
  }

  stop({ sandbox }: { sandbox: string }): Promise<Record<string, never>> {
    return this.inTurn(sandbox, async () => {
      const held = this.held.get(sandbox);
      await held?.app?.stop();
      if (held) held.app = undefined;
      return {};
    });
  }

  async probe(probe: Parameters<KeeperMethods["probe"]>[0]): Promise<{ ok: boolean; detail: string }> {
    return this.get(probe.sandbox).sandbox.prober.probe(probe);
  }

  /** The TUN descriptor, which stays the keeper's; undefined: no such sandbox, or one without. */
  descriptor(id: string): number | undefined {
    const sandbox = this.held.get(id)?.sandbox;
    return sandbox instanceof Sandbox ? sandbox.descriptors.tun : undefined;
  }

  async removeAll(): Promise<void> {
    const ids = new Set([...this.held.keys(), ...this.queues.keys()]);
    const results = await Promise.allSettled([...ids].map((id) => this.removeSandbox({ id })));
    const failed = results.find((result) => result.status === "rejected");
    if (failed) throw failed.reason;
  }

  private async create(spec: SandboxSpec): Promise<AppSandbox> {
    if (spec.link === "userspace") return new HostSandbox(spec, this.owner);
    return Sandbox.create(spec, this.owner, privatePlaces(home(this.options.home))).catch(explainLink);
  }

  private get(id: string): Held {
    const held = this.held.get(id);
    if (held === undefined) throw new WarrenError("WARREN_NOT_FOUND", `The keeper has no sandbox ${id}.`);
    return held;
  }

  private inTurn<T>(id: string, operation: () => Promise<T>): Promise<T> {
    const before = this.queues.get(id) ?? Promise.resolve();
    const result = before.then(operation, operation);
    const settled: Promise<unknown> = result
      .catch(() => {})
      .then(() => {
        if (this.queues.get(id) === settled) this.queues.delete(id);
      });
    this.queues.set(id, settled);
    return result;
  }
}

/** Each part tried alone tells best what this machine lacks. */
async function explainLink(error: unknown): Promise<never> {
  if (WarrenError.is(error) && error.code === "WARREN_LINK_UNAVAILABLE") await checkTunLink();
  throw error;
}

function stateOf({ sandbox, app }: Held): SandboxState {
  return {
    spec: sandbox.spec,
    link: sandbox.link,
    enter: sandbox.enter(),
    ...(sandbox.link === "userspace" ? { mark: sandbox.mark } : {}),
    ...(app ? { process: { ...app.state, spec: app.spec } } : {}),
  };
}
