/**
 * Makes the desired state true on this machine, always from the whole of it: a crash, a restart, a missed message and a first start
 * are one code path. The plan is in plan.ts; here are the order of the steps and their I/O.
 */
import type { Desired, DesiredApp, DesiredSource } from "../control/interface/desired";
import type { InstanceStatus, TunnelStatus } from "../control/interface/types";
import type { DataPlane } from "../dataplane/dataplane";
import { WarrenError } from "../errors";
import { becomeAccount, findAccount } from "../keeper/account";
import type { ProcessState, SandboxState } from "../keeper/protocol";
import type { Log } from "../log";
import { Endpoints } from "./endpoints";
import { type HealthRecord, nextProbe, observe, UNKNOWN } from "./health";
import type { KeeperLink } from "./keeper-link";
import { type InstancePlan, type Machine, peers, planDataPlane, planInstances } from "./plan";
import { probeUpstream, UpstreamForwarder } from "./upstream";

/** Milliseconds after which everything is compared again, though nobody reported a change. */
const RESYNC = 30_000;
/** Milliseconds before a step that failed is tried again: doubles up to the limit. */
const RETRY = { first: 500, limit: 15_000 };
/** Sandboxes made at once: each costs a short-lived Node process. */
const PARALLEL = 4;

export interface AgentOptions {
  readonly source: DesiredSource;
  readonly keeper: KeeperLink;
  readonly dataplane: DataPlane;
  readonly machine: Machine;
  readonly endpointsFile: string;
  readonly log: Log;
}

/** What the agent knows of one instance. */
interface Instance {
  plan: InstancePlan;
  sandbox?: SandboxState;
  process?: ProcessState;
  health: HealthRecord;
  /** Why the last step for it failed. */
  problem?: string;
  probing?: AbortController;
  forwarder?: UpstreamForwarder;
}

export class Agent {
  private readonly instances = new Map<string, Instance>();
  private readonly endpoints: Endpoints;
  private readonly changed = new Set<() => void>();
  private ports: Record<string, number> = {};
  /** Sandboxes whose descriptors the data plane holds. */
  private linked: ReadonlySet<string> = new Set();
  private desired: Desired;
  /** The revision made true last. */
  private applied = -1;
  private problems: string[] = [];
  private running: Promise<void> | undefined;
  private again = false;
  private retry = 0;
  private timer: NodeJS.Timeout | undefined;
  private stopped = false;
  private unwatch: () => void = () => undefined;

  constructor(private readonly options: AgentOptions) {
    this.endpoints = new Endpoints(options.endpointsFile);
    this.desired = options.source.current();
  }

  start(): void {
    const { dataplane, source } = this.options;
    dataplane.onEvent((event) => {
      if (event.type === "endpoint") this.endpoints.learn(`${event.gateway}/${event.publicKey}`, event.endpoint);
      if (event.type === "link-lost") this.wake();
    });
    this.unwatch = source.watch(() => this.wake());
    this.wake();
  }

  /** Leaves apps and sandboxes as they are. */
  async stop(): Promise<void> {
    this.stopped = true;
    this.unwatch();
    clearTimeout(this.timer);
    await this.running;
    for (const instance of this.instances.values()) {
      instance.probing?.abort();
      instance.forwarder?.close();
    }
    this.endpoints.flush();
  }

  /** Compares and repairs soon; many calls cost one pass. */
  wake(): void {
    if (this.stopped) return;
    clearTimeout(this.timer);
    if (this.running) {
      this.again = true;
      return;
    }
    this.running = this.pass().finally(() => {
      this.running = undefined;
      this.notify();
      if (this.stopped) return;
      if (this.again) {
        this.again = false;
        this.wake();
      } else this.timer = setTimeout(() => this.wake(), this.retry || RESYNC);
    });
  }

  private async pass(): Promise<void> {
    const { source, keeper, machine, log } = this.options;
    const desired = source.current();
    this.desired = desired;
    const problems: string[] = [];
    const attempt = async (what: string, work: () => Promise<void>): Promise<void> => {
      try {
        await work();
      } catch (error) {
        const why = error instanceof Error ? error.message : String(error);
        problems.push(`${what}: ${why}`);
        if (!this.problems.includes(`${what}: ${why}`)) log("warn", what, { why });
      }
    };

    await attempt("compare with the keeper", async () => {
      const plans = new Map(planInstances(desired, machine).map((plan) => [plan.instance.id, plan]));
      const present = new Map((await keeper.call("list", {})).sandboxes.map((state) => [state.spec.id, state]));

      // The data plane lets go of a link before its namespace vanishes, and learns of a new one once it is there.
      const goneIds = [...present.keys()].filter((id) => !plans.has(id));
      for (const id of [...this.instances.keys()]) if (!plans.has(id)) this.forget(id);
      for (const [id, plan] of plans) this.remember(id, plan, present.get(id));

      const kept = new Set([...present.keys()].filter((id) => plans.has(id)));
      if ([...this.linked].some((id) => !kept.has(id)))
        await attempt("release links", () => this.applyDataPlane(desired, kept, problems));
      await inParallel(goneIds, (id) =>
        attempt(`remove ${id}`, async () => {
          await keeper.call("removeSandbox", { id });
        }),
      );
      await inParallel([...plans.values()], (plan) =>
        this.step(plan, attempt, async (instance) => {
          instance.sandbox = await keeper.call("ensureSandbox", plan.sandbox);
        }),
      );
      const ready = new Set([...this.instances].filter(([, i]) => i.sandbox !== undefined).map(([id]) => id));
      await attempt("apply the data plane", () => this.applyDataPlane(desired, ready, problems));
      await inParallel([...plans.values()], (plan) =>
        this.step(plan, attempt, (instance) =>
          plan.process ? this.startProcess(instance) : this.startUpstream(instance),
        ),
      );
    });

    this.problems = problems;
    if (problems.length === 0) {
      this.applied = desired.revision;
      this.retry = 0;
    } else this.retry = this.retry === 0 ? RETRY.first : Math.min(this.retry * 2, RETRY.limit);
  }

  private async step(
    plan: InstancePlan,
    attempt: (what: string, work: () => Promise<void>) => Promise<void>,
    work: (instance: Instance) => Promise<void>,
  ): Promise<void> {
    const instance = this.instances.get(plan.instance.id);
    if (!instance) return;
    await attempt(`${plan.app.name} (${plan.instance.slot})`, async () => {
      try {
        await work(instance);
        delete instance.problem;
      } catch (error) {
        instance.problem = error instanceof Error ? error.message : String(error);
        throw error;
      }
    });
  }

  private async applyDataPlane(desired: Desired, ready: ReadonlySet<string>, problems: string[]): Promise<void> {
    const { dataplane, source } = this.options;
    const plan = () => planDataPlane(desired, ready, this.ports, this.endpoints.all);
    let result = await dataplane.apply(plan());
    this.linked = ready;
    const unknown = Object.entries(result.ports).filter(([id, port]) => this.ports[id] !== port);
    if (unknown.length > 0) {
      // Gateways of this machine find each other by ports that only now are known.
      for (const [id, port] of unknown) this.ports[id] = port;
      result = await dataplane.apply(plan());
      for (const host of desired.hosts) {
        const port = result.ports[host.id];
        if (port !== undefined && port !== host.port) source.reportPort(host.id, port);
      }
    }
    for (const problem of result.problems) problems.push(`${problem.id}: ${problem.message}`);
    this.endpoints.retain(
      new Set(
        desired.networks.flatMap((network) =>
          peers(network).map((peer) => `${network.id}/${peer.hostId}/${peer.publicKey}`),
        ),
      ),
    );
  }

  private async startProcess(instance: Instance): Promise<void> {
    const spec = instance.plan.process!;
    // The keeper leaves a process of the same hash alone, and tries a failed one again.
    const before = instance.sandbox?.process;
    if (before?.spec.hash !== spec.hash) instance.health = UNKNOWN;
    this.onState(instance, await this.options.keeper.call("start", spec));
    this.watchHealth(instance);
  }

  private async startUpstream(instance: Instance): Promise<void> {
    const { plan, sandbox } = instance;
    if (!sandbox || plan.app.spec.upstream === undefined) return;
    const spec = {
      enter: sandbox.enter,
      addresses: plan.sandbox.addresses,
      port: plan.app.spec.port,
      upstream: plan.app.spec.upstream,
    };
    // An app that had a command before this has a process that must go.
    if (sandbox.process && sandbox.process.state !== "exited")
      await this.options.keeper.call("stop", { sandbox: plan.instance.id });
    if (instance.forwarder?.key !== UpstreamForwarder.key(spec)) {
      instance.forwarder?.close();
      instance.forwarder = await UpstreamForwarder.start(spec);
      instance.health = UNKNOWN;
    }
    this.watchHealth(instance);
  }

  private remember(id: string, plan: InstancePlan, sandbox: SandboxState | undefined): void {
    const instance = this.instances.get(id) ?? { plan, health: UNKNOWN };
    if (plan.process && instance.forwarder) {
      instance.forwarder.close();
      delete instance.forwarder;
    }
    instance.plan = plan;
    if (sandbox) instance.sandbox = sandbox;
    else {
      delete instance.sandbox;
      delete instance.process;
    }
    if (sandbox?.process) instance.process = sandbox.process;
    this.instances.set(id, instance);
  }

  private forget(id: string): void {
    const instance = this.instances.get(id);
    instance?.probing?.abort();
    instance?.forwarder?.close();
    this.instances.delete(id);
  }

  /** The keeper reports a change. */
  onProcess(id: string, state: ProcessState): void {
    const instance = this.instances.get(id);
    if (instance) this.onState(instance, state);
  }

  private onState(instance: Instance, state: ProcessState): void {
    const restarted = instance.process?.pid !== state.pid;
    instance.process = state;
    if (restarted || (state.state !== "running" && state.state !== "starting")) {
      instance.health = UNKNOWN;
      if (restarted) instance.probing?.abort();
      if (state.state === "starting" || state.state === "running") this.watchHealth(instance);
    }
    this.notify();
  }

  /** One chain of probes per instance, for as long as it is there. */
  private watchHealth(instance: Instance): void {
    if (instance.probing && !instance.probing.signal.aborted) return;
    const control = new AbortController();
    instance.probing = control;
    const loop = async (): Promise<void> => {
      while (!control.signal.aborted && !this.stopped) {
        const { health } = instance.plan.app.spec;
        if (health.type === "none") return;
        if (!instance.process || alive(instance.process)) {
          const { ok, detail } = await this.probe(instance);
          if (control.signal.aborted) return;
          const before = instance.health.state;
          instance.health = observe(instance.health, ok, detail, health);
          if (before !== instance.health.state) {
            this.options.log("info", "health", {
              instance: instance.plan.instance.id,
              state: instance.health.state,
              detail,
            });
            this.notify();
          }
        }
        await sleep(nextProbe(instance.health, health), control.signal);
      }
    };
    void loop();
  }

  private async probe(instance: Instance): Promise<{ ok: boolean; detail: string }> {
    const { app, sandbox } = instance.plan;
    const { health } = app.spec;
    const timeout = health.timeout * 1000;
    if (app.spec.upstream !== undefined && health.type === "tcp") return probeUpstream(app.spec.upstream, timeout);
    try {
      return await this.options.keeper.call("probe", {
        sandbox: sandbox.id,
        type: health.type === "http" ? "http" : "tcp",
        address: sandbox.addresses[0]!,
        port: health.port ?? app.spec.port,
        ...(health.path === undefined ? {} : { path: health.path }),
        timeout,
      });
    } catch (error) {
      return { ok: false, detail: (error as Error).message };
    }
  }

  private notify(): void {
    for (const listener of this.changed) listener();
  }

  /** Resolves when `test` holds, or with false when the wait is over. */
  async until(test: () => boolean, waitMs: number, signal?: AbortSignal): Promise<boolean> {
    if (test()) return true;
    return new Promise((resolve) => {
      const end = (value: boolean) => {
        this.changed.delete(listener);
        clearTimeout(timer);
        signal?.removeEventListener("abort", onAbort);
        resolve(value);
      };
      const listener = () => test() && end(true);
      const onAbort = () => end(false);
      const timer = setTimeout(() => end(test()), waitMs);
      signal?.addEventListener("abort", onAbort, { once: true });
      this.changed.add(listener);
    });
  }

  /** The instances of a member as they are now, from the newest desired state. */
  statusOf(app: DesiredApp): InstanceStatus[] {
    return app.instances.map((wanted) => {
      const instance = this.instances.get(wanted.id);
      const base = {
        id: wanted.id,
        memberId: app.id,
        slot: wanted.slot,
        region: wanted.region,
        hostId: wanted.hostId,
        restarts: instance?.process?.restarts ?? 0,
        ...(wanted.address.ipv4 ? { ipv4: wanted.address.ipv4 } : {}),
        ...(wanted.address.ipv6 ? { ipv6: wanted.address.ipv6 } : {}),
      };
      if (!instance) {
        const host = this.options.source.current().hosts.find((candidate) => candidate.id === wanted.hostId);
        return host?.local
          ? { ...base, state: "preparing" }
          : { ...base, state: "waiting", detail: `no host in region ${wanted.region}` };
      }
      const process = instance.process;
      return {
        ...base,
        ...describe(instance),
        ...(instance.sandbox ? { link: instance.sandbox.link } : {}),
        ...(process?.pid !== undefined && alive(process) ? { pid: process.pid } : {}),
      };
    });
  }

  /** Is it true already that this revision's instances and gateways are in place? */
  hasApplied(revision: number): boolean {
    return this.applied >= revision;
  }

  /** Has every trace of a member or network left this machine? */
  isGone(id: string): boolean {
    const { networks } = this.desired;
    if (networks.some((network) => network.id === id || network.members.some((member) => member.id === id)))
      return false;
    for (const [key, instance] of this.instances)
      if (key.startsWith(`${id}.`) || instance.plan.network.id === id) return false;
    return !this.running && this.hasApplied(this.options.source.current().revision);
  }

  /** How a process of this machine enters an instance's namespaces as its app's user. */
  entry(id: string): { prefix: string[]; cwd: string; env: Record<string, string> } {
    const { plan, sandbox } = this.instances.get(id)!;
    const account = becomeAccount(findAccount(plan.process?.user ?? this.options.machine.defaultUser), false);
    const cwd = plan.process?.cwd ?? "/";
    return {
      prefix: [...sandbox!.enter, ...account, "env", `--chdir=${cwd}`, "--"],
      cwd,
      env: plan.process?.env ?? {},
    };
  }

  instance(id: string): { plan: InstancePlan; sandbox?: SandboxState } | undefined {
    return this.instances.get(id);
  }

  healthOf(instanceId: string): HealthRecord["state"] {
    const instance = this.instances.get(instanceId);
    if (!instance) return "unknown";
    if (instance.plan.app.spec.health.type !== "none") return instance.health.state;
    return instance.process && alive(instance.process) ? "healthy" : "unknown";
  }

  get currentProblems(): readonly string[] {
    return this.problems;
  }

  get appliedRevision(): number {
    return this.applied;
  }

  async tunnels(): Promise<{ aead: string; tunnels: TunnelStatus[] }> {
    const status = await this.options.dataplane.status();
    const tunnels = status.peers.flatMap((peer): TunnelStatus[] => {
      const [networkId, hostId] = peer.gateway.split("/") as [string, string];
      const network = this.desired.networks.find((candidate) => candidate.id === networkId);
      if (!network) return [];
      const stock = peers(network).find((candidate) => candidate.publicKey === peer.publicKey);
      const gateway = network.gateways.find((candidate) => candidate.publicKey === peer.publicKey);
      return [
        {
          networkId,
          hostId,
          remote: stock?.name ?? gateway?.hostId ?? "unknown",
          remoteKind: stock ? "peer" : "gateway",
          publicKey: peer.publicKey,
          ...(peer.endpoint ? { endpoint: peer.endpoint } : {}),
          ...(peer.latestHandshake ? { latestHandshake: new Date(peer.latestHandshake).toISOString() } : {}),
          rx: peer.rx,
          tx: peer.tx,
        },
      ];
    });
    return { aead: status.aead, tunnels };
  }

  /** Why a member does not work yet; `failed` when waiting cannot help. */
  missing(memberId: string): { missing: string[]; failed?: string; warnings: string[] } {
    const desired = this.options.source.current();
    for (const network of desired.networks) {
      const member = network.members.find((candidate) => candidate.id === memberId);
      if (!member) continue;
      if (member.kind === "peer") {
        const bound = this.ports[member.hostId] !== undefined;
        return { missing: bound ? [] : [`the gateway of host ${member.hostId} has no UDP port yet`], warnings: [] };
      }
      return this.missingOfApp(member);
    }
    if (desired.networks.some((network) => network.id === memberId)) return { missing: [], warnings: [] };
    throw new WarrenError("WARREN_NOT_FOUND", `No member ${memberId} in this registry.`);
  }

  private missingOfApp(app: DesiredApp): { missing: string[]; failed?: string; warnings: string[] } {
    const missing: string[] = [];
    let failed: string | undefined;
    for (const status of this.statusOf(app)) {
      if (status.state === "healthy" || status.state === "upstream") continue;
      const sentence = `instance ${status.slot} of ${app.name} is ${status.state}${status.detail ? `: ${status.detail}` : ""}`;
      missing.push(sentence);
      if (
        status.state === "failed" ||
        status.state === "stopped" ||
        (status.state === "backoff" && status.restarts >= 2)
      )
        failed ??= sentence;
    }
    const revision = this.options.source.current().revision;
    if (missing.length === 0 && !this.hasApplied(revision))
      missing.push(...(this.problems.length ? this.problems : ["the data plane is being set up"]));
    // Before the newest revision is applied, what failed may be what that revision mends.
    if (failed === undefined || !this.hasApplied(revision)) return { missing, warnings: [] };
    return { missing, failed, warnings: [] };
  }
}

function alive(process: ProcessState): boolean {
  return process.state === "starting" || process.state === "running";
}

/** A state word and, where that helps a person, a detail. */
function describe(instance: Instance): { state: string; detail?: string } {
  const { plan, process, health, problem } = instance;
  if (problem !== undefined) return { state: "preparing", detail: problem };
  if (!instance.sandbox) return { state: "preparing" };
  const tail = process?.tail ? `; its last output: ${process.tail.trim()}` : "";
  const exit = (process?.lastExit ?? "ended") + tail;
  if (plan.process) {
    if (!process) return { state: "preparing" };
    if (process.state === "failed") return { state: "failed", detail: exit };
    if (process.state === "backoff") return { state: "backoff", detail: exit };
    if (process.state === "exited") return { state: "stopped", detail: exit };
  } else if (!instance.forwarder) return { state: "preparing" };
  if (plan.app.spec.health.type === "none")
    return process?.state === "starting" ? { state: "starting" } : { state: "healthy" };
  if (health.state === "healthy") return { state: "healthy" };
  const what = plan.process
    ? `nothing works yet on port ${plan.app.spec.health.port ?? plan.app.spec.port}`
    : "the upstream does not answer";
  if (health.state === "unhealthy") return { state: "unhealthy", detail: health.detail };
  return { state: "starting", detail: `${what} (${health.detail})` };
}

async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const queue = [...items];
  await Promise.all(
    Array.from({ length: Math.min(PARALLEL, queue.length) }, async () => {
      for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item);
    }),
  );
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done, { once: true });
  });
}
