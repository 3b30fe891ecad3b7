/** What the hooks of all resources share. */
import { isDeepStrictEqual } from "node:util";
import type { Owner } from "../../runtime/control/interface/types";
import { WarrenError } from "../../runtime/errors";
import type { ControlClient } from "../client";
import type { Failure, HookContext, Props } from "./crud";
import { isUnknown } from "./unknown";

/** Inputs that the SDK adds to what the user writes. */
export const HIDDEN_COMMON = ["owner", "createTimeout", "updateTimeout", "__provider"] as const;

/** Seconds that create and update wait until a member works, unless `customTimeouts` says otherwise. */
export const DEFAULT_CREATE_TIMEOUT = 120;

export function failureOf(error: unknown, property: string): Failure {
  if (!WarrenError.is(error)) throw error;
  const { path = property, message } = error;
  // Pulumi writes the property before the reason.
  return { property: path, reason: message.startsWith(`${path}: `) ? message.slice(path.length + 2) : message };
}

/** A copy without the keys whose value is undefined: such a key would be a difference where there is none. */
export function compact(props: Props): Props {
  return Object.fromEntries(Object.entries(props).filter(([, value]) => value !== undefined));
}

/** The names of inputs that differ, or whose new value is not known yet. */
export function changedKeys(keys: readonly string[], olds: Props, news: Props): string[] {
  return keys.filter((key) => isUnknown(news[key]) || !isDeepStrictEqual(olds[key], news[key]));
}

/** Asks control, and answers undefined where it knows of no such thing. */
export async function found<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (WarrenError.is(error) && error.code === "WARREN_NOT_FOUND") return undefined;
    throw error;
  }
}

/** Runs with the present control, if there is one, and closes the client. */
export async function withPeek<T>(ctx: HookContext, f: (control: ControlClient | undefined) => Promise<T>): Promise<T> {
  const control = await ctx.peek();
  try {
    return await f(control);
  } finally {
    await control?.close();
  }
}

/** Runs with control, started where necessary, and closes the client. */
export async function withControl<T>(ctx: HookContext, f: (control: ControlClient) => Promise<T>): Promise<T> {
  const control = await ctx.ensure();
  try {
    return await f(control);
  } finally {
    await control.close();
  }
}

export function ownerOf(props: Props): Owner {
  const owner = props.owner as Partial<Owner> | undefined;
  const text = (value: unknown) => (typeof value === "string" ? value : "");
  return {
    organization: text(owner?.organization),
    project: text(owner?.project),
    stack: text(owner?.stack),
    urn: text(owner?.urn),
  };
}

/**
 * Deleting in another registry than the one that made the object would leave that object running, unseen.
 * @throws WarrenError WARREN_FOREIGN_REGISTRY
 */
export async function refuseForeign(
  ctx: HookContext,
  control: ControlClient,
  kind: string,
  id: string,
  props: Props,
): Promise<void> {
  const made = props.registryId;
  if (typeof made !== "string" || made === ctx.adopt) return;
  const here = (await control.health()).registryId;
  if (here === made) return;
  throw new WarrenError(
    "WARREN_FOREIGN_REGISTRY",
    `${kind} ${id} was made in registry ${made}, but this is registry ${here}: run where it was made, or set ` +
      `"pulumi config set warren:adopt ${made}" to say that it is gone there.`,
    { path: "warren:adopt" },
  );
}
