import { type Deployment, type OperationType, type PendingOperation, type ResourceState, renameUrns } from "./state";
import { STACK_TYPE } from "./urn";
import type { PropertyMap } from "./values";

/**
 * The state of a stack while it changes: what this run has dealt with, then what is left of the state it found (Pulumi's
 * snapshot manager). Any moment's merge of the two is a true, ordered state, so it can be saved after every step.
 */
export class Snapshot {
  readonly base: readonly ResourceState[];
  readonly #persist: (deployment: Deployment) => Promise<void>;
  readonly #done = new Set<ResourceState>();
  readonly #current: ResourceState[] = [];
  readonly #pending = new Map<ResourceState, OperationType>();
  /** Creations that an earlier run never saw the end of: the resources may exist. */
  #unfinished: PendingOperation[];
  readonly #renamed = new Map<string, string>();
  #requested = 0;
  #written = 0;
  #writing: Promise<void> | undefined;

  constructor(base: Deployment, persist: (deployment: Deployment) => Promise<void>) {
    this.base = base.resources;
    this.#unfinished = base.pendingOperations.filter(({ type }) => type === "creating");
    this.#persist = persist;
  }

  get unfinished(): readonly PendingOperation[] {
    return this.#unfinished;
  }

  /** Forgets unfinished creations; after a refresh the user has been told of them. */
  forgetUnfinished(): void {
    this.#unfinished = [];
  }

  /** Records that an operation is about to run; resolves when a crash can no longer lose this. */
  begin(state: ResourceState, type: OperationType): Promise<void> {
    this.#pending.set(state, type);
    return this.save();
  }

  /** The operation came to nothing. */
  cancel(state: ResourceState): void {
    this.#pending.delete(state);
  }

  /** `state` is now part of the deployment, in place of `old` where there is one. */
  add(state: ResourceState, old?: ResourceState): void {
    this.#pending.delete(state);
    this.#current.push(state);
    this.#unfinished = this.#unfinished.filter(({ resource }) => resource.urn !== state.urn);
    if (old === undefined) return;
    this.#done.add(old);
    if (old.urn !== state.urn) this.#renamed.set(old.urn, state.urn);
  }

  /** `state`, found or made, is gone. */
  remove(state: ResourceState): void {
    this.#pending.delete(state);
    this.#done.add(state);
    const index = this.#current.indexOf(state);
    if (index >= 0) this.#current.splice(index, 1);
  }

  /** What the run found and has not dealt with, in order. */
  remaining(): ResourceState[] {
    return this.base.filter((state) => !this.#done.has(state));
  }

  isDone(state: ResourceState): boolean {
    return this.#done.has(state);
  }

  deployment(): Deployment {
    const rename = (urn: string) => this.#renamed.get(urn) ?? urn;
    const rest = this.#renamed.size === 0 ? this.remaining() : this.remaining().map((s) => renameUrns(s, rename));
    const pending = [...this.#pending].map(([resource, type]) => ({ resource, type }));
    return { resources: [...this.#current, ...rest], pendingOperations: [...this.#unfinished, ...pending] };
  }

  /** The outputs of the stack as it is now. */
  stackOutputs(): PropertyMap {
    return this.deployment().resources.find(({ type }) => type === STACK_TYPE)?.outputs ?? {};
  }

  /** Resolves when a state at least as new as this moment's is on disk; calls at one time share a write. */
  async save(): Promise<void> {
    const mine = ++this.#requested;
    while (this.#written < mine) {
      this.#writing ??= this.#write().finally(() => {
        this.#writing = undefined;
      });
      await this.#writing;
    }
  }

  async #write(): Promise<void> {
    const target = this.#requested;
    await this.#persist(this.deployment());
    this.#written = target;
  }
}
