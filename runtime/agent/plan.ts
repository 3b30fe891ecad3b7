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
import type {
  DataPlaneConfig,
  GatewayConfig,
  LinkConfig,
  PeerConfig,
  PortConfig,
  ServiceConfig,
} from "../dataplane/config";
import type { LoopbackSpec, ProcessSpec, SandboxSpec } from "../keeper/protocol";
import { compilePolicy } from "../policy";
import type { AppLink, GatewayStack, UserspacePlan } from "../userspace";
import { proxyEnvironment } from "../userspace/proxy-environment";
import { distanceFrom, type RoundTrip } from "./distance";
import { type Plug, TUN } from "./plugs";
import { splitHostPort } from "./upstream";

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

/** App log files are rotated at this size, bytes. */
const LOG_BYTES = 10 * 1024 * 1024;
/** Milliseconds between SIGTERM and SIGKILL; Fly's default is 5 s. */
const STOP_TIMEOUT = 5000;

export function addressesOf(address: SlotAddress): string[] {
  return [address.ipv4, address.ipv6].filter((ip): ip is string => ip !== undefined);
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

/** May an app reach what lies outside its network? */
function hasEgress(app: DesiredApp): boolean {
  return app.spec.egress ?? true;
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
    hosts: addresses.map((ip) => `${ip} ${instance.id}.vm.${app.name}.${network.domain} fly-local-6pn`),
  };
}

function planEnvironment(
  network: DesiredNetwork,
  app: DesiredApp,
  instance: DesiredInstance,
  machine: Machine,
  plug: Plug,
): Record<string, string> {
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
    ...(plug.link === "userspace" ? proxyEnvironment(plug.loopback.proxy, plug.loopback.secret) : {}),
    ...spec.env,
  };
  const port = plug.link === "userspace" ? plug.loopback.port : spec.port;
  if (spec.port !== 0) env.PORT = env.WARREN_PORT = String(port);
  for (const [key, value] of Object.entries(facts)) env[`FLY_${key}`] = env[`WARREN_${key}`] = value;
  if (plug.link === "userspace") Object.assign(env, proxyUse(network, machine.preload?.(user), plug.loopback, env));
  return env;
}

/** For programs of Node, which has no setting that takes all of their connections through a proxy. */
function proxyUse(
  network: DesiredNetwork,
  preload: string | undefined,
  { proxy, secret }: LoopbackSpec,
  env: Readonly<Record<string, string>>,
): Record<string, string> {
  const { WARREN_PROXY } = proxyEnvironment(proxy, secret);
  const use = {
    WARREN_PROXY: WARREN_PROXY as string,
    WARREN_PROXY_FOR: [...reachedRanges(network), `.${network.domain}`].join(","),
  };
  if (preload === undefined) return use;
  return { ...use, NODE_OPTIONS: [`--require=${preload}`, env.NODE_OPTIONS].filter(Boolean).join(" ") };
}

function planProcess(
  app: DesiredApp,
  instance: DesiredInstance,
  machine: Machine,
  env: Record<string, string>,
): ProcessSpec {
  const { spec } = app;
  const user = spec.user ?? machine.defaultUser;
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

/** Connections go to the nearest healthy instances. */
function services(
  desired: Desired,
  network: DesiredNetwork,
  hostId: string,
  { isHealthy, roundTrip }: InstanceFacts,
): ServiceConfig[] {
  const isLocal = (id: string) => desired.hosts.find((host) => host.id === id)?.local ?? false;
  const distance = distanceFrom(hostId, network, desired.hosts, roundTrip);
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

function stackId(gateway: string): string {
  return `${gateway}/stack`;
}

/** What a gateway speaks with itself. */
function ownAddresses({ address }: DesiredGateway): string[] {
  return address ? addressesOf(address) : [];
}

/** The stacks of this process: one for each gateway of this machine, one for each instance on the link `userspace`. */
export function planUserspace(
  desired: Desired,
  plans: readonly InstancePlan[],
  ready: ReadonlySet<string>,
): UserspacePlan {
  const local = new Set(desired.hosts.filter((host) => host.local).map((host) => host.id));
  const gateways = desired.networks.flatMap((network) =>
    network.gateways
      .filter(({ hostId }) => local.has(hostId))
      .map((gateway): GatewayStack => {
        const id = `${network.id}/${gateway.hostId}`;
        return {
          id: stackId(id),
          gateway: id,
          networkId: network.id,
          hostId: gateway.hostId,
          domain: network.domain,
          addresses: ownAddresses(gateway),
          dnsIps: network.dnsIps,
          mtu: network.mtu,
          ranges: reachedRanges(network),
          egress: apps(network)
            .filter(hasEgress)
            .flatMap((app) => app.instances.filter(({ hostId }) => hostId === gateway.hostId))
            .flatMap(({ id, address }) => addressesOf(address).map((ip) => [ip, id] as const)),
        };
      }),
  );
  const links = plans.flatMap(({ network, app, instance, plug }): AppLink[] => {
    if (plug.link !== "userspace" || !ready.has(instance.id)) return [];
    const { port, upstream } = app.spec;
    const { loopback } = plug;
    return [
      {
        id: instance.id,
        gateway: `${network.id}/${instance.hostId}`,
        domain: network.domain,
        addresses: addressesOf(instance.address),
        mtu: network.mtu,
        ranges: reachedRanges(network),
        target: {
          port,
          loopbackPort: loopback.port,
          ...(upstream === undefined ? {} : { upstream: splitHostPort(upstream) }),
        },
        proxy: { port: loopback.proxy, secret: loopback.secret },
        egress: hasEgress(app),
      },
    ];
  });
  return { gateways, apps: links };
}

/** The network's ranges, and what is behind its peers. */
function reachedRanges(network: DesiredNetwork): string[] {
  return [...rangesOf(network), ...peers(network).flatMap((peer) => peer.routes)];
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
      allowedIps: [...ownAddresses(other).map(hostRange), ...behind],
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
