/** What is done to one resource. `replace` covers the creation of the successor and the deletion of the old one. */
export type Op = "create" | "update" | "replace" | "delete" | "same" | "read";

export type Operation = "preview" | "up" | "refresh" | "destroy";

export interface StackOptions {
  /** Folder that holds Pulumi.yaml. */
  projectDir: string;
  /** @default "dev" */
  stack?: string;
  /** Folder for `<project>/<stack>.json`, locks and the generated passphrase; made with mode 0700 where missing. */
  stateDir: string;
  /** Configuration that overrides Pulumi.yaml and Pulumi.<stack>.yaml; a key without namespace is the project's. */
  config?: Record<string, string>;
  /**
   * Encrypts the secrets in state. Default: PULUMI_CONFIG_PASSPHRASE, then PULUMI_CONFIG_PASSPHRASE_FILE (both from
   * `env`), then a random one kept in `stateDir` with mode 0600.
   */
  passphrase?: string;
  /** Environment of the program and the provider. @default process.env */
  env?: NodeJS.ProcessEnv;
  onEvent(event: EngineEvent): void;
  /** Aborting starts no new operation, lets running ones finish, and saves a true state. */
  signal?: AbortSignal;
  /** After `signal`: aborting this too ends the provider at once; what still ran stays in the state as pending. */
  impatience?: AbortSignal;
  /** How long running operations may take after an abort, in ms, before the provider is ended. @default 120000 */
  cancelGraceMs?: number;
  /** Resource operations at one time. @default 16 */
  parallel?: number;
}

/** Where an event belongs and what the tree of resources looks like. */
export interface ResourceMetadata {
  urn: string;
  type: string;
  name: string;
  /** URN of the parent; absent for the stack itself. */
  parent?: string;
  custom: boolean;
}

export type Severity = "debug" | "info" | "warning" | "error";

export type EngineEvent =
  | { kind: "start"; operation: Operation; project: string; stack: string }
  | {
      kind: "resource";
      status: "started" | "done" | "failed";
      op: Op;
      resource: ResourceMetadata;
      /** The provider's id, once there is one. */
      id?: string;
      /** Input properties that differ. */
      changedKeys?: string[];
      /** Properties that force a replacement. */
      replaceKeys?: string[];
      /** Why, in words: a failure's message, or what made the operation necessary. */
      reasons?: string[];
      /** True for the deletion of a resource that has, or will have, a successor; part of a `replace`. */
      replaced?: boolean;
      /** Milliseconds from `started`; with `done` and `failed`. */
      durationMs?: number;
    }
  | { kind: "diagnostic"; severity: Severity; message: string; urn?: string }
  /** One line that the program or the provider's process printed. */
  | { kind: "output"; source: "program" | "provider"; stream: "stdout" | "stderr"; line: string }
  | { kind: "summary"; summary: Summary };

/** A stack output. `value` is plain; a preview may not know it yet. */
export interface StackOutput {
  value: unknown;
  secret: boolean;
  /** True where the value, or a part of it, is known only after `up`. */
  unknown?: boolean;
}

export interface Summary {
  operation: Operation;
  project: string;
  stack: string;
  /** How many resources, by operation; components and the stack count, providers do not. */
  counts: Record<Op, number>;
  outputs: Record<string, StackOutput>;
  durationMs: number;
}

export interface OutputsOptions {
  /** Without it a secret is the text "[secret]". @default false */
  showSecrets?: boolean;
}
