/** The way from one member to another, step by step, from what control knows. Pure: facts in, steps out. */
import ipaddr from "ipaddr.js";
import type { Attempt, InstanceStatus, MemberRecord, NetworkRecord, Status } from "../runtime/control/interface/types";
import { describeAccess, networkOfRecords, reachability, type Subject } from "../runtime/policy";
import { hasPort } from "../runtime/policy/access";

export interface TraceFacts {
  readonly status: Status;
  readonly network: NetworkRecord;
  readonly from: MemberRecord;
  /** Of an app: the instance that asks. */
  readonly fromInstance?: InstanceStatus;
  /** As it was asked for: a name, or an address. */
  readonly host: string;
  /** Absent: the port of the app that it leads to. */
  readonly port?: number;
  /** @default "tcp" */
  readonly protocol?: "tcp" | "udp";
  /** What the name is to `from`; of an address, itself. */
  readonly addresses: readonly string[];
  /** Of a service address: those of its instances, in the order in which connections of `from` try them. */
  readonly backends?: readonly string[];
  /** Milliseconds since 1970. */
  readonly now: number;
}

export interface Step {
  readonly step: "from" | "name" | "member" | "policy" | "route" | "handshake" | "link" | "process" | "connection";
  readonly ok: boolean;
  readonly detail: string;
}

export interface Trace {
  readonly steps: readonly Step[];
  /** Where a TCP connection should go to, if no step says that it cannot. */
  readonly to?: { readonly address: string; readonly port: number };
}

/** A session is refused after 180 s without a new handshake (REJECT_AFTER_TIME). */
const STALE = 180_000;

interface Target {
  readonly member: MemberRecord;
  readonly instance?: InstanceStatus;
  readonly address: string;
  /** What the address is, beside an instance's or peer's own. */
  readonly by?: string;
}

/** @returns the steps up to the first that is broken */
export function trace(facts: TraceFacts): Trace {
  const steps: Step[] = [];
  const add = (step: Step["step"], ok: boolean, detail: string): boolean => {
    steps.push({ step, ok, detail });
    return ok;
  };
  const { from, fromInstance, host, addresses, network, status } = facts;

  if (from.kind === "app" && !add("from", ...fromApp(from, fromInstance))) return { steps };
  if (from.kind === "peer")
    add("from", true, `${from.name} is a peer with ${address(from)}; what runs there is not seen from here`);

  if (addresses.length === 0) {
    const others = status.members.filter((member) => member.networkId === network.id).map((member) => member.name);
    add("name", false, `${host} has no address in ${network.spec.name}: its members are ${others.join(", ")}`);
    return { steps };
  }
  add("name", true, addresses.includes(host) ? `${host} is an address` : `${host} is ${addresses.join(", ")}`);

  const target = findTarget(facts);
  if (typeof target === "string") {
    add("member", false, target);
    return { steps };
  }
  const { member, instance } = target;
  const where = instance ? `${member.name} (${instance.slot})` : member.name;
  add("member", true, target.by ?? `${target.address} is ${where}`);

  const port = facts.port ?? (member.app?.port || undefined);
  if (!add("policy", ...allowed(facts, member, instance, port))) return { steps };

  const fromHost = fromInstance?.hostId ?? from.gateway?.hostId;
  const toHost = instance?.hostId ?? member.gateway?.hostId;
  for (const [hostId, other, kind] of hops(facts, fromHost, toHost, member)) {
    if (hostId === undefined || toHost === undefined) {
      add("route", false, `it is not known on which host ${hostId === undefined ? from.name : member.name} is`);
      return { steps };
    }
    if (kind === "switch") {
      add("route", true, `both are on host ${hostId}: no tunnel between them`);
      continue;
    }
    const tunnel = status.tunnels.find(
      (one) => one.networkId === network.id && one.hostId === hostId && one.remoteKind === kind && one.remote === other,
    );
    if (!tunnel) {
      add("route", false, `host ${hostId} has no tunnel to ${kind === "peer" ? "the peer" : "host"} ${other}`);
      return { steps };
    }
    add("route", true, `a tunnel from host ${hostId} to ${other}${tunnel.endpoint ? ` at ${tunnel.endpoint}` : ""}`);
    if (!add("handshake", ...handshake(tunnel.latestHandshake, tunnel.endpoint, kind, facts.now))) return { steps };
  }

  if (member.kind === "app") {
    if (!instance?.link) {
      add("link", false, `${where} is not plugged in yet${instance?.detail ? `: ${instance.detail}` : ""}`);
      return { steps };
    }
    add("link", true, `${where} is plugged in by link ${instance.link}`);
    if (!add("process", instance.state === "healthy", processDetail(instance))) return { steps };
  }
  if (port === undefined) return { steps };
  if (facts.protocol !== "udp") return { steps, to: { address: target.address, port } };
  add("connection", true, `UDP has none: whether port ${port} takes datagrams is for the two programs to say`);
  return { steps };
}

/** The app whose service address one of these is. */
export function serviceAmong(
  status: Status,
  networkId: string,
  addresses: readonly string[],
): MemberRecord | undefined {
  return status.members.find(
    ({ networkId: network, service }) =>
      network === networkId && [service?.ipv4, service?.ipv6].some((ip) => ip !== undefined && addresses.includes(ip)),
  );
}

/** The last step: what a real connection came to. */
export function connectionStep(attempt: Attempt): Step {
  return { step: "connection", ok: attempt.ok, detail: attempt.detail };
}

function address(member: MemberRecord): string {
  return member.addresses.flatMap(({ ipv4, ipv6 }) => [ipv4, ipv6].filter((ip) => ip !== undefined)).join(", ");
}

function fromApp(from: MemberRecord, instance: InstanceStatus | undefined): [boolean, string] {
  if (!instance) return [false, `${from.name} has no instance on this machine`];
  const at = instance.ipv4 ?? instance.ipv6;
  if (!instance.link)
    return [
      false,
      `${from.name} (${instance.slot}) is ${instance.state}${instance.detail ? `: ${instance.detail}` : ""}`,
    ];
  return [true, `${from.name} (${instance.slot}) has ${at}, link ${instance.link}`];
}

function findTarget(facts: TraceFacts): Target | string {
  const { status, network, addresses } = facts;
  const members = status.members.filter((member) => member.networkId === network.id);
  const instanceAt = (address: string) =>
    status.instances.find(
      (one) => (one.ipv4 === address || one.ipv6 === address) && members.some(({ id }) => id === one.memberId),
    );
  const service = serviceAmong(status, network.id, addresses);
  if (service) {
    const address = addresses[0]!;
    const { fromInstance, backends = [] } = facts;
    const isOwn = (one: string) => one === fromInstance?.ipv4 || one === fromInstance?.ipv6;
    // An instance that asks for its own app comes to itself last.
    const order = [...backends.filter((one) => !isOwn(one)), ...backends.filter(isOwn)];
    const first = order.map(instanceAt).find((one) => one !== undefined);
    if (!first) return `${address} is the service address of ${service.name}, which has no instance`;
    const by = `${address} is the service address of ${service.name}, which leads to ${service.name} (${first.slot}) first`;
    return { member: service, instance: first, address, by };
  }
  for (const address of addresses) {
    const instance = instanceAt(address);
    const member = instance
      ? members.find(({ id }) => id === instance.memberId)
      : members.find((one) => one.addresses.some(({ ipv4, ipv6 }) => ipv4 === address || ipv6 === address));
    if (member) return { member, ...(instance ? { instance } : {}), address };
  }
  const [first] = addresses as [string];
  if (network.gatewayIps.includes(first) || network.dnsIps.includes(first))
    return `${first} is the network's own: it answers pings${network.dnsIps.includes(first) ? " and DNS" : ""}, and no connections`;
  return behindPeer(members, first) ?? `nobody in ${network.spec.name} has ${first}`;
}

/** The peer whose `routes` have the address; of several the one with the longest prefix, as the gateways have it. */
function behindPeer(members: readonly MemberRecord[], address: string): Target | undefined {
  const ip = ipaddr.parse(address);
  const routes = members.flatMap((member) =>
    (member.peer?.routes ?? []).map((route) => ({ member, route, range: ipaddr.parseCIDR(route) })),
  );
  const fitting = routes
    .filter(({ range }) => range[0].kind() === ip.kind() && ip.match(range))
    .sort((a, b) => b.range[1] - a.range[1])[0];
  if (!fitting) return undefined;
  const { member, route } = fitting;
  return { member, address, by: `${address} is behind ${member.name}, which routes ${route}` };
}

function allowed(
  { status, network, from, fromInstance, protocol = "tcp" }: TraceFacts,
  to: MemberRecord,
  instance: InstanceStatus | undefined,
  port: number | undefined,
): [boolean, string] {
  const members = status.members.filter((member) => member.networkId === network.id);
  const { subjects, access } = reachability(networkOfRecords(network.spec, members));
  const find = (member: MemberRecord, region: string | undefined): Subject | undefined =>
    subjects.find((one) => one.member.name === member.name && (one.region === undefined || one.region === region));
  const [a, b] = [find(from, fromInstance?.region), find(to, instance?.region)];
  if (!a || !b) return [true, "no rule speaks of them"];
  const granted = access(a, b);
  if (granted.all) return [true, `${a.label} may reach ${b.label}`];
  const words = `what ${a.label} may start towards ${b.label}: ${describeAccess(granted)}`;
  return [
    port === undefined
      ? describeAccess(granted) !== "nothing"
      : hasPort({ ...granted, [protocol === "tcp" ? "udp" : "tcp"]: [] }, port),
    words,
  ];
}

type Hop = readonly [hostId: string | undefined, other: string, kind: "gateway" | "peer" | "switch"];

/** The tunnels on the way: from a peer to its gateway, between gateways, and to a peer from its gateway. */
function hops(
  { from }: TraceFacts,
  fromHost: string | undefined,
  toHost: string | undefined,
  to: MemberRecord,
): readonly Hop[] {
  const out: Hop[] = [];
  if (from.kind === "peer") out.push([fromHost, from.name, "peer"]);
  if (fromHost === undefined || fromHost !== toHost) out.push([fromHost, toHost ?? "", "gateway"]);
  if (to.kind === "peer") out.push([toHost, to.name, "peer"]);
  return out.length > 0 ? out : [[fromHost, "", "switch"]];
}

function handshake(
  latest: string | undefined,
  endpoint: string | undefined,
  kind: "gateway" | "peer" | "switch",
  now: number,
): [boolean, string] {
  if (latest === undefined) {
    if (kind === "peer" && endpoint === undefined)
      return [false, "the peer was never heard of: is its interface up, with this network's config?"];
    return [true, "none yet: the first packet begins it"];
  }
  const age = now - Date.parse(latest);
  const seconds = `${Math.max(0, Math.round(age / 1000))} s ago`;
  if (kind === "peer" && age > STALE)
    return [false, `${seconds}: the peer has not been heard of for ${STALE / 1000} s, and may be gone`];
  return [true, age > STALE ? `${seconds}: the next packet begins another` : seconds];
}

function processDetail({ state, detail, pid, restarts }: InstanceStatus): string {
  const process = pid === undefined ? "" : `, process ${pid}`;
  return `${state}${process}${restarts > 0 ? `, restarted ${restarts} times` : ""}${detail ? `: ${detail}` : ""}`;
}
