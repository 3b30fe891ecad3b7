/** Routes by method and path pattern; `:name` matches one segment. */
import type { IncomingMessage, ServerResponse } from "node:http";

export interface Call {
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Aborted when the caller hangs up or the server closes. */
  readonly signal: AbortSignal;
}

/** Returns the JSON value to answer with, or undefined where it has answered by itself. */
export type Handler = (call: Call) => unknown | Promise<unknown>;

export interface Route {
  readonly method: string;
  readonly segments: readonly string[];
  readonly handler: Handler;
}

export function route(method: string, pattern: string, handler: Handler): Route {
  return { method, segments: pattern.split("/").slice(1), handler };
}

export type Match =
  | { readonly kind: "found"; readonly handler: Handler; readonly params: Record<string, string> }
  | { readonly kind: "method"; readonly allowed: string[] }
  | { readonly kind: "none" };

export function match(routes: readonly Route[], method: string, path: string): Match {
  const segments = path.split("/").slice(1);
  const allowed: string[] = [];
  for (const { method: own, segments: pattern, handler } of routes) {
    const params = bind(pattern, segments);
    if (!params) continue;
    if (own === method) return { kind: "found", handler, params };
    allowed.push(own);
  }
  return allowed.length > 0 ? { kind: "method", allowed } : { kind: "none" };
}

function bind(pattern: readonly string[], segments: readonly string[]): Record<string, string> | undefined {
  if (pattern.length !== segments.length) return undefined;
  const params: Record<string, string> = {};
  for (const [i, part] of pattern.entries()) {
    if (!part.startsWith(":")) {
      if (part !== segments[i]) return undefined;
      continue;
    }
    try {
      params[part.slice(1)] = decodeURIComponent(segments[i]);
    } catch {
      // Not percent-encoding: no name of ours.
      return undefined;
    }
  }
  return params;
}
