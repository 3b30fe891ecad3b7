/** The agent as control sees it: what is missing, what runs, the way in, the logs. */
import type { AgentStatus, AgentView, LogOptions } from "../control/agent-view";
import type { DesiredApp, DesiredSource } from "../control/interface/desired";
import type { Entry, InstanceStatus, Readiness, StackStatus, TunnelStatus } from "../control/interface/types";
import type { DataPlaneApi } from "../dataplane/api";
import { WarrenError } from "../errors";
import { becomeAccount, findAccount } from "../keeper/account";
import { splitEnvironment } from "../keeper/loader-environment";
import { mayChangeAccount } from "../keeper/privilege";
import type { Agent } from "./agent";
import { alive, type Instance } from "./instance";
import { readLog } from "./logs";
import { apps, peers } from "./members";
import type { Machine } from "./plan";

/** Milliseconds that someone who wants to enter an instance waits for its namespaces. */
const ENTRY_WAIT = 10_000;
/** A command that ended so often right after its start will do so again. */
const HOPELESS_RESTARTS = 2;

export class View implements AgentView {
  constructor(
    private readonly agent: Agent,
    private readonly source: DesiredSource,
    private readonly dataplane: Pick<DataPlaneApi, "status">,
    private readonly machine: Machine,
    private readonly links: () => { readonly link: string; readonly reason?: string } = () => ({ link: "tun" }),
    private readonly stacks: () => readonly StackStatus[] = () => [],
  ) {}

  async readiness(memberId: string, waitMs: number, signal: AbortSignal): Promise<Readiness> {
    const settled = () => {
      const { ready, failed } = this.missing(memberId);
      return ready || failed !== undefined;
    };
    await this.agent.changes.until(settled, waitMs, signal);
    return this.missing(memberId);
  }

  async status(): Promise<AgentStatus> {
    const { peers: peerStatus, gateways, aead } = await this.dataplane.status();
    const { link, reason } = this.links();
    return {
      applied: this.agent.appliedRevision,
      problems: this.agent.currentProblems,
      link,
      ...(reason === undefined ? {} : { linkReason: reason }),
      aead,
      instances: this.source
        .current()
        .networks.flatMap((network) => apps(network).flatMap((app) => this.instancesOf(app))),
      gateways: gateways.map(({ id, publicKey, listenPort }) => {
        const [networkId, hostId] = id.split("/") as [string, string];
        return { networkId, hostId, publicKey, listenPort };
      }),
      tunnels: peerStatus.flatMap((peer) => this.tunnel(peer)),
      stacks: this.stacks(),
    };
  }

  async entry(instanceId: string): Promise<Entry> {
    const settled = ({ sandbox, problem }: Instance) => sandbox !== undefined || problem?.lasting === true;
    const { plan, sandbox, problem } = await this.found(instanceId, settled);
    if (!sandbox) {
      const why = problem ? `cannot be entered: ${problem.message}` : "is still being prepared.";
      throw new WarrenError("WARREN_NOT_READY", `${plan.app.name} (${plan.instance.slot}) ${why}`);
    }
    const account = findAccount(plan.process?.user ?? this.machine.defaultUser);
    const cwd = plan.process?.cwd ?? "/";
    const { before, assignments } = splitEnvironment(plan.env);
    const become =
      sandbox.link === "tun" ? becomeAccount(account, false) : becomeAccount(account, false, mayChangeAccount());
    return {
      prefix: [...sandbox.enter, ...become, "env", `--chdir=${cwd}`, "--", ...assignments],
      cwd,
      env: before,
    };
  }

  async *logs(instanceId: string, options: LogOptions): AsyncIterable<Buffer> {
    const { plan } = await this.found(instanceId);
    if (!plan.process)
      throw new WarrenError(
        "WARREN_NOT_FOUND",
        `${plan.app.name} has no log here: ${plan.app.spec.upstream} runs on its own.`,
      );
    yield* readLog(plan.process.log, options);
  }

  settled(id: string, waitMs: number, signal: AbortSignal): Promise<boolean> {
    return this.agent.changes.until(() => this.agent.isGone(id), waitMs, signal);
  }

  /** Waits for an agent that has not come to a declared instance yet, and then for `settled`, both within bounds. */
  private async found(instanceId: string, settled: (instance: Instance) => boolean = () => true): Promise<Instance> {
    const instance = () => this.agent.instance(instanceId);
    const { networks } = this.source.current();
    const declared = networks.some((network) =>
      apps(network).some((app) => app.instances.some(({ id }) => id === instanceId)),
    );
    if (declared)
      await this.agent.changes.until(() => {
        const present = instance();
        return present !== undefined && settled(present);
      }, ENTRY_WAIT);
    const present = instance();
    if (!present) throw new WarrenError("WARREN_NOT_FOUND", `No instance ${instanceId} runs on this machine.`);
    return present;
  }

  private instancesOf(app: DesiredApp): InstanceStatus[] {
    return app.instances.map(({ id, slot, region, hostId, address }) => {
      const instance = this.agent.instance(id);
      const process = instance?.process;
      const { ipv4, ipv6 } = address;
      return {
        id,
        memberId: app.id,
        slot,
        region,
        hostId,
        ...(ipv4 === undefined ? {} : { ipv4 }),
        ...(ipv6 === undefined ? {} : { ipv6 }),
        ...(instance?.sandbox ? { link: instance.sandbox.link } : {}),
        ...(process?.pid !== undefined && alive(process) ? { pid: process.pid } : {}),
        restarts: process?.restarts ?? 0,
        ...(instance && instance.warnings.length > 0 ? { warnings: instance.warnings } : {}),
        ...(instance?.describe() ?? this.absent(region, hostId)),
      };
    });
  }

  private absent(region: string, hostId: string): Pick<InstanceStatus, "state" | "detail"> {
    const host = this.source.current().hosts.find((candidate) => candidate.id === hostId);
    return host?.local ? { state: "preparing" } : { state: "waiting", detail: `there is no host in region ${region}` };
  }

  private tunnel(peer: Awaited<ReturnType<DataPlaneApi["status"]>>["peers"][number]): TunnelStatus[] {
    const [networkId, hostId] = peer.gateway.split("/") as [string, string];
    const network = this.source.current().networks.find((candidate) => candidate.id === networkId);
    if (!network) return [];
    const stock = peers(network).find((candidate) => candidate.publicKey === peer.publicKey);
    const gateway = network.gateways.find((candidate) => candidate.publicKey === peer.publicKey);
    const { publicKey, endpoint, latestHandshake, rx, tx, allowedIps, persistentKeepalive } = peer;
    return [
      {
        networkId,
        hostId,
        remote: stock?.name ?? gateway?.hostId ?? "unknown",
        remoteKind: stock ? "peer" : "gateway",
        publicKey,
        ...(endpoint === undefined ? {} : { endpoint }),
        ...(latestHandshake === undefined ? {} : { latestHandshake: new Date(latestHandshake).toISOString() }),
        rx,
        tx,
        ...(allowedIps === undefined ? {} : { allowedIps: [...allowedIps] }),
        ...(persistentKeepalive === undefined ? {} : { persistentKeepalive }),
      },
    ];
  }

  /** Why a member does not work yet; `failed` when waiting cannot help. */
  private missing(memberId: string): Readiness {
    const { networks, revision } = this.source.current();
    const member = networks.flatMap((network) => network.members).find((candidate) => candidate.id === memberId);
    if (!member) throw new WarrenError("WARREN_NOT_FOUND", `No member ${memberId} in this registry.`);
    const missing: string[] = [];
    const warnings: string[] = [];
    let failed: string | undefined;
    for (const status of member.kind === "app" ? this.instancesOf(member) : []) {
      warnings.push(...(status.warnings ?? []));
      if (status.state === "healthy") continue;
      const detail = status.detail === undefined ? "" : `: ${status.detail}`;
      const sentence = `instance ${status.slot} of ${member.name} is ${status.state}${detail}`;
      missing.push(sentence);
      const hopeless = status.state === "backoff" && status.restarts >= HOPELESS_RESTARTS;
      // What failed before the newest revision came may be what that revision mends.
      const current = (this.agent.instance(status.id)?.revision ?? -1) >= revision;
      if (current && (hopeless || status.state === "failed" || status.state === "stopped")) failed ??= sentence;
    }
    if (missing.length === 0 && this.agent.appliedRevision < revision)
      missing.push(
        ...(this.agent.currentProblems.length > 0 ? this.agent.currentProblems : ["the data plane is being set up"]),
      );
    if (member.kind === "peer" && this.agent.portOf(member.hostId) === undefined)
      missing.push(`the gateway of ${member.hostId} has no UDP port yet`);
    return { ready: missing.length === 0, missing, warnings, ...(failed === undefined ? {} : { failed }) };
  }
}
