/** The commands that show: status, networks, peers, apps. */
import type { MemberRecord, SlotAddress, Status } from "../../runtime/control/interface/types";
import { type Context, control, findMember, print, printJson } from "../context";
import { table } from "../table";

/** What an empty machine shows; asking must not start anything there. */
async function currentStatus(): Promise<Status | undefined> {
  const client = await control();
  try {
    return await client?.status();
  } finally {
    await client?.close();
  }
}

export async function status({ json }: Context): Promise<void> {
  const state = await currentStatus();
  if (json) return printJson(state ?? { running: false, networks: [], members: [], instances: [], tunnels: [] });
  if (!state) return print("Nothing here yet: no network was ever declared on this machine, or all were destroyed.");
  print(`warren ${state.version}, pid ${state.pid}, up ${duration(state.uptime)}, state in ${state.home}`);
  print(
    `link ${state.link}${state.linkReason === undefined ? "" : ` (${state.linkReason.replace(/\.$/, "")})`}, cipher ${state.aead}, registry ${state.registryId}, revision ${state.applied} of ${state.revision}`,
  );
  for (const problem of state.problems) print(`problem: ${problem}`);
  for (const { warnings = [] } of state.instances) for (const warning of warnings) print(`warning: ${warning}`);
  for (const network of state.networks) {
    const ranges = [network.spec.cidr, network.spec.ipv6Cidr].filter(Boolean).join(" and ");
    print(
      `\n${network.spec.name}   ${ranges}   gateway ${network.gatewayIps.join(", ")}   DNS ${network.dnsIps.join(", ")}`,
    );
    const rows = state.instances
      .filter((instance) => memberOf(state, instance.memberId)?.networkId === network.id)
      .map((instance) => [
        memberOf(state, instance.memberId)?.name ?? "-",
        instance.slot,
        ips(instance),
        instance.state,
        instance.pid === undefined ? "-" : String(instance.pid),
        String(instance.restarts),
        instance.detail?.split("\n")[0] ?? "",
      ]);
    if (rows.length > 0) print(table(["APP", "INSTANCE", "VIRTUAL IP", "STATE", "PID", "RESTARTS", ""], rows));
    const tunnels = state.tunnels
      .filter((tunnel) => tunnel.networkId === network.id)
      .map((tunnel) => [
        tunnel.hostId,
        tunnel.remote,
        tunnel.endpoint ?? "-",
        tunnel.latestHandshake ? `${duration((Date.now() - Date.parse(tunnel.latestHandshake)) / 1000)} ago` : "never",
        bytes(tunnel.rx),
        bytes(tunnel.tx),
      ]);
    if (tunnels.length > 0) print(table(["HOST", "TUNNEL TO", "ENDPOINT", "HANDSHAKE", "RECEIVED", "SENT"], tunnels));
  }
}

export async function networks({ json }: Context): Promise<void> {
  const state = await currentStatus();
  const records = state?.networks ?? [];
  if (json) return printJson(records);
  const rows = records.map((network) => [
    network.spec.name,
    [network.spec.cidr, network.spec.ipv6Cidr].filter(Boolean).join(", "),
    network.gatewayIps.join(", "),
    network.dnsIps.join(", "),
    String(state?.members.filter((member) => member.networkId === network.id).length ?? 0),
    owner(network.owner),
  ]);
  print(table(["NETWORK", "RANGE", "GATEWAY", "DNS", "MEMBERS", "STACK"], rows));
}

/** The tutorial's columns: who holds which address. Apps first, then peers. */
export async function peers({ json, app }: Context & { app?: string | true }): Promise<void> {
  const state = await currentStatus();
  if (typeof app === "string" && state) findMember(state, app, "app");
  const rows = (state?.members ?? [])
    .filter((member) => (app === undefined ? true : member.kind === "app" && (app === true || member.name === app)))
    .sort((a, b) => a.kind.localeCompare(b.kind))
    .flatMap((member) => member.addresses.map((address) => peerRow(member, address)));
  if (json) return printJson(rows);
  print(
    table(
      ["PEER NAME", "APP NAME", "REGION", "VIRTUAL IP"],
      rows.map((row) => [row.peerName, row.appName ?? "-", row.region ?? "-", row.virtualIps.join(", ")]),
    ),
  );
}

function peerRow(member: MemberRecord, address: SlotAddress) {
  const virtualIps = [address.ipv4, address.ipv6].filter((ip): ip is string => ip !== undefined);
  if (member.kind === "peer") return { peerName: member.name, virtualIps };
  return { peerName: member.networkName, appName: member.name, region: address.slot.split("/")[0], virtualIps };
}

export async function apps({ json }: Context): Promise<void> {
  const state = await currentStatus();
  const records = (state?.members ?? []).filter((member) => member.kind === "app");
  const instancesOf = (member: MemberRecord) =>
    state?.instances.filter((instance) => instance.memberId === member.id) ?? [];
  if (json) return printJson(records.map((member) => ({ ...member, instances: instancesOf(member) })));
  const rows = records.map((member) => [
    member.name,
    member.networkName,
    [...new Set(member.addresses.map((address) => address.slot.split("/")[0]))].join(", "),
    member.addresses.map(ips).join(", "),
    String(member.app?.port || "-"),
    summary(instancesOf(member).map((instance) => instance.state)),
    member.app?.upstream ?? member.app?.command?.join(" ") ?? "-",
  ]);
  print(table(["APP NAME", "NETWORK", "REGIONS", "VIRTUAL IP", "PORT", "STATE", "RUNS"], rows));
}

function memberOf(state: Status, id: string): MemberRecord | undefined {
  return state.members.find((member) => member.id === id);
}

function ips(address: { ipv4?: string; ipv6?: string }): string {
  return [address.ipv4, address.ipv6].filter(Boolean).join(", ");
}

function owner(value: { organization: string; project: string; stack: string }): string {
  return `${value.project}/${value.stack}`;
}

/** `healthy`, or `2 healthy, 1 backoff` where they differ. */
function summary(states: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const state of states) counts.set(state, (counts.get(state) ?? 0) + 1);
  if (counts.size === 1 && states.length === 1) return states[0] as string;
  return [...counts].map(([state, count]) => `${count} ${state}`).join(", ") || "-";
}

/** Two units at most: `1 h 4 min`, `12 s`. */
export function duration(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

export function bytes(count: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = count;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}
