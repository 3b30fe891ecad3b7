/** `warren exec` and `warren logs`: into an app, and what it said. */
import { spawn } from "node:child_process";
import { constants } from "node:os";
import * as readline from "node:readline";
import { Readable } from "node:stream";
import { WarrenError } from "../../runtime/errors";
import { type Context, findMember, pickInstance, print, withControl } from "../context";

/**
 * Runs a command where the app runs: its network, its names, its user, its environment. Standard streams, the terminal and signals
 * are this process's own. @returns the command's exit code; 128 + n when signal n ended it.
 */
export async function exec(appName: string, command: readonly string[], instance: string | undefined): Promise<number> {
  if (command.length === 0)
    throw new WarrenError("WARREN_INVALID_INPUT", `Say what to run: warren exec ${appName} -- CMD [ARG...].`);
  const entry = await withControl(async (client) => {
    const status = await client.status();
    const chosen = pickInstance(status, findMember(status, appName, "app"), instance);
    return client.entry(chosen.id);
  });
  const [file, ...args] = [...entry.prefix, ...command];
  const env: NodeJS.ProcessEnv = { ...entry.env };
  if (process.env.TERM) env.TERM = process.env.TERM;
  const child = spawn(file as string, args, { stdio: "inherit", cwd: "/", env });
  // The terminal sends its signals to the whole foreground group; this process only waits for the command's own reaction.
  const forward = (signal: NodeJS.Signals) => child.kill(signal);
  const ignore = () => undefined;
  process.on("SIGINT", ignore);
  process.on("SIGTERM", forward);
  process.on("SIGHUP", forward);
  try {
    return await new Promise((resolve, reject) => {
      child.on("error", (error) => reject(new WarrenError("WARREN_INTERNAL", `Cannot run ${file}: ${error.message}.`)));
      child.on("exit", (code, signal) => resolve(code ?? 128 + (signal ? constants.signals[signal] : 0)));
    });
  } finally {
    process.off("SIGINT", ignore);
    process.off("SIGTERM", forward);
    process.off("SIGHUP", forward);
  }
}

/** One JSON value a line, for a stream. */
function printLine(value: unknown): void {
  print(JSON.stringify(value));
}

/** What an instance wrote, line by line; with `json` each as `{"line": …}`. */
export async function logs(
  appName: string,
  options: Context & { follow: boolean; lines: number; instance: string | undefined },
): Promise<void> {
  const stop = new AbortController();
  process.once("SIGINT", () => stop.abort());
  await withControl(async (client) => {
    const status = await client.status();
    const chosen = pickInstance(status, findMember(status, appName, "app"), options.instance);
    try {
      const stream = await client.logs(chosen.id, {
        follow: options.follow,
        lines: options.lines,
        signal: stop.signal,
      });
      if (!options.json) for await (const chunk of stream) process.stdout.write(chunk);
      else for await (const line of readline.createInterface({ input: Readable.from(stream) })) printLine({ line });
    } catch (error) {
      if (!stop.signal.aborted) throw error;
    }
  });
}
