/** `warren preview|up|refresh|destroy|output DIR`: Pulumi programs on the embedded engine. */
import * as path from "node:path";
import { createRenderer, destroy, outputs, preview, refresh, type StackOptions, type Summary, up } from "../../engine";
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
  const onSignal = () => {
    if (stop.signal.aborted) return;
    process.stderr.write("Stopping: running operations may finish, no new one starts.\n");
    stop.abort();
  };
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
  const renderer = flags.json
    ? undefined
    : createRenderer({
        write: (text) => void process.stdout.write(text),
        live: process.stdout.isTTY === true,
        color: process.stdout.isTTY === true && process.env.NO_COLOR === undefined,
        showSecrets: flags.showSecrets === true,
      });
  try {
    const summary = await OPERATIONS[operation]({
      ...options(dir, flags),
      onEvent: (event) => renderer?.onEvent(event),
      signal: stop.signal,
    });
    if (flags.json) printJson({ ...summary, outputs: flags.showSecrets ? summary.outputs : hideSecrets(summary) });
  } finally {
    renderer?.close();
    process.off("SIGINT", onSignal);
    process.off("SIGTERM", onSignal);
  }
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
