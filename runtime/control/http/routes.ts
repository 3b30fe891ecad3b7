/** The control interface, route by route (interface/README.md). */

import { once } from "node:events";
import { Type } from "@sinclair/typebox";
import { WarrenError } from "../../errors";
import type { AgentView, DialView, NamesView } from "../agent-view";
import {
  type Attempt,
  AttemptRequest,
  DnsMessage,
  type HealthAnswer,
  type MemberRecord,
  Owner,
  type PingAnswer,
  PingRequest,
  PlanRequest,
  PutMember,
  PutNetwork,
  type Readiness,
  type Status,
} from "../interface/types";
import { API_VERSION } from "../interface/version";
import { localEndpoint, type Registry } from "../registry";
import type { Sources } from "../sources";
import { readBody } from "./body";
import { unreachable } from "./dial";
import { type Call, type Route, route } from "./router";

export interface RoutesContext {
  readonly registry: Registry;
  readonly sources: Sources;
  readonly agent: () => AgentView;
  /** Undefined: not there yet. */
  readonly names: () => NamesView | undefined;
  /** Likewise. */
  readonly dial: () => DialView | undefined;
  readonly version: string;
  readonly homeDir: string;
  /** Milliseconds since the daemon started. */
  readonly uptime: () => number;
  readonly shutdown: (apps: "keep" | "stop") => void;
  readonly removeUnusedSources: () => void;
  /** Milliseconds. */
  readonly waits: Waits;
}

export interface Waits {
  /** For the agent to start; on a loaded machine that takes seconds. */
  readonly agent: number;
  /** For the agent to open a host's UDP port. */
  readonly port: number;
  /** For processes and links of what was deleted to be gone. */
  readonly settled: number;
}

export const WAITS: Waits = { agent: 10_000, port: 20_000, settled: 60_000 };

/** Seconds; a poll is bounded, so that a caller that hung up without a sign is not served for ever. */
const LONGEST_POLL = 600;
const DEFAULT_LINES = 100;
const MOST_LINES = 100_000;

const DeleteNetwork = Type.Union([Owner, Type.Object({ owner: Owner })]);
const Shutdown = Type.Object({ apps: Type.Union([Type.Literal("keep"), Type.Literal("stop")]) });

export function routes(context: RoutesContext): Route[] {
  const { registry, sources } = context;
  const health = (): HealthAnswer => ({
    version: context.version,
    apiVersion: API_VERSION,
    registryId: registry.id,
    pid: process.pid,
  });
  return [
    route("GET", "/v1/health", health),
    route("GET", "/v1/status", () => status(context, health())),
    route("POST", "/v1/plan", async ({ request }) => ({
      addresses: registry.plan(await readBody(request, PlanRequest)),
    })),

    route("GET", "/v1/networks", () => registry.networks()),
    route("GET", "/v1/networks/:network", ({ params }) => registry.network(params.network)),
    route("PUT", "/v1/networks/:network", async ({ params, request }) =>
      registry.putNetwork(params.network, await readBody(request, PutNetwork)),
    ),
    route("DELETE", "/v1/networks/:network", async ({ params, request, signal }) => {
      const body = await readBody(request, DeleteNetwork);
      registry.deleteNetwork(params.network, "owner" in body ? body.owner : body);
      await settled(context, params.network, signal);
      return {};
    }),

    route("POST", "/v1/networks/:network/dns", async ({ params, request }): Promise<DnsMessage> => {
      const { message, from } = await readBody(request, DnsMessage);
      const { id } = registry.network(params.network);
      const names = context.names();
      if (!names) throw new WarrenError("WARREN_NOT_READY", "The names are not served yet: try again in a moment.");
      const reply = await names.ask(id, Buffer.from(message, "base64"), from);
      return { message: Buffer.from(reply).toString("base64") };
    }),

    route("POST", "/v1/networks/:network/ping", async ({ params, request }): Promise<PingAnswer> => {
      const { to, timeout } = await readBody(request, PingRequest);
      const { id } = registry.network(params.network);
      return dialView(context)
        .ping(id, to, timeout)
        .catch((error) => {
          throw unreachable(error);
        });
    }),
    route("POST", "/v1/instances/:id/attempt", async ({ params, request }): Promise<Attempt> => {
      const { address, port, timeout } = await readBody(request, AttemptRequest);
      return dialView(context).attempt(params.id, address, port, timeout);
    }),

    route("GET", "/v1/members", ({ query }) =>
      registry
        .members({ network: query.get("network") ?? undefined, kind: query.get("kind") ?? undefined })
        .map(withoutSecrets),
    ),
    route("GET", "/v1/members/:id", ({ params }) => registry.member(params.id)),
    route("PUT", "/v1/networks/:network/members/:name", async ({ params, request, signal }) => {
      const put = await readBody(request, PutMember);
      if (put.kind === "app" && put.app.sourceHash !== undefined) sources.need(put.app.sourceHash);
      const member = registry.putMember(params.network, params.name, put);
      return member.gateway ? await withPort(context, member, signal) : member;
    }),
    route("DELETE", "/v1/members/:id", async ({ params, signal }) => {
      registry.deleteMember(params.id);
      await settled(context, params.id, signal);
      return {};
    }),
    route("GET", "/v1/members/:id/ready", async ({ params, query, signal }): Promise<Readiness> => {
      const member = registry.member(params.id);
      const expired = registry.expiredAt(member);
      // The agent does not hear of it any more, and nothing is missing: this is how it was declared.
      if (expired !== undefined)
        return { ready: true, missing: [], warnings: [`${member.name} expired at ${expired}.`] };
      const wait = number(query, "wait", 0, LONGEST_POLL) * 1000;
      const readiness = await context.agent().readiness(params.id, wait, signal);
      // A member that works no longer runs from the source it had before.
      if (readiness.ready) context.removeUnusedSources();
      return readiness;
    }),

    route("GET", "/v1/sources/:hash", ({ params }) => {
      sources.need(params.hash);
      return { hash: params.hash };
    }),
    route("PUT", "/v1/sources/:hash", async ({ params, request }) => {
      await sources.put(params.hash, request);
      return { hash: params.hash };
    }),

    route("GET", "/v1/instances/:id/entry", ({ params }) => context.agent().entry(params.id)),
    route("GET", "/v1/instances/:id/logs", (call) => logs(context, call)),

    route("POST", "/v1/shutdown", async ({ request, response }) => {
      const { apps } = await readBody(request, Shutdown);
      response.on("finish", () => context.shutdown(apps));
      response.setHeader("connection", "close");
      return {};
    }),
  ];
}

async function status({ registry, agent, homeDir, uptime }: RoutesContext, health: HealthAnswer): Promise<Status> {
  const { applied, problems, link, linkReason, aead, instances, gateways, tunnels, stacks } = await agent().status();
  return {
    ...health,
    home: homeDir,
    link,
    ...(linkReason === undefined ? {} : { linkReason }),
    aead,
    uptime: uptime() / 1000,
    revision: registry.revision,
    applied,
    problems: [...problems],
    hosts: registry.hosts().map((host) => ({ ...host, endpoint: localEndpoint(host.port) })),
    networks: registry.networks(),
    members: registry.members().map(withoutSecrets),
    instances: [...instances],
    gateways: [...(gateways ?? [])],
    tunnels: [...tunnels],
    ...(stacks === undefined ? {} : { stacks: [...stacks] }),
  };
}

/** What a listing shows instead of an environment's values, as Pulumi writes it. */
const HIDDEN = "[secret]";

/** A listing shows no key that opens anything, nor an app's environment, where passwords are; a member that is asked for by its id does. */
function withoutSecrets(member: MemberRecord): MemberRecord {
  if (member.app) {
    const env = Object.fromEntries(Object.keys(member.app.env).map((name) => [name, HIDDEN]));
    return { ...member, app: { ...member.app, env } };
  }
  if (!member.peer?.presharedKey) return member;
  const { presharedKey: _, ...peer } = member.peer;
  return { ...member, peer };
}

/** A peer's config file names its gateway's port, so the answer waits until the agent has bound one. */
async function withPort(context: RoutesContext, member: MemberRecord, signal: AbortSignal): Promise<MemberRecord> {
  const { registry, waits } = context;
  const host = member.gateway!.hostId;
  const bound = () => (registry.host(host)?.port ?? 0) !== 0;
  if (!bound()) {
    const deadline = AbortSignal.timeout(waits.port);
    await new Promise<void>((resolve) => {
      const done = () => {
        stop();
        resolve();
      };
      const stop = registry.onChange(() => bound() && done());
      for (const end of [signal, deadline]) end.addEventListener("abort", done, { once: true });
      if (signal.aborted) done();
    });
    if (!bound())
      throw new WarrenError(
        "WARREN_NOT_READY",
        `The agent has not opened the UDP port of ${host} within ${waits.port / 1000} s: see \`warren status\` and run again.`,
      );
  }
  return registry.member(member.id);
}

async function settled(context: RoutesContext, id: string, signal: AbortSignal): Promise<void> {
  if (await context.agent().settled(id, context.waits.settled, signal)) {
    // Only now: until it is gone, the app may still run from its source.
    context.removeUnusedSources();
    return;
  }
  throw new WarrenError(
    "WARREN_NOT_READY",
    `${id} is deleted, but its processes and links are not gone after ${context.waits.settled / 1000} s: see \`warren status\` and run again.`,
  );
}

async function logs({ agent }: RoutesContext, { params, query, response, signal }: Call): Promise<undefined> {
  const follow = query.get("follow") === "1";
  const lines = number(query, "lines", DEFAULT_LINES, MOST_LINES);
  const chunks = agent().logs(params.id, { lines, follow, signal })[Symbol.asyncIterator]();
  // The first chunk before the head, so that an unknown instance is still an answer of its own.
  let step = await first(chunks, follow, response);
  while (!step.done && !signal.aborted) {
    if (!response.write(step.value)) await Promise.race([once(response, "drain"), aborted(signal)]);
    step = await chunks.next();
  }
  await chunks.return?.();
  response.end();
  return undefined;
}

async function first<T>(
  chunks: AsyncIterator<T>,
  follow: boolean,
  response: Call["response"],
): Promise<IteratorResult<T>> {
  const head = () => {
    response.writeHead(200, { "content-type": "text/plain; charset=utf-8" });
    response.flushHeaders();
  };
  const next = chunks.next();
  if (follow) {
    // A quiet app may not write for hours: the caller learns soon that it is connected.
    const quiet = setTimeout(head, 200);
    try {
      return await next;
    } finally {
      clearTimeout(quiet);
      if (!response.headersSent && (await settledOk(next))) head();
    }
  }
  const step = await next;
  head();
  return step;
}

async function settledOk(promise: Promise<unknown>): Promise<boolean> {
  return promise.then(
    () => true,
    () => false,
  );
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

function number(query: URLSearchParams, name: string, byDefault: number, most: number): number {
  const text = query.get(name);
  if (text === null) return byDefault;
  const value = Number(text);
  if (text === "" || !Number.isFinite(value) || value < 0 || value > most)
    throw new WarrenError("WARREN_INVALID_INPUT", `${name}: "${text}" is not a number from 0 to ${most}.`, {
      path: name,
    });
  return value;
}

function dialView(context: RoutesContext): DialView {
  const dial = context.dial();
  if (!dial) throw new WarrenError("WARREN_NOT_READY", "The agent is still starting: try again in a moment.");
  return dial;
}
