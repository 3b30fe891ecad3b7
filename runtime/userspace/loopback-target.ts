/** Which sockets of this machine stand for a port of an app's private address. */

import { type Listener, reachableAt } from "./listeners";
import { connectTcp, OutsideError } from "./outside";

export interface LocalEnd {
  readonly address: string;
  readonly port: number;
}

export interface TargetSpec {
  /** The app's declared port; 0: none. */
  readonly port: number;
  /** Where it was told to listen; 0: nowhere. */
  readonly loopbackPort: number;
  /** `host` and `port` of something that already runs, instead of a process. */
  readonly upstream?: { readonly host: string; readonly port: number };
}

/** Milliseconds. */
const CONNECT_TIMEOUT = 10_000;

const LOOPBACKS = ["127.0.0.1", "::1"];

/**
 * Ends to try, in order. The app's own port is where it was told to listen, or where its own process listens all the same; another port is
 * reached only where its own process listens: everything else on loopback is the machine's.
 */
export function localEnds(
  spec: TargetSpec,
  protocol: "tcp" | "udp",
  port: number,
  listeners: () => readonly Listener[],
): LocalEnd[] {
  if (spec.upstream) return port === spec.port ? [{ address: spec.upstream.host, port: spec.upstream.port }] : [];
  if (port !== 0 && port === spec.port && spec.loopbackPort !== 0) {
    return LOOPBACKS.map((address) => ({ address, port: spec.loopbackPort }));
  }
  return ownEnds(protocol, port, listeners());
}

/** Ends where the app's own processes listen on this port. */
export function ownEnds(protocol: "tcp" | "udp", port: number, listeners: readonly Listener[]): LocalEnd[] {
  const ends = listeners
    .filter((listener) => listener.protocol === protocol && listener.port === port)
    .flatMap((listener) => reachableAt(listener).map((address) => ({ address, port })));
  return ends.filter((end, at) => ends.findIndex(({ address }) => address === end.address) === at);
}

/** The first end that takes a connection. @throws the last one's error; ECONNREFUSED where there is none. */
export async function connectLocal(ends: readonly LocalEnd[], signal?: AbortSignal) {
  let last: unknown = new OutsideError("ECONNREFUSED", "nothing listens there");
  for (const { address, port } of ends) {
    try {
      return await connectTcp(address, port, signal, CONNECT_TIMEOUT);
    } catch (error) {
      last = error;
      if (signal?.aborted) break;
    }
  }
  throw last;
}
