/** Functions that ask control what is there now. They run in the program, in previews too, and start nothing where nothing is. */
import * as pulumi from "@pulumi/pulumi";
import { type ControlClient, controlPlace, socketClient } from "../provider/client";
import { peekDaemon } from "../provider/daemon";
import { addressesBehind } from "../provider/names";
import type { MemberRecord } from "../runtime/control/interface/types";
import { WarrenError } from "../runtime/errors";
import type { MemberAddress } from "./member";
import type { NetworkSpace } from "./network";

export interface GetNetworkArgs {
  /** Its name or id. */
  network: string;
}

export interface GetNetworkResult extends NetworkSpace {
  readonly networkId: string;
  readonly gatewayIp: string;
  readonly dnsIp: string;
  readonly registryId: string;
}

export interface GetMembersArgs {
  /** Name or id of the network. @default all networks */
  network?: string;
  /** @default both */
  kind?: "app" | "peer";
}

export interface MemberResult {
  readonly id: string;
  readonly name: string;
  readonly kind: "app" | "peer";
  readonly network: string;
  readonly networkId: string;
  readonly regions: string[];
  readonly addresses: MemberAddress[];
  readonly privateIps: string[];
}

export interface ResolveArgs {
  /** `api`, `api.internal`, `iad.api.internal`, `api.flycast`, `laptop._peer.internal`…: docs/names.md has them all. */
  hostname: string;
  /** Name or id of the network. */
  network: string;
}

/** @throws WarrenError WARREN_NOT_FOUND */
export function getNetwork(args: GetNetworkArgs): Promise<GetNetworkResult> {
  return asking(`network "${args.network}"`, async (control) => {
    const { id, spec, gatewayIp, dnsIp, registryId } = await control.network(args.network);
    const { tags: _, ...space } = spec;
    return { ...space, networkId: id, gatewayIp, dnsIp, registryId };
  });
}

/** All members, in the order of their names. @throws WarrenError WARREN_NOT_FOUND for a network that is not there */
export function getMembers(args: GetMembersArgs = {}): Promise<MemberResult[]> {
  return asking(
    args.network === undefined ? undefined : `network "${args.network}"`,
    async (control) => {
      if (args.network !== undefined) await control.network(args.network);
      const records = await control.members(args);
      return records.map(memberResult).sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
    },
    [],
  );
}

/**
 * The addresses behind a host name of a network, as its DNS answers now: of healthy instances only, and of all where none is healthy.
 * @throws WarrenError WARREN_NOT_FOUND
 */
export function resolve(args: ResolveArgs): Promise<string[]> {
  return asking(`network "${args.network}"`, async (control) => {
    const network = await control.network(args.network);
    const addresses = await addressesBehind(control, network, args.hostname);
    if (addresses.length === 0) throw notThere(`name "${args.hostname}" in network "${network.spec.name}"`);
    return addresses;
  });
}

function memberResult(record: MemberRecord): MemberResult {
  return {
    id: record.id,
    name: record.name,
    kind: record.kind,
    network: record.networkName,
    networkId: record.networkId,
    regions: record.app?.regions ?? (record.peer?.region === undefined ? [] : [record.peer.region]),
    addresses: record.addresses,
    privateIps: record.addresses.map((a) => (a.ipv4 ?? a.ipv6)!),
  };
}

/** @param nothing the answer where there is no registry at all; without one, that is an error about `what` */
async function asking<T>(
  what: string | undefined,
  ask: (control: ControlClient) => Promise<T>,
  nothing?: T,
): Promise<T> {
  const place = controlPlace(new pulumi.Config("warren").get("controlUrl"));
  const control = "home" in place ? await peekDaemon(place.home) : socketClient(place.socketPath);
  if (!control) {
    if (what === undefined && nothing !== undefined) return nothing;
    throw notThere(what ?? "anything");
  }
  try {
    return await ask(control);
  } finally {
    await control.close();
  }
}

function notThere(what: string): WarrenError {
  return new WarrenError(
    "WARREN_NOT_FOUND",
    `There is no ${what} in this registry: bring up the stack that declares it first, or check the name ("warren networks").`,
  );
}
