import { randomUUID } from "node:crypto";
import { EngineError, messageOf } from "./errors";
import type { Goal, ReadGoal } from "./goal";
import { dependents } from "./graph";
import { Limit, Queue } from "./limit";
import { ignoreChanges, parsePath, pathContains } from "./path";
import type { CheckFailure, DiffResult, DynamicProvider } from "./provider";
import { referenceOutputs } from "./reference";
import type { Snapshot } from "./snapshot";
import { isProviderType, type ResourceState } from "./state";
import { StepRunner } from "./steps";
import type { EngineEvent } from "./types";
import { buildUrn, expandAliases, STACK_TYPE } from "./urn";
import { containsUnknown, findAsset, type PropertyMap, sameMaps, UNKNOWN, valuesEqual } from "./values";

export const DYNAMIC_TYPE = /^pulumi-nodejs:dynamic[:/]/;
export const STACK_REFERENCE_TYPE = "pulumi:pulumi:StackReference";
/** In `replaceOnChanges`: replace a resource whose initialization failed. */
const INIT_ERROR_KEY = "#initerror";

export interface DeploymentOptions {
  project: string;
  stack: string;
  dryRun: boolean;
  parallel: number;
  snapshot: Snapshot;
  /** Full configuration keys to values. */
  config: Record<string, string>;
  provider(): Promise<DynamicProvider>;
  /** The outputs of another stack, secrets marked. */
  stackOutputs(name: string): Promise<PropertyMap>;
  emit(event: EngineEvent): void;
}

/** Thrown to whoever waits for something that will not happen any more. */
export class Stopped extends Error {}

interface Plan {
  state: ResourceState;
  run(): Promise<void>;
}

/**
 * Decides what to do with each resource that the program registers, and does it. Decisions are made one at a time, in
 * the order of arrival, as Pulumi's step generator does: delete-before-replace needs to know what was decided before.
 * The operations themselves run side by side.
 */
export class Deployment {
  readonly #options: DeploymentOptions;
  readonly #snapshot: Snapshot;
  readonly #steps: StepRunner;
  readonly #queue = new Queue();
  readonly limit: Limit;
  /** By URN: what this run has registered. */
  readonly #registered = new Map<string, ResourceState>();
  /** Registered URN to the URN in state, where an alias was used, and the reverse. */
  readonly #formerUrns = new Map<string, string>();
  readonly #claimed = new Map<string, string>();
  readonly #olds = new Map<string, ResourceState>();
  readonly #replaced = new Set<string>();
  /** Deleted ahead of the replacement of what they depend on; registering them again makes them anew. */
  readonly #condemned = new Set<ResourceState>();
  readonly #providers = new Map<string, Promise<string>>();
  readonly #running = new Set<Promise<unknown>>();
  #stack: ResourceState | undefined;
  #failure: Error | undefined;
  #fail: (error: Error) => void = () => {};
  /** Resolves, with the reason, when no new operation may start. */
  readonly stopped: Promise<Error>;

  constructor(options: DeploymentOptions) {
    this.#options = options;
    this.#snapshot = options.snapshot;
    this.limit = new Limit(options.parallel);
    this.#steps = new StepRunner({
      dryRun: options.dryRun,
      snapshot: options.snapshot,
      provider: options.provider,
      emit: options.emit,
    });
    for (const state of options.snapshot.base) if (state.delete !== true) this.#olds.set(state.urn, state);
    this.stopped = new Promise((resolve) => {
      this.#fail = resolve;
    });
  }

  get steps(): StepRunner {
    return this.#steps;
  }

  get failure(): Error | undefined {
    return this.#failure;
  }

  /** No new operation starts after this; the first reason counts. */
  stop(reason: Error): void {
    if (this.#failure !== undefined) return;
    this.#failure = reason;
    this.#fail(reason);
  }

  /** The outputs of the stack, as far as the program has set them. */
  get stackOutputs(): PropertyMap {
    return this.#stack?.outputs ?? {};
  }

  find(urn: string): ResourceState | undefined {
    return this.#registered.get(urn);
  }

  /** Resolves when all that was registered so far has been dealt with. */
  async settled(): Promise<void> {
    while (this.#running.size > 0) await Promise.allSettled([...this.#running]);
  }

  /** @throws Stopped when the resource could not be made, or when the deployment has stopped. */
  registerResource(goal: Goal): Promise<ResourceState> {
    return this.#track(() => this.#plan(goal));
  }

  readResource(goal: ReadGoal): Promise<ResourceState> {
    return this.#track(() => this.#planRead(goal));
  }

  registerOutputs(urn: string, outputs: PropertyMap): void {
    const state = this.#registered.get(urn);
    if (state === undefined) throw new EngineError("ENGINE_INTERNAL", `Outputs of ${urn}, which is not registered.`);
    this.#rejectAssets(urn, outputs);
    state.outputs = outputs;
  }

  #track(plan: () => Promise<Plan>): Promise<ResourceState> {
    const work = this.#execute(plan);
    const settled = work.catch(() => {}).finally(() => this.#running.delete(settled));
    this.#running.add(settled);
    return work;
  }

  async #execute(plan: () => Promise<Plan>): Promise<ResourceState> {
    try {
      const { state, run } = await this.#queue.run(async () => {
        this.#assertRunning();
        return plan();
      });
      await this.limit.run(async () => {
        this.#assertRunning();
        await run();
      });
      return state;
    } catch (error) {
      if (error instanceof Stopped) throw error;
      const failure = error instanceof Error ? error : new Error(String(error));
      this.#steps.reportFailure(failure);
      this.stop(failure);
      throw new Stopped(messageOf(failure));
    }
  }

  #assertRunning(): void {
    if (this.#failure !== undefined) throw new Stopped("The deployment has stopped.");
  }

  #urn(parent: string, type: string, name: string): string {
    const urn = buildUrn(this.#options.stack, this.#options.project, parent, type, name);
    if (this.#registered.has(urn)) {
      throw new EngineError("ENGINE_PROGRAM_FAILED", `Duplicate resource URN "${urn}": give it a unique name.`, {
        urn,
      });
    }
    if (parent !== "" && !this.#registered.has(parent)) {
      throw new EngineError("ENGINE_PROGRAM_FAILED", `The parent ${parent} of ${urn} is not registered.`, { urn });
    }
    return urn;
  }

  #findOld(urn: string, goal: Pick<Goal, "name" | "type" | "parent" | "aliases">): ResourceState | undefined {
    const aliases = expandAliases(goal.aliases, {
      stack: this.#options.stack,
      project: this.#options.project,
      name: goal.name,
      type: goal.type,
      parent: goal.parent,
      formerUrn: (parent) => this.#formerUrns.get(parent),
    });
    for (const candidate of [urn, ...aliases]) {
      const old = this.#olds.get(candidate);
      if (old === undefined) continue;
      const owner = this.#claimed.get(candidate) ?? (this.#registered.has(candidate) ? candidate : undefined);
      if (owner !== undefined && owner !== urn) {
        const message = `${urn} has the alias ${candidate}, but that is ${owner}.`;
        throw new EngineError("ENGINE_PROGRAM_FAILED", message, { urn });
      }
      this.#claimed.set(candidate, urn);
      if (candidate !== urn) this.#formerUrns.set(urn, candidate);
      return old;
    }
    return undefined;
  }

  #rejectAssets(urn: string, map: PropertyMap): void {
    const kind = findAsset(map);
    if (kind !== undefined) {
      throw new EngineError(
        "ENGINE_UNSUPPORTED",
        `${urn} uses an ${kind}, which the embedded engine does not support.`,
        {
          urn,
        },
      );
    }
  }

  /** The default provider of a package: `<urn>::<id>`, kept from the last run. */
  #providerReference(pkg: string): Promise<string> {
    let reference = this.#providers.get(pkg);
    if (reference === undefined) {
      reference = this.#registerProvider(pkg);
      this.#providers.set(pkg, reference);
    }
    return reference;
  }

  async #registerProvider(pkg: string): Promise<string> {
    const type = `pulumi:providers:${pkg}`;
    const urn = buildUrn(this.#options.stack, this.#options.project, "", type, "default");
    const inputs: PropertyMap = {};
    for (const [key, value] of Object.entries(this.#options.config)) {
      if (key.startsWith(`${pkg}:`)) inputs[key.slice(pkg.length + 1)] = value;
    }
    const old = this.#olds.get(urn);
    const now = new Date().toISOString();
    const state: ResourceState = {
      ...emptyState(urn, type),
      custom: true,
      id: old?.id ?? randomUUID(),
      inputs,
      outputs: inputs,
      created: old?.created ?? now,
      modified: old !== undefined && sameMaps(old.inputs, inputs) ? (old.modified ?? now) : now,
    };
    this.#registered.set(urn, state);
    this.#snapshot.add(state, old);
    return `${urn}::${state.id}`;
  }

  async #plan(goal: Goal): Promise<Plan> {
    const { dryRun } = this.#options;
    const urn = this.#urn(goal.parent, goal.type, goal.name);
    const old = this.#findOld(urn, goal);
    const next: ResourceState = {
      ...emptyState(urn, goal.type),
      custom: goal.custom,
      inputs: goal.inputs,
      dependencies: goal.dependencies,
      propertyDependencies: goal.propertyDependencies,
      additionalSecretOutputs: goal.additionalSecretOutputs,
      ignoreChanges: goal.ignoreChanges,
      replaceOnChanges: goal.replaceOnChanges,
    };
    if (goal.parent !== "") next.parent = goal.parent;
    if (goal.protect) next.protect = true;
    if (goal.retainOnDelete) next.retainOnDelete = true;
    if (goal.deletedWith !== "") next.deletedWith = goal.deletedWith;
    if (goal.customTimeouts !== undefined) next.customTimeouts = goal.customTimeouts;
    if (goal.replacementTrigger !== null) next.replacementTrigger = goal.replacementTrigger;
    this.#registered.set(urn, next);
    if (goal.type === STACK_TYPE) this.#stack = next;
    if (!goal.custom) return this.#planComponent(old, next);

    if (!DYNAMIC_TYPE.test(goal.type)) throw unsupportedType(urn, goal.type);
    this.#rejectAssets(urn, goal.inputs);
    if (!dryRun && containsUnknown(goal.inputs)) {
      throw new EngineError("ENGINE_PROGRAM_FAILED", `${urn}: an input is still unknown during up.`, { urn });
    }
    next.provider = await this.#providerReference("pulumi-nodejs");
    const provider = await this.#options.provider();
    const recreating = old !== undefined && this.#condemned.has(old);
    const fresh = old === undefined || recreating || old.external === true;
    const news = old === undefined ? goal.inputs : ignoreChanges(goal.inputs, old.inputs, goal.ignoreChanges);
    const checked = await provider.check(urn, fresh ? {} : old.inputs, fresh ? goal.inputs : news);
    if (checked.failures.length > 0) throw checkFailed(urn, goal, checked.failures);
    next.inputs = checked.inputs;

    if (old === undefined || old.external === true) {
      return { state: next, run: () => this.#steps.create(next, old) };
    }
    if (recreating) {
      this.#replaced.add(urn);
      const reasons = ["what it depends on is deleted before it is replaced"];
      return { state: next, run: () => this.#steps.create(next, old, { op: "replace", reasons }) };
    }
    const diff = await this.#diff(goal, old, next, provider);
    const replace = diff.changed && diff.replaceKeys.length > 0;
    if (replace || old.pendingReplacement === true) return this.#planReplace(goal, old, next, diff, provider);
    if (diff.changed || old.initErrors.length > 0) {
      const reasons = diff.changed ? [] : old.initErrors;
      return { state: next, run: () => this.#steps.update(old, next, { changedKeys: diff.changedKeys, reasons }) };
    }
    return { state: next, run: () => this.#steps.same(old, next) };
  }

  #planComponent(old: ResourceState | undefined, next: ResourceState): Plan {
    if (old === undefined) return { state: next, run: () => this.#steps.create(next, undefined) };
    if (sameMaps(old.inputs, next.inputs)) return { state: next, run: () => this.#steps.same(old, next) };
    return { state: next, run: () => this.#steps.update(old, next, { changedKeys: [] }) };
  }

  async #diff(goal: Goal, old: ResourceState, next: ResourceState, provider: DynamicProvider): Promise<DiffResult> {
    const forced = (key: string): DiffResult => ({
      changed: true,
      replaceKeys: [key],
      changedKeys: [],
      deleteBeforeReplace: false,
    });
    const { replacementTrigger } = goal;
    if (replacementTrigger !== null && !valuesEqual(replacementTrigger, old.replacementTrigger ?? null)) {
      return forced("replacementTrigger");
    }
    if (goal.deletedWith !== "" && this.#replaced.has(goal.deletedWith)) return forced("deletedWith");
    const diff = await provider.diff(next.urn, old.id ?? "", old, next.inputs);
    return replaceOnChanges(diff, goal.replaceOnChanges, old.initErrors.length > 0);
  }

  async #planReplace(
    goal: Goal,
    old: ResourceState,
    next: ResourceState,
    diff: DiffResult,
    provider: DynamicProvider,
  ): Promise<Plan> {
    const { urn } = next;
    if (old.protect === true && next.protect === true) throw protectedError(urn, "replaced");
    this.#replaced.add(urn);
    // What the first check carried over from the old resource does not hold for its successor.
    const checked = await provider.check(urn, {}, goal.inputs);
    if (checked.failures.length > 0) throw checkFailed(urn, goal, checked.failures);
    next.inputs = checked.inputs;
    const { replaceKeys, changedKeys } = diff;
    const details = { op: "replace" as const, replaceKeys, changedKeys };
    if (old.pendingReplacement === true) {
      const reasons = ["it was deleted by an earlier run that did not get to create its successor"];
      return { state: next, run: () => this.#steps.create(next, old, { ...details, reasons }) };
    }
    if (!(goal.deleteBeforeReplace ?? diff.deleteBeforeReplace)) {
      return { state: next, run: () => this.#steps.create(next, old, { ...details, keepOld: true }) };
    }
    const first = await this.#dependentReplacements(old, provider);
    for (const state of first) {
      if (state.protect === true) throw protectedError(state.urn, `deleted before ${urn} is replaced`);
    }
    const doomed = [...first.reverse(), old].filter((state) => !this.#condemned.has(state));
    for (const state of doomed) this.#condemned.add(state);
    return {
      state: next,
      run: async () => {
        const urns = new Set(doomed.map((state) => state.urn));
        for (const state of doomed) {
          this.#assertRunning();
          await this.#steps.deleteForReplacement(state, urns);
        }
        await this.#steps.create(next, old, details);
      },
    };
  }

  /** What must be deleted before `root` can be: dependents that a change of `root` would replace, in order. */
  async #dependentReplacements(root: ResourceState, provider: DynamicProvider): Promise<ResourceState[]> {
    const replaceSet = new Set([root.urn]);
    const found: ResourceState[] = [];
    const done = new Set([...this.#registered.keys()].map((urn) => this.#formerUrns.get(urn) ?? urn));
    for (const state of dependents(this.#snapshot.base, root, done)) {
      if (!state.custom || state.external === true || state.delete === true || isProviderType(state.type)) continue;
      const deletedWith = state.deletedWith !== undefined && replaceSet.has(state.deletedWith);
      if (deletedWith || (await this.#replacedByChange(state, replaceSet, provider))) {
        replaceSet.add(state.urn);
        found.push(state);
      }
    }
    return found;
  }

  async #replacedByChange(
    state: ResourceState,
    replaceSet: ReadonlySet<string>,
    provider: DynamicProvider,
  ): Promise<boolean> {
    const inputs: PropertyMap = { ...state.inputs };
    let touched = false;
    for (const key of Object.keys(inputs)) {
      if (!(state.propertyDependencies[key] ?? []).some((urn) => replaceSet.has(urn))) continue;
      inputs[key] = UNKNOWN;
      touched = true;
    }
    if (!touched) return false;
    const diff = await provider.diff(state.urn, state.id ?? "", state, inputs);
    return replaceOnChanges(diff, state.replaceOnChanges, false).replaceKeys.length > 0;
  }

  async #planRead(goal: ReadGoal): Promise<Plan> {
    const urn = this.#urn(goal.parent, goal.type, goal.name);
    const old = this.#findOld(urn, { ...goal, aliases: [] });
    const isReference = goal.type === STACK_REFERENCE_TYPE;
    if (!isReference && !DYNAMIC_TYPE.test(goal.type)) throw unsupportedType(urn, goal.type);
    this.#rejectAssets(urn, goal.properties);
    const next: ResourceState = {
      ...emptyState(urn, goal.type),
      custom: true,
      external: true,
      id: goal.id,
      inputs: goal.properties,
      dependencies: goal.dependencies,
      additionalSecretOutputs: goal.additionalSecretOutputs,
      provider: await this.#providerReference(isReference ? "pulumi" : "pulumi-nodejs"),
    };
    if (goal.parent !== "") next.parent = goal.parent;
    this.#registered.set(urn, next);
    const relinquished = old !== undefined && old.external !== true && old.id !== goal.id;
    return {
      state: next,
      run: () =>
        this.#steps.read(next, old, {
          keepOld: relinquished,
          source: isReference ? async () => this.#readReference(goal) : undefined,
        }),
    };
  }

  async #readReference(goal: ReadGoal): Promise<PropertyMap> {
    const name = typeof goal.properties.name === "string" ? goal.properties.name : goal.id;
    return referenceOutputs(name, await this.#options.stackOutputs(name));
  }
}

export function emptyState(urn: string, type: string): ResourceState {
  return {
    urn,
    type,
    custom: false,
    inputs: {},
    outputs: {},
    dependencies: [],
    initErrors: [],
    propertyDependencies: {},
    additionalSecretOutputs: [],
    ignoreChanges: [],
    replaceOnChanges: [],
  };
}

/** Pulumi's applyReplaceOnChanges, for a provider that gives no detailed diff. */
function replaceOnChanges(diff: DiffResult, paths: readonly string[], hasInitErrors: boolean): DiffResult {
  if (!diff.changed && !hasInitErrors) return diff;
  const outer = paths.map(parsePath).filter((path) => path !== undefined);
  const matches = (key: string) => outer.some((path) => pathContains(path, [key]));
  const replaceKeys = new Set([...diff.replaceKeys, ...diff.changedKeys.filter(matches)]);
  const initError = hasInitErrors && matches(INIT_ERROR_KEY);
  if (initError) replaceKeys.add(INIT_ERROR_KEY);
  return { ...diff, changed: diff.changed || initError, replaceKeys: [...replaceKeys] };
}

function checkFailed(urn: string, goal: Goal, failures: CheckFailure[]): EngineError {
  const texts = failures.map(({ property, reason }) =>
    property === "" ? reason : `property "${property}": ${reason}`,
  );
  return new EngineError("ENGINE_CHECK_FAILED", `${goal.type} "${goal.name}" is not valid: ${texts.join("; ")}`, {
    urn,
  });
}

export function protectedError(urn: string, what: string): EngineError {
  return new EngineError(
    "ENGINE_PROTECTED",
    `${urn} is protected and would be ${what}: take "protect" from the resource and run up first.`,
    { urn },
  );
}

function unsupportedType(urn: string, type: string): EngineError {
  return new EngineError(
    "ENGINE_UNSUPPORTED",
    `${urn}: resources of type ${type} need a provider plugin; the embedded engine runs dynamic resources and components. Use the Pulumi CLI.`,
    { urn },
  );
}
