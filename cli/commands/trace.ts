/** `warren trace`: walks the way from one member to another, and names the first step that is broken. */
import { isIPv6 } from "node:net";
import { WarrenError } from "../../runtime/errors";
import { type Context, findAnyMember, hostOf, pickInstance, print, printJson, withControl } from "../context";
import { connectionStep, type Step, serviceAmong, trace } from "../trace";
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
  const { host, port, protocol } = parseTo(toText);
  await withControl(async (client) => {
    const status = await client.status();
    const from = findAnyMember(status, fromText, options.network);
    const network = status.networks.find(({ id }) => id === from.networkId)!;
    const fromInstance = from.kind === "app" ? pickInstance(status, from, options.instance) : undefined;
    const asker = fromInstance?.id ?? from.id;
    const addresses = await addressesOf(client, network, asker, hostOf(status, network, host));
    const service = serviceAmong(status, network.id, addresses);
    // What the gateways tell names by, they steer connections by.
    const nearest = service && `top65535.nearest.of.${service.name}.${network.spec.domain}`;
    const backends = nearest === undefined ? [] : await addressesOf(client, network, asker, nearest);
    const facts = { status, network, from, host, protocol, addresses, backends, now: Date.now() };
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

/** `NAME`, `NAME:PORT`, an address, `[v6]:PORT`; a port may have `/udp` behind it. */
export function parseTo(text: string): { host: string; port?: number; protocol: "tcp" | "udp" } {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_][A-Za-z0-9._-]*))(?::(\d{1,5})(?:\/(tcp|udp))?)?$/.exec(text);
  const host = match?.[1] ?? match?.[2] ?? (isIPv6(text) ? text : undefined);
  const port = match?.[3] === undefined ? undefined : Number(match[3]);
  const invalid = host === undefined || (match?.[1] !== undefined && !isIPv6(match[1]));
  if (invalid || (port !== undefined && (port < 1 || port > 65_535)))
    throw new WarrenError(
      "WARREN_INVALID_INPUT",
      `"${text}" is no NAME, NAME:PORT or NAME:PORT/udp: write for instance api-service-west:8080.`,
    );
  return { host, ...(port === undefined ? {} : { port }), protocol: match?.[4] === "udp" ? "udp" : "tcp" };
}
