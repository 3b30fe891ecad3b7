/** The behaviour behind App. */
import * as path from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { AppSpec, Health, MemberRecord, NetworkRecord, SlotAddress } from "../../runtime/control/interface/types";
import { readAllow } from "../../runtime/policy";
import type { ControlClient } from "../client";
import { refuseAllow } from "./app-allow";
import { appEnvironment, appHealth } from "./app-inputs";
import type { CheckResult, Crud, DiffResult, HookContext, Props } from "./crud";
import { InputReader } from "./inputs";
import {
  addressesOf,
  appSlots,
  awaitReady,
  HIDDEN_MEMBER,
  initFailure,
  keptOrder,
  type MemberSlots,
  mainAddress,
  memberChanges,
  memberReplaces,
  planAddresses,
  plannedInputs,
  putMember,
  refuseDuplicate,
  refuseRegions,
  regionsOf,
  resolveSpace,
  spaceOf,
} from "./member";
import { deleteMember, memberLacks, readMember } from "./member-state";
import { compact, failureOf, HIDDEN_COMMON, withControl } from "./shared";
import { packSource, sourceHash } from "./source";
import { hasUnknown, isUnknown, UNKNOWN } from "./unknown";

/** What a user may set; schema.json lists the same. */
export const APP_INPUTS = [
  "name",
  "network",
  "region",
  "regions",
  "instances",
  "port",
  "command",
  "source",
  "cwd",
  "triggers",
  "user",
  "env",
  "limits",
  "upstream",
  "ip",
  "allow",
  "health",
  "restart",
  "egress",
  "requireLoopback",
  "tags",
] as const;

const COMPARED = [
  "name",
  "network",
  "regions",
  "instances",
  "port",
  "command",
  "source",
  "sourceHash",
  "cwd",
  "triggers",
  "user",
  "env",
  "upstream",
  "ip",
  "addresses",
  "service",
  "hostname",
  "allow",
  "health",
  "restart",
  "egress",
  "requireLoopback",
  "tags",
  "owner",
];

const DEFAULT_PORT = 8080;
const MOST_INSTANCES = 1000;

export const app: Crud = { check, diff, create, read: readApp, update, delete: deleteMember("App") };

async function check(ctx: HookContext, olds: Props, news: Props): Promise<CheckResult> {
  const input = new InputReader("App", news);
  input.onlyKeys([...APP_INPUTS, ...HIDDEN_COMMON, ...HIDDEN_MEMBER]);
  input.unsupported("limits", "set limits in the command itself, for instance with prlimit or systemd-run.");
  const name = input.label("name");
  if (!input.has("network"))
    input.fail("network", 'An app needs a network: pass the Network or its name as "network".');
  const network = input.string("network");
  const region = input.label("region");
  const givenRegions = input.labels("regions");
  if (region !== undefined && givenRegions !== undefined)
    input.fail("regions", 'Give "region" or "regions", not both.');
  if (Array.isArray(givenRegions) && givenRegions.length === 0)
    input.fail("regions", '"regions" is empty: name at least one.');
  const instances = input.integer("instances", 1, MOST_INSTANCES) ?? 1;
  const port = input.integer("port", 0, 65535) ?? DEFAULT_PORT;
  const { command, upstream, source } = readProgram(input);
  const cwd = input.string("cwd");
  const user = input.string("user");
  const env = appEnvironment(input);
  const triggers = readTriggers(input);
  const health = appHealth(input, port);
  const restart = input.oneOf("restart", ["always", "on-failure", "never"] as const) ?? "always";
  const egress = input.boolean("egress") ?? true;
  const requireLoopback = input.boolean("requireLoopback") ?? false;
  const tags = input.record("tags") ?? {};
  const allow = input.rules("allow", readAllow);

  const space = await spaceOf(ctx, news);
  const regions = regionsOf({ region, regions: givenRegions }, space);
  if (!isUnknown(regions)) refuseRegions(input, region === undefined ? "regions" : "region", regions, space);
  refuseDuplicate(input, name, news.before);
  if (allow !== undefined && !isUnknown(allow))
    refuseAllow(input, allow, { name, port, health, regions, instances }, space, news.before);
  const slots = isUnknown(regions) || isUnknown(instances) ? UNKNOWN : slotsOf(regions, instances);
  const plan = await planAddresses(ctx, input, olds, news, space, name, slots);
  let hash: string | typeof UNKNOWN | undefined;
  if (isUnknown(source)) hash = UNKNOWN;
  else if (source !== undefined && input.failures.length === 0)
    try {
      hash = await sourceHash(path.resolve(ctx.programDir, source as string));
    } catch (error) {
      input.failures.push(failureOf(error, "source"));
    }
  const hostname =
    isUnknown(name) || name === undefined || space === undefined || isUnknown(space)
      ? undefined
      : `${name}.${space.domain}`;
  const inputs = compact({
    name,
    network,
    regions: space === undefined && isUnknown(regions) ? undefined : regions,
    instances,
    port,
    command,
    source,
    sourceHash: hash,
    cwd,
    triggers,
    user,
    env,
    upstream,
    ip: input.raw("ip"),
    allow,
    health,
    restart,
    egress,
    requireLoopback,
    tags,
    space: news.space === undefined ? undefined : space,
    networkId: news.networkId,
    ...plannedInputs(plan),
    privateIps: plan?.addresses.map(mainAddress),
    serviceIp: plan?.service && mainAddress(plan.service),
    hostname,
    url: hostname === undefined ? undefined : isUnknown(port) ? UNKNOWN : urlOf(hostname, port),
    ...keptOrder(news, plan?.addresses),
    owner: news.owner,
    createTimeout: news.createTimeout,
    updateTimeout: news.updateTimeout,
    __provider: news.__provider,
  });
  return { inputs, failures: input.failures };
}

function slotsOf(regions: readonly string[], instances: number): MemberSlots {
  return { kind: "app", own: appSlots(regions, instances), regions };
}

function readProgram(input: InputReader) {
  const command = input.strings("command");
  if (Array.isArray(command) && (command.length === 0 || command[0] === ""))
    input.fail("command", '"command" needs a program as its first element, for instance ["./server"].');
  const upstream = input.hostPort("upstream", { portOptional: false });
  const source = input.string("source");
  if (command !== undefined && upstream !== undefined)
    input.fail("upstream", 'Give "command" (Warren runs it) or "upstream" (it runs already), not both.');
  if (!input.has("command") && !input.has("upstream"))
    input.fail(
      "command",
      'An app needs a "command" to run, or the "upstream" (host:port) of something that runs already.',
    );
  if (upstream !== undefined)
    for (const key of ["source", "cwd", "user", "env", "triggers", "restart"])
      if (input.has(key))
        input.fail(key, `"${key}" has no meaning for an "upstream", which Warren does not run: leave it out.`);
  return { command, upstream, source };
}

/** Anything may be a trigger; only that it changed matters. */
function readTriggers(input: InputReader): unknown {
  const value = input.raw("triggers") ?? [];
  if (isUnknown(value)) return value;
  if (!Array.isArray(value)) return input.fail("triggers", '"triggers" must be a list.');
  return value.map((t) => (hasUnknown(t) ? UNKNOWN : typeof t === "string" ? t : JSON.stringify(t)));
}

/** An app on port 0 listens nowhere. */
function urlOf(hostname: string, port: number): string | undefined {
  return port === 0 ? undefined : `http://${hostname}:${port}`;
}

async function diff(ctx: HookContext, id: string, olds: Props, news: Props): Promise<DiffResult> {
  const absent = (key: string) => news[key] === undefined && ["regions", "hostname"].includes(key);
  const changed = memberChanges(COMPARED, olds, news)
    .filter((key) => !absent(key))
    .concat(hasUnknownInside(news) ? ["env"] : []);
  const replaces = memberReplaces(changed, olds, news);
  if (changed.length > 0 || replaces.length > 0)
    return { changes: true, replaces, deleteBeforeReplace: replaces.length > 0 };
  const same = (record: MemberRecord) => isDeepStrictEqual(record.app, specOf(ctx, olds, olds.regions as string[]));
  return { changes: await memberLacks(ctx, id, olds, same), replaces: [], deleteBeforeReplace: false };
}

function hasUnknownInside(news: Props): boolean {
  return hasUnknown(news.env) || hasUnknown(news.triggers);
}

function specOf(ctx: HookContext, props: Props, regions: readonly string[]): AppSpec {
  const given = props.cwd as string | undefined;
  const delivered = props.sourceHash !== undefined;
  const cwd = delivered ? (given ?? ".") : path.resolve(ctx.programDir, given ?? ".");
  return compact({
    regions: [...regions],
    instances: props.instances,
    port: props.port,
    command: props.command,
    upstream: props.upstream,
    sourceHash: props.sourceHash,
    cwd,
    user: props.user,
    env: props.env ?? {},
    triggers: props.triggers ?? [],
    health: props.health as Health,
    allow: props.allow,
    egress: props.egress,
    requireLoopback: props.requireLoopback,
    restart: props.restart,
    tags: props.tags ?? {},
  }) as unknown as AppSpec;
}

async function create(ctx: HookContext, inputs: Props): Promise<{ id: string; outs: Props }> {
  return withControl(ctx, (control) => put(ctx, control, inputs));
}

async function update(ctx: HookContext, id: string, olds: Props, news: Props): Promise<{ outs: Props }> {
  return withControl(ctx, async (control) => {
    const addresses = addressesOf(olds);
    return put(ctx, control, news, { id, registryId: String(olds.registryId), addresses });
  });
}

async function put(
  ctx: HookContext,
  control: ControlClient,
  inputs: Props,
  known?: { id: string; registryId: string; addresses: SlotAddress[] },
): Promise<{ id: string; outs: Props }> {
  const space = await resolveSpace(control, inputs);
  const regions = regionsOf(inputs, space) as string[];
  const spec = specOf(ctx, inputs, regions);
  if (spec.sourceHash !== undefined && !(await control.hasSource(spec.sourceHash))) {
    const packed = await packSource(path.resolve(ctx.programDir, String(inputs.source)));
    try {
      spec.sourceHash = packed.hash;
      await control.putSource(packed.hash, packed.file);
    } finally {
      await packed.remove();
    }
  }
  const slots = slotsOf(regions, spec.instances);
  const record = await putMember(ctx, control, inputs, slots, space, { kind: "app", app: spec }, known);
  const { before: _, gateways: __, ...rest } = inputs;
  const hostname = `${inputs.name}.${space.domain}`;
  const outs = compact({
    ...rest,
    regions,
    sourceHash: spec.sourceHash,
    networkId: record.networkId,
    addresses: record.addresses,
    privateIp: mainAddress(record.addresses[0]),
    privateIps: record.addresses.map(mainAddress),
    ...serviceOf(record),
    hostname,
    url: urlOf(hostname, spec.port),
    registryId: record.registryId,
  });
  const { missing } = await awaitReady(ctx, control, record.id, known ? inputs.updateTimeout : inputs.createTimeout);
  const failure = initFailure(record.id, outs, missing);
  if (failure) throw failure;
  return { id: record.id, outs };
}

function serviceOf({ service }: MemberRecord): Props {
  return service ? { service, serviceIp: mainAddress(service) } : { service: undefined, serviceIp: undefined };
}

async function readApp(ctx: HookContext, id: string, props: Props): Promise<{ id: string; props: Props } | undefined> {
  const facts = (record: MemberRecord) => {
    // In state the folder stays as the program wrote it, relative to the program.
    const { cwd, ...rest } = record.app!;
    const sameFolder = isDeepStrictEqual(cwd, specOf(ctx, props, []).cwd);
    return {
      ...rest,
      ...(sameFolder ? {} : { cwd }),
      privateIp: mainAddress(record.addresses[0]),
      privateIps: record.addresses.map(mainAddress),
      ...serviceOf(record),
    };
  };
  const shown = (record: MemberRecord, network: NetworkRecord) => {
    const { regions, instances, port, upstream, sourceHash, tags } = record.app!;
    const hostname = `${record.name}.${network.spec.domain}`;
    const privateIps = record.addresses.map(mainAddress);
    const url = urlOf(hostname, port);
    return { regions, instances, port, upstream, sourceHash, tags, privateIps, ...serviceOf(record), hostname, url };
  };
  return readMember(ctx, "app", id, props, facts, shown);
}
