/** Real connections of this machine, made for an app that wants to leave its network. */
import * as net from "node:net";
import * as os from "node:os";
import { untilOpen, type Wait } from "../until-open";
import { Budget } from "./budget";
import { EgressRules } from "./egress-rules";

/** Connections that one app, and all apps, have outside at once. */
const CONNECTIONS = { each: 1024, total: 8192 };
/** Milliseconds. */
const CONNECT_TIMEOUT = 30_000;
/** Milliseconds for which the machine's addresses are not asked for again. */
const ADDRESSES_KEPT = 5000;

export type OutsideErrorCode = "EACCES" | "ENOBUFS" | string;

export class OutsideError extends Error {
  constructor(
    readonly code: OutsideErrorCode,
    message: string,
  ) {
    super(message);
    this.name = "OutsideError";
  }
}

export class Outside {
  private readonly connections = new Budget(CONNECTIONS.each, CONNECTIONS.total);
  private rules: EgressRules | undefined;
  private readAt = Number.NEGATIVE_INFINITY;

  /** @param allowed CIDR ranges of WARREN_EGRESS_ALLOW. */
  constructor(private readonly allowed: readonly string[]) {}

  /** Connections that there are now, of all apps. */
  get open(): number {
    return this.connections.held;
  }

  /** Connections that an app, or all of them, had too many. */
  get refused(): number {
    return this.connections.refused;
  }

  /** May an app go there? Nowhere, while it is not known which addresses are the machine's own. */
  allows(address: string): boolean {
    const now = performance.now();
    if (this.rules === undefined || now - this.readAt > ADDRESSES_KEPT) {
      this.readAt = now;
      const own = ownAddresses();
      // Where nobody can say, what was known stands.
      if (own !== undefined) this.rules = new EgressRules(this.allowed, own);
    }
    return this.rules?.allows(address) ?? false;
  }

  /**
   * Connects; half-open, and not read from until somebody does.
   * @param app whose connection it is: each has a bound.
   * @throws OutsideError EACCES for a closed destination, ENOBUFS; else the system's error.
   */
  connect(app: string, address: string, port: number, signal?: AbortSignal): Promise<net.Socket> {
    if (!this.allows(address))
      return Promise.reject(new OutsideError("EACCES", `${address} is closed to apps: see WARREN_EGRESS_ALLOW.`));
    const giveBack = this.connections.take(app);
    if (!giveBack) return Promise.reject(new OutsideError("ENOBUFS", "too many connections outside the network"));
    return connectTcp(address, port, signal, CONNECT_TIMEOUT).then(
      (socket) => socket.once("close", giveBack),
      (error) => {
        giveBack();
        throw error;
      },
    );
  }
}

/** The machine's; undefined where no descriptor is left to ask with. */
function ownAddresses(): os.NetworkInterfaceInfo[] | undefined {
  try {
    return Object.values(os.networkInterfaces()).flatMap((addresses) => addresses ?? []);
  } catch {
    return undefined;
  }
}

/** A half-open socket that is connected; its error events are the caller's from then on. */
export function connectTcp(
  address: string,
  port: number,
  signal: AbortSignal | undefined,
  timeout: number,
): Promise<net.Socket> {
  const socket = net.connect({ host: address, port, allowHalfOpen: true, noDelay: true });
  return untilOpen(socket, patience(address, timeout, signal));
}

/** How long somebody waits for an address to answer. */
export function patience(address: string, timeout: number, signal: AbortSignal | undefined): Wait {
  return {
    timeout,
    late: () => new OutsideError("ETIMEDOUT", `${address} did not answer`),
    signal,
    aborted: () => new OutsideError("ECONNABORTED", "nobody waits for it any more"),
  };
}
