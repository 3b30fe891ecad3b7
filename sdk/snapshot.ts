/** What control has before a program changes anything: what it changes is told by it. */
import * as pulumi from "@pulumi/pulumi";
import { type ControlClient, controlPlace, socketClient } from "../provider/client";
import { peekDaemon } from "../provider/daemon";
import { WarrenError } from "../runtime/errors";
import type { Before } from "./judge";

/** One for all copies of this package in a process. */
const KEY = Symbol.for("pulumi-warren.snapshot");

/** Taken once, before the first resource is registered: all wait for it. Nothing outside a run of Pulumi's engine. */
export function snapshot(): Promise<Before> {
  if (!isEngineRun()) return Promise.resolve({ networks: [], members: [] });
  const holder = globalThis as { [KEY]?: Promise<Before> };
  holder[KEY] ??= registryNow();
  return holder[KEY];
}

/** False in a unit test of a program, for example. */
export function isEngineRun(): boolean {
  return pulumi.runtime.hasMonitor() && pulumi.runtime.getStackResource() !== undefined;
}

/** What control has; nothing where there is none or it does not answer: a hook will say why. */
async function registryNow(): Promise<Before> {
  try {
    const control = await peek();
    if (!control) return { networks: [], members: [] };
    try {
      return { networks: await control.networks(), members: await control.members() };
    } finally {
      await control.close();
    }
  } catch (error) {
    if (!WarrenError.is(error)) throw error;
    return { networks: [], members: [] };
  }
}

async function peek(): Promise<ControlClient | undefined> {
  const place = controlPlace(new pulumi.Config("warren").get("controlUrl"));
  return "home" in place ? peekDaemon(place.home) : socketClient(place.socketPath);
}
