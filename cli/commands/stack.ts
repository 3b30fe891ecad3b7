/** `warren preview|up|refresh|destroy|output DIR`: Pulumi programs on the embedded engine. */
import * as path from "node:path";
import {
  createRenderer,
  destroy,
  type EngineEvent,
  outputs,
  preview,
  type Renderer,
  refresh,
  type StackOptions,
  type Summary,
  up,
} from "../../engine";
import { WarrenError } from "../../runtime/errors";
import { home } from "../../runtime/home";
import { type Context, print, printJson } from "../context";

export type StackOperation = "preview" | "up" | "refresh" | "destroy";
const OPERATIONS: Record<StackOperation, (options: StackOptions) => Promise<Summary>> = {
  preview,
  up,
  refresh,
  destroy,
};

export interface StackFlags extends Context {
  readonly stack: string;
  /** `key=value` texts. */
  readonly config: readonly string[];
  readonly showSecrets?: boolean;
  readonly parallel?: number;
}

export async function runStack(operation: StackOperation, dir: string, flags: StackFlags): Promise<void> {
  const stop = new AbortController();
  const impatience = new AbortController();
  const running = new Map<string, string>();
  const onSignal = () => {
    const names = [...running.values()].join(", ");
    if (stop.signal.aborted) impatience.abort();
    else if (names === "") process.stderr.write("\nStopping.\n");
    else process.stderr.write(`\nStopping; waiting for ${names}. Once more to end them too, unfinished.\n`);
    stop.abort();
  };
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
  const renderer = flags.json ? undefined : terminal(flags);
  const failures: { urn: string; reasons: readonly string[] }[] = [];
  /** What a person has read already. */
  const shown: string[] = [];
  const onEvent = (event: EngineEvent) => {
    renderer?.onEvent(event);
    if (event.kind === "diagnostic" && event.severity === "error") shown.push(event.message);
    if (event.kind !== "resource") return;
    const { op, status, resource, reasons = [] } = event;
    const key = `${op} ${resource.urn}`;
    if (status === "started" && resource.custom) running.set(key, resource.name);
    else running.delete(key);
    if (status !== "failed") return;
    failures.push({ urn: resource.urn, reasons });
    shown.push(...reasons);
  };
  try {
    const summary = await OPERATIONS[operation]({
      ...options(dir, flags),
      onEvent,
      signal: stop.signal,
      impatience: impatience.signal,
    });
    if (flags.json) printJson({ ...summary, outputs: flags.showSecrets ? summary.outputs : hideSecrets(summary) });
  } catch (error) {
    if (flags.json && failures.length > 0) Object.assign(error as Error, { failures });
    if (!flags.json && shown.some((text) => text.includes((error as Error).message)))
      throw new WarrenError("WARREN_FAILED", `${operation} did not succeed: see above.`, { cause: error });
    throw error;
  } finally {
    renderer?.close();
    process.off("SIGINT", onSignal);
    process.off("SIGTERM", onSignal);
  }
}

function terminal(flags: StackFlags): Renderer {
  const tty = process.stdout.isTTY === true;
  return createRenderer({
    write: (text) => void process.stdout.write(text),
    live: tty,
    color: tty && process.env.NO_COLOR === undefined,
    showSecrets: flags.showSecrets === true,
  });
}

export async function showOutputs(dir: string, name: string | undefined, flags: StackFlags): Promise<void> {
  const all = await outputs({ ...options(dir, flags), onEvent: () => undefined }, { showSecrets: flags.showSecrets });
  if (name !== undefined) {
    if (!(name in all)) {
      const known = Object.keys(all).join(", ") || "none";
      throw new WarrenError("WARREN_NOT_FOUND", `This stack has no output "${name}"; its outputs: ${known}.`);
    }
    if (flags.json) return printJson(all[name]);
    return print(text(all[name]));
  }
  if (flags.json) return printJson(all);
  for (const [key, value] of Object.entries(all)) print(`${key}: ${text(value)}`);
}

function text(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}

function options(dir: string, flags: StackFlags): Omit<StackOptions, "onEvent"> {
  return {
    projectDir: path.resolve(dir),
    stack: flags.stack,
    stateDir: home().stacks,
    config: Object.fromEntries(flags.config.map(keyValue)),
    ...(flags.parallel === undefined ? {} : { parallel: flags.parallel }),
  };
}

function keyValue(pair: string): [string, string] {
  const at = pair.indexOf("=");
  if (at <= 0)
    throw new WarrenError("WARREN_INVALID_INPUT", `"--config ${pair}" must be KEY=VALUE.`, { path: "--config" });
  return [pair.slice(0, at), pair.slice(at + 1)];
}

function hideSecrets(summary: Summary): Summary["outputs"] {
  return Object.fromEntries(
    Object.entries(summary.outputs).map(([key, output]) => [
      key,
      output.secret ? { ...output, value: "[secret]" } : output,
    ]),
  );
}
