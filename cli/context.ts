/** What every command gets: the way to control, and the way to say things. */
import { type ControlClient, controlPlace, socketClient } from "../provider/client";
import { peekDaemon } from "../provider/daemon";
import type { InstanceStatus, MemberRecord, NetworkRecord, Status } from "../runtime/control/interface/types";
import { WarrenError } from "../runtime/errors";
import { homeDir } from "../runtime/home";
import { machineId } from "../runtime/machine-id";

export interface Context {
  /** Programs read standard output: one JSON value, no tables. */
  readonly json: boolean;
}

export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

export function printJson(value: unknown): void {
  print(JSON.stringify(value, null, 2));
}

/** The daemon of this user's state folder, started again where it should run and does not; undefined where there is no registry. */
export async function control(): Promise<ControlClient | undefined> {
  const place = controlPlace(undefined);
  return "home" in place ? peekDaemon(place.home) : socketClient(place.socketPath);
}

/** @throws WarrenError WARREN_NOT_FOUND where there is no registry. */
export async function withControl<T>(work: (client: ControlClient) => Promise<T>): Promise<T> {
  const client = await control();
  if (!client)
    throw new WarrenError(
      "WARREN_NOT_FOUND",
      `There is no Warren registry in ${homeDir()}: declare a Network and run "pulumi up" or "warren up DIR", or set WARREN_HOME.`,
    );
  try {
    return await work(client);
  } finally {
    await client.close();
  }
}

/** A member of either kind, by `NAME` or `NETWORK/NAME`. @param path of the option at fault */
export function findAnyMember(status: Status, text: string, networkName?: string, path?: string): MemberRecord {
  const at = path === undefined ? {} : { path };
  const [network, name] = text.includes("/") ? (text.split("/", 2) as [string, string]) : [networkName, text];
  const found = status.members.filter(
    (member) => member.name === name && (network === undefined || member.networkName === network),
  );
  if (found.length === 1) return found[0]!;
  if (found.length > 1) {
    const choices = found.map((member) => `${member.networkName}/${member.name}`).join(", ");
    throw new WarrenError(
      "WARREN_INVALID_INPUT",
      `Several networks have a member "${text}": name one of ${choices}.`,
      at,
    );
  }
  const known = status.members.map((member) => member.name);
  const hint = known.length > 0 ? `there are ${known.join(", ")}` : "there are none yet";
  throw new WarrenError("WARREN_NOT_FOUND", `There is no app or peer "${text}": ${hint}.`, at);
}

/** The name that DNS has for a member: peers are under `_peer`. Any other name is its own. */
export function hostOf(status: Status, network: NetworkRecord, name: string): string {
  const isPeer = status.members.some(
    (member) => member.kind === "peer" && member.networkId === network.id && member.name === name,
  );
  return isPeer ? `${name}._peer.${network.spec.domain}` : name;
}

/** The network that a command means; the only one where it names none. @throws WarrenError */
export function pickNetwork(status: Status, name: string | undefined): NetworkRecord {
  const names = status.networks.map((network) => network.spec.name);
  const found = name === undefined ? status.networks : status.networks.filter((network) => network.spec.name === name);
  if (found.length === 1) return found[0]!;
  if (name === undefined && found.length > 1)
    throw new WarrenError("WARREN_INVALID_INPUT", `There are several networks: say --network ${names.join(" or ")}.`, {
      path: "--network",
    });
  const hint = names.length > 0 ? `there are ${names.join(", ")}` : "there are none yet";
  throw new WarrenError(
    "WARREN_NOT_FOUND",
    name === undefined ? "There is no network yet." : `There is no network "${name}": ${hint}.`,
  );
}

/** A member by `NAME` or `NETWORK/NAME`. */
export function findMember(status: Status, text: string, kind: "app" | "peer"): MemberRecord {
  const [network, name] = text.includes("/") ? (text.split("/", 2) as [string, string]) : [undefined, text];
  const found = status.members.filter(
    (member) =>
      member.kind === kind && member.name === name && (network === undefined || member.networkName === network),
  );
  if (found.length === 1) return found[0]!;
  if (found.length > 1) {
    const choices = found.map((member) => `${member.networkName}/${member.name}`).join(", ");
    throw new WarrenError("WARREN_INVALID_INPUT", `Several networks have a member "${text}": name one of ${choices}.`);
  }
  const known = status.members.filter((member) => member.kind === kind).map((member) => member.name);
  const hint = known.length > 0 ? `there are ${known.join(", ")}` : "there are none yet";
  throw new WarrenError("WARREN_NOT_FOUND", `There is no ${kind} "${text}": ${hint}.`);
}

/** The instance that a command means: a slot (`ord/0`), a region or a machine's id where given, else the first healthy one. */
export function pickInstance(status: Status, app: MemberRecord, wanted: string | undefined): InstanceStatus {
  const all = status.instances.filter((instance) => instance.memberId === app.id);
  const fitting =
    wanted === undefined ? all : all.filter((i) => [i.slot, i.region, i.id, machineId(i.id)].includes(wanted));
  const chosen = fitting.find((instance) => instance.state === "healthy") ?? fitting[0];
  if (chosen) return chosen;
  const slots = all.map((instance) => instance.slot).join(", ") || "none";
  throw new WarrenError("WARREN_NOT_FOUND", `${app.name} has no instance "${wanted ?? ""}"; its instances: ${slots}.`);
}
