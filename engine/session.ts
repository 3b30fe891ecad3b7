import * as fs from "node:fs";
import type { Deployment } from "./deployment";
import { EngineError, messageOf } from "./errors";
import { hasSecureConfig, mergeConfig, type ProgramConfig, type Project, readProject } from "./project";
import { DynamicProvider } from "./provider";
import { Sdk } from "./sdk";
import { Crypter, SecretCodec } from "./secrets";
import { Snapshot } from "./snapshot";
import {
  type DeploymentFile,
  type Deployment as DeploymentState,
  deserializeDeployment,
  serializeDeployment,
} from "./state";
import { StackFiles, type StackLock } from "./store";
import type { EngineEvent, Op, Operation, StackOptions, StackOutput, Summary } from "./types";
import { STACK_TYPE } from "./urn";
import { containsSecret, containsUnknown, isSecret, type PropertyMap, revealSecrets } from "./values";

export const DEFAULT_STACK = "dev";
const DEFAULT_PARALLEL = 16;
const DEFAULT_GRACE_MS = 120_000;

/** The passphrase that the options, the environment or the folder of states give, in this order. */
export function passphraseOf(options: Pick<StackOptions, "passphrase" | "env">, files: StackFiles): string {
  const env = options.env ?? process.env;
  if (options.passphrase !== undefined) return options.passphrase;
  if (env.PULUMI_CONFIG_PASSPHRASE !== undefined) return env.PULUMI_CONFIG_PASSPHRASE;
  const file = env.PULUMI_CONFIG_PASSPHRASE_FILE;
  if (file === undefined || file === "") return files.generatedPassphrase();
  try {
    return fs.readFileSync(file, "utf8").trim();
  } catch (cause) {
    throw new EngineError("ENGINE_PASSPHRASE", `PULUMI_CONFIG_PASSPHRASE_FILE: ${messageOf(cause)}`, { cause });
  }
}

/** The outputs of a stack's state, secrets marked. */
export function outputsOf(deployment: DeploymentState): PropertyMap {
  return deployment.resources.find(({ type }) => type === STACK_TYPE)?.outputs ?? {};
}

/** A state file's content with its secrets open. */
export async function openDeployment(file: DeploymentFile, passphrase: () => string): Promise<DeploymentState> {
  const salt = file.deployment.secrets_providers?.state?.salt;
  // Without a salt nothing in the file can be encrypted; the codec is not used then.
  const crypter = salt === undefined ? await Crypter.create("") : await Crypter.open(passphrase(), salt);
  return deserializeDeployment(file, new SecretCodec(crypter));
}

/** All that one operation on one stack holds, from the lock to the provider's process. */
export class Session {
  readonly operation: Operation;
  readonly options: StackOptions;
  readonly stack: string;
  readonly project: Project;
  readonly sdk: Sdk;
  readonly config: ProgramConfig;
  readonly files: StackFiles;
  readonly snapshot: Snapshot;
  readonly dryRun: boolean;
  readonly parallel: number;
  readonly graceMs: number;
  readonly impatience: AbortSignal | undefined;
  readonly #started = Date.now();
  readonly #lock: StackLock | undefined;
  #provider: Promise<DynamicProvider> | undefined;
  /** `host:port` of the engine's services, for the provider; set before the provider is asked for. */
  engineAddress = "";

  private constructor(
    operation: Operation,
    options: StackOptions,
    parts: {
      project: Project;
      sdk: Sdk;
      config: ProgramConfig;
      files: StackFiles;
      lock: StackLock | undefined;
      base: DeploymentState;
      codec: SecretCodec;
    },
  ) {
    this.operation = operation;
    this.options = options;
    this.stack = options.stack ?? DEFAULT_STACK;
    this.project = parts.project;
    this.sdk = parts.sdk;
    this.config = parts.config;
    this.files = parts.files;
    this.#lock = parts.lock;
    this.dryRun = operation === "preview";
    this.parallel = options.parallel ?? DEFAULT_PARALLEL;
    this.graceMs = options.cancelGraceMs ?? DEFAULT_GRACE_MS;
    this.impatience = options.impatience;
    const version = `v${parts.sdk.version}`;
    this.snapshot = new Snapshot(parts.base, async (deployment) => {
      if (!this.dryRun) await parts.files.write(serializeDeployment(deployment, parts.codec, version));
    });
  }

  /** Reads everything and takes the lock; a preview takes none, for it changes nothing. */
  static async open(operation: Operation, options: StackOptions): Promise<Session> {
    const stack = options.stack ?? DEFAULT_STACK;
    if (options.signal?.aborted === true) throw cancelled();
    const project = readProject(options.projectDir, stack);
    const files = new StackFiles(options.stateDir, project.name, stack);
    const lock = operation === "preview" ? undefined : files.lock();
    try {
      const file = files.read();
      const salt = file?.deployment.secrets_providers?.state?.salt ?? project.encryptionSalt;
      const passphrase = passphraseOf(options, files);
      // The derivation of the key runs on another thread while the SDK loads.
      const crypting = salt === undefined ? Crypter.create(passphrase) : Crypter.open(passphrase, salt);
      crypting.catch(() => {});
      const sdk = Sdk.load(project.programDir);
      const codec = new SecretCodec(await crypting);
      const configSalt = project.encryptionSalt;
      const crypter =
        hasSecureConfig(project) && configSalt !== undefined ? await Crypter.open(passphrase, configSalt) : undefined;
      const config = mergeConfig(project, options.config ?? {}, crypter);
      const base = file === undefined ? { resources: [], pendingOperations: [] } : deserializeDeployment(file, codec);
      return new Session(operation, options, { project, sdk, config, files, lock, base, codec });
    } catch (error) {
      lock?.release();
      throw error;
    }
  }

  readonly emit = (event: EngineEvent): void => {
    this.options.onEvent(event);
  };

  get env(): NodeJS.ProcessEnv {
    return this.options.env ?? process.env;
  }

  /** The provider's process, started on first use: one for the whole operation. */
  readonly provider = (): Promise<DynamicProvider> => {
    this.#provider ??= DynamicProvider.start({
      sdk: this.sdk,
      programDir: this.project.programDir,
      project: this.project.name,
      stack: this.stack,
      config: this.config.values,
      secretKeys: this.config.secretKeys,
      env: this.env,
      engineAddress: this.engineAddress,
      onLine: (stream, line) => this.emit({ kind: "output", source: "provider", stream, line }),
    });
    return this.#provider;
  };

  /** The outputs of another stack in the same folder: `stack`, `project/stack` or `organization/project/stack`. */
  readonly stackOutputs = async (name: string): Promise<PropertyMap> => {
    const parts = name.split("/");
    const [stack, project = this.project.name, organization = "organization"] = parts.reverse();
    if (parts.length > 3 || organization !== "organization" || stack === "" || project === "") {
      throw new EngineError(
        "ENGINE_STACK_REFERENCE",
        `The stack reference "${name}" is not "stack", "project/stack" or "organization/project/stack".`,
      );
    }
    if (!/^[\w.-]+$/.test(stack) || !/^[\w.-]+$/.test(project)) {
      throw new EngineError("ENGINE_STACK_REFERENCE", `The stack reference "${name}" is no stack's name.`);
    }
    const files = new StackFiles(this.options.stateDir, project, stack);
    const file = files.read();
    if (file === undefined) {
      throw new EngineError("ENGINE_STACK_REFERENCE", `The stack "${name}" does not exist (${files.stateFile}).`);
    }
    return outputsOf(await openDeployment(file, () => passphraseOf(this.options, files)));
  };

  summary(counts: Record<Op, number>, outputs: PropertyMap): Summary {
    const summary: Summary = {
      operation: this.operation,
      project: this.project.name,
      stack: this.stack,
      counts: { ...counts },
      outputs: describeOutputs(outputs),
      durationMs: Date.now() - this.#started,
    };
    this.emit({ kind: "summary", summary });
    return summary;
  }

  async close(): Promise<void> {
    try {
      await (await this.#provider?.catch(() => undefined))?.stop();
    } finally {
      this.#lock?.release();
    }
  }
}

export function cancelled(): EngineError {
  return new EngineError("ENGINE_CANCELLED", "The operation was cancelled; what was done is in the state.");
}

export function describeOutputs(outputs: PropertyMap): Record<string, StackOutput> {
  const described: Record<string, StackOutput> = {};
  for (const [key, value] of Object.entries(outputs)) {
    described[key] = { value: revealSecrets(value), secret: isSecret(value) || containsSecret(value) };
    if (containsUnknown(value)) described[key].unknown = true;
  }
  return described;
}

/** Waits for the operations that run, though not for ever, and saves what they did. */
export async function finishRunning(session: Session, deployment: Deployment): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const patience = new Promise<"late">((resolve) => {
    timer = setTimeout(() => resolve("late"), session.impatience?.aborted ? 0 : session.graceMs);
    session.impatience?.addEventListener("abort", () => resolve("late"), { once: true });
  });
  const ended = await Promise.race([deployment.limit.idle(), patience]);
  clearTimeout(timer);
  if (ended === "late") {
    // What still runs ends with the provider, and stays in the state as pending.
    await (await session.provider()).stop();
    await deployment.limit.idle();
  }
  if (!session.dryRun) await session.snapshot.save();
}
