/** The behaviour behind Peer: its keys are made here, and the registry never sees a private one. */
import { isDeepStrictEqual } from "node:util";
import { x25519 } from "@noble/curves/ed25519.js";
import type { MemberRecord, PeerSpec, SlotAddress } from "../../runtime/control/interface/types";
import { layout, overlaps, parseCidr } from "../../runtime/ipam";
import type { ControlClient } from "../client";
import type { CheckResult, Crud, DiffResult, HookContext, Props } from "./crud";
import { InputReader } from "./inputs";
import {
  addressesOf,
  awaitReady,
  HIDDEN_MEMBER,
  initFailure,
  keptOrder,
  type MemberSlots,
  mainAddress,
  memberChanges,
  memberReplaces,
  PEER_SLOTS,
  peerRegion,
  planAddresses,
  plannedInputs,
  putMember,
  refuseDuplicate,
  refuseRegions,
  resolveSpace,
  spaceOf,
} from "./member";
import { deleteMember, memberLacks, readMember } from "./member-state";
import type { NetworkSpace } from "./network";
import { DEFAULT_KEEPALIVE, peerConfig } from "./peer-config";
import { changedKeys, compact, failureOf, found, HIDDEN_COMMON, ownerOf, withControl, withPeek } from "./shared";
import { isUnknown, UNKNOWN, type Unknown } from "./unknown";

/** What a user may set; schema.json lists the same. */
export const PEER_INPUTS = [
  "name",
  "network",
  "region",
  "endpoint",
  "ip",
  "publicKey",
  "presharedKey",
  "dns",
  "routes",
  "persistentKeepalive",
  "expiresAt",
  "keepers",
  "tags",
] as const;

/** What diff compares. The keys are compared apart: a generated one is an output without an input. */
const COMPARED = [
  "name",
  "network",
  "space",
  "region",
  "endpoint",
  "ip",
  "addresses",
  "dns",
  "routes",
  "persistentKeepalive",
  "expiresAt",
  "keepers",
  "tags",
  "owner",
];

const KEY_BYTES = 32;

export const peer: Crud = { check, diff, create, read: readPeer, update, delete: deleteMember("Peer") };

async function check(ctx: HookContext, olds: Props, news: Props): Promise<CheckResult> {
  const input = new InputReader("Peer", news);
  input.onlyKeys([...PEER_INPUTS, ...HIDDEN_COMMON, ...HIDDEN_MEMBER]);
  const name = input.label("name");
  if (!input.has("network"))
    input.fail("network", 'A peer needs a network: pass the Network or its name as "network".');
  const network = input.string("network");
  const region = input.label("region");
  const endpoint = input.hostPort("endpoint", { portOptional: true });
  const publicKey = input.key("publicKey");
  const presharedKey = readPresharedKey(input);
  const dns = input.oneOf("dns", ["off", "split", "all"] as const) ?? "off";
  const routes = input.ranges("routes") ?? [];
  const persistentKeepalive = input.integer("persistentKeepalive", 0, 65535, " seconds") ?? DEFAULT_KEEPALIVE;
  const expiresAt = readTime(input, "expiresAt");
  // A time that passed since it was declared is no mistake: the peer has expired as it should.
  if (typeof expiresAt === "string" && Date.parse(expiresAt) <= ctx.now() && expiresAt !== olds.expiresAt)
    input.fail("expiresAt", `"${expiresAt}" is past: choose a later time, or leave the peer out.`);
  const keepers = input.record("keepers");
  const tags = input.record("tags") ?? {};

  const space = await spaceOf(ctx, news);
  refuseDuplicate(input, name, news.before);
  if (typeof region === "string") refuseRegions(input, "region", [region], space);
  refuseOwnRange(input, routes, space);
  await refuseKeyOfAnother(ctx, input, publicKey, news);
  const slots = isUnknown(region) || space === undefined || isUnknown(space) ? UNKNOWN : slotsOf(region, space);
  const plan = await planAddresses(ctx, input, olds, news, space, name, slots);
  const inputs = compact({
    name,
    network,
    region,
    endpoint,
    ip: input.raw("ip"),
    publicKey,
    // A generated key is an output of this name; `true` in its place would be shown as its value in a preview.
    ...(presharedKey === true ? { presharedKeyGenerated: true } : { presharedKey }),
    dns,
    routes,
    persistentKeepalive,
    expiresAt,
    keepers,
    tags,
    space: news.space === undefined ? undefined : space,
    networkId: news.networkId,
    ...plannedInputs(plan),
    ...keptOrder(news, plan?.addresses),
    owner: news.owner,
    createTimeout: news.createTimeout,
    updateTimeout: news.updateTimeout,
    __provider: news.__provider,
  });
  return { inputs, failures: input.failures };
}

function slotsOf(region: unknown, space: NetworkSpace): MemberSlots {
  return { kind: "peer", own: PEER_SLOTS, regions: [peerRegion(region, space)] };
}

/** A range behind the peer cannot lie in its network as well. */
function refuseOwnRange(input: InputReader, routes: unknown, space: NetworkSpace | Unknown | undefined): void {
  if (!Array.isArray(routes) || input.failures.length > 0 || space === undefined || isUnknown(space)) return;
  try {
    const own = layout(space).families.map((f) => f.range);
    for (const [i, text] of (routes as string[]).entries()) {
      const range = parseCidr(text, `routes[${i}]`);
      if (own.some((r) => r.family === range.family && overlaps(r, range)))
        input.fail(`routes[${i}]`, `${text} overlaps the range of network ${space.name} itself.`);
    }
  } catch (error) {
    input.failures.push(failureOf(error, "routes"));
  }
}

/** WireGuard tells peers apart by their keys. */
async function refuseKeyOfAnother(ctx: HookContext, input: InputReader, key: unknown, news: Props): Promise<void> {
  const network = news.networkId ?? news.network;
  if (typeof key !== "string" || typeof network !== "string") return;
  await withPeek(ctx, async (control) => {
    const peers = (control && (await found(control.members({ network, kind: "peer" })))) ?? [];
    // Its URN is another one once its stack has another name, and its name once it is to be replaced.
    const self = (p: MemberRecord) => p.name === news.name || p.owner.urn === ownerOf(news).urn;
    const other = peers.find((p) => p.peer?.publicKey === key && !self(p));
    if (other) input.fail("publicKey", `Peer ${other.name} of network ${other.networkName} has this key already.`);
  });
}

function readPresharedKey(input: InputReader): string | true | typeof UNKNOWN | undefined {
  const value = input.raw("presharedKey");
  if (value === true) return true;
  if (value === false) return undefined;
  return input.key("presharedKey");
}

function readTime(input: InputReader, key: string): string | typeof UNKNOWN | undefined {
  const value = input.string(key);
  if (value === undefined || isUnknown(value)) return value;
  const rfc3339 = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/;
  if (rfc3339.test(value) && !Number.isNaN(Date.parse(value))) return value;
  return input.fail(key, `"${value}" is no time of RFC 3339, for instance 2027-01-31T12:00:00Z.`);
}

async function diff(ctx: HookContext, id: string, olds: Props, news: Props): Promise<DiffResult> {
  const changed = memberChanges(COMPARED, olds, news);
  if (keysChange(olds, news)) changed.push("publicKey");
  const replaces = memberReplaces(changed, olds, news);
  if (changed.length > 0) return { changes: true, replaces, deleteBeforeReplace: replaces.length > 0 };
  // Answers of control leave the pre-shared key out.
  const same = async (record: MemberRecord, control: ControlClient) =>
    isDeepStrictEqual({ ...record.peer, presharedKey: undefined }, { ...specOf(ctx, olds), presharedKey: undefined }) &&
    // Other peers' routes and the gateway are in the text too.
    (await configOf(control, olds, olds as unknown as Keys, record)) === olds.config;
  return { changes: await memberLacks(ctx, id, olds, same), replaces: [], deleteBeforeReplace: false };
}

/** Does this change what the gateways must know of the peer's keys? A change of `keepers` does, and is seen apart from this. */
function keysChange(olds: Props, news: Props): boolean {
  const ownBefore = olds.privateKey === undefined;
  const ownNow = news.publicKey !== undefined;
  if (ownBefore !== ownNow || (ownNow && news.publicKey !== olds.publicKey)) return true;
  if (news.presharedKeyGenerated === true) return olds.presharedKeyGenerated !== true;
  return olds.presharedKeyGenerated === true || changedKeys(["presharedKey"], olds, news).length > 0;
}

interface Keys {
  readonly privateKey?: string;
  readonly publicKey: string;
  readonly presharedKey?: string;
}

/** The keys that the state has, as far as the inputs allow; new ones for the rest. */
function keysFor(ctx: HookContext, olds: Props | undefined, news: Props): Keys {
  const keep = olds !== undefined && isDeepStrictEqual(olds.keepers, news.keepers);
  const presharedKey =
    news.presharedKeyGenerated === true
      ? keep && olds.presharedKeyGenerated === true
        ? (olds.presharedKey as string)
        : Buffer.from(ctx.random(KEY_BYTES)).toString("base64")
      : (news.presharedKey as string | undefined);
  if (news.publicKey !== undefined) return { publicKey: news.publicKey as string, presharedKey };
  if (keep && typeof olds.privateKey === "string")
    return { privateKey: olds.privateKey, publicKey: olds.publicKey as string, presharedKey };
  const secret = Uint8Array.from(ctx.random(KEY_BYTES));
  // RFC 7748 section 5, as wg genkey does: tools compare private keys in this form.
  secret[0] &= 248;
  secret[31] = (secret[31] & 127) | 64;
  return {
    privateKey: Buffer.from(secret).toString("base64"),
    publicKey: Buffer.from(x25519.getPublicKey(secret)).toString("base64"),
    presharedKey,
  };
}

function specOf(ctx: HookContext, props: Props): PeerSpec {
  return compact({
    region: props.region,
    publicKey: props.publicKey,
    presharedKey: props.presharedKey,
    routes: props.routes ?? [],
    endpoint: props.endpoint ?? ctx.endpoint,
    expiresAt: props.expiresAt,
    dns: props.dns,
    persistentKeepalive: props.persistentKeepalive,
    tags: props.tags ?? {},
  }) as unknown as PeerSpec;
}

async function create(ctx: HookContext, inputs: Props): Promise<{ id: string; outs: Props }> {
  return withControl(ctx, async (control) => {
    const { id, outs } = await put(ctx, control, inputs, keysFor(ctx, undefined, inputs));
    return { id, outs };
  });
}

async function update(ctx: HookContext, id: string, olds: Props, news: Props): Promise<{ outs: Props }> {
  return withControl(ctx, async (control) => {
    const known = {
      id,
      registryId: String(olds.registryId),
      addresses: addressesOf(olds),
    };
    const { outs } = await put(ctx, control, news, keysFor(ctx, olds, news), known);
    return { outs };
  });
}

async function put(
  ctx: HookContext,
  control: ControlClient,
  inputs: Props,
  keys: Keys,
  known?: { id: string; registryId: string; addresses: SlotAddress[] },
): Promise<{ id: string; outs: Props }> {
  const space = await resolveSpace(control, inputs);
  const spec = specOf(ctx, { ...inputs, ...keys });
  const record = await putMember(
    ctx,
    control,
    inputs,
    slotsOf(inputs.region, space),
    space,
    { kind: "peer", peer: spec },
    known,
  );
  const { missing } = await awaitReady(ctx, control, record.id, known ? inputs.updateTimeout : inputs.createTimeout);
  // The gateway's port is known once it is bound.
  const settled = await control.member(record.id);
  const config = await configOf(control, inputs, keys, settled);
  const { before: _, gateways: __, ...rest } = inputs;
  const outs = compact({
    ...rest,
    ...keys,
    networkId: settled.networkId,
    addresses: settled.addresses,
    privateIp: mainAddress(settled.addresses[0]),
    registryId: settled.registryId,
    config,
  });
  const failure = initFailure(record.id, outs, missing);
  if (failure) throw failure;
  return { id: record.id, outs };
}

async function configOf(
  control: ControlClient,
  inputs: Props,
  keys: Keys,
  peer: MemberRecord,
): Promise<string | undefined> {
  if (!peer.gateway) return undefined;
  const network = await control.network(peer.networkId);
  const peers = await control.members({ network: peer.networkId, kind: "peer" });
  return peerConfig({
    peer,
    network,
    routes: peers.flatMap((p) => p.peer?.routes ?? []),
    privateKey: keys.privateKey,
    presharedKey: keys.presharedKey,
    dns: inputs.dns as "off" | "split" | "all",
    persistentKeepalive: inputs.persistentKeepalive as number,
  });
}

async function readPeer(ctx: HookContext, id: string, props: Props): Promise<{ id: string; props: Props } | undefined> {
  const facts = (record: MemberRecord) => ({ ...record.peer, privateIp: mainAddress(record.addresses[0]) });
  const shown = (record: MemberRecord) => {
    const { presharedKey: _, ...rest } = record.peer!;
    return rest;
  };
  return readMember(ctx, "peer", id, props, facts, shown);
}
