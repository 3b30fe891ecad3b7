/** The typed client of the control interface (runtime/control/interface), over the Unix socket of a state folder. */
import { createReadStream } from "node:fs";
import * as http from "node:http";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import type {
  Attempt,
  DnsMessage,
  Entry,
  HealthAnswer,
  MemberRecord,
  NetworkRecord,
  Owner,
  PingAnswer,
  PlanAnswer,
  PlanRequest,
  PutMember,
  PutNetwork,
  Readiness,
  Status,
} from "../runtime/control/interface/types";
import { WarrenError, type WarrenErrorCode } from "../runtime/errors";
import { type Home, home } from "../runtime/home";

/** Milliseconds; what control answers from memory. Deleting a member waits for its processes and has a longer bound. */
const ANSWER_TIMEOUT = 30_000;
const DELETE_TIMEOUT = 120_000;

interface Call {
  method?: "GET" | "PUT" | "POST" | "DELETE";
  body?: unknown;
  /** Milliseconds until the answer must have begun. */
  timeout?: number;
  signal?: AbortSignal;
}

/** What the hooks, the look-up functions and the CLI ask of control. Each throws a WarrenError. */
export interface ControlClient {
  health(signal?: AbortSignal): Promise<HealthAnswer>;
  status(): Promise<Status>;
  plan(request: PlanRequest): Promise<PlanAnswer>;
  networks(): Promise<NetworkRecord[]>;
  /** @throws WarrenError WARREN_NOT_FOUND */
  network(idOrName: string): Promise<NetworkRecord>;
  putNetwork(name: string, body: PutNetwork): Promise<NetworkRecord>;
  deleteNetwork(id: string, owner: Owner): Promise<void>;
  members(filter?: { network?: string; kind?: "app" | "peer" }): Promise<MemberRecord[]>;
  /** @throws WarrenError WARREN_NOT_FOUND */
  member(id: string): Promise<MemberRecord>;
  putMember(network: string, name: string, body: PutMember): Promise<MemberRecord>;
  deleteMember(id: string): Promise<void>;
  /** Answers when the member works or `seconds` are over. */
  ready(id: string, seconds: number, signal?: AbortSignal): Promise<Readiness>;
  hasSource(sha256: string): Promise<boolean>;
  /** Delivers a gzipped tar; a second time is harmless. */
  putSource(sha256: string, file: string): Promise<void>;
  entry(instanceId: string): Promise<Entry>;
  /** Asks the DNS of a network. @param from id of the member or instance that asks; undefined: this machine */
  dns(network: string, message: Uint8Array, from?: string): Promise<Uint8Array>;
  /** One echo request from this machine's gateway. @param timeout milliseconds @throws WarrenError WARREN_NOT_FOUND, WARREN_UNREACHABLE */
  ping(network: string, to: string, timeout: number): Promise<PingAnswer>;
  /** A TCP connection as an instance of this machine makes it. */
  attempt(instanceId: string, address: string, port: number, timeout: number): Promise<Attempt>;
  logs(
    instanceId: string,
    options: { follow: boolean; lines?: number; signal?: AbortSignal },
  ): Promise<AsyncIterable<Buffer>>;
  shutdown(apps: "keep" | "stop"): Promise<void>;
  /** Calls under way end with an error. */
  close(): Promise<void>;
}

/** A client of the control whose socket is at this path; nothing is connected yet. */
export function socketClient(socketPath: string): ControlClient {
  const running = new Set<http.ClientRequest>();

  /** Resolves when the answer begins. */
  function send(path: string, call: Call): Promise<http.IncomingMessage> {
    const { body, method = "GET", timeout = ANSWER_TIMEOUT, signal } = call;
    return new Promise((resolve, reject) => {
      const upload = body instanceof Readable;
      const payload = body === undefined || upload ? "" : JSON.stringify(body);
      // The length is said, for Node frames the body of a DELETE only then.
      const headers = upload
        ? { "content-type": "application/octet-stream" }
        : { "content-type": "application/json", "content-length": Buffer.byteLength(payload) };
      // A connection for each call: a daemon that ends meanwhile is then seen at once, and a socket of this machine costs little.
      const request = http.request({ socketPath, path, method, headers, agent: false, ...(signal ? { signal } : {}) });
      const late = setTimeout(
        () => request.destroy(new Error(`it did not answer within ${timeout / 1000} s`)),
        timeout,
      );
      running.add(request);
      request.on("close", () => {
        clearTimeout(late);
        running.delete(request);
      });
      request.on("error", reject);
      request.on("response", (answer) => {
        clearTimeout(late);
        resolve(answer);
      });
      if (upload) body.on("error", (error) => request.destroy(error)).pipe(request);
      else request.end(payload);
    });
  }

  async function begin(path: string, call: Call): Promise<http.IncomingMessage> {
    const answer = await send(path, call).catch((error) => {
      throw transportError(error, socketPath);
    });
    const status = answer.statusCode ?? 0;
    if (status >= 400) throw answerError(path, status, await whole(answer));
    return answer;
  }

  /** @throws WarrenError WARREN_CONTROL_UNREACHABLE when the daemon ends in the middle of it. */
  async function whole(answer: http.IncomingMessage): Promise<string> {
    answer.setTimeout(ANSWER_TIMEOUT, () => answer.destroy(new Error("its answer stopped in the middle")));
    try {
      return await text(answer);
    } catch (error) {
      throw transportError(error, socketPath);
    }
  }

  async function json<T>(path: string, call: Call = {}): Promise<T> {
    const body = await whole(await begin(path, call));
    return (body === "" ? undefined : JSON.parse(body)) as T;
  }

  const e = encodeURIComponent;
  return {
    health: (signal) => json("/v1/health", { timeout: 5_000, signal }),
    status: () => json("/v1/status"),
    plan: (body) => json("/v1/plan", { method: "POST", body }),
    networks: () => json("/v1/networks"),
    network: (idOrName) => json(`/v1/networks/${e(idOrName)}`),
    putNetwork: (name, body) => json(`/v1/networks/${e(name)}`, { method: "PUT", body }),
    deleteNetwork: (id, owner) =>
      json(`/v1/networks/${e(id)}`, { method: "DELETE", body: owner, timeout: DELETE_TIMEOUT }),
    members: (filter = {}) => json(`/v1/members${query(filter)}`),
    member: (id) => json(`/v1/members/${e(id)}`),
    putMember: (network, name, body) => json(`/v1/networks/${e(network)}/members/${e(name)}`, { method: "PUT", body }),
    deleteMember: (id) => json(`/v1/members/${e(id)}`, { method: "DELETE", timeout: DELETE_TIMEOUT }),
    ready: (id, seconds, signal) =>
      json(`/v1/members/${e(id)}/ready?wait=${seconds}`, { timeout: seconds * 1000 + ANSWER_TIMEOUT, signal }),
    hasSource: async (sha256) => {
      try {
        await json(`/v1/sources/${e(sha256)}`);
        return true;
      } catch (error) {
        if (WarrenError.is(error) && error.code === "WARREN_NOT_FOUND") return false;
        throw error;
      }
    },
    putSource: async (sha256, file) => {
      await json(`/v1/sources/${e(sha256)}`, { method: "PUT", body: createReadStream(file), timeout: DELETE_TIMEOUT });
    },
    entry: (instanceId) => json(`/v1/instances/${e(instanceId)}/entry`),
    logs: async (instanceId, { follow, lines, signal }) =>
      begin(`/v1/instances/${e(instanceId)}/logs${query({ follow: follow ? "1" : undefined, lines })}`, { signal }),
    dns: async (network, message, from) => {
      const body = { message: Buffer.from(message).toString("base64"), ...(from === undefined ? {} : { from }) };
      const reply = await json<DnsMessage>(`/v1/networks/${e(network)}/dns`, { method: "POST", body });
      return Buffer.from(reply.message, "base64");
    },
    ping: (network, to, timeout) =>
      json(`/v1/networks/${e(network)}/ping`, {
        method: "POST",
        body: { to, timeout },
        timeout: timeout + ANSWER_TIMEOUT,
      }),
    attempt: (instanceId, address, port, timeout) =>
      json(`/v1/instances/${e(instanceId)}/attempt`, {
        method: "POST",
        body: { address, port, timeout },
        timeout: timeout + ANSWER_TIMEOUT,
      }),
    shutdown: (apps) => json("/v1/shutdown", { method: "POST", body: { apps } }),
    close: async () => {
      for (const request of running) request.destroy();
    },
  };
}

/**
 * Where control is, by configuration and environment: a state folder on this machine, unless a URL names another place.
 * @throws WarrenError WARREN_UNSUPPORTED for a URL that is not `unix:PATH`.
 */
export function controlPlace(controlUrl: string | undefined, dir?: string): { home: Home } | { socketPath: string } {
  const url = controlUrl || process.env.WARREN_CONTROL_URL;
  if (!url) return { home: home(dir) };
  const path = /^unix:(?:\/\/)?(\/.+)$/.exec(url)?.[1];
  if (path) return { socketPath: path };
  throw new WarrenError(
    "WARREN_UNSUPPORTED",
    `A control at ${withoutUserInfo(url)} is not supported yet: leave warren:controlUrl and WARREN_CONTROL_URL unset to use ` +
      "the one on this machine, or name a socket as unix:/path/to/control.sock.",
    { path: "warren:controlUrl" },
  );
}

function withoutUserInfo(url: string): string {
  return url.replace(/\/\/[^/@]*@/, "//");
}

function query(values: Record<string, string | number | undefined>): string {
  const set = Object.entries(values).filter(([, v]) => v !== undefined);
  return set.length === 0 ? "" : `?${set.map(([k, v]) => `${k}=${encodeURIComponent(v as string)}`).join("&")}`;
}

function answerError(path: string, status: number, text: string): WarrenError {
  try {
    const { error } = JSON.parse(text);
    return new WarrenError(error.code as WarrenErrorCode, error.message, { path: error.path });
  } catch {
    const said = text.slice(0, 200);
    return new WarrenError("WARREN_INTERNAL", `Control answered ${path.split("?")[0]} with status ${status}: ${said}`);
  }
}

function transportError(error: unknown, socketPath: string): WarrenError {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === "EACCES" || code === "EPERM")
    return new WarrenError(
      "WARREN_PERMISSION",
      `The control socket ${socketPath} belongs to another user: run as that user, or set WARREN_HOME to a folder of your own.`,
      { path: "WARREN_HOME", cause: error },
    );
  const why = (error as Error).message || String(code);
  return new WarrenError(
    "WARREN_CONTROL_UNREACHABLE",
    `Control at ${socketPath} cannot be reached (${why}): see daemon.log in the state folder, or "warren status".`,
    { cause: error },
  );
}
