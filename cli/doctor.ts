/** What `warren doctor` makes of what it sees. Pure: facts in, findings out. */
import { isIP } from "node:net";
import type { Status } from "../runtime/control/interface/types";
import { checkPolicy, networkOfRecords } from "../runtime/policy";

export interface Finding {
  readonly check: string;
  /** `note`: it works, but somebody may want to know. */
  readonly is: "ok" | "note" | "broken";
  readonly detail: string;
}

const ok = (check: string, detail: string): Finding => ({ check, is: "ok", detail });
const note = (check: string, detail: string): Finding => ({ check, is: "note", detail });
const broken = (check: string, detail: string): Finding => ({ check, is: "broken", detail });

/** Bytes of an outer packet around an inner one: IPv6 40, UDP 8, WireGuard 32. */
const OVERHEAD = 80;
/** Bytes of free space below which a registry may soon not be written any more. */
const LITTLE_SPACE = 50 << 20;
/** Milliseconds by which a file's time may lie ahead. */
const CLOCK_SLACK = 60_000;

export function node(version: string): Finding {
  const [major, minor] = version.replace(/^v/, "").split(".").map(Number);
  const enough = major > 20 || (major === 20 && minor >= 20);
  return enough ? ok("node", version) : broken("node", `${version}: install Node 20.20 or newer.`);
}

/** @param why it cannot be used; undefined: it can */
export function native(why: string | undefined, cipher: string): Finding {
  return why === undefined
    ? ok("native calls", `the fast data plane, cipher ${cipher}`)
    : note("native calls", `the portable data plane is used, cipher ${cipher}: ${why}`);
}

/** @param lack what link `tun` misses; undefined: nothing */
export function link(lack: string | undefined): Finding {
  return lack === undefined
    ? ok("link", "apps get a TUN device in a network namespace of their own")
    : note("link", `apps get the link userspace. ${lack}`);
}

export interface FolderFacts {
  readonly dir: string;
  readonly exists: boolean;
  readonly writable: boolean;
  /** Bytes. */
  readonly free: number;
  /** Of its newest file, milliseconds since 1970. */
  readonly newest: number;
}

export function folder(facts: FolderFacts): Finding {
  if (!facts.exists) return ok("state folder", `${facts.dir} is not there yet: the first network makes it`);
  if (!facts.writable)
    return broken("state folder", `${facts.dir} cannot be written: run as its owner, or set WARREN_HOME.`);
  if (facts.free < LITTLE_SPACE)
    return broken("state folder", `${facts.dir} has ${Math.round(facts.free / 2 ** 20)} MiB left: make room.`);
  return ok("state folder", `${facts.dir}, ${Math.round(facts.free / 2 ** 20)} MiB free`);
}

/**
 * A handshake whose time is not later than the last one is refused by the other side.
 * @param newest of what this machine wrote, milliseconds @param kept whether NTP keeps it in step; undefined: not known
 */
export function clock(now: number, newest: number, kept: boolean | undefined): Finding {
  const ahead = newest - now;
  if (ahead > CLOCK_SLACK)
    return broken(
      "clock",
      `it went back by about ${Math.ceil(ahead / 60_000)} min: peers refuse handshakes until it has caught up. Set it (timedatectl).`,
    );
  const time = new Date(now).toISOString();
  if (kept === undefined) return ok("clock", `${time}; whether it is kept in step cannot be read here`);
  return kept
    ? ok("clock", `${time}, kept in step`)
    : note(
        "clock",
        `${time}, and nothing keeps it in step: should it be set back, peers refuse handshakes until it has caught up. Run NTP (timedatectl set-ntp true).`,
      );
}

export function resolvers(servers: readonly string[]): Finding {
  return servers.length > 0
    ? ok("names", `names outside networks are asked of ${servers.join(", ")}`)
    : note("names", "/etc/resolv.conf names no server: apps resolve names of their networks only.");
}

/** @param devices name → MTU of the devices that are up and not loopback */
export function mtu(status: Status | undefined, devices: ReadonlyMap<string, number>): Finding[] {
  return (status?.networks ?? []).map((network) => {
    const wanted = network.spec.mtu + OVERHEAD;
    const narrow = [...devices].filter(([, size]) => size < wanted);
    if (narrow.length === 0) return ok("mtu", `${network.spec.name}: ${network.spec.mtu}`);
    const least = Math.min(...narrow.map(([, size]) => size));
    const names = narrow.map(([name, size]) => `${name} (${size})`).join(", ");
    return note(
      "mtu",
      `${network.spec.name}: packets of ${network.spec.mtu} bytes are fragmented on ${names}, which works and is slower; mtu: ${least - OVERHEAD} would fit.`,
    );
  });
}

export function registry(status: Status | undefined, version: string): Finding[] {
  if (!status) return [ok("registry", "there is none: no network is declared")];
  const findings = [
    status.version === version
      ? ok("daemon", `version ${status.version}, process ${status.pid}`)
      : note(
          "daemon",
          `version ${status.version}, this program is ${version}: "warren serve --stop" lets the new one start.`,
        ),
    status.applied === status.revision
      ? ok("registry", `revision ${status.revision} is true`)
      : broken(
          "registry",
          `revision ${status.revision} is declared, ${status.applied} is true so far: see the problems below.`,
        ),
    ...status.problems.map((problem) => broken("problem", problem)),
  ];
  for (const instance of status.instances) {
    const name = status.members.find(({ id }) => id === instance.memberId)?.name ?? instance.memberId;
    if (instance.state !== "healthy")
      findings.push(
        broken(
          "app",
          `${name} (${instance.slot}) is ${instance.state}${instance.detail ? `: ${instance.detail}` : ""}`,
        ),
      );
    for (const warning of instance.warnings ?? []) findings.push(note("app", warning));
  }
  for (const network of status.networks) {
    const members = status.members.filter(({ networkId }) => networkId === network.id);
    for (const problem of checkPolicy(networkOfRecords(network.spec, members)))
      findings.push(
        (problem.severity === "error" ? broken : note)("policy", `${network.spec.name}: ${problem.message}`),
      );
  }
  return findings;
}

/** Who has a UDP port: the daemon, somebody else, or somebody of whom no more can be seen here. */
export type PortHolder = "daemon" | "other" | "hidden";

/** What was found out about this machine's network. */
export interface NetworkFacts {
  /** By UDP port that is open. */
  readonly holders: ReadonlyMap<number, PortHolder>;
  /** Addresses of this machine. */
  readonly own: ReadonlySet<string>;
  /** Addresses of the host names in endpoints; empty: the name has none. */
  readonly resolved: ReadonlyMap<string, readonly string[]>;
}

export function endpoints(status: Status | undefined, facts: NetworkFacts): Finding[] {
  if (!status) return [];
  return [
    ...status.hosts
      .filter(({ port }) => port !== 0)
      .map(({ id, port }) => portFinding(id, port, facts.holders.get(port))),
    ...status.members.filter(isPeer).map((peer) => endpointFinding(peer, facts)),
  ];
}

function portFinding(hostId: string, port: number, holder: PortHolder | undefined): Finding {
  const what = `UDP ${port} of ${hostId}`;
  switch (holder) {
    case "daemon":
      return ok("port", `${what} is open`);
    case "hidden":
      return ok("port", `${what} is open; by whom only root or the daemon's account can see`);
    case "other":
      return broken("port", `${what} is another program's (ss -lunp): end that, and run "warren serve --stop".`);
    default:
      return broken("port", `${what} is not open: run "warren serve --stop", the next command opens it.`);
  }
}

type PeerRecord = Status["members"][number] & { readonly gateway: NonNullable<Status["members"][number]["gateway"]> };

function isPeer(member: Status["members"][number]): member is PeerRecord {
  return member.kind === "peer" && member.gateway !== undefined;
}

function endpointFinding({ name, peer, gateway }: PeerRecord, { own, resolved }: NetworkFacts): Finding {
  const endpoint = peer?.endpoint;
  const port = gateway.endpoint.split(":").at(-1);
  if (endpoint === undefined || isLoopback(endpoint))
    return note(
      "endpoint",
      `${name} reaches its gateway from this machine only: set its endpoint, or warren:endpoint.`,
    );
  const host = hostPart(endpoint);
  const addresses = resolved.get(host) ?? [host];
  if (addresses.length === 0)
    return note(
      "endpoint",
      `${name} is told ${endpoint}, and ${host} has no address as seen from here: without one the peer finds no way.`,
    );
  const where = resolved.has(host) ? `${host} (${addresses.join(", ")})` : host;
  return addresses.some((address) => own.has(address))
    ? ok(
        "endpoint",
        `${name} reaches its gateway at ${endpoint}${resolved.has(host) ? ` (${addresses.join(", ")})` : ""}`,
      )
    : note(
        "endpoint",
        `${name} is told ${where}, which is no address of this machine: what is there must pass UDP ${port} on.`,
      );
}

/** Host names that peers are told, whose addresses somebody has to look up. */
export function endpointNames(status: Status | undefined): string[] {
  const hosts = (status?.members ?? []).flatMap(({ peer }) => (peer?.endpoint === undefined ? [] : [peer.endpoint]));
  return [...new Set(hosts.filter((one) => !isLoopback(one)).map(hostPart))].filter((host) => isIP(host) === 0);
}

function hostPart(endpoint: string): string {
  if (isIP(endpoint) !== 0) return endpoint;
  return endpoint.startsWith("[") ? endpoint.slice(1, endpoint.indexOf("]")) : endpoint.replace(/:\d+$/, "");
}

function isLoopback(endpoint: string): boolean {
  const host = hostPart(endpoint);
  return host === "localhost" || host === "::1" || host.startsWith("127.");
}
