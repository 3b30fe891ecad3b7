/**
 * The behaviour behind one resource type, on plain values: what is not known yet is `UNKNOWN`, secrets are in clear.
 * Nothing here knows of Pulumi's engine; `provider/dynamic.ts` adapts it.
 */
import type { ControlClient } from "../client";

export type Props = { readonly [name: string]: unknown };

/** An input that is wrong; `property` is its path, such as `env.PORT`. */
export interface Failure {
  readonly property: string;
  readonly reason: string;
}

export interface CheckResult {
  readonly inputs: Props;
  readonly failures: readonly Failure[];
}

export interface DiffResult {
  readonly changes: boolean;
  readonly replaces: readonly string[];
  readonly deleteBeforeReplace: boolean;
}

/** Everything a hook needs from the outside; tests pass their own. */
export interface HookContext {
  /** The running control, or one started on its registry; undefined where there is no registry: an empty one is assumed. */
  peek(): Promise<ControlClient | undefined>;
  /** Control, started where none runs. */
  ensure(): Promise<ControlClient>;
  /** `warren:adopt`: the registryId whose objects may be rebuilt here. */
  readonly adopt?: string;
  /** `warren:endpoint`: `host` or `host:port` where peers reach this machine. */
  readonly endpoint?: string;
  /** The program's folder: what relative paths are relative to. */
  readonly programDir: string;
  /** Milliseconds. */
  now(): number;
  random(bytes: number): Uint8Array;
  /** Tells whoever runs the program something that stops nothing. @default nobody is told */
  warn?(message: string): void;
}

export interface Crud {
  /** `olds` are the inputs that the last check returned, empty for a new resource. Changes nothing. */
  check(ctx: HookContext, olds: Props, news: Props): Promise<CheckResult>;
  /** `olds` are outputs, `news` checked inputs. Changes nothing. */
  diff(ctx: HookContext, id: string, olds: Props, news: Props): Promise<DiffResult>;
  /** @throws InitFailure when the object exists but does not work yet. */
  create(ctx: HookContext, inputs: Props): Promise<{ id: string; outs: Props }>;
  /** @returns undefined when its own registry deleted it. */
  read(ctx: HookContext, id: string, props: Props): Promise<{ id: string; props: Props } | undefined>;
  /** @throws InitFailure when the object exists but does not work yet. */
  update(ctx: HookContext, id: string, olds: Props, news: Props): Promise<{ outs: Props }>;
  delete(ctx: HookContext, id: string, props: Props): Promise<void>;
}

/** The object is there, but does not work: it is kept in the state, and the next `up` repairs it. */
export class InitFailure extends Error {
  constructor(
    readonly id: string,
    readonly outs: Props,
    readonly reasons: readonly string[],
  ) {
    // Engines print this before the reasons.
    super(`${String(outs.name)} does not work yet; it is kept, and the next up repairs it:`);
    this.name = "InitFailure";
  }
}
