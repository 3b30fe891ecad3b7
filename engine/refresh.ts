import { type Deployment, STACK_REFERENCE_TYPE } from "./deployment";
import { EngineError } from "./errors";
import { referenceOutputs } from "./reference";
import { finishRunning, type Session } from "./session";
import { type ResourceState, renameUrns } from "./state";
import type { PropertyMap } from "./values";

/** Reads every resource; what is gone leaves the state, and so do references to it. Returns the stack's outputs. */
export async function refreshAll(session: Session, deployment: Deployment): Promise<PropertyMap> {
  const { snapshot } = session;
  const refreshed = new Map<ResourceState, ResourceState | undefined>();
  const work = Promise.all(
    snapshot.base.map((state) =>
      deployment.limit.run(async () => {
        if (deployment.failure !== undefined) return;
        try {
          refreshed.set(state, await deployment.steps.refresh(state, referenceReader(session, state)));
        } catch (error) {
          deployment.stop(error as Error);
        }
      }),
    ),
  );
  await Promise.race([work, deployment.stopped]);
  if (deployment.failure !== undefined) await finishRunning(session, deployment);
  const gone = new Set<string>();
  for (const [state, next] of refreshed) if (next === undefined) gone.add(state.urn);
  // A URN may have a successor beside the replaced resource that is gone.
  for (const state of snapshot.base) {
    const next = refreshed.has(state) ? refreshed.get(state) : state;
    if (next !== undefined) gone.delete(next.urn);
  }
  for (const state of snapshot.base) {
    const next = refreshed.has(state) ? refreshed.get(state) : state;
    if (next === undefined) snapshot.remove(state);
    else snapshot.add(withoutReferences(next, gone), state);
  }
  if (deployment.failure === undefined) snapshot.forgetUnfinished();
  await snapshot.save();
  if (deployment.failure !== undefined) throw deployment.failure;
  return snapshot.stackOutputs();
}

function referenceReader(session: Session, state: ResourceState): (() => Promise<PropertyMap>) | undefined {
  if (state.type !== STACK_REFERENCE_TYPE) return undefined;
  return async () => {
    const { name } = state.inputs;
    if (typeof name !== "string") {
      throw new EngineError("ENGINE_STATE", `${state.urn} names no stack.`, { urn: state.urn });
    }
    return referenceOutputs(name, await session.stackOutputs(name));
  };
}

function withoutReferences(state: ResourceState, gone: ReadonlySet<string>): ResourceState {
  if (gone.size === 0) return state;
  const kept = (urn: string) => !gone.has(urn);
  const next = renameUrns(state, (urn) => urn);
  next.dependencies = next.dependencies.filter(kept);
  for (const [key, urns] of Object.entries(next.propertyDependencies)) {
    next.propertyDependencies[key] = urns.filter(kept);
  }
  if (next.deletedWith !== undefined && gone.has(next.deletedWith)) delete next.deletedWith;
  return next;
}
