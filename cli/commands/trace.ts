/** `warren trace`: walks the way from one member to another, and names the first step that is broken. */
import { WarrenError } from "../../runtime/errors";
import { type Context, findAnyMember, hostOf, pickInstance, print, printJson, withControl } from "../context";
import { connectionStep, type Step, trace } from "../trace";
import { addressesOf } from "./dig";

/** Milliseconds for the connection that is tried at the end. */
const PATIENCE = 5000;

export interface TraceOptions extends Context {
  readonly network?: string;
  /** Of the app that asks: `ord/0` or a region. */
  readonly instance?: string;
}

/** Sets a non-zero exit where a step is broken. */
export async function traceCommand(fromText: string, toText: string, options: TraceOptions): Promise<void> {
  const { host, port } = parseTo(toText);
  await withControl(async (client) => {
    const status = await client.status();
    const from = findAnyMember(status, fromText, options.network);
    const network = status.networks.find(({ id }) => id === from.networkId)!;
    const fromInstance = from.kind === "app" ? pickInstance(status, from, options.instance) : undefined;
    const addresses = await addressesOf(client, network, from, hostOf(status, network, host));
    const facts = { status, network, from, host, addresses, now: Date.now() };
    const { steps, to } = trace({
      ...facts,
      ...(fromInstance === undefined ? {} : { fromInstance }),
      ...(port === undefined ? {} : { port }),
    });
    const all: Step[] = [...steps];
    if (to && fromInstance)
      all.push(connectionStep(await client.attempt(fromInstance.id, to.address, to.port, PATIENCE)));
    const broken = all.find(({ ok }) => !ok);
    if (options.json) printJson({ from: from.name, to: toText, ok: broken === undefined, steps: all });
    else for (const { step, ok, detail } of all) print(`${ok ? "ok    " : "broken"}  ${step.padEnd(10)}  ${detail}`);
    if (broken) process.exitCode = 1;
  });
}

/** `NAME`, `NAME:PORT`, an address, `[v6]:PORT`. */
function parseTo(text: string): { host: string; port?: number } {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_][A-Za-z0-9._-]*))(?::(\d{1,5}))?$/.exec(text);
  const host = match?.[1] ?? match?.[2] ?? (/^[0-9A-Fa-f:.]+$/.test(text) ? text : undefined);
  const port = match?.[3] === undefined ? undefined : Number(match[3]);
  if (host === undefined || (port !== undefined && (port < 1 || port > 65_535)))
    throw new WarrenError(
      "WARREN_INVALID_INPUT",
      `"${text}" is no NAME or NAME:PORT: write for instance api-service-west:8080.`,
    );
  return { host, ...(port === undefined ? {} : { port }) };
}
