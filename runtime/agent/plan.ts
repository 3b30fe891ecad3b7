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
import type { SlotAddress } from "../control/interface/types";
import type { DataPlaneConfig, GatewayConfig, LinkConfig, PeerConfig, PortConfig } from "../dataplane/config";
import type { ProcessSpec, SandboxSpec } from "../keeper/protocol";

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
}

export interface InstancePlan {
  readonly network: DesiredNetwork;
  readonly app: DesiredApp;
  readonly instance: DesiredInstance;
  readonly sandbox: SandboxSpec;
  /** Absent: an upstream, which has no process of ours. */
  readonly process?: ProcessSpec;
}

/** App log files are rotated at this size, bytes. */
const LOG_BYTES = 10 * 1024 * 1024;
/** Milliseconds between SIGTERM and SIGKILL; Fly's default is 5 s. */
const STOP_TIMEOUT = 5000;

export function addressesOf(address: SlotAddress): string[] {
  return [address.ipv4, address.ipv6].filter((ip): ip is string => ip !== undefined);
}

/** The instances that this machine runs. */
export function planInstances(desired: Desired, machine: Machine): InstancePlan[] {
  const local = new Set(desired.hosts.filter((host) => host.local).map((host) => host.id));
  return desired.networks.flatMap((network) =>
    apps(network).flatMap((app) =>
      app.instances
        .filter((instance) => local.has(instance.hostId))
        .map((instance) => {
          const sandbox = planSandbox(network, app, instance);
          const process = app.spec.command && planProcess(app, instance, machine);
          return { network, app, instance, sandbox, ...(process ? { process } : {}) };
        }),
    ),
  );
}

function planSandbox(network: DesiredNetwork, app: DesiredApp, instance: DesiredInstance): SandboxSpec {
  const addresses = addressesOf(instance.address);
  return {
    id: instance.id,
    addresses,
    routes: [...rangesOf(network), ...peers(network).flatMap((peer) => peer.routes)],
    mtu: network.mtu,
    vnetHeader: true,
    nameservers: network.dnsIps,
    searchDomain: network.domain,
    hosts: addresses.map((ip) => `${ip} ${app.name}.${network.domain} ${app.name}`),
  };
}

function planProcess(app: DesiredApp, instance: DesiredInstance, machine: Machine): ProcessSpec {
  const { spec } = app;
  const user = spec.user ?? machine.defaultUser;
  const facts = {
    APP_NAME: app.name,
    REGION: instance.region,
    PRIVATE_IP: addressesOf(instance.address)[0] ?? "",
    MACHINE_ID: instance.id,
  };
  const env: Record<string, string> = {
    PATH: machine.path,
    HOME: machine.homeOf(user),
    LANG: machine.lang,
    ...spec.env,
  };
  if (spec.port !== 0) env.PORT = env.WARREN_PORT = String(spec.port);
  for (const [key, value] of Object.entries(facts)) env[`FLY_${key}`] = env[`WARREN_${key}`] = value;
  const base = spec.sourceHash ? machine.sourceDir(spec.sourceHash) : "/";
  const run = {
    sandbox: instance.id,
    command: spec.command as string[],
    cwd: spec.cwd.startsWith("/") ? spec.cwd : join(base, spec.cwd),
    env,
    user,
    restart: spec.restart,
  };
  const hash = createHash("sha256")
    .update(JSON.stringify([run, spec.triggers, instance.address]))
    .digest("hex")
    .slice(0, 16);
  return { ...run, log: machine.logFile(instance.id), logBytes: LOG_BYTES, stopTimeout: STOP_TIMEOUT, hash };
}

function join(base: string, relative: string): string {
  const rest = relative.replace(/^\.\//, "");
  return rest === "" || rest === "." ? base : `${base}/${rest}`;
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

/** What the data plane must hold. `ready` says which sandboxes exist. */
export function planDataPlane(
  desired: Desired,
  ready: ReadonlySet<string>,
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
    for (const gateway of network.gateways) {
      if (!local.has(gateway.hostId)) continue;
      const others = network.gateways
        .filter((other) => other.hostId !== gateway.hostId)
        .flatMap((other) => gatewayPeer(desired, network, other, local.has(other.hostId) ? portOf(other.hostId) : 0));
      const id = `${network.id}/${gateway.hostId}`;
      gateways.push({
        id,
        port: gateway.hostId,
        privateKey: gateway.privateKey,
        mtu: network.mtu,
        gatewayIps: network.gatewayIps,
        dnsIps: network.dnsIps,
        links: links(network, gateway.hostId, ready),
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

function links(network: DesiredNetwork, hostId: string, ready: ReadonlySet<string>): LinkConfig[] {
  return apps(network).flatMap((app) =>
    app.instances
      .filter((instance) => instance.hostId === hostId && ready.has(instance.id))
      .map((instance) => ({
        id: instance.id,
        source: { kind: "keeper" as const, sandbox: instance.id },
        addresses: addressesOf(instance.address),
      })),
  );
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

/** The same network's gateway on another host; nothing while nobody knows where it listens. */
function gatewayPeer(
  desired: Desired,
  network: DesiredNetwork,
  other: DesiredGateway,
  localPort: number,
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
      allowedIps: behind,
      endpoint,
      persistentKeepalive: 0,
      initiate: false,
      gateway: true,
    },
  ];
}

function hostRange(ip: string): string {
  return ip.includes(":") ? `${ip}/128` : `${ip}/32`;
}

function rangesOf(network: DesiredNetwork): string[] {
  return [network.cidr, network.ipv6Cidr].filter((range): range is string => range !== undefined);
}

export function apps(network: DesiredNetwork): DesiredApp[] {
  return network.members.filter((member): member is DesiredApp => member.kind === "app");
}

export function peers(network: DesiredNetwork): DesiredPeer[] {
  return network.members.filter((member): member is DesiredPeer => member.kind === "peer");
}
