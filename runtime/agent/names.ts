/** What the agent knows of members and their health, as the names that are answered at `.2` of every gateway. */
import type { NamesView } from "../control/agent-view";
import type { Desired, DesiredNetwork, DesiredSource } from "../control/interface/desired";
import type { SlotAddress } from "../control/interface/types";
import type { DataPlaneApi } from "../dataplane/api";
import type { DnsHandler, DnsQuery, OwnNames } from "../dataplane/config";
import {
  answer,
  dnsHandler,
  Forwarder,
  type GatewayNames,
  largestReply,
  Names,
  ResolvConf,
  type ZoneView,
} from "../dns";
import { WarrenError } from "../errors";
import { machineId } from "../machine-id";
import type { Agent } from "./agent";
import { distanceFrom, type RoundTrip } from "./distance";
import { addressesOf, apps, ownAddresses, peers, rangesOf } from "./members";

export interface NameService extends NamesView {
  /** Answers as a gateway does. */
  readonly handler: DnsHandler;
  /** Closes the sockets of questions on their way to the host's resolvers. */
  close(): void;
}

export type Health = Pick<Agent, "instance" | "changes">;

/** Answers at the DNS addresses from now on. */
export function serveNames(
  dataplane: Pick<DataPlaneApi, "onDns">,
  source: DesiredSource,
  agent: Health,
  roundTrip: RoundTrip,
): NameService {
  const resolvConf = new ResolvConf();
  const servers = othersThan(
    () => new Set(source.current().networks.flatMap((network) => network.dnsIps)),
    () => resolvConf.current(),
  );
  const forwarder = new Forwarder({ servers });
  const names = new AgentNames(source, agent, roundTrip);
  const handler = dnsHandler((gateway) => names.of(gateway), forwarder);
  dataplane.onDns(handler, names);
  return {
    handler,
    ask: (networkId, message, from) => ask(handler, source.current(), networkId, message, from),
    close: () => {
      names.close();
      forwarder.close();
    },
  };
}

/**
 * A machine that is a peer of its own network may have our addresses among its resolvers, or nothing else any more: then those that
 * it had before are asked on.
 */
export function othersThan(own: () => ReadonlySet<string>, current: () => readonly string[]): () => readonly string[] {
  let before: readonly string[] = [];
  return () => {
    const ours = own();
    const all = current();
    const others = all.filter((server) => !ours.has(server));
    if (others.length > 0 || all.length === 0) before = others;
    return before;
  };
}

async function ask(
  handler: DnsHandler,
  { networks, hosts }: Desired,
  networkId: string,
  message: Uint8Array,
  from: string | undefined,
): Promise<Uint8Array> {
  const network = networks.find((candidate) => candidate.id === networkId);
  if (!network) throw new WarrenError("WARREN_NOT_FOUND", `No network ${networkId} in this registry.`);
  const local = network.gateways.find(({ hostId }) => hosts.find((host) => host.id === hostId)?.local);
  let asker = { hostId: local?.hostId ?? "", address: "" };
  if (from !== undefined) {
    const place = placeOf(network, from);
    if (!place) throw new WarrenError("WARREN_NOT_FOUND", `No member ${from} in ${network.name}.`, { path: "from" });
    asker = { hostId: place.hostId, address: addressesOf(place.address)[0] ?? "" };
  }
  const gateway = `${network.id}/${asker.hostId}`;
  const reply = await handler({ gateway, from: asker.address, message, stream: true });
  if (reply) return reply;
  throw new WarrenError("WARREN_INVALID_INPUT", "The message is no DNS query, and would be met with silence.", {
    path: "message",
  });
}

/** @param id of an instance, of a peer, or of an app, which means its first instance */
function placeOf(network: DesiredNetwork, id: string): { hostId: string; address: SlotAddress } | undefined {
  for (const member of network.members) {
    if (member.kind === "peer" && member.id === id) return member;
    if (member.kind === "app") {
      const instance = member.instances.find((one) => one.id === id || member.id === id);
      if (instance) return instance;
    }
  }
  return undefined;
}

/** A network's names are made anew when the network is another one, and told of health whenever that has changed. */
export class AgentNames implements OwnNames {
  generation = 0;
  private desired: Desired | undefined;
  private networks: ReadonlyMap<string, Known> = new Map();
  private readonly gateways = new Map<string, GatewayNames>();
  private readonly listeners = new Set<() => void>();
  private healthMayDiffer = true;
  private scheduled = false;
  private readonly stops: (() => void)[];

  constructor(
    private readonly source: DesiredSource,
    private readonly agent: Health,
    private readonly roundTrip: RoundTrip,
  ) {
    this.stops = [
      source.watch(() => this.schedule()),
      agent.changes.listen(() => {
        this.healthMayDiffer = true;
        this.schedule();
      }),
    ];
  }

  close(): void {
    for (const stop of this.stops) stop();
    this.listeners.clear();
  }

  onChange(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  answer({ gateway, message, stream = false }: DnsQuery): ReturnType<OwnNames["answer"]> {
    const known = this.of(gateway);
    const outcome = known && !stream ? answer(message, known.names, known) : undefined;
    if (!outcome || "forward" in outcome) return undefined;
    const { reply, keep } = outcome;
    return { message: reply, ...(keep ? { keep: { generation: this.generation, ...keep } } : {}) };
  }

  /** @param gateway `NETWORK_ID/HOST_ID` */
  of(gateway: string): GatewayNames | undefined {
    const desired = this.refresh();
    const known = this.gateways.get(gateway);
    if (known) return known;
    const [networkId, hostId] = gateway.split("/") as [string, string];
    const found = this.networks.get(networkId);
    if (!found) return undefined;
    const { network, names } = found;
    const made: GatewayNames = {
      names,
      distance: distanceFrom(hostId, network, desired.hosts, this.roundTrip),
      maxReply: largestReply(network.mtu),
    };
    this.gateways.set(gateway, made);
    return made;
  }

  /** Many changes at once are looked at once. */
  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    setImmediate(() => {
      this.scheduled = false;
      this.refresh();
    });
  }

  private refresh(): Desired {
    const desired = this.source.current();
    const changed = this.desired !== desired && this.take(desired);
    if ((changed || this.healthMayDiffer) && this.readHealth(changed)) {
      this.generation++;
      for (const listener of this.listeners) listener();
    }
    return desired;
  }

  /** @returns whether names may be others */
  private take(desired: Desired): boolean {
    const { networks } = this;
    const regions = (hosts: Desired["hosts"] = []) => hosts.map(({ id, region }) => `${id} ${region}`).join();
    const sameHosts = regions(this.desired?.hosts) === regions(desired.hosts);
    this.desired = desired;
    // They know hosts and networks, which are values of this revision.
    this.gateways.clear();
    this.networks = new Map(
      desired.networks.map((network) => {
        const known = sameHosts ? networks.get(network.id) : undefined;
        if (known?.network === network) return [network.id, known];
        return [network.id, { network, names: new Names(zoneOf(network, desired)), healthy: undefined }];
      }),
    );
    return networks.size !== this.networks.size || [...this.networks].some(([id, known]) => networks.get(id) !== known);
  }

  /** @returns whether it differs, or `changed` */
  private readHealth(changed: boolean): boolean {
    this.healthMayDiffer = false;
    let differs = changed;
    for (const known of this.networks.values()) {
      const healthy = new Set<string>();
      for (const { instances } of apps(known.network))
        for (const { id } of instances) if (this.agent.instance(id)?.healthState === "healthy") healthy.add(id);
      const before = known.healthy;
      if (before?.size === healthy.size && [...healthy].every((id) => before.has(id))) continue;
      known.healthy = healthy;
      known.names.setHealthy(healthy);
      differs = true;
    }
    return differs;
  }
}

interface Known {
  readonly network: DesiredNetwork;
  readonly names: Names;
  /** Ids of instances; undefined: not told yet. */
  healthy: ReadonlySet<string> | undefined;
}

export function zoneOf(network: DesiredNetwork, { hosts, revision }: Pick<Desired, "hosts" | "revision">): ZoneView {
  return {
    serial: revision,
    domain: network.domain,
    regions: [...hosts.map(({ region }) => region), ...(network.regions ?? [])],
    ranges: rangesOf(network),
    gatewayIps: network.gatewayIps,
    gateways: network.gateways.flatMap((gateway) => {
      const region = hosts.find(({ id }) => id === gateway.hostId)?.region;
      const addresses = ownAddresses(gateway);
      return region === undefined || addresses.length === 0 ? [] : [{ region, addresses }];
    }),
    dnsIps: network.dnsIps,
    apps: apps(network).map(({ name, spec, instances, service }) => ({
      name,
      port: spec.port,
      tags: spec.tags,
      service: service ? addressesOf(service) : [],
      instances: instances.map(({ id, region, hostId, address }) => ({
        id,
        machine: machineId(id),
        region,
        hostId,
        addresses: addressesOf(address),
      })),
    })),
    peers: peers(network).map((peer) => ({ name: peer.name, addresses: addressesOf(peer.address) })),
  };
}
