/** The agent's place before it has started: whoever asks waits for it, within bounds. */
import { WarrenError } from "../errors";
import type { AgentStatus, AgentView, LogOptions } from "./agent-view";
import type { Entry, Readiness } from "./interface/types";

const IS_STARTING = "the agent is still starting";

export class PendingAgent implements AgentView {
  private agent: AgentView | undefined;
  private readonly waiting = new Set<() => void>();

  /** @param startWait milliseconds. */
  constructor(private readonly startWait: number) {}

  attach(agent: AgentView): void {
    this.agent = agent;
    for (const resume of [...this.waiting]) resume();
  }

  async readiness(memberId: string, waitMs: number, signal: AbortSignal): Promise<Readiness> {
    const start = Date.now();
    const agent = await this.attached(waitMs, signal);
    if (!agent) return { ready: false, missing: [IS_STARTING], warnings: [] };
    return agent.readiness(memberId, Math.max(0, waitMs - (Date.now() - start)), signal);
  }

  async status(): Promise<AgentStatus> {
    const agent = await this.attached(this.startWait);
    return agent?.status() ?? { applied: 0, problems: [IS_STARTING], link: "", aead: "", instances: [], tunnels: [] };
  }

  async entry(instanceId: string): Promise<Entry> {
    return (await this.needed()).entry(instanceId);
  }

  async *logs(instanceId: string, options: LogOptions): AsyncIterable<string | Uint8Array> {
    yield* (await this.needed(options.signal)).logs(instanceId, options);
  }

  async settled(id: string, waitMs: number, signal: AbortSignal): Promise<boolean> {
    const start = Date.now();
    const agent = await this.attached(waitMs, signal);
    return agent?.settled(id, Math.max(0, waitMs - (Date.now() - start)), signal) ?? false;
  }

  private async needed(signal?: AbortSignal): Promise<AgentView> {
    const agent = await this.attached(this.startWait, signal);
    if (!agent) throw new WarrenError("WARREN_NOT_READY", "The agent is still starting: try again in a moment.");
    return agent;
  }

  private attached(waitMs: number, signal?: AbortSignal): Promise<AgentView | undefined> {
    if (this.agent) return Promise.resolve(this.agent);
    return new Promise((resolve) => {
      const done = () => {
        this.waiting.delete(done);
        clearTimeout(timer);
        signal?.removeEventListener("abort", done);
        resolve(this.agent);
      };
      const timer = setTimeout(done, waitMs);
      signal?.addEventListener("abort", done, { once: true });
      this.waiting.add(done);
    });
  }
}
