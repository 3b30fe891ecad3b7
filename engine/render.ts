import type { EngineEvent, Op, Summary } from "./types";

/** Turns events into text for a person. */
export interface Renderer {
  onEvent(event: EngineEvent): void;
  /** Leaves the terminal as it should be; call it when the operation has ended, well or not. */
  close(): void;
}

export interface RendererOptions {
  write(text: string): void;
  /** Redraws a line for what is running; false for logs. */
  live: boolean;
  color: boolean;
  /** Shows unchanged resources too. @default false */
  showSames?: boolean;
  /** Shows what secret outputs are. @default false */
  showSecrets?: boolean;
  /** Milliseconds, for the running operations' age. @default Date.now */
  now?(): number;
}

const SIGNS: Record<Op, string> = { create: "+", update: "~", replace: "+-", delete: "-", same: " ", read: ">" };
const DOING: Record<Op, string> = {
  create: "creating",
  update: "updating",
  replace: "replacing",
  delete: "deleting",
  same: "checking",
  read: "reading",
};
const DONE: Record<Op, string> = {
  create: "created",
  update: "updated",
  replace: "replaced",
  delete: "deleted",
  same: "unchanged",
  read: "read",
};
const PLANNED: Record<Op, string> = {
  create: "create",
  update: "update",
  replace: "replace",
  delete: "delete",
  same: "unchanged",
  read: "read",
};
const COLORS: Record<Op, number> = { create: 32, update: 33, replace: 35, delete: 31, same: 90, read: 36 };
const RED = 31;
const YELLOW = 33;
const GREY = 90;
/** Erases the line and goes to its start. */
const ERASE = "\r\x1b[2K";
const REDRAW_MS = 200;
const MAX_LIVE_WIDTH = 100;

export function createRenderer(options: RendererOptions): Renderer {
  const now = options.now ?? Date.now;
  const running = new Map<string, { label: string; since: number }>();
  let dryRun = false;
  let drawn = false;
  const paint = (code: number, text: string) => (options.color ? `\x1b[${code}m${text}\x1b[0m` : text);

  const erase = () => {
    if (drawn) options.write(ERASE);
    drawn = false;
  };
  const draw = () => {
    if (!options.live || running.size === 0) return;
    erase();
    const items = [...running.values()].map(({ label, since }) => `${label} ${Math.round((now() - since) / 1000)}s`);
    options.write(paint(GREY, items.join(", ").slice(0, MAX_LIVE_WIDTH)));
    drawn = true;
  };
  const line = (text: string) => {
    erase();
    options.write(`${text}\n`);
    draw();
  };
  const timer = options.live ? setInterval(draw, REDRAW_MS) : undefined;
  timer?.unref();

  const onResource = (event: EngineEvent & { kind: "resource" }) => {
    const { op, status, resource } = event;
    const label = `${shortType(resource.type)} ${resource.name}`;
    const key = `${op} ${resource.urn}`;
    if (status === "started") {
      if (!dryRun) running.set(key, { label: `${DOING[op]} ${resource.name}`, since: now() });
      draw();
      return;
    }
    running.delete(key);
    if (status === "done" && op === "same" && options.showSames !== true) return draw();
    const verb = status === "failed" ? `${PLANNED[op]} failed` : dryRun ? PLANNED[op] : DONE[op];
    const notes = [
      ...(event.replaced === true ? ["for its replacement"] : []),
      ...(event.replaceKeys?.length ? [`because of ${event.replaceKeys.join(", ")}`] : []),
      ...(event.changedKeys?.length && !event.replaceKeys?.length ? [event.changedKeys.join(", ")] : []),
      ...(event.durationMs !== undefined && !dryRun && event.durationMs >= 100 ? [seconds(event.durationMs)] : []),
    ];
    const color = status === "failed" ? RED : COLORS[op];
    line(
      paint(color, ` ${SIGNS[op].padEnd(2)} ${label}  ${verb}`) +
        (notes.length ? paint(GREY, `  [${notes.join("; ")}]`) : ""),
    );
    for (const reason of status === "failed" ? (event.reasons ?? []) : []) line(paint(RED, `      ${reason}`));
  };

  return {
    onEvent(event) {
      switch (event.kind) {
        case "start":
          dryRun = event.operation === "preview";
          line(paint(GREY, `${TITLES[event.operation]} ${event.project}/${event.stack}`));
          break;
        case "resource":
          onResource(event);
          break;
        case "diagnostic":
          if (event.severity !== "debug") {
            const color = event.severity === "error" ? RED : event.severity === "warning" ? YELLOW : GREY;
            for (const text of event.message.split("\n")) line(paint(color, `${event.severity}: ${text}`));
          }
          break;
        case "output":
          if (event.line.trim() !== "") line(paint(GREY, "  | ") + event.line);
          break;
        case "summary":
          running.clear();
          for (const text of summaryLines(event.summary, options.showSecrets === true)) line(text);
          break;
      }
    },
    close() {
      clearInterval(timer);
      running.clear();
      erase();
    },
  };
}

const TITLES = { preview: "Previewing", up: "Updating", refresh: "Refreshing", destroy: "Destroying" };

/** The part of a type that tells resources apart: `warren:App` of `pulumi-nodejs:dynamic/warren:App`. */
function shortType(type: string): string {
  return type.replace(/^pulumi-nodejs:dynamic[/:]/, "").replace(/^pulumi:pulumi:/, "pulumi:");
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)}s`;
}

function summaryLines(summary: Summary, showSecrets: boolean): string[] {
  const lines: string[] = [];
  const outputs = Object.entries(summary.outputs);
  if (outputs.length > 0) {
    lines.push("Outputs:");
    const width = Math.max(...outputs.map(([name]) => name.length));
    for (const [name, output] of outputs) {
      let text =
        typeof output.value === "string" ? JSON.stringify(output.value) : JSON.stringify(output.value, null, 2);
      if (output.unknown === true) text = "[known after up]";
      else if (output.secret && !showSecrets) text = "[secret]";
      lines.push(`    ${name.padEnd(width)} : ${text.replaceAll("\n", "\n    ")}`);
    }
  }
  const dryRun = summary.operation === "preview";
  const counts = (["create", "update", "replace", "delete", "read", "same"] as const)
    .filter((op) => summary.counts[op] > 0)
    .map((op) => `${summary.counts[op]} ${op === "same" ? "unchanged" : dryRun ? `to ${PLANNED[op]}` : DONE[op]}`);
  lines.push(`Resources: ${counts.join(", ") || "none"}  (${seconds(summary.durationMs)})`);
  return lines;
}
