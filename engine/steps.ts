import { EngineError, messageOf } from "./errors";
import { type DynamicProvider, InitFailed } from "./provider";
import type { Snapshot } from "./snapshot";
import { isProviderType, type OperationType, type ResourceState } from "./state";
import type { EngineEvent, Op, ResourceMetadata } from "./types";
import { nameOf } from "./urn";
import { markSecrets, type PropertyMap, sameMaps, UNKNOWN } from "./values";

export interface StepOptions {
  dryRun: boolean;
  snapshot: Snapshot;
  provider(): Promise<DynamicProvider>;
  emit(event: EngineEvent): void;
}

interface Details {
  changedKeys?: string[];
  replaceKeys?: string[];
  reasons?: string[];
}

interface CreateDetails extends Details {
  op?: "replace";
  /** The old resource lives until everything else is done. */
  keepOld?: boolean;
}

/** Carries out single operations: provider, state and events, in that order of truth. A dry run does the last only. */
export class StepRunner {
  readonly #options: StepOptions;
  readonly #snapshot: Snapshot;
  /** Errors that an event has already told. */
  readonly #reported = new WeakSet<Error>();
  readonly counts: Record<Op, number> = { create: 0, update: 0, replace: 0, delete: 0, same: 0, read: 0 };

  constructor(options: StepOptions) {
    this.#options = options;
    this.#snapshot = options.snapshot;
  }

  /** A diagnostic for a failure that no event has told yet. */
  reportFailure(error: Error): void {
    if (this.#reported.has(error)) return;
    this.#reported.add(error);
    const urn = error instanceof EngineError ? error.urn : undefined;
    this.#options.emit({ kind: "diagnostic", severity: "error", message: error.message, ...(urn ? { urn } : {}) });
  }

  async create(next: ResourceState, old: ResourceState | undefined, details: CreateDetails = {}): Promise<void> {
    const { op = "create", keepOld = false } = details;
    await this.#step(op, next, details, "creating", async () => {
      let failure: InitFailed | undefined;
      if (!next.custom) next.outputs = {};
      else if (this.#options.dryRun) next.outputs = next.inputs;
      else {
        const provider = await this.#options.provider();
        try {
          const made = await provider.create(next.urn, next.inputs, next.customTimeouts?.create ?? 0);
          next.id = made.id;
          next.outputs = made.outputs;
        } catch (error) {
          if (!(error instanceof InitFailed)) throw error;
          failure = error;
          next.id = error.id;
          next.outputs = error.properties;
          next.initErrors = error.reasons;
        }
      }
      next.outputs = markSecrets(next.outputs, next.additionalSecretOutputs);
      next.created = next.modified = new Date().toISOString();
      if (keepOld && old !== undefined) {
        old.delete = true;
        this.#snapshot.add(next);
      } else this.#snapshot.add(next, old);
      return failure;
    });
  }

  async update(old: ResourceState, next: ResourceState, details: Details): Promise<void> {
    next.id = old.id;
    next.created = old.created;
    next.modified = old.modified;
    await this.#step("update", next, details, "updating", async () => {
      let failure: InitFailed | undefined;
      if (!next.custom) next.outputs = {};
      else if (this.#options.dryRun) next.outputs = next.inputs;
      else {
        const provider = await this.#options.provider();
        const timeout = next.customTimeouts?.update ?? 0;
        try {
          next.outputs = await provider.update(next.urn, old.id ?? "", old.outputs, next.inputs, timeout);
        } catch (error) {
          if (!(error instanceof InitFailed)) throw error;
          failure = error;
          next.outputs = error.properties;
          next.initErrors = error.reasons;
        }
        next.modified = new Date().toISOString();
      }
      next.outputs = markSecrets(next.outputs, next.additionalSecretOutputs);
      this.#snapshot.add(next, old);
      return failure;
    });
  }

  /** Id and outputs stay; the inputs are the new ones, though the provider sees no difference in them. */
  async same(old: ResourceState, next: ResourceState): Promise<void> {
    next.id = old.id;
    next.outputs = old.outputs;
    next.created = old.created;
    next.modified = old.modified;
    this.#snapshot.add(next, old);
    this.#tell("same", "done", next, {});
  }

  /** `source` gives the outputs of what no provider reads. */
  async read(
    next: ResourceState,
    old: ResourceState | undefined,
    options: { keepOld: boolean; source: (() => Promise<PropertyMap>) | undefined },
  ): Promise<void> {
    await this.#step("read", next, {}, "reading", async () => {
      if (options.source !== undefined) {
        next.outputs = next.id === UNKNOWN ? {} : await options.source();
      } else if (next.id !== UNKNOWN) {
        const provider = await this.#options.provider();
        const found = await provider.read(next.urn, next.id ?? "", next.inputs, next.inputs);
        if (found.id === "") {
          throw new EngineError("ENGINE_OPERATION_FAILED", `The resource "${next.id}" does not exist.`, {
            urn: next.urn,
          });
        }
        next.id = found.id;
        next.outputs = found.outputs;
      }
      next.outputs = markSecrets(next.outputs, next.additionalSecretOutputs);
      next.created = old?.created;
      next.modified = old?.modified;
      if (old !== undefined && !(sameMaps(old.inputs, next.inputs) && sameMaps(old.outputs, next.outputs))) {
        next.modified = new Date().toISOString();
      }
      if (options.keepOld && old !== undefined) {
        old.delete = true;
        this.#snapshot.add(next);
      } else this.#snapshot.add(next, old);
      return undefined;
    });
  }

  /**
   * Deletes a resource that the program no longer has, or whose successor exists. `doomed`: every URN that goes in
   * this run, for `deletedWith`.
   */
  async delete(state: ResourceState, doomed: ReadonlySet<string>): Promise<void> {
    const replaced = state.delete === true;
    if (state.pendingReplacement === true || isProviderType(state.type)) {
      this.#snapshot.remove(state);
      return;
    }
    await this.#step("delete", state, { replaced }, "deleting", async () => {
      await this.#callDelete(state, doomed);
      this.#snapshot.remove(state);
      return undefined;
    });
  }

  /** Deletes a resource ahead of its successor; it stays in the state, marked, until that exists. */
  async deleteForReplacement(state: ResourceState, doomed: ReadonlySet<string>): Promise<void> {
    await this.#step("delete", state, { replaced: true }, "deleting", async () => {
      await this.#callDelete(state, doomed);
      state.pendingReplacement = true;
      this.#snapshot.cancel(state);
      return undefined;
    });
  }

  async #callDelete(state: ResourceState, doomed: ReadonlySet<string>): Promise<void> {
    if (this.#options.dryRun || !state.custom || state.external === true || state.retainOnDelete === true) return;
    if (state.deletedWith !== undefined && doomed.has(state.deletedWith)) return;
    const provider = await this.#options.provider();
    await provider.delete(state.urn, state.id ?? "", state.outputs, state.customTimeouts?.delete ?? 0);
  }

  /** Refreshes one resource; returns its new state, or undefined when it is gone. */
  async refresh(state: ResourceState, source?: () => Promise<PropertyMap>): Promise<ResourceState | undefined> {
    if (!state.custom || isProviderType(state.type) || state.pendingReplacement === true) return state;
    const started = Date.now();
    try {
      const next = await this.#readAgain(state, source);
      const op = next === undefined ? "delete" : next.changed ? "update" : "same";
      this.#tell(op, "done", next?.state ?? state, { durationMs: Date.now() - started, changedKeys: next?.keys });
      return next?.state;
    } catch (error) {
      throw this.#failed("read", state, error, started);
    }
  }

  async #readAgain(
    state: ResourceState,
    source?: () => Promise<PropertyMap>,
  ): Promise<{ state: ResourceState; changed: boolean; keys: string[] } | undefined> {
    if (source !== undefined) {
      const outputs = await source();
      const changed = !sameMaps(outputs, state.outputs);
      return { state: changed ? { ...state, outputs, modified: new Date().toISOString() } : state, changed, keys: [] };
    }
    const provider = await this.#options.provider();
    const found = await provider.read(state.urn, state.id ?? "", state.inputs, state.outputs);
    if (found.id === "") return undefined;
    const next: ResourceState = {
      ...state,
      id: found.id,
      inputs: found.inputs ?? state.inputs,
      outputs: markSecrets(found.outputs, state.additionalSecretOutputs),
      initErrors: [],
    };
    const differs = !sameMaps(next.inputs, state.inputs) || !sameMaps(next.outputs, state.outputs);
    if (differs) next.modified = new Date().toISOString();
    if (state.external === true) return { state: next, changed: differs, keys: [] };
    // What `up` with an unchanged program would find now.
    const diff = await provider.diff(state.urn, found.id, next, state.inputs);
    return { state: next, changed: diff.changed || differs, keys: diff.changedKeys };
  }

  async #step(
    op: Op,
    state: ResourceState,
    details: Details & { replaced?: boolean },
    pending: OperationType,
    run: () => Promise<InitFailed | undefined>,
  ): Promise<void> {
    const started = Date.now();
    const durable = !this.#options.dryRun && state.custom;
    this.#tell(op, "started", state, details);
    try {
      if (durable && !(pending === "reading")) await this.#snapshot.begin(state, pending);
      const failure = await run();
      if (!this.#options.dryRun) await this.#snapshot.save();
      if (failure !== undefined) throw failure;
    } catch (error) {
      // After a crash of the provider nobody knows: the operation stays on record as pending.
      if (!(error instanceof EngineError && error.code === "ENGINE_PROVIDER_CRASHED")) this.#snapshot.cancel(state);
      throw this.#failed(op, state, error, started, details);
    }
    this.#tell(op, "done", state, { ...details, durationMs: Date.now() - started });
  }

  #failed(op: Op, state: ResourceState, error: unknown, started: number, details: Details = {}): EngineError {
    const reasons = error instanceof InitFailed ? error.reasons : [messageOf(error)];
    this.#tell(op, "failed", state, { ...details, reasons, durationMs: Date.now() - started });
    const code = error instanceof EngineError ? error.code : "ENGINE_OPERATION_FAILED";
    const what = error instanceof InitFailed ? `${op} left it not working` : `${op} failed`;
    const failure = new EngineError(code, `${state.type} "${nameOf(state.urn)}": ${what}: ${reasons.join("; ")}`, {
      urn: state.urn,
      cause: error,
    });
    this.reportFailure(failure);
    return failure;
  }

  #tell(
    op: Op,
    status: "started" | "done" | "failed",
    state: ResourceState,
    details: Details & { replaced?: boolean; durationMs?: number },
  ): void {
    if (isProviderType(state.type)) return;
    if (status === "done" && !(op === "delete" && details.replaced === true)) this.counts[op]++;
    const { changedKeys, replaceKeys, reasons, replaced, durationMs } = details;
    this.#options.emit({
      kind: "resource",
      status,
      op,
      resource: metadata(state),
      ...(state.id !== undefined && !(this.#options.dryRun && op === "replace") ? { id: state.id } : {}),
      ...(changedKeys?.length ? { changedKeys: changedKeys.filter((key) => key !== "__provider") } : {}),
      ...(replaceKeys?.length ? { replaceKeys } : {}),
      ...(reasons?.length ? { reasons } : {}),
      ...(replaced === true ? { replaced } : {}),
      ...(durationMs !== undefined ? { durationMs } : {}),
    });
  }
}

function metadata(state: ResourceState): ResourceMetadata {
  const { urn, type, custom, parent } = state;
  return { urn, type, name: nameOf(urn), custom, ...(parent === undefined ? {} : { parent }) };
}
