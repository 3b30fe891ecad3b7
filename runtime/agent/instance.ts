/** One app instance on this machine: what is planned, what is there, and how it does. */
import type { InstanceStatus } from "../control/interface/types";
import { WarrenError, type WarrenErrorCode } from "../errors";
import type { Probe, ProcessState, SandboxState } from "../keeper/protocol";
import type { LocalApp } from "../userspace";
import { type HealthRecord, type HealthState, nextProbe, observe, UNKNOWN } from "./health";
import type { InstancePlan } from "./plan";
import { probeUpstream, UpstreamForwarder } from "./upstream";

/** Problems that do not pass by themselves: somebody must change the machine or the app. */
const LASTING: readonly WarrenErrorCode[] = ["WARREN_LINK_UNAVAILABLE", "WARREN_APP_FAILED"];

export interface InstanceShell {
  probe(probe: Probe): Promise<{ ok: boolean; detail: string }>;
  /** Its process is another, or in another state. */
  changed(instance: Instance): void;
  healthChanged(instance: Instance): void;
  /** Its sockets on this machine, where it is on the link `userspace`. */
  local?(id: string): LocalApp | undefined;
  /** False: this system does not tell who listens where. */
  readonly tellsListeners?: boolean;
  /** It listens where it must not (`requireLoopback`): from now on its process may not run. */
  refuse?(instance: Instance): void;
}

export class Instance {
  sandbox?: SandboxState;
  process?: ProcessState;
  /** Why the last step for it failed. */
  problem?: { readonly message: string; readonly lasting: boolean };
  health: HealthRecord = UNKNOWN;
  /** The newest revision whose steps for it were taken: what is seen of it is that revision's doing. */
  revision = -1;
  private forwarder?: Pick<UpstreamForwarder, "key" | "close">;
  /** Where it listens beyond loopback, on the link `userspace`: as texts. */
  private exposed: readonly string[] = [];
  /** The process (by its hash) that may not run for that, and where it listened. */
  private refused?: { readonly hash: string; readonly at: string };
  private probing?: AbortController;

  constructor(
    public plan: InstancePlan,
    private readonly shell: InstanceShell,
  ) {}

  /** A new plan, and what the keeper has. */
  update(plan: InstancePlan, sandbox: SandboxState | undefined): void {
    this.plan = plan;
    this.sandbox = sandbox;
    if (!plan.app.spec.requireLoopback) delete this.refused;
    if (plan.process || !sandbox) this.closeForwarder();
    if (!plan.process || !sandbox) delete this.process;
    else if (sandbox.process) this.process = sandbox.process;
  }

  /** A step for it failed. */
  fail(error: unknown): void {
    this.problem = {
      message: error instanceof Error ? error.message : String(error),
      lasting: WarrenError.is(error) && LASTING.includes(error.code),
    };
  }

  /** The keeper's word on the process. */
  onProcess(state: ProcessState): void {
    // The end of a command whose place an upstream has taken says nothing about that.
    if (!this.plan.process) return;
    const restarted = this.process?.pid !== state.pid;
    if (restarted) {
      this.exposed = [];
      this.shell.local?.(this.plan.instance.id)?.forget();
    }
    this.process = state;
    if (restarted || !alive(state)) this.health = UNKNOWN;
    // A new process is probed at once, not when the old one's next turn would have come.
    if (restarted) this.stopProbing();
    if (alive(state)) this.watchHealth();
    this.shell.changed(this);
  }

  /** Something that runs already answers at the app's address. */
  async forward(upstream: string): Promise<void> {
    const { addresses, link } = this.plan.sandbox;
    if (link === "userspace") return this.forwardByStack(upstream);
    const spec = { enter: this.sandbox!.enter, addresses, port: this.plan.app.spec.port, upstream };
    if (this.forwarder?.key !== UpstreamForwarder.key(spec)) {
      this.closeForwarder();
      // What is known was seen of the old one, also by a probe that is under way.
      this.stopProbing();
      this.health = UNKNOWN;
      this.forwarder = await UpstreamForwarder.start(spec);
    }
    this.watchHealth();
  }

  /** The far end of its link connects to it; here it is only watched. */
  private forwardByStack(upstream: string): void {
    if (this.forwarder?.key !== upstream) {
      this.closeForwarder();
      this.stopProbing();
      this.health = UNKNOWN;
      this.forwarder = { key: upstream, close: () => undefined };
    }
    this.watchHealth();
  }

  /** Whether this process may run: it was not seen to listen where it must not, and that can be seen. */
  mayRun(hash: string): boolean {
    return this.refused?.hash !== hash && !this.cannotBeWatched;
  }

  private get cannotBeWatched(): boolean {
    const { app, plug } = this.plan;
    return app.spec.requireLoopback === true && plug.link === "userspace" && this.shell.tellsListeners === false;
  }

  /** Looks at what it listens on; where it must not, its process shall end. */
  inspect(): void {
    const { plan, process } = this;
    const local = this.shell.local?.(plan.instance.id);
    if (!local || !plan.process || !process || !alive(process)) return;
    local.forget();
    this.exposed = local.exposed();
    const { hash } = plan.process;
    if (!plan.app.spec.requireLoopback || this.exposed.length === 0 || this.refused?.hash === hash) return;
    this.refused = { hash, at: this.exposed.join(", ") };
    this.shell.refuse?.(this);
  }

  /** Its process was stopped; the keeper's word on that may have been overtaken by an older one. */
  ended(): void {
    this.stopProbing();
    this.exposed = [];
    delete this.process;
    this.shell.changed(this);
  }

  /** What a person should hear of it all the same. */
  get warnings(): string[] {
    if (this.exposed.length === 0) return [];
    const { app, instance } = this.plan;
    return [
      `${app.name} (${instance.slot}) listens on ${this.exposed.join(", ")}, beyond loopback: others on this machine's networks can reach it there. Make it listen on 127.0.0.1, or set requireLoopback to refuse it.`,
    ];
  }

  /** Leaves sandbox and process to the keeper. */
  close(): void {
    this.stopProbing();
    this.closeForwarder();
  }

  get healthState(): HealthState {
    if (this.plan.app.spec.health.type !== "none") return this.health.state;
    return this.forwarder || (this.process && alive(this.process)) ? "healthy" : "unknown";
  }

  /** A state word and, where that helps a person, a detail. */
  describe(): Pick<InstanceStatus, "state" | "detail"> {
    const { plan, process, health, problem } = this;
    const { spec } = plan.app;
    if (problem !== undefined) return { state: problem.lasting ? "failed" : "preparing", detail: problem.message };
    if (plan.process && this.refused?.hash === plan.process.hash)
      return {
        state: "failed",
        detail: `it listens on ${this.refused.at}, beyond loopback, and requireLoopback forbids that: make it listen on 127.0.0.1`,
      };
    if (plan.process && this.cannotBeWatched)
      return {
        state: "failed",
        detail:
          "requireLoopback can be kept on Linux only: this system does not tell who listens where. Leave it out, or run the app on Linux",
      };
    if (!this.sandbox || !(plan.process ? process : this.forwarder)) return { state: "preparing" };
    if (process && plan.process && !alive(process)) {
      // Of a failed start, the reason says all that its output did.
      const tail = process.state === "failed" ? undefined : process.tail?.trim();
      const detail = `${process.lastExit ?? "it ended"}${tail ? `; its last output: ${tail}` : ""}`;
      return { state: process.state === "exited" ? "stopped" : process.state, detail };
    }
    if (spec.health.type === "none") return { state: process?.state === "starting" ? "starting" : "healthy" };
    if (health.state === "healthy") return { state: "healthy" };
    if (health.state === "unhealthy") return { state: "unhealthy", detail: health.detail };
    const what = plan.process
      ? `nothing answers yet on port ${spec.health.port ?? spec.port}`
      : `the upstream ${spec.upstream} does not answer yet`;
    return { state: "starting", detail: `${what} (${health.detail})` };
  }

  /** One chain of probes, for as long as the instance is there. */
  private watchHealth(): void {
    if (this.probing || this.plan.app.spec.health.type === "none") return;
    const control = new AbortController();
    this.probing = control;
    void this.probeAgainAndAgain(control.signal);
  }

  private async probeAgainAndAgain(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const { health } = this.plan.app.spec;
      if (health.type === "none") return this.stopProbing();
      const { ok, detail } = await this.probe();
      if (signal.aborted) return;
      const before = this.health.state;
      this.health = observe(this.health, ok, detail, health);
      if (before !== this.health.state) {
        if (this.health.state === "healthy") this.inspect();
        this.shell.healthChanged(this);
      }
      await pause(nextProbe(this.health, health), signal);
    }
  }

  private async probe(): Promise<{ ok: boolean; detail: string }> {
    const { app, sandbox } = this.plan;
    const { health, upstream } = app.spec;
    const timeout = health.timeout * 1000;
    if (upstream !== undefined && health.type === "tcp") return probeUpstream(upstream, timeout);
    if (this.process && !alive(this.process)) return { ok: false, detail: "it is not running" };
    try {
      const { address, port } = this.probeEnd(health.port ?? app.spec.port);
      return await this.shell.probe({
        sandbox: sandbox.id,
        type: health.type === "http" ? "http" : "tcp",
        address,
        port,
        ...(health.path === undefined ? {} : { path: health.path }),
        timeout,
      });
    } catch (error) {
      return { ok: false, detail: (error as Error).message };
    }
  }

  /** Where a port of the app is looked for: on its own address, or where on loopback it was told, or chose, to listen. */
  private probeEnd(port: number): { address: string; port: number } {
    const { plug, sandbox, app } = this.plan;
    if (plug.link === "tun") return { address: sandbox.addresses[0]!, port };
    const told = port === app.spec.port ? plug.loopback.port : port;
    const chosen = this.shell.local?.(this.plan.instance.id)?.tcpEnds(port)[0];
    return chosen ?? { address: "127.0.0.1", port: told };
  }

  private stopProbing(): void {
    this.probing?.abort();
    delete this.probing;
  }

  private closeForwarder(): void {
    this.forwarder?.close();
    delete this.forwarder;
  }
}

export function alive(process: ProcessState): boolean {
  return process.state === "starting" || process.state === "running";
}

/** Resolves early when the signal fires. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done, { once: true });
  });
}
