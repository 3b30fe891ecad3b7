/** What Peer and App have in common: their network, their addresses, and the wait until they work. */

import { regionFault } from "../../runtime/control/interface/names";
import type {
  Before,
  MemberRecord,
  PlanRequest,
  PutMember,
  Readiness,
  SlotAddress,
} from "../../runtime/control/interface/types";
import { WarrenError } from "../../runtime/errors";
import {
  isGatewaySlot,
  isTopSlot,
  layout,
  listView,
  pinned,
  plan,
  SERVICE_SLOT,
  withTopSlots,
} from "../../runtime/ipam";
import type { ControlClient } from "../client";
import { type HookContext, InitFailure, type Props } from "./crud";
import type { InputReader } from "./inputs";
import type { NetworkSpace } from "./network";
import { changedKeys, DEFAULT_CREATE_TIMEOUT, failureOf, found, ownerOf, withPeek } from "./shared";
import { hasUnknown, isUnknown, UNKNOWN, type Unknown } from "./unknown";

/** Hidden inputs of members: the network as the program knows it, its id, and the members constructed before. */
export const HIDDEN_MEMBER = ["space", "networkId", "before", "unordered"] as const;

/** One of the members constructed before, as the SDK sends it: its inputs that decide how many addresses it takes. */
interface BeforeInput {
  readonly name: string;
  readonly kind: "app" | "peer";
  readonly region?: string;
  readonly regions?: readonly string[];
  readonly instances?: number;
  readonly ip?: string;
}

/**
 * The network's space: what the Network object says, else (a network given by name or id) what the registry says. undefined
 * where the registry does not know the network yet.
 */
export async function spaceOf(ctx: HookContext, news: Props): Promise<NetworkSpace | Unknown | undefined> {
  if (news.space !== undefined) return hasUnknown(news.space) ? UNKNOWN : (news.space as NetworkSpace);
  if (typeof news.network !== "string") return isUnknown(news.network) ? UNKNOWN : undefined;
  const name = news.network;
  return withPeek(ctx, async (control) => (control && (await found(control.network(name))))?.spec);
}

/** Regions of an app: its own, else the network's first, else `local`. */
export function regionsOf(
  input: { region?: unknown; regions?: unknown },
  space: NetworkSpace | Unknown | undefined,
): string[] | Unknown {
  if (isUnknown(input.region) || hasUnknown(input.regions)) return UNKNOWN;
  if (Array.isArray(input.regions) && input.regions.length > 0) return input.regions as string[];
  if (typeof input.region === "string") return [input.region];
  if (space === undefined || isUnknown(space)) return UNKNOWN;
  return [space.regions[0] ?? "local"];
}

export function appSlots(regions: readonly string[], instances: number): string[] {
  return regions.flatMap((region) => Array.from({ length: instances }, (_, i) => `${region}/${i}`));
}

export const PEER_SLOTS = ["peer"];

/** The region whose gateway a peer uses: its own, else the network's first, else `local`. */
export function peerRegion(region: unknown, space: NetworkSpace): string {
  return typeof region === "string" ? region : (space.regions[0] ?? "local");
}

/** Members before this one, with the slots that they take; UNKNOWN while one of them is not known. */
export function beforeOf(value: unknown, space: NetworkSpace): Before[] | Unknown {
  if (hasUnknown(value)) return UNKNOWN;
  const out: Before[] = [];
  for (const b of (value ?? []) as readonly BeforeInput[]) {
    const regions = b.kind === "app" ? regionsOf(b, space) : [peerRegion(b.region, space)];
    if (isUnknown(regions)) return UNKNOWN;
    const own = b.kind === "app" ? appSlots(regions, b.instances ?? 1) : PEER_SLOTS;
    const slots = withTopSlots(b.kind, own, regions);
    out.push({ name: b.name, slots, ...(b.ip === undefined ? {} : { ip: b.ip }) });
  }
  return out;
}

/** Two members of one program with one name: the second would take over the first. */
export function refuseDuplicate(input: InputReader, name: string | Unknown | undefined, before: unknown): void {
  if (typeof name !== "string" || !Array.isArray(before)) return;
  if (before.some((b) => (b as BeforeInput | Unknown) !== UNKNOWN && (b as BeforeInput).name === name))
    input.fail("name", `Another member of this network in this program has the name "${name}": give each its own.`);
}

/** A region that the network does not have, or none can. */
export function refuseRegions(
  input: InputReader,
  property: string,
  regions: readonly string[],
  space: NetworkSpace | Unknown | undefined,
): void {
  for (const region of regions) {
    const fault = regionFault(region);
    if (fault) input.fail(property, `"${region}" ${fault}.`);
  }
  if (space === undefined || isUnknown(space) || space.regions.length === 0) return;
  const wrong = regions.find((region) => !space.regions.includes(region));
  if (wrong !== undefined)
    input.fail(
      property,
      `Network ${space.name} has the regions ${space.regions.join(", ")}, and "${wrong}" is none of them.`,
    );
}

/** What a member is planned to have. */
export interface PlannedAddresses {
  /** One entry per slot of its own. */
  readonly addresses: SlotAddress[];
  /** Of an app, where that can be said. */
  readonly service?: SlotAddress;
  /** Of the gateways that it needs: create asks for the same. */
  readonly gateways: SlotAddress[];
}

export interface MemberSlots {
  readonly kind: "app" | "peer";
  readonly own: readonly string[];
  readonly regions: readonly string[];
}

/**
 * The addresses that this member will have, one entry per slot: what a preview shows and `up` makes true. undefined where that
 * cannot be said yet: an input is not known, the network is not, or the order of construction is not (members made inside apply).
 */
export async function planAddresses(
  ctx: HookContext,
  input: InputReader,
  olds: Props,
  news: Props,
  space: NetworkSpace | Unknown | undefined,
  name: string | Unknown | undefined,
  slots: MemberSlots | Unknown,
): Promise<PlannedAddresses | undefined> {
  const ip = input.address("ip");
  if (input.failures.length > 0 || space === undefined || isUnknown(space)) return undefined;
  try {
    if (typeof ip === "string") pinned(layout(space), ip, "ip");
    if (isUnknown(ip) || isUnknown(name) || name === undefined || isUnknown(slots)) return undefined;
    const before = beforeOf(news.before, space);
    const old = sameNetwork(olds, news, space) ? addressesOf(olds) : [];
    const { own } = slots;
    const request: PlanRequest = {
      network: addressSpace(space),
      ...(typeof news.networkId === "string" ? { networkId: news.networkId } : {}),
      owner: ownerOf(news),
      name,
      slots: withTopSlots(slots.kind, own, slots.regions),
      ...(ip === undefined ? {} : { ip }),
      old,
      before: isUnknown(before) ? [] : before,
    };
    const ordered = news.unordered !== true && !isUnknown(before);
    return await withPeek(ctx, async (control) => {
      const ask = async (asked: PlanRequest) =>
        control ? (await control.plan(asked)).addresses : plan(listView(layout(space)), asked);
      if (ordered) return planned(await ask(request));
      // Without an order only what this member holds already can be promised, and what is pinned.
      const held = (control ? await heldAddresses(control, request) : old) ?? [];
      const promised = ip !== undefined && own.length === 1 ? await ask({ ...request, slots: [...own] }) : held;
      const covered = own.every((slot) => promised.some((h) => h.slot === slot));
      const leftover = promised.some((h) => !isTopSlot(h.slot) && !own.includes(h.slot));
      return covered && !leftover ? planned([...promised, ...held.filter((h) => h.slot === SERVICE_SLOT)]) : undefined;
    });
  } catch (error) {
    input.failures.push(failureOf(error, "ip"));
    return undefined;
  }
}

function planned(all: readonly SlotAddress[]): PlannedAddresses {
  const given = all.filter((a) => a.ipv4 !== undefined || a.ipv6 !== undefined);
  const service = given.find((a) => a.slot === SERVICE_SLOT);
  return {
    addresses: given.filter((a) => !isTopSlot(a.slot)),
    ...(service ? { service } : {}),
    gateways: given.filter((a) => isGatewaySlot(a.slot)),
  };
}

/** All that the state says a member has. */
export function addressesOf(props: Props): SlotAddress[] {
  const own = (props.addresses ?? []) as SlotAddress[];
  return props.service === undefined ? own : [...own, props.service as SlotAddress];
}

/** What check adds of addresses to a member's inputs. */
export function plannedInputs(plan: PlannedAddresses | undefined): Props {
  if (!plan) return {};
  const { addresses, service, gateways } = plan;
  return { addresses, privateIp: mainAddress(addresses[0]), service, ...(gateways.length > 0 ? { gateways } : {}) };
}

/** What the registry has for this very member, if that is what it asks for. */
async function heldAddresses(control: ControlClient, request: PlanRequest): Promise<SlotAddress[] | undefined> {
  const members = await control.members({ network: request.networkId ?? request.network.name }).catch((error) => {
    if (WarrenError.is(error) && error.code === "WARREN_NOT_FOUND") return [];
    throw error;
  });
  const record = members.find((m) => m.name === request.name && m.owner.urn === request.owner.urn);
  return record && addressesOf(record as unknown as Props);
}

function sameNetwork(olds: Props, news: Props, space: NetworkSpace): boolean {
  const oldSpace = olds.space as NetworkSpace | undefined;
  return oldSpace === undefined ? olds.network === news.network : oldSpace.name === space.name;
}

function addressSpace(space: NetworkSpace): PlanRequest["network"] {
  const { name, cidr, ipv6Cidr, reserved } = space;
  return {
    name,
    ...(cidr === undefined ? {} : { cidr }),
    ...(ipv6Cidr === undefined ? {} : { ipv6Cidr }),
    reserved,
  };
}

/** create plans for a member without an order, or with an order that check could not know, and needs what the SDK sent. */
export function keptOrder(news: Props, addresses: unknown): Props {
  if (addresses !== undefined) return {};
  return { unordered: news.unordered, ...(hasUnknown(news.before) ? {} : { before: news.before }) };
}

/** Like changedKeys; addresses that check could not plan, and a space that only its network's update makes unknown, are no change. */
export function memberChanges(keys: readonly string[], olds: Props, news: Props): string[] {
  const planned = ["addresses", "service"];
  return changedKeys(keys, olds, news).filter((key) => !(planned.includes(key) && news[key] === undefined));
}

/** A member is made anew when its name or its network is another one. */
export function memberReplaces(changed: readonly string[], olds: Props, news: Props): string[] {
  const replaces = changed.filter((key) => key === "name" || key === "network");
  const moved = typeof news.networkId === "string" && olds.networkId !== undefined && news.networkId !== olds.networkId;
  if (moved && !replaces.includes("network")) replaces.push("network");
  return replaces;
}

/** IPv4 where there is one. */
export function mainAddress(address: SlotAddress): string {
  return (address.ipv4 ?? address.ipv6)!;
}

/** The network that a member is put into: the very one that the program knows, by id, where it knows one. */
export function networkKey(inputs: Props): string {
  return typeof inputs.networkId === "string" ? inputs.networkId : String(inputs.network);
}

/** Puts the member, with the addresses that check planned; plans now where check could not. */
export async function putMember(
  ctx: HookContext,
  control: ControlClient,
  inputs: Props,
  slots: MemberSlots,
  space: NetworkSpace,
  body:
    | { kind: "app"; app: NonNullable<MemberRecord["app"]> }
    | { kind: "peer"; peer: NonNullable<MemberRecord["peer"]> },
  known?: { id: string; registryId: string; addresses: readonly SlotAddress[] },
): Promise<MemberRecord> {
  const owner = ownerOf(inputs);
  const name = String(inputs.name);
  const pin = typeof inputs.ip === "string" ? { ip: inputs.ip } : {};
  const planNow = async () => {
    const before = beforeOf(inputs.before, space);
    const request: PlanRequest = {
      network: addressSpace(space),
      ...(typeof inputs.networkId === "string" ? { networkId: inputs.networkId } : {}),
      owner,
      name,
      slots: withTopSlots(slots.kind, slots.own, slots.regions),
      ...pin,
      old: [...(known?.addresses ?? [])],
      before: isUnknown(before) ? [] : before,
    };
    return (await control.plan(request)).addresses;
  };
  return control.putMember(networkKey(inputs), name, {
    owner,
    name,
    addresses:
      inputs.addresses === undefined
        ? await planNow()
        : [...addressesOf(inputs), ...((inputs.gateways as SlotAddress[] | undefined) ?? [])],
    ...pin,
    ...(known ? { known: { id: known.id, registryId: known.registryId } } : {}),
    ...(ctx.adopt === undefined ? {} : { adopt: ctx.adopt }),
    ...body,
  } as PutMember);
}

/** The space for create and update, where everything is known: the program's, else the registry's. */
export async function resolveSpace(control: ControlClient, inputs: Props): Promise<NetworkSpace> {
  if (inputs.space !== undefined) return inputs.space as NetworkSpace;
  const name = String(inputs.network);
  const record = await found(control.network(name));
  if (record) return record.spec;
  throw new WarrenError(
    "WARREN_NOT_FOUND",
    `There is no network "${name}" in this registry: bring up the stack that declares it first, or check the name ("warren networks").`,
    { path: "network" },
  );
}

/** The longest single wait, in seconds: a lost daemon is noticed, and started again, within it. */
const LONGEST_POLL = 10;

/** Waits until the member works. @returns what is missing at the deadline or failed for good; empty when it works. */
export async function awaitReady(
  ctx: HookContext,
  control: ControlClient,
  id: string,
  timeout: unknown,
): Promise<{ missing: string[]; warnings: readonly string[] }> {
  const seconds = typeof timeout === "number" ? timeout : DEFAULT_CREATE_TIMEOUT;
  const deadline = ctx.now() + seconds * 1000;
  let last: Readiness = { ready: false, missing: [], warnings: [] };
  let lost: WarrenError | undefined;
  for (;;) {
    const left = (deadline - ctx.now()) / 1000;
    if (left <= 0) break;
    try {
      last = await control.ready(id, Math.max(1, Math.ceil(Math.min(left, LONGEST_POLL))));
      lost = undefined;
    } catch (error) {
      if (!WarrenError.is(error) || error.code !== "WARREN_CONTROL_UNREACHABLE") throw error;
      lost = error;
      const again = await ctx.ensure();
      await again.close();
      continue;
    }
    if (last.ready || last.failed !== undefined) for (const warning of last.warnings) ctx.warn?.(warning);
    if (last.failed !== undefined)
      return { missing: [...new Set([last.failed, ...last.missing])], warnings: last.warnings };
    if (last.ready) return { missing: [], warnings: last.warnings };
  }
  const what = last.missing.length > 0 ? last.missing : [lost?.message ?? "Control did not say what it waits for."];
  return { missing: what.map((m) => `After ${seconds} s still missing: ${m}`), warnings: last.warnings };
}

/** Ends create or update: the member works, or it is kept in the state as one that does not yet. */
export function initFailure(id: string, outs: Props, missing: readonly string[]): InitFailure | undefined {
  return missing.length === 0 ? undefined : new InitFailure(id, outs, missing);
}
