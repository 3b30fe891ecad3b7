/** The difference between what should be and what is, as values: no I/O, no clock. */
import { createHash } from "node:crypto";
import type {
  Desired,
  DesiredApp,
  DesiredGateway,
  DesiredInstance,
  DesiredNetwork,
  DesiredPeer,
} from "../control/interface/desired";
import type {
  DataPlaneConfig,
  GatewayConfig,
  LinkConfig,
  PeerConfig,
  PortConfig,
  ServiceConfig,
} from "../dataplane/config";
import type { ProcessSpec, SandboxSpec } from "../keeper/protocol";
import { machineId } from "../machine-id";
import { compilePolicy } from "../policy";
import type { RoundTrip } from "./distance";
import {
  addressesOf,
  apps,
  hasEgress,
  hostRange,
  ownAddresses,
  peers,
  rangesOf,
  reachedRanges,
  stackId,
} from "./members";
import { planEnvironment, planProcess } from "./plan-process";
import { type Plug, TUN } from "./plugs";
import { regionDistanceFrom } from "./region-order";

/** Facts of this machine that a plan needs. */
export interface Machine {
  /** Account for apps that name none. */
  readonly defaultUser: string;
  /** PATH and LANG of apps. */
  readonly path: string;
  readonly lang: string;
  homeOf(user: string): string;
  logFile(instanceId: string): string;
  sourceDir(hash: string): string;
  /**
   * What makes a Node program of the link `userspace` use its proxy: a file that Node loads first.
   * Absent, or undefined for an account that cannot read it: there is none.
   */
  preload?(user: string): string | undefined;
}

export interface InstancePlan {
  readonly network: DesiredNetwork;
  readonly app: DesiredApp;
  readonly instance: DesiredInstance;
  readonly sandbox: SandboxSpec;
  /** Absent: an upstream, which has no process of ours. */
  readonly process?: ProcessSpec;
  readonly plug: Plug;
  /** Of its process, and of commands that are run where it runs. */
  readonly env: Readonly<Record<string, string>>;
}

/** The instances that this machine runs. @param plugs by instance; those without one get the link `tun`. */
export function planInstances(
  desired: Desired,
  machine: Machine,
  plugs: ReadonlyMap<string, Plug> = new Map(),
): InstancePlan[] {
  return localInstances(desired).map(({ network, app, instance }) => {
    const plug = plugs.get(instance.id) ?? TUN;
    const sandbox = planSandbox(network, app, instance, plug);
    const env = planEnvironment(network, app, instance, machine, plug);
    const process = app.spec.command && planProcess(app, instance, machine, env);
    return { network, app, instance, sandbox, plug, env, ...(process ? { process } : {}) };
  });
}

export function localInstances(desired: Desired) {
  const local = new Set(desired.hosts.filter((host) => host.local).map((host) => host.id));
  return desired.networks.flatMap((network) =>
    apps(network).flatMap((app) =>
      app.instances.filter((instance) => local.has(instance.hostId)).map((instance) => ({ network, app, instance })),
    ),
  );
}

function planSandbox(network: DesiredNetwork, app: DesiredApp, instance: DesiredInstance, plug: Plug): SandboxSpec {
  const addresses = addressesOf(instance.address);
  const { ipv4, ipv6 } = instance.address;
  const everywhere = [...(ipv4 === undefined ? [] : ["0.0.0.0/0"]), ...(ipv6 === undefined ? [] : ["::/0"])];
  return {
    id: instance.id,
    ...(plug.link === "userspace" ? { link: plug.link, loopback: plug.loopback } : {}),
    addresses,
    routes: [...reachedRanges(network), ...(hasEgress(app) ? everywhere : [])],
    mtu: network.mtu,
    vnetHeader: true,
    nameservers: network.dnsIps,
    searchDomain: network.domain,
    // The app's own name is not here: it stands for all its instances. The second one is what programs written for Fly listen on.
    hosts: addresses.map((ip) => `${ip} ${machineId(instance.id)}.vm.${app.name}.${network.domain} fly-local-6pn`),
  };
}

/** UDP ports of hosts lie below the range from which Linux lends ports to outgoing connections. */
const PORTS = { first: 20_000, count: 12_000 };

/** A host's first port follows from registry and host, so that a registry that was lost comes back with the ports that peers' configs name. */
export function preferredPort(registryId: string, hostId: string): number {
  const hash = createHash("sha256").update(`${registryId}/${hostId}`).digest();
  return PORTS.first + (hash.readUInt32BE(0) % PORTS.count);
}

/** UDP ports, as far as this machine knows. */
export interface Ports {
  /** Bound by the data plane, by host. */
  readonly bound: Readonly<Record<string, number>>;
  /** Hosts whose preferred port somebody else has. */
  readonly taken: ReadonlySet<string>;
}

/** What the data plane needs to know of instances. */
export interface InstanceFacts {
  /** Those whose sandboxes exist. */
  readonly ready: ReadonlySet<string>;
  /** By instance; those without one have the link `tun`. */
  readonly plugs: ReadonlyMap<string, Plug>;
  readonly isHealthy: (instanceId: string) => boolean;
  /** Between gateways. */
  readonly roundTrip: RoundTrip;
}

/** What the data plane must hold. */
export function planDataPlane(
  desired: Desired,
  facts: InstanceFacts,
  ports: Ports,
  lastEndpoints: Readonly<Record<string, string>>,
): DataPlaneConfig {
  /** 0: not known yet. */
  const portOf = (hostId: string) => ports.bound[hostId] ?? desired.hosts.find((host) => host.id === hostId)?.port ?? 0;
  const wanted = (hostId: string) =>
    portOf(hostId) || (ports.taken.has(hostId) ? 0 : preferredPort(desired.registryId, hostId));
  const used = new Set(desired.networks.flatMap((network) => network.gateways.map((gateway) => gateway.hostId)));
  const localHosts = desired.hosts.filter((host) => host.local && used.has(host.id));
  const portConfigs: PortConfig[] = localHosts.map((host) => ({
    id: host.id,
    listen: host.listen === "any" ? ["0.0.0.0", "::"] : ["127.0.0.1", "::1"],
    port: wanted(host.id),
  }));
  const local = new Set(localHosts.map((host) => host.id));
  const gateways: GatewayConfig[] = [];
  for (const network of desired.networks) {
    const policy = compilePolicy(network);
    const choices = choicesOf(network);
    for (const gateway of network.gateways) {
      if (!local.has(gateway.hostId)) continue;
      const others = network.gateways
        .filter((other) => other.hostId !== gateway.hostId)
        .flatMap((other) =>
          gatewayPeer(
            desired,
            network,
            other,
            local.has(other.hostId) ? portOf(other.hostId) : 0,
            isChoice(choices, gateway.hostId, other.hostId),
          ),
        );
      const id = `${network.id}/${gateway.hostId}`;
      gateways.push({
        id,
        port: gateway.hostId,
        privateKey: gateway.privateKey,
        mtu: network.mtu,
        gatewayIps: network.gatewayIps,
        dnsIps: network.dnsIps,
        ranges: rangesOf(network),
        stack: { id: stackId(id), source: { kind: "stack" }, addresses: ownAddresses(gateway) },
        ...(policy ? { policy } : {}),
        services: services(desired, network, gateway.hostId, facts),
        links: links(network, gateway.hostId, facts),
        peers: [
          ...peers(network)
            .filter((peer) => peer.hostId === gateway.hostId)
            .map((peer) => stockPeer(peer, lastEndpoints[`${id}/${peer.publicKey}`])),
          ...others,
        ],
      });
    }
  }
  return { ports: portConfigs, gateways };
}

function links(network: DesiredNetwork, hostId: string, { ready, plugs }: InstanceFacts): LinkConfig[] {
  return apps(network).flatMap((app) =>
    app.instances
      .filter((instance) => instance.hostId === hostId && ready.has(instance.id))
      .map(({ id, address }): LinkConfig => {
        const addresses = addressesOf(address);
        // Apps without namespaces leave the network by the machine itself, or by their proxy.
        if (plugs.get(id)?.link === "userspace") return { id, source: { kind: "stack" }, addresses };
        return { id, source: { kind: "keeper", sandbox: id }, addresses, egress: hasEgress(app) };
      }),
  );
}

/** Connections go to the healthy instances of the nearest region. */
function services(
  desired: Desired,
  network: DesiredNetwork,
  hostId: string,
  { isHealthy, roundTrip }: InstanceFacts,
): ServiceConfig[] {
  const isLocal = (id: string) => desired.hosts.find((host) => host.id === id)?.local ?? false;
  const distance = regionDistanceFrom(hostId, network, desired.hosts, roundTrip);
  return apps(network).flatMap((app) => {
    if (!app.service) return [];
    const backends = app.instances.map((instance) => ({
      addresses: addressesOf(instance.address),
      // What runs on another machine is that machine's to judge.
      healthy: !isLocal(instance.hostId) || isHealthy(instance.id),
      distance: distance(instance.hostId),
    }));
    return [{ id: app.id, addresses: addressesOf(app.service), backends }];
  });
}

/** A WireGuard client of this host. Where it was last seen lets a restarted gateway speak first. */
function stockPeer(peer: DesiredPeer, lastEndpoint: string | undefined): PeerConfig {
  return {
    publicKey: peer.publicKey,
    ...(peer.presharedKey ? { presharedKey: peer.presharedKey } : {}),
    allowedIps: [...addressesOf(peer.address).map(hostRange), ...peer.routes],
    ...(lastEndpoint ? { endpoint: lastEndpoint } : {}),
    persistentKeepalive: 0,
    initiate: lastEndpoint !== undefined,
  };
}

/** The hosts of each app that is on several. */
function choicesOf(network: DesiredNetwork): ReadonlySet<string>[] {
  return apps(network)
    .map(({ instances }) => new Set(instances.map(({ hostId }) => hostId)))
    .filter((hosts) => hosts.size > 1);
}

/** Whether it matters how far another host is: an app is there and on a third one, and the nearer of the two goes first. */
function isChoice(choices: readonly ReadonlySet<string>[], hostId: string, other: string): boolean {
  return choices.some((hosts) => hosts.has(other) && hosts.size > (hosts.has(hostId) ? 2 : 1));
}

/**
 * The same network's gateway on another host; nothing while nobody knows where it listens.
 * @param measure shake hands, though nothing is to be sent yet: that tells how far it is
 */
function gatewayPeer(
  desired: Desired,
  network: DesiredNetwork,
  other: DesiredGateway,
  localPort: number,
  measure: boolean,
): PeerConfig[] {
  const host = desired.hosts.find((candidate) => candidate.id === other.hostId);
  const endpoint = localPort !== 0 ? `127.0.0.1:${localPort}` : host?.local ? undefined : host?.endpoint;
  if (endpoint === undefined) return [];
  const behind = network.members.flatMap((member) =>
    member.kind === "peer"
      ? member.hostId === other.hostId
        ? [...addressesOf(member.address).map(hostRange), ...member.routes]
        : []
      : member.instances
          .filter((instance) => instance.hostId === other.hostId)
          .flatMap((instance) => addressesOf(instance.address).map(hostRange)),
  );
  return [
    {
      publicKey: other.publicKey,
      allowedIps: [...ownAddresses(other).map(hostRange), ...behind],
      endpoint,
      persistentKeepalive: 0,
      initiate: measure,
      gateway: true,
    },
  ];
}
