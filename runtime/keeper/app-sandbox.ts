/** What an app's processes run in, whatever its link. */
import type { Probe, SandboxSpec, SandboxState } from "./protocol";

export interface ProbeResult {
  readonly ok: boolean;
  readonly detail: string;
}

export interface AppProber {
  /** Never rejects. */
  probe(probe: Probe): Promise<ProbeResult>;
  close(): Promise<void>;
}

export interface AppSandbox {
  readonly link: SandboxState["link"];
  readonly spec: SandboxSpec;
  /** By this its processes are known, also to a later keeper. */
  readonly mark: string;
  /** Whether its processes may get another account than the keeper's. */
  readonly privileged: boolean;
  readonly prober: AppProber;
  /** What each of its processes has in its environment. */
  readonly environment: Readonly<Record<string, string>>;
  /** argv before a command that shall run inside. */
  enter(): string[];
  /** Changes in place what can change. */
  update(spec: SandboxSpec): void;
  /** Process ids of all that live in it. */
  processes(): number[];
  /** Those that came from its app. @param leader the app's first process. */
  offspring(leader: number): number[];
  /** Lets go of everything. */
  close(): void;
}
