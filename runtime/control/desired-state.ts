/** The registry's content as an agent needs it, kept until something changes. */
import { isDeepStrictEqual } from "node:util";
import { layout, slotRegion, wellKnown } from "../ipam";
import type {
  Desired,
  DesiredGateway,
  DesiredHost,
  DesiredMember,
  DesiredNetwork,
  DesiredSource,
} from "./interface/desired";
import type { SlotAddress } from "./interface/types";
import { gatewayKeys } from "./keys";
import type { MemberWithAddresses, Registry, Snapshot } from "./registry";
import { type HostRow, hostId } from "./store/hosts";
import type { NetworkRow } from "./store/networks";

/** The longest delay that setTimeout takes, milliseconds. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** Passed in so that tests can hold the time. */
export interface Timers {
  /** Milliseconds since 1970. */
  now(): number;
  /** @returns the way to cancel */
  after(ms: number, call: () => void): () => void;
}

export const realTimers: Timers = {
  now: Date.now,
  after: (ms, call) => {
    const timer = setTimeout(call, ms);
    timer.unref();
    return () => clearTimeout(timer);
  },
};

export class DesiredState implements DesiredSource {
  private readonly watchers = new Set<() => void>();
  private readonly stopRegistry: () => void;
  private kept: Desired | undefined;
  /** Those of the last revision, by id. */
  private networks = new Map<string, DesiredNetwork>();
  private scheduled = false;
  private cancelExpiry = () => {};

  constructor(
    private readonly registry: Registry,
    private readonly timers: Timers = realTimers,
  ) {
    this.stopRegistry = registry.onChange(() => this.changed());
  }

  current(): Desired {
    if (!this.kept) {
      const snapshot = this.registry.snapshot();
      const now = this.timers.now();
      this.kept = this.sameObjects(toDesired(this.registry.id, snapshot, now));
      this.awaitExpiry(nextExpiry(snapshot.members, now));
    }
    return this.kept;
  }

  /** A network that did not change stays the same object, by which its users know that what they made of it holds. */
  private sameObjects(desired: Desired): Desired {
    const networks = desired.networks.map((network) => {
      const before = this.networks.get(network.id);
      return isDeepStrictEqual(before, network) ? (before as DesiredNetwork) : network;
    });
    this.networks = new Map(networks.map((network) => [network.id, network]));
    return { ...desired, networks };
  }

  /** Several changes at once are one call. */
  watch(onChange: () => void): () => void {
    this.watchers.add(onChange);
    // From here on an expiry must be noticed, also where nobody has asked yet.
    this.current();
    return () => this.watchers.delete(onChange);
  }

  reportPort(host: string, port: number): void {
    this.registry.setPort(host, port);
  }

  close(): void {
    this.stopRegistry();
    this.cancelExpiry();
    this.watchers.clear();
  }

  private changed(): void {
    this.kept = undefined;
    if (this.scheduled || this.watchers.size === 0) return;
    this.scheduled = true;
    setImmediate(() => {
      this.scheduled = false;
      for (const watcher of this.watchers) watcher();
    });
  }

  private awaitExpiry(at: number | undefined): void {
    this.cancelExpiry();
    this.cancelExpiry = () => {};
    if (at === undefined) return;
    const wait = Math.max(0, at - this.timers.now());
    this.cancelExpiry =
      wait > LONGEST_TIMER
        ? this.timers.after(LONGEST_TIMER, () => this.awaitExpiry(at))
        : this.timers.after(wait, () => this.registry.touch());
  }
}

function expiry(member: MemberWithAddresses): number | undefined {
  const { row } = member;
  return row.kind === "peer" && row.spec.expiresAt !== undefined ? Date.parse(row.spec.expiresAt) : undefined;
}

function nextExpiry(members: readonly MemberWithAddresses[], now: number): number | undefined {
  const coming = members.map(expiry).filter((at) => at !== undefined && at > now) as number[];
  return coming.length === 0 ? undefined : coming.reduce((a, b) => Math.min(a, b));
}

export function toDesired(registryId: string, snapshot: Snapshot, now: number): Desired {
  const live = snapshot.members.filter((m) => (expiry(m) ?? Number.POSITIVE_INFINITY) > now);
  const byNetwork = new Map<string, MemberWithAddresses[]>();
  for (const member of live) {
    const list = byNetwork.get(member.row.networkId);
    if (list) list.push(member);
    else byNetwork.set(member.row.networkId, [member]);
  }
  return {
    revision: snapshot.revision,
    registryId,
    hosts: snapshot.hosts.map((host) => toHost(host, live)),
    networks: snapshot.networks.map((network) =>
      toNetwork(
        network,
        byNetwork.get(network.id) ?? [],
        new Map(snapshot.hosts.map((host) => [host.id, host.region])),
        new Map(
          snapshot.gateways
            .filter((gateway) => gateway.networkId === network.id)
            .map((gateway) => [hostId(gateway.region), gateway.address]),
        ),
      ),
    ),
  };
}

function toHost(host: HostRow, members: readonly MemberWithAddresses[]): DesiredHost {
  const reachedFromElsewhere = members.some(
    ({ row }) =>
      row.kind === "peer" &&
      row.hostId === host.id &&
      row.spec.endpoint !== undefined &&
      !isLoopback(row.spec.endpoint),
  );
  return { ...host, local: true, listen: reachedFromElsewhere ? "any" : "loopback" };
}

function isLoopback(endpoint: string): boolean {
  const host = endpoint.replace(/:\d+$/, "").replace(/^\[|\]$/g, "");
  return host === "localhost" || host === "::1" || /^127(\.\d+){3}$/.test(host);
}

/** @param regions of hosts, `gatewayAddresses` what their gateways speak with */
function toNetwork(
  network: NetworkRow,
  members: readonly MemberWithAddresses[],
  regions: ReadonlyMap<string, string>,
  gatewayAddresses: ReadonlyMap<string, SlotAddress>,
): DesiredNetwork {
  const desired = members.map((member) => toMember(member, regions));
  const hosts = new Set(
    desired.flatMap((m) => (m.kind === "app" ? m.instances.map((instance) => instance.hostId) : [m.hostId])),
  );
  const gateways: DesiredGateway[] = [...hosts].sort().map((host) => {
    const address = gatewayAddresses.get(host);
    return { hostId: host, ...gatewayKeys(network.seed, host), ...(address ? { address } : {}) };
  });
  const { cidr, ipv6Cidr, domain, mtu, policy, regions: allowed } = network.spec;
  return {
    id: network.id,
    name: network.name,
    ...(cidr === undefined ? {} : { cidr }),
    ...(ipv6Cidr === undefined ? {} : { ipv6Cidr }),
    domain,
    mtu,
    ...(allowed.length === 0 ? {} : { regions: allowed }),
    ...wellKnown(layout(network.spec)),
    ...(policy === undefined ? {} : { policy }),
    gateways,
    members: desired,
  };
}

function toMember(
  { row, addresses, service }: MemberWithAddresses,
  regions: ReadonlyMap<string, string>,
): DesiredMember {
  if (row.kind === "peer") {
    const { publicKey, presharedKey, routes, tags } = row.spec;
    const region = regions.get(row.hostId);
    return {
      kind: "peer",
      id: row.id,
      name: row.name,
      hostId: row.hostId,
      address: addresses[0],
      publicKey,
      ...(presharedKey === undefined ? {} : { presharedKey }),
      routes,
      ...(region === undefined ? {} : { region }),
      tags,
    };
  }
  return {
    kind: "app",
    id: row.id,
    name: row.name,
    spec: row.spec,
    // Numbered by place, so that an instance that moves to another region stays the same instance.
    instances: addresses.map((address, i) => {
      const region = slotRegion(address.slot);
      return { id: `${row.id}.${i}`, slot: address.slot, region, hostId: hostId(region), address };
    }),
    ...(service ? { service } : {}),
  };
}
