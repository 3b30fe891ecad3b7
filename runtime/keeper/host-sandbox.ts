/**
 * A sandbox of the link `userspace`: the app runs on the machine as it is, with the machine's own network, files and names. What holds it
 * together is a mark in the environment of its processes.
 */
import { WarrenError } from "../errors";
import type { AppSandbox } from "./app-sandbox";
import { LoopbackProber } from "./loopback-probe";
import { mayChangeAccount } from "./privilege";
import { hostProcesses, MARK_VARIABLE } from "./processes";
import type { SandboxSpec } from "./protocol";
import { requireSandboxId } from "./sandbox-id";

export class HostSandbox implements AppSandbox {
  readonly link = "userspace";
  readonly mark: string;
  readonly privileged = mayChangeAccount();
  readonly prober = new LoopbackProber();
  readonly environment: Readonly<Record<string, string>>;

  /** @param owner a text that tells this keeper's sandboxes from those of others; part of the mark. */
  constructor(
    public spec: SandboxSpec,
    owner: string,
  ) {
    requireSandboxId(spec.id);
    this.mark = `${owner}/${spec.id}`;
    this.environment = { [MARK_VARIABLE]: this.mark };
  }

  enter(): string[] {
    return [];
  }

  /** @throws WarrenError WARREN_INVALID_INPUT for other ports on loopback: the app listens on these. */
  update(spec: SandboxSpec): void {
    const { loopback } = this.spec;
    if (loopback?.port !== spec.loopback?.port || loopback?.proxy !== spec.loopback?.proxy)
      throw new WarrenError("WARREN_INVALID_INPUT", `The loopback ports of ${spec.id} are fixed for its life.`, {
        path: "loopback",
      });
    this.spec = spec;
  }

  processes(): number[] {
    return hostProcesses(this.mark);
  }

  offspring(leader: number): number[] {
    return hostProcesses(this.mark, leader);
  }

  close(): void {}
}
