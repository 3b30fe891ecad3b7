/** The behaviour behind Network. */
import { isDeepStrictEqual } from "node:util";
import { domainFault, regionFault } from "../../runtime/control/interface/names";
import type {
  AddressSpace,
  NetworkRecord,
  NetworkSpec,
  Owner,
  PolicyRule,
} from "../../runtime/control/interface/types";
import { WarrenError } from "../../runtime/errors";
import { checkRoom, defaultCidr, layout, rangeChange, sameStack, wellKnown } from "../../runtime/ipam";
import { parseSelector, readPolicy } from "../../runtime/policy";
import type { CheckResult, Crud, DiffResult, HookContext, Props } from "./crud";
import { DNS_LABEL, InputReader } from "./inputs";
import { networkConflicts } from "./network-conflicts";
import {
  changedKeys,
  compact,
  failureOf,
  found,
  HIDDEN_COMMON,
  ownerOf,
  refuseForeign,
  withControl,
  withPeek,
} from "./shared";
import { hasUnknown, isUnknown, UNKNOWN } from "./unknown";

/** What a user may set; schema.json lists the same. */
export const NETWORK_INPUTS = [
  "name",
  "cidr",
  "ipv6Cidr",
  "reserved",
  "regions",
  "domain",
  "mtu",
  "policy",
  "keepers",
  "tags",
] as const;
/** What is compared by diff: `owner` moves with the stack's or resource's name. */
const COMPARED = [
  "name",
  "cidr",
  "ipv6Cidr",
  "reserved",
  "regions",
  "domain",
  "mtu",
  "policy",
  "keepers",
  "tags",
  "owner",
];

const DEFAULT_DOMAIN = "internal";
/** Characters, RFC 1035 section 2.3.4: 255 bytes with lengths and root. */
const MOST_DOMAIN = 253;
/** Bytes: 1500 of Ethernet less 80 of IPv6, UDP and WireGuard. */
const DEFAULT_MTU = 1420;
/** RFC 8200 section 5: the least that IPv6 needs. RFC 791: the least for IPv4. */
const LEAST_MTU = { 4: 576, 6: 1280 };

export interface NetworkSpace extends AddressSpace {
  regions: string[];
  domain: string;
  mtu: number;
  /** A change gives the gateways new keys, which peers' configs name. */
  keepers?: Record<string, string>;
}

export const network: Crud = { check, diff, create, read, update, delete: remove };

async function check(ctx: HookContext, olds: Props, news: Props): Promise<CheckResult> {
  const input = new InputReader("Network", news);
  input.onlyKeys([...NETWORK_INPUTS, ...HIDDEN_COMMON]);
  const name = input.label("name");
  let cidr = input.string("cidr");
  const ipv6Cidr = input.string("ipv6Cidr");
  const reserved = input.strings("reserved") ?? [];
  const regions = input.labels("regions") ?? [];
  if (!isUnknown(regions))
    for (const [i, region] of regions.entries()) {
      const fault = regionFault(region);
      if (fault) input.fail(`regions[${i}]`, `"${region}" ${fault}.`);
    }
  const domain = input.string("domain") ?? DEFAULT_DOMAIN;
  if (!isUnknown(domain) && (domain.length > MOST_DOMAIN || !domain.split(".").every((label) => DNS_LABEL.test(label))))
    input.fail(
      "domain",
      `"${domain}" is no domain name: use lower-case labels of at most 63 characters joined by dots, for instance "internal".`,
    );
  const unfit = isUnknown(domain) ? undefined : domainFault(domain);
  if (unfit) input.fail("domain", `"${String(domain)}" ${unfit}.`);
  const policy = input.rules("policy", readPolicy);
  if (policy !== undefined && !isUnknown(policy) && !isUnknown(regions)) refuseRegionsOfRules(input, policy, regions);
  const mtu = input.integer("mtu", LEAST_MTU[4], 65535, " bytes") ?? DEFAULT_MTU;
  const keepers = input.record("keepers");
  const tags = input.record("tags") ?? {};

  if (cidr === undefined && input.failures.length === 0) {
    cidr =
      typeof olds.cidr === "string"
        ? olds.cidr
        : isUnknown(name)
          ? UNKNOWN
          : await defaultRange(ctx, name as string, ownerOf(news));
  }
  const inputs: Record<string, unknown> = {
    name,
    cidr,
    ipv6Cidr,
    reserved,
    regions,
    domain,
    mtu,
    policy,
    keepers,
    tags,
  };
  const known = { name, cidr, ipv6Cidr, reserved };
  if (input.failures.length === 0) {
    if (Object.values(known).some(isUnknown))
      Object.assign(inputs, { space: UNKNOWN, gatewayIp: UNKNOWN, dnsIp: UNKNOWN });
    else
      try {
        const net = layout(known as AddressSpace);
        // A network that is there keeps its range, however small.
        if (!["cidr", "ipv6Cidr", "reserved"].every((key) => isDeepStrictEqual(olds[key], inputs[key]))) checkRoom(net);
        if (net.families.some((f) => f.family === 6) && !isUnknown(mtu) && mtu < LEAST_MTU[6])
          input.fail(
            "mtu",
            `"mtu" is ${mtu}, but IPv6 needs at least ${LEAST_MTU[6]}: raise it, or use an IPv4 range.`,
          );
        const { gatewayIps, dnsIps } = wellKnown(net);
        const space = { ...known, regions, domain, mtu, keepers };
        Object.assign(inputs, {
          space: hasUnknown(space) ? UNKNOWN : compact(space),
          gatewayIp: gatewayIps[0],
          dnsIp: dnsIps[0],
        });
      } catch (error) {
        input.failures.push(failureOf(error, "cidr"));
      }
    if (input.failures.length === 0 && inputs.gatewayIp !== UNKNOWN) {
      const before = olds.owner === undefined ? undefined : ownerOf(olds);
      const space = known as AddressSpace;
      await withPeek(ctx, async (control) => {
        if (control) input.failures.push(...(await networkConflicts(control, space, ownerOf(news), before)));
      });
    }
  }
  for (const key of HIDDEN_COMMON) inputs[key] = news[key];
  return { inputs: compact(inputs), failures: input.failures };
}

/** Regions that no member of this network can be in. */
function refuseRegionsOfRules(input: InputReader, policy: readonly PolicyRule[], regions: readonly string[]): void {
  if (regions.length === 0) return;
  for (const [i, rule] of policy.entries())
    for (const side of ["from", "to"] as const)
      for (const text of rule[side]) {
        const selector = parseSelector(text);
        if (selector?.kind !== "region" || regions.includes(selector.region)) continue;
        input.fail(
          `policy[${i}].${side}`,
          `"${text}" names nobody: the network has the regions ${regions.join(", ")}.`,
        );
      }
}

/**
 * The range that the registry has for this name already, else one that no other stack uses here. Other networks of this stack
 * do not count: they may be made between a preview and its `up`, and the answer must not depend on that.
 */
async function defaultRange(ctx: HookContext, name: string, owner: Owner): Promise<string> {
  const records = await withPeek(ctx, async (control) => (control ? await control.networks() : []));
  const mine = records.find((r) => r.spec.name === name)?.spec.cidr;
  if (mine !== undefined) return mine;
  const others = records.filter((r) => !sameStack(r.owner, owner));
  return defaultCidr(
    name,
    others.flatMap((r) => [r.spec.cidr, r.spec.ipv6Cidr]).filter((c) => c !== undefined),
  );
}

async function diff(ctx: HookContext, id: string, olds: Props, news: Props): Promise<DiffResult> {
  const changed = changedKeys(COMPARED, olds, news);
  const moved = changed.filter((key) => key === "cidr" || key === "ipv6Cidr");
  const replaces = [
    ...changed.filter((key) => key === "name"),
    ...(moved.length > 0 && !staysInPlace(olds, news) ? moved : []),
  ];
  if (changed.length > 0) return { changes: true, replaces, deleteBeforeReplace: replaces.length > 0 };
  return { changes: await lacks(ctx, id, olds), replaces: [], deleteBeforeReplace: false };
}

/** True where the registry does not hold what the state says, so that an update must make it again. */
async function lacks(ctx: HookContext, id: string, olds: Props): Promise<boolean> {
  return withPeek(ctx, async (control) => {
    const record = control && (await found(control.network(id)));
    return (
      !record || record.registryId !== olds.registryId || changedKeys(DRIFTING, olds, recordProps(record)).length > 0
    );
  });
}

/** True where gateway, DNS and members keep their addresses. A range that shrinks does too: control refuses it while it is in use. */
function staysInPlace(olds: Props, news: Props): boolean {
  if (isUnknown(news.cidr) || isUnknown(news.ipv6Cidr)) return false;
  return rangeChange(rangesOf(olds), rangesOf(news)) !== "replace";
}

function rangesOf(props: Props): AddressSpace {
  const { name, cidr, ipv6Cidr } = props;
  return { name, cidr, ipv6Cidr, reserved: [] } as unknown as AddressSpace;
}

function specOf(inputs: Props): NetworkSpec {
  const spec = compact({
    name: inputs.name,
    cidr: inputs.cidr,
    ipv6Cidr: inputs.ipv6Cidr,
    reserved: inputs.reserved ?? [],
    regions: inputs.regions ?? [],
    domain: inputs.domain ?? DEFAULT_DOMAIN,
    mtu: inputs.mtu ?? DEFAULT_MTU,
    policy: inputs.policy,
    tags: inputs.tags ?? {},
    keepers: inputs.keepers,
  });
  return spec as unknown as NetworkSpec;
}

const DRIFTING = ["name", "cidr", "ipv6Cidr", "reserved", "regions", "domain", "mtu", "policy", "keepers", "tags"];

function recordProps(record: NetworkRecord): Props {
  const { name, cidr, ipv6Cidr, reserved, regions, domain, mtu, policy, tags, keepers } = record.spec;
  return compact({ name, cidr, ipv6Cidr, reserved, regions, domain, mtu, policy, tags, keepers });
}

function outputs(inputs: Props, record: NetworkRecord, seed: unknown): Props {
  const spec = recordProps(record);
  // What members do not depend on stays out: a change of it is no change of theirs.
  const { tags: _, policy: __, ...space } = spec;
  return compact({
    ...inputs,
    ...spec,
    networkId: record.id,
    space,
    gatewayIp: record.gatewayIp,
    dnsIp: record.dnsIp,
    seed,
    registryId: record.registryId,
  });
}

async function create(ctx: HookContext, inputs: Props): Promise<{ id: string; outs: Props }> {
  return withControl(ctx, async (control) => {
    const spec = specOf(inputs);
    const record = await control.putNetwork(spec.name, { owner: ownerOf(inputs), spec });
    return { id: record.id, outs: outputs(inputs, record, record.seed) };
  });
}

async function update(ctx: HookContext, id: string, olds: Props, news: Props): Promise<{ outs: Props }> {
  return withControl(ctx, async (control) => {
    const spec = specOf(news);
    const record = await control.putNetwork(spec.name, {
      owner: ownerOf(news),
      spec,
      known: { id, seed: String(olds.seed), registryId: String(olds.registryId) },
      ...(ctx.adopt === undefined ? {} : { adopt: ctx.adopt }),
    });
    return { outs: outputs(news, record, record.seed ?? olds.seed) };
  });
}

async function read(ctx: HookContext, id: string, props: Props): Promise<{ id: string; props: Props } | undefined> {
  return withPeek(ctx, async (control) => {
    const record = control && (await found(control.network(id)));
    if (typeof props.registryId !== "string") {
      // Network.get: a network of another stack, by id or name. Its seed is its own stack's.
      if (!record) throw notThere(id);
      return { id: record.id, props: outputs({}, record, undefined) };
    }
    const here = record?.registryId ?? (control && (await control.health()).registryId);
    if (here !== props.registryId) return { id, props };
    if (record) return { id, props: outputs(props, record, props.seed) };
    // An empty registry may be one that was lost and began anew: to make this network again is then right, and harmless else.
    return (await control!.networks()).length === 0 ? { id, props } : undefined;
  });
}

function notThere(id: string): WarrenError {
  return new WarrenError(
    "WARREN_NOT_FOUND",
    `There is no network "${id}" in this registry: bring up the stack that declares it, or check the name ("warren networks").`,
    { path: "id" },
  );
}

async function remove(ctx: HookContext, id: string, props: Props): Promise<void> {
  await withControl(ctx, async (control) => {
    await refuseForeign(ctx, control, "Network", id, props);
    await control.deleteNetwork(id, ownerOf(props));
  });
}
