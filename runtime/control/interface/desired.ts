/** What control tells an agent: everything that should be, whole, under one revision. */
import type { AppSpec, PolicyRule, SlotAddress } from "./types";

export interface DesiredHost {
  readonly id: string;
  readonly region: string;
  /** UDP port of all its gateways; 0 until the agent has bound one and reported it. */
  readonly port: number;
  /** `host:port` for gateways on other machines; undefined where all hosts are on this machine. */
  readonly endpoint?: string;
  /** `any` once something reaches it from another machine: a peer with an endpoint that is not loopback. */
  readonly listen: "loopback" | "any";
  /** True: this agent runs it. */
  readonly local: boolean;
}

export interface DesiredInstance {
  /** Stable over restarts and moves: `MEMBER_ID.N`. */
  readonly id: string;
  readonly slot: string;
  readonly region: string;
  readonly hostId: string;
  readonly address: SlotAddress;
}

export interface DesiredApp {
  readonly kind: "app";
  readonly id: string;
  readonly name: string;
  readonly spec: AppSpec;
  readonly instances: readonly DesiredInstance[];
  /** Spread over its healthy instances. */
  readonly service?: SlotAddress;
}

export interface DesiredPeer {
  readonly kind: "peer";
  readonly id: string;
  readonly name: string;
  /** The host whose gateway it uses. */
  readonly hostId: string;
  readonly address: SlotAddress;
  readonly publicKey: string;
  readonly presharedKey?: string;
  readonly routes: readonly string[];
  /** Of the host whose gateway it uses. */
  readonly region?: string;
  readonly tags?: Readonly<Record<string, string>>;
}

export type DesiredMember = DesiredApp | DesiredPeer;

export interface DesiredGateway {
  readonly hostId: string;
  /** base64; derived from the network's seed and the host. */
  readonly privateKey: string;
  readonly publicKey: string;
  /** What the gateway speaks with itself, to members on every host. */
  readonly address?: SlotAddress;
}

export interface DesiredNetwork {
  readonly id: string;
  readonly name: string;
  readonly cidr?: string;
  readonly ipv6Cidr?: string;
  readonly domain: string;
  readonly mtu: number;
  /** Those that its apps may be in. Absent: any. */
  readonly regions?: readonly string[];
  /** One per family, IPv4 first. */
  readonly gatewayIps: readonly string[];
  readonly dnsIps: readonly string[];
  /** Absent or empty: all members may talk. */
  readonly policy?: readonly PolicyRule[];
  /** One for each host that has members of this network, or may have peers. */
  readonly gateways: readonly DesiredGateway[];
  readonly members: readonly DesiredMember[];
}

export interface Desired {
  readonly revision: number;
  readonly registryId: string;
  readonly hosts: readonly DesiredHost[];
  /** One that is as it was stays the same object, where both sides are in one process. */
  readonly networks: readonly DesiredNetwork[];
}

/** The agent's side of control. In one process now; the same values will travel to other machines. */
export interface DesiredSource {
  current(): Desired;
  /** Called after each change; returns the way to stop. */
  watch(onChange: () => void): () => void;
  /** The agent bound this UDP port for a host; it is kept for the next start. */
  reportPort(hostId: string, port: number): void;
}
