/**
 * What can only be said at the end of a program, when all members are constructed: which rules name nobody, and who reaches whom no
 * longer. A rule may name a member that is constructed after the network, so that no check of one resource can tell.
 */
import * as pulumi from "@pulumi/pulumi";
import { domainDoubt } from "../runtime/control/interface/names";
import type { Health, NetworkRecord } from "../runtime/control/interface/types";
import { healthPort, type PolicyMember, readAllow } from "../runtime/policy";
import { type Before, judge, judgeJoined, type NetworkInputs, type Stack, type Verdict } from "./judge";
import { hasBrand } from "./resource";
import { isEngineRun, snapshot } from "./snapshot";

interface DeclaredNetwork {
  readonly resource: pulumi.Resource;
  readonly inputs: pulumi.Output<NetworkInputs>;
}

interface DeclaredMember {
  readonly resource: pulumi.Resource;
  readonly kind: "app" | "peer";
  /** Its Network, or what names one. */
  readonly network: unknown;
  readonly inputs: pulumi.Output<MemberInputs>;
}

interface MemberInputs {
  readonly name: string;
  readonly region?: string;
  readonly regions?: readonly string[];
  readonly instances?: number;
  readonly port?: number;
  readonly health?: Health["type"] | Partial<Health>;
  readonly allow?: unknown;
  readonly tags?: Readonly<Record<string, string>>;
}

/** Of one run of a program. */
interface Declared {
  readonly networks: DeclaredNetwork[];
  readonly members: DeclaredMember[];
  readonly stack: Stack;
}

/** One for all copies of this package in a process. */
const KEY = Symbol.for("pulumi-warren.declared");

export function declareNetwork(resource: pulumi.Resource, name: string, args: object): void {
  const declared = ofThisRun();
  if (!declared) return;
  const { domain, policy, regions } = args as Record<string, pulumi.Input<unknown>>;
  const label = (args as { name?: pulumi.Input<string> }).name ?? name;
  const inputs = pulumi.output({ name: label, domain, policy, regions }) as pulumi.Output<NetworkInputs>;
  declared.networks.push({ resource, inputs });
}

export function declareMember(resource: pulumi.Resource, kind: "app" | "peer", name: string, args: object): void {
  const declared = ofThisRun();
  if (!declared) return;
  const { network, region, regions, instances, port, health, allow, tags } = args as Record<
    string,
    pulumi.Input<unknown>
  >;
  const label = (args as { name?: pulumi.Input<string> }).name ?? name;
  const inputs = pulumi.output({ name: label, region, regions, instances, port, health, allow, tags });
  declared.members.push({ resource, kind, network, inputs: inputs as pulumi.Output<MemberInputs> });
}

/** undefined outside a run of Pulumi's engine, such as in a unit test of a program. */
function ofThisRun(): Declared | undefined {
  if (!isEngineRun()) return undefined;
  const holder = globalThis as { [KEY]?: Declared };
  const present = holder[KEY];
  if (present) return present;
  const stack = { organization: pulumi.getOrganization(), project: pulumi.getProject(), stack: pulumi.getStack() };
  const declared: Declared = { networks: [], members: [], stack };
  holder[KEY] = declared;
  // The event loop is empty: every resource is constructed and registered, and the engine still listens.
  process.once("beforeExit", () => void say(declared));
  return declared;
}

/** Warnings and changes become messages of a resource; an error ends the program with one. */
async function say(declared: Declared): Promise<void> {
  const messages: Promise<void>[] = [];
  for (const { inputs, resource } of declared.networks) {
    const domain = (await settled(inputs))?.domain;
    const doubt = domain === undefined ? undefined : domainDoubt(domain);
    if (doubt) messages.push(pulumi.log.warn(doubt, resource));
  }
  const errors: string[] = [];
  for (const { about, verdict } of await verdicts(declared)) {
    for (const line of verdict.changes) messages.push(pulumi.log.info(line, about));
    for (const line of verdict.warnings) messages.push(pulumi.log.warn(line, about));
    errors.push(...verdict.errors);
  }
  await Promise.all(messages);
  if (errors.length === 0) return;
  const error = new pulumi.RunError(errors.join("\n"));
  // After a program's end Pulumi prints a stack where there is one, also of a RunError.
  error.stack = "";
  throw error;
}

/** undefined while something is not known yet: a preview of a policy that follows from what is still to be made. */
async function settled<T>(output: pulumi.Output<T>): Promise<T | undefined> {
  // `isKnown` is of Output's interface, though hidden in its types.
  const { isKnown } = output as unknown as { isKnown: Promise<boolean> };
  if (!(await isKnown)) return undefined;
  return (output as unknown as { promise(): Promise<T> }).promise();
}

interface Judged {
  /** Whom the verdict is shown at. */
  readonly about: pulumi.Resource;
  readonly verdict: Verdict;
}

/** Of networks that the program declares, then of those that its members join; none where something is not known yet. */
async function verdicts({ networks, members, stack }: Declared): Promise<Judged[]> {
  const before = await snapshot();
  const inputs = new Map<pulumi.Resource, NetworkInputs>();
  for (const network of networks) {
    const known = await settled(network.inputs);
    if (known) inputs.set(network.resource, known);
  }
  const placed: Placed[] = [];
  for (const member of members) {
    const place = await placeOf(member, networks, inputs, before);
    // One who may be anywhere may be whom a rule names.
    if (!place) return [];
    placed.push({ member, place, inputs: await settled(member.inputs) });
  }

  const out: Judged[] = [];
  for (const { resource } of networks) {
    const own = inputs.get(resource);
    const here = membersAt(resource, placed, own?.regions);
    if (own && here) out.push({ about: resource, verdict: judge(own, here, before, stack) });
  }
  for (const record of before.networks) {
    const about = placed.find(({ place }) => place === record)?.member.resource;
    const here = membersAt(record, placed, record.spec.regions);
    if (about && here) out.push({ about, verdict: judgeJoined(record, here, before, stack) });
  }
  return out;
}

interface Placed {
  readonly member: DeclaredMember;
  /** A network that the program declares, or one that control has. */
  readonly place: Place;
  readonly inputs: MemberInputs | undefined;
}

type Place = pulumi.Resource | NetworkRecord;

/** undefined where it is not known yet, or nowhere: then a hook says so. */
async function placeOf(
  { network }: DeclaredMember,
  declared: readonly DeclaredNetwork[],
  inputs: ReadonlyMap<pulumi.Resource, NetworkInputs>,
  before: Before,
): Promise<Place | undefined> {
  const given = await settled(pulumi.output(network) as pulumi.Output<unknown>);
  if (declared.some(({ resource }) => resource === given)) return given as pulumi.Resource;
  const text = hasBrand(given, "Network") ? await settled((given as { name: pulumi.Output<string> }).name) : given;
  const record = before.networks.find(({ id, spec }) => text === spec.name || text === id);
  const name = record?.spec.name ?? text;
  return declared.find(({ resource }) => inputs.get(resource)?.name === name)?.resource ?? record;
}

/** undefined while something about one of them is not known yet. */
function membersAt(
  where: Place,
  placed: readonly Placed[],
  regions: readonly string[] | undefined,
): PolicyMember[] | undefined {
  const out: PolicyMember[] = [];
  for (const { place, member, inputs } of placed) {
    if (place !== where) continue;
    if (!inputs) return undefined;
    out.push(memberOf(member.kind, inputs, regions));
  }
  return out;
}

const DEFAULT_PORT = 8080;

/** @param networkRegions the first is the default */
function memberOf(kind: "app" | "peer", inputs: MemberInputs, networkRegions: readonly string[] = []): PolicyMember {
  const { name, region, regions = [], instances = 1, tags = {} } = inputs;
  const where = regions.length > 0 ? [...regions] : [region ?? networkRegions[0] ?? "local"];
  if (kind === "peer") return { kind, name, regions: where, tags, instances: 1 };
  const { health, port = DEFAULT_PORT } = inputs;
  return {
    kind,
    name,
    regions: where,
    tags,
    instances,
    port,
    ...healthPort(port, typeof health === "string" ? { type: health } : (health ?? {})),
    // What is wrong with a rule in itself, the app's check says.
    ...(inputs.allow === undefined ? {} : { allow: readAllow(inputs.allow, []) }),
  };
}
