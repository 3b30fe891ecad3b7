/** What control asks of the agent on this machine. The agent implements it; control never looks behind it. */
import type { Duplex } from "node:stream";
import type {
  Attempt,
  Entry,
  GatewayStatus,
  InstanceStatus,
  PingAnswer,
  Readiness,
  StackStatus,
  TunnelStatus,
} from "./interface/types";

export interface AgentStatus {
  /** The revision of the desired state that the agent has made true. */
  readonly applied: number;
  readonly problems: readonly string[];
  /** `tun` | `userspace`, or why there is none. */
  readonly link: string;
  /** Why it is not `tun`. */
  readonly linkReason?: string;
  readonly aead: string;
  readonly instances: readonly InstanceStatus[];
  readonly gateways?: readonly GatewayStatus[];
  readonly tunnels: readonly TunnelStatus[];
  readonly stacks?: readonly StackStatus[];
}

export interface LogOptions {
  /** Lines from the end to begin with. */
  readonly lines: number;
  /** Goes on with what is written later, until `signal`. */
  readonly follow: boolean;
  readonly signal: AbortSignal;
}

/** The part of the agent that answers at the DNS addresses. */
export interface NamesView {
  /**
   * Answers a DNS message as the network's `.2` does.
   * @param from id of the member or instance that asks; undefined: this machine
   * @throws WarrenError WARREN_NOT_FOUND, and WARREN_INVALID_INPUT for what is no query
   */
  ask(networkId: string, message: Uint8Array, from?: string): Promise<Uint8Array>;
}

/** Connections of this machine's own into a network. */
export interface DialView {
  /** Half-open. @throws WarrenError WARREN_NOT_READY; an error whose `code` is the system's (ECONNREFUSED, ENOTFOUND, ETIMEDOUT…) */
  connect(networkId: string, host: string, port: number, signal?: AbortSignal): Promise<Duplex>;
  /**
   * An echo request to a member. @param timeout milliseconds
   * @throws as `connect`; ETIMEDOUT where no reply came
   */
  ping(networkId: string, host: string, timeout: number): Promise<PingAnswer>;
  /** A TCP connection as an instance of this machine makes it, closed at once. @throws WarrenError WARREN_NOT_FOUND */
  attempt(instanceId: string, address: string, port: number, timeout: number): Promise<Attempt>;
  /** A UDP port of its own. @throws WarrenError WARREN_NOT_READY */
  datagrams(
    networkId: string,
    onDatagram: (data: Uint8Array) => void,
  ): { send(host: string, port: number, data: Uint8Array): void; close(): void };
}

export interface AgentView {
  /** Answers when the member works, can no longer come to work, or `waitMs` is over. */
  readiness(memberId: string, waitMs: number, signal: AbortSignal): Promise<Readiness>;
  status(): AgentStatus | Promise<AgentStatus>;
  /** @throws WarrenError WARREN_NOT_FOUND */
  entry(instanceId: string): Promise<Entry>;
  /** @throws WarrenError WARREN_NOT_FOUND, before or at the first chunk */
  logs(instanceId: string, options: LogOptions): AsyncIterable<string | Uint8Array>;
  /**
   * For a member or network that has left the desired state: true when none of its processes, links and namespaces is left,
   * also when there never were any; false when `waitMs` is over first.
   */
  settled(id: string, waitMs: number, signal: AbortSignal): Promise<boolean>;
}
