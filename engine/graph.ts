import { dependenciesOf, type ResourceState } from "./state";

/**
 * The resources of an ordered state that depend on `root`, directly or not, in order; children do not depend on their
 * parent here. `ignored` URNs, and what depends on them alone, are left out (Pulumi's DependingOn).
 */
export function dependents(
  resources: readonly ResourceState[],
  root: ResourceState,
  ignored: ReadonlySet<string>,
): ResourceState[] {
  const set = new Set([root.urn]);
  const found: ResourceState[] = [];
  const start = resources.indexOf(root);
  for (const state of resources.slice(start + 1)) {
    if (ignored.has(state.urn) || state.urn === root.urn) continue;
    const needs = dependenciesOf(state);
    if (state.parent !== undefined && !state.dependencies.includes(state.parent)) needs.delete(state.parent);
    if (![...needs].some((urn) => set.has(urn))) continue;
    set.add(state.urn);
    found.push(state);
  }
  return found;
}

/**
 * Runs `remove` on every state, none before all that depend on it are gone; as much at a time as the order allows.
 * After a failure nothing new starts, and the first failure is thrown when all have ended. When `interrupted` resolves
 * and `stopped` says so, it returns at once, with removals still running.
 */
export async function removeInOrder(
  states: readonly ResourceState[],
  remove: (state: ResourceState) => Promise<void>,
  stopped: () => boolean,
  interrupted: Promise<unknown>,
): Promise<void> {
  const waiting = new Set(states);
  const running = new Map<ResourceState, Promise<void>>();
  const failures: unknown[] = [];
  const blocked = (state: ResourceState): boolean => {
    for (const other of [...waiting, ...running.keys()]) {
      if (other !== state && other.urn !== state.urn && dependenciesOf(other).has(state.urn)) return true;
    }
    return false;
  };
  while (waiting.size > 0 || running.size > 0) {
    if (failures.length === 0 && !stopped()) {
      let ready = [...waiting].filter((state) => !blocked(state));
      // Generations of replaced resources may depend on each other in a circle: break it at the youngest.
      if (ready.length === 0 && running.size === 0) ready = [...waiting].slice(-1);
      for (const state of ready) {
        waiting.delete(state);
        const run = remove(state)
          .catch((error: unknown) => {
            failures.push(error);
          })
          .finally(() => running.delete(state));
        running.set(state, run);
      }
    }
    if (running.size === 0 || stopped()) break;
    await Promise.race([...running.values(), interrupted]);
  }
  if (failures.length > 0) throw failures[0];
}
