/**
 * Makes the desired state true on this machine, always from the whole of it: a crash, a restart, a missed message and a first start
 * are one code path. The plan is in plan.ts; here are the order of the steps and their I/O.
 */
import { isDeepStrictEqual } from "node:util";
import type { Desired, DesiredSource } from "../control/interface/desired";
import type { DataPlaneApi } from "../dataplane/api";
import { WarrenError } from "../errors";
import type { ProcessState, SandboxState } from "../keeper/protocol";
import type { Log } from "../log";
import type { Userspace } from "../userspace";
import { Changes } from "./changes";
import type { RoundTrip } from "./distance";
import { Endpoints } from "./endpoints";
import { alive, Instance, type InstanceShell } from "./instance";
import type { KeeperLink } from "./keeper-link";
import { peers } from "./members";
import {
  type InstanceFacts,
  type InstancePlan,
  localInstances,
  type Machine,
  planDataPlane,
  planInstances,
} from "./plan";
import { planUserspace } from "./plan-userspace";
import type { Plug, Plugs } from "./plugs";
import { RegionOrders } from "./region-order";

/** Milliseconds after which everything is compared again, though nobody reported a change. */
const RESYNC = 30_000;
/** Milliseconds before a pass that had problems is made again: doubles up to the limit. */
const RETRY = { first: 500, limit: 15_000 };
/** Steps of different instances that are under way at once. */
const PARALLEL = 4;

export interface AgentOptions {
  readonly source: DesiredSource;
  readonly keeper: Pick<KeeperLink, "call">;
  readonly dataplane: Pick<DataPlaneApi, "apply" | "onEvent">;
  /** Absent: every app gets the link `tun`. */
  readonly plugs?: Pick<Plugs, "decide" | "failed">;
  readonly userspace?: Pick<Userspace, "apply" | "app">;
  /** Whether this system tells who listens where. @default on Linux */
  readonly tellsListeners?: boolean;
  /** Between gateways. @default nothing was measured */
  readonly roundTrip?: RoundTrip;
  readonly machine: Machine;
  readonly endpointsFile: string;
  readonly log: Log;
}

/** @returns whether it worked; otherwise it is a problem now. */
type Attempt = (what: string, work: () => Promise<void>) => Promise<boolean>;

export class Agent {
  /** Everyone who waits for something here is told of each change. */
  readonly changes = new Changes();
  private readonly held = new Map<string, Instance>();
  private readonly endpoints: Endpoints;
  private readonly shell: InstanceShell;
  private readonly roundTrip: RoundTrip;
  private readonly orders: RegionOrders;
  private readonly ports = { bound: {} as Record<string, number>, taken: new Set<string>() };
  /** Sandboxes whose descriptors the data plane holds. */
  private linked: ReadonlySet<string> = new Set();
  private plugs: ReadonlyMap<string, Plug> = new Map();
  private applied = -1;
  /** The revision up to which all that is no longer wanted has been removed. */
  private cleared = -1;
  private problems: string[] = [];
  private running: Promise<void> | undefined;
  private again = false;
  private retry = 0;
  private timer: NodeJS.Timeout | undefined;
  private stopped = false;
  private unwatch: () => void = () => undefined;

  constructor(private readonly options: AgentOptions) {
    const { endpointsFile, keeper, log, userspace } = options;
    this.endpoints = new Endpoints(endpointsFile);
    this.roundTrip = options.roundTrip ?? (() => undefined);
    this.orders = new RegionOrders(this.roundTrip);
    this.shell = {
      probe: (probe) => keeper.call("probe", probe),
      changed: () => this.changes.notify(),
      healthChanged: ({ plan, healthState, health }) => {
        const { id, region } = plan.instance;
        log("info", "health", { app: plan.app.name, region, id, is: healthState, detail: health.detail });
        this.changes.notify();
        // The data plane spreads a service's connections over its healthy instances.
        if (plan.app.service) this.wake();
      },
      local: (id) => userspace?.app(id),
      tellsListeners: options.tellsListeners ?? process.platform === "linux",
      refuse: (instance) => {
        log("warn", "listens beyond loopback", { app: instance.plan.app.name, id: instance.plan.instance.id });
        this.wake();
      },
    };
  }

  start(): void {
    const { dataplane, source } = this.options;
    dataplane.onEvent((event) => {
      if (event.type === "endpoint") this.endpoints.learn(`${event.gateway}/${event.publicKey}`, event.endpoint);
      if (event.type === "link-lost") this.wake();
      // Services go to the nearest region, and it is only now known which that is.
      if (event.type === "handshake" && this.orders.differs(event.gateway)) this.wake();
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
    for (const instance of this.held.values()) instance.close();
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
      this.changes.notify();
      if (this.stopped) return;
      if (this.again) {
        this.again = false;
        this.wake();
      } else this.timer = setTimeout(() => this.wake(), this.retry || RESYNC);
    });
  }

  /** The keeper reports a change. */
  onProcess(id: string, state: ProcessState): void {
    this.held.get(id)?.onProcess(state);
  }

  /** Of an instance on the link `userspace`. */
  processOf(id: string): { readonly mark: string; readonly pid?: number } | undefined {
    const instance = this.held.get(id);
    const mark = instance?.sandbox?.mark;
    if (mark === undefined) return undefined;
    const { process } = instance!;
    return { mark, ...(process?.pid !== undefined && alive(process) ? { pid: process.pid } : {}) };
  }

  instance(id: string): Instance | undefined {
    return this.held.get(id);
  }

  get currentProblems(): readonly string[] {
    return this.problems;
  }

  /** The revision made true last; -1: none yet. */
  get appliedRevision(): number {
    return this.applied;
  }

  /** @returns the UDP port of one of this machine's hosts; undefined: not bound yet. */
  portOf(hostId: string): number | undefined {
    return this.ports.bound[hostId];
  }

  /** Has every trace of a member or network left this machine? */
  isGone(id: string): boolean {
    const { networks, revision } = this.options.source.current();
    if (networks.some((network) => network.id === id || network.members.some((member) => member.id === id)))
      return false;
    for (const { plan } of this.held.values()) if (plan.app.id === id || plan.network.id === id) return false;
    return this.running === undefined && this.cleared >= revision;
  }

  private async pass(): Promise<void> {
    const { source, log } = this.options;
    const desired = source.current();
    const problems: string[] = [];
    const attempt: Attempt = async (what, work) => {
      try {
        await work();
        return true;
      } catch (error) {
        const problem = `${what}: ${error instanceof Error ? error.message : String(error)}`;
        problems.push(problem);
        if (!this.problems.includes(problem)) log("warn", problem);
        return false;
      }
    };
    await attempt("cannot compare", () => this.repair(desired, attempt, problems));
    this.problems = problems;
    if (problems.length > 0) this.retry = this.retry === 0 ? RETRY.first : Math.min(this.retry * 2, RETRY.limit);
    else {
      this.applied = desired.revision;
      this.retry = 0;
    }
  }

  private async repair(desired: Desired, attempt: Attempt, problems: string[]): Promise<void> {
    const { keeper, machine } = this.options;
    const { sandboxes } = await keeper.call("list", {});
    const all = new Map(sandboxes.map((sandbox) => [sandbox.spec.id, sandbox]));
    const local = localInstances(desired).map(({ instance }) => instance);
    if (this.options.plugs) this.plugs = await this.options.plugs.decide(local, all);
    const plans = new Map(planInstances(desired, machine, this.plugs).map((plan) => [plan.instance.id, plan]));
    // One with another link than its app shall have goes like one that nobody wants.
    const stays = ({ spec, link }: SandboxState) => plans.get(spec.id)?.plug.link === link;
    const present = new Map([...all].filter(([, sandbox]) => stays(sandbox)));
    this.compare(plans, present);

    // The data plane lets go of a device before its namespace can vanish, and learns of a new one once it is there.
    const kept = new Set(present.keys());
    let clear = true;
    if ([...this.linked].some((id) => !kept.has(id)))
      clear = await attempt("cannot release links", () => this.applyLinks(desired, plans, kept, problems));
    await inParallel(
      [...all.keys()].filter((id) => !kept.has(id)),
      async (id) => {
        const remove = async () => void (await keeper.call("removeSandbox", { id }));
        if (!(await attempt(`cannot remove ${id}`, remove))) clear = false;
      },
    );
    const instances = [...plans.keys()].map((id) => this.held.get(id)!);
    await inParallel(instances, (instance) =>
      step(instance, attempt, desired.revision, () => this.ensureSandbox(instance)),
    );
    const ready = new Set(instances.filter(({ sandbox }) => sandbox).map(({ plan }) => plan.instance.id));
    const applied = await attempt("cannot apply the data plane", () =>
      this.applyLinks(desired, plans, ready, problems),
    );
    if (clear && applied) this.cleared = desired.revision;
    await inParallel(
      instances.filter(({ sandbox }) => sandbox),
      (instance) =>
        step(instance, attempt, desired.revision, async () => {
          await this.run(instance);
          instance.revision = desired.revision;
        }),
    );
  }

  private compare(plans: ReadonlyMap<string, InstancePlan>, present: ReadonlyMap<string, SandboxState>): void {
    for (const [id, instance] of this.held) {
      if (plans.has(id)) continue;
      instance.close();
      this.held.delete(id);
    }
    for (const [id, plan] of plans) {
      const instance = this.held.get(id) ?? new Instance(plan, this.shell);
      instance.update(plan, present.get(id));
      this.held.set(id, instance);
    }
  }

  private async ensureSandbox(instance: Instance): Promise<void> {
    const { plan, sandbox } = instance;
    if (sandbox && isDeepStrictEqual(sandbox.spec, plan.sandbox)) return;
    const { id, region } = plan.instance;
    try {
      instance.sandbox = await this.options.keeper.call("ensureSandbox", plan.sandbox);
    } catch (error) {
      const another =
        WarrenError.is(error) &&
        error.code === "WARREN_LINK_UNAVAILABLE" &&
        this.options.plugs?.failed(id, region, error.message);
      if (!another) throw error;
      this.options.log("warn", "link userspace", { app: plan.app.name, id, reason: error.message });
      this.again = true;
      // The next pass plans it anew; nobody is to give up on it meanwhile.
      throw new WarrenError("WARREN_NOT_READY", `it gets the link userspace (${error.message})`, { cause: error });
    }
    if (instance.sandbox.link === plan.plug.link) return;
    delete instance.sandbox;
    throw new WarrenError(
      "WARREN_VERSION",
      'The keeper that runs here knows no link but "tun": end it with "warren serve --stop --apps=stop" and try again.',
    );
  }

  private async run(instance: Instance): Promise<void> {
    const { keeper } = this.options;
    const { plan, sandbox } = instance;
    const { upstream } = plan.app.spec;
    // The keeper leaves a live process of the same hash alone, and tries a failed one again.
    if (plan.process) {
      if (!instance.mayRun(plan.process.hash)) {
        if (!instance.process || !alive(instance.process)) return;
        await keeper.call("stop", { sandbox: plan.instance.id });
        instance.ended();
        return;
      }
      instance.onProcess(await keeper.call("start", plan.process));
      instance.inspect();
    } else if (upstream !== undefined) {
      // It may have had a command before.
      if (sandbox?.process) await keeper.call("stop", { sandbox: plan.instance.id });
      await instance.forward(upstream);
    }
  }

  /** The data plane, and the stacks at the ends of its links. */
  private async applyLinks(
    desired: Desired,
    plans: ReadonlyMap<string, InstancePlan>,
    ready: ReadonlySet<string>,
    problems: string[],
  ): Promise<void> {
    await this.applyDataPlane(desired, ready, problems);
    const ends = await this.options.userspace?.apply(planUserspace(desired, [...plans.values()], ready));
    for (const { id, message } of ends ?? []) problems.push(`${id}: ${message}`);
  }

  private async applyDataPlane(desired: Desired, ready: ReadonlySet<string>, problems: string[]): Promise<void> {
    const { dataplane, source } = this.options;
    const isHealthy = (id: string) => this.held.get(id)?.healthState === "healthy";
    const facts: InstanceFacts = { ready, plugs: this.plugs, isHealthy, roundTrip: this.roundTrip };
    const plan = () => {
      this.orders.remember(desired);
      return planDataPlane(desired, facts, this.ports, this.endpoints.all);
    };
    const { bound, taken } = this.ports;
    let config = plan();
    let result = await dataplane.apply(config);
    this.linked = ready;
    // A port that was never bound is only a wish; one that stands in peers' config files is not given up.
    for (const { id } of config.ports)
      if (result.ports[id] === undefined && desired.hosts.some((host) => host.id === id && host.port === 0))
        taken.add(id);
    const learnt = Object.entries(result.ports).filter(([id, port]) => bound[id] !== port);
    for (const [id, port] of learnt) bound[id] = port;
    // Gateways of this machine find each other by ports that only now are known.
    if (learnt.length > 0 || config.ports.some(({ id, port }) => port !== 0 && taken.has(id))) {
      config = plan();
      result = await dataplane.apply(config);
      for (const [id, port] of Object.entries(result.ports)) bound[id] = port;
    }
    for (const { id, port } of desired.hosts) {
      const bound = result.ports[id];
      if (bound !== undefined && bound !== port) source.reportPort(id, bound);
    }
    for (const { id, message } of result.problems) problems.push(`${id}: ${message}`);
    const stock = desired.networks.flatMap((network) =>
      peers(network).map((peer) => `${network.id}/${peer.hostId}/${peer.publicKey}`),
    );
    this.endpoints.retain(new Set(stock));
  }
}

async function step(instance: Instance, attempt: Attempt, revision: number, work: () => Promise<void>): Promise<void> {
  const { app, instance: wanted } = instance.plan;
  await attempt(`${app.name} (${wanted.slot})`, async () => {
    try {
      await work();
      delete instance.problem;
    } catch (error) {
      instance.fail(error);
      instance.revision = revision;
      throw error;
    }
  });
}

async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const queue = [...items];
  const worker = async () => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: Math.min(PARALLEL, queue.length) }, worker));
}
