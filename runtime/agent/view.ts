/** The agent as control sees it (AgentView), and as the DNS server asks it. */
import type { AgentStatus, AgentView, LogOptions } from "../control/agent-view";
import type { DesiredSource } from "../control/interface/desired";
import type { Entry, Readiness } from "../control/interface/types";
import { WarrenError } from "../errors";
import type { Agent } from "./agent";
import { readLog } from "./logs";
import { apps } from "./plan";

export function agentView(agent: Agent, source: DesiredSource): AgentView {
  const found = (instanceId: string) => {
    const instance = agent.instance(instanceId);
    if (!instance) throw new WarrenError("WARREN_NOT_FOUND", `No instance ${instanceId} runs on this machine.`);
    return instance;
  };
  return {
    async readiness(memberId: string, waitMs: number, signal: AbortSignal): Promise<Readiness> {
      const now = () => agent.missing(memberId);
      await agent.until(() => now().missing.length === 0 || now().failed !== undefined, waitMs, signal);
      const state = now();
      return { ready: state.missing.length === 0, ...state };
    },

    async status(): Promise<AgentStatus> {
      const { aead, tunnels } = await agent.tunnels();
      const instances = source
        .current()
        .networks.flatMap((network) => apps(network).flatMap((app) => agent.statusOf(app)));
      return { applied: agent.appliedRevision, problems: agent.currentProblems, link: "tun", aead, instances, tunnels };
    },

    async entry(instanceId: string): Promise<Entry> {
      const { plan, sandbox } = found(instanceId);
      if (!sandbox)
        throw new WarrenError("WARREN_NOT_READY", `${plan.app.name} (${plan.instance.slot}) is still being prepared.`);
      return agent.entry(instanceId);
    },

    logs(instanceId: string, options: LogOptions) {
      const { plan } = found(instanceId);
      if (!plan.process)
        throw new WarrenError(
          "WARREN_NOT_FOUND",
          `${plan.app.name} has no log here: its upstream ${plan.app.spec.upstream} runs elsewhere.`,
        );
      return readLog(plan.process.log, options);
    },

    settled: (id, waitMs, signal) => agent.until(() => agent.isGone(id), waitMs, signal),
  };
}
