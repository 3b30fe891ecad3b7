import type { CustomTimeouts } from "./state";
import type { Alias } from "./urn";
import type { PropertyMap, Value } from "./values";

/** What the program wants of one resource. */
export interface Goal {
  type: string;
  name: string;
  /** URN, or empty for the stack itself. */
  parent: string;
  custom: boolean;
  inputs: PropertyMap;
  dependencies: string[];
  propertyDependencies: Record<string, string[]>;
  protect: boolean;
  retainOnDelete: boolean;
  deletedWith: string;
  /** Undefined: the provider decides. */
  deleteBeforeReplace: boolean | undefined;
  ignoreChanges: string[];
  replaceOnChanges: string[];
  /** A change of this value replaces the resource. */
  replacementTrigger: Value;
  additionalSecretOutputs: string[];
  aliases: Alias[];
  customTimeouts: CustomTimeouts | undefined;
}

/** A resource that the program only looks at. */
export interface ReadGoal {
  type: string;
  name: string;
  parent: string;
  id: string;
  properties: PropertyMap;
  dependencies: string[];
  additionalSecretOutputs: string[];
}

const UNITS: Record<string, number> = { ns: 1e-9, us: 1e-6, µs: 1e-6, ms: 1e-3, s: 1, m: 60, h: 3600 };

/** Seconds in a duration such as `1h30m` (Go's format). Undefined for text that is none. */
export function parseDuration(text: string): number | undefined {
  if (!/^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+$/.test(text)) return undefined;
  let seconds = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g)) {
    seconds += Number(amount) * UNITS[unit];
  }
  return seconds;
}
