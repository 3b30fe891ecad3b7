/**
 * What can only be said at the end of a program, when all members are constructed: which rules name nobody, and who reaches whom no
 * longer. A rule may name a member that is constructed after the network, so that no check of one resource can tell.
 */
import * as pulumi from "@pulumi/pulumi";
import { type ControlClient, controlPlace, socketClient } from "../provider/client";
import { peekDaemon } from "../provider/daemon";
import { domainDoubt } from "../runtime/control/interface/names";
import type { Health, MemberRecord, NetworkRecord } from "../runtime/control/interface/types";
import { WarrenError } from "../runtime/errors";
import {
  checkPolicy,
  healthPort,
  networkOfRecords,
  type PolicyMember,
  type PolicyNetwork,
  type PolicyProblem,
  reachabilityDiff,
  readAllow,
  readPolicy,
} from "../runtime/policy";

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

interface NetworkInputs {
  readonly name: string;
  readonly domain?: string;
  readonly policy?: unknown;
  readonly regions?: readonly string[];
}

interface MemberInputs {
  readonly name: string;
  /** The network's name, where it is not an object. */
  readonly network?: string;
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
  /** What control had when the first of them was constructed: an `up` changes it meanwhile. */
  readonly before: Promise<Before>;
}

interface Before {
  readonly networks: readonly NetworkRecord[];
  readonly members: readonly MemberRecord[];
}

/** One for all copies of this package in a process. */
const KEY = Symbol.for("pulumi-warren.declared");

/** Sentences that one change is told in; more say only that there are more. */
const TOLD = 20;

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
  const known = pulumi.Resource.isInstance(network) ? {} : { network };
  const inputs = pulumi.output({ name: label, ...known, region, regions, instances, port, health, allow, tags });
  declared.members.push({ resource, kind, network, inputs: inputs as pulumi.Output<MemberInputs> });
}

/** undefined outside a run of Pulumi's engine, such as in a unit test of a program. */
function ofThisRun(): Declared | undefined {
  if (!pulumi.runtime.hasMonitor() || pulumi.runtime.getStackResource() === undefined) return undefined;
  const holder = globalThis as { [KEY]?: Declared };
  const present = holder[KEY];
  if (present) return present;
  const declared: Declared = { networks: [], members: [], before: registryNow() };
  holder[KEY] = declared;
  // The event loop is empty: every resource is constructed and registered, and the engine still listens.
  process.once("beforeExit", () => void say(declared));
  return declared;
}

/** What control has; nothing where there is none or it does not answer: a hook will say why. */
async function registryNow(): Promise<Before> {
  try {
    const control = await peek();
    if (!control) return { networks: [], members: [] };
    try {
      return { networks: await control.networks(), members: await control.members() };
    } finally {
      await control.close();
    }
  } catch (error) {
    if (!WarrenError.is(error)) throw error;
    return { networks: [], members: [] };
  }
}

async function peek(): Promise<ControlClient | undefined> {
  const place = controlPlace(new pulumi.Config("warren").get("controlUrl"));
  return "home" in place ? peekDaemon(place.home) : socketClient(place.socketPath);
}

/** Warnings and changes become messages of the network; an error ends the program with one. */
async function say(declared: Declared): Promise<void> {
  const before = await declared.before;
  const errors: string[] = [];
  const messages: Promise<void>[] = [];
  for (const network of declared.networks) {
    const inputs = await settled(network.inputs);
    const doubt = inputs?.domain === undefined ? undefined : domainDoubt(inputs.domain);
    if (doubt) messages.push(pulumi.log.warn(doubt, network.resource));
    const members = await membersOf(declared, network, inputs);
    if (!inputs || !members) continue;
    const verdict = judge(inputs, members, before);
    for (const line of verdict.changes) messages.push(pulumi.log.info(line, network.resource));
    for (const line of verdict.warnings) messages.push(pulumi.log.warn(line, network.resource));
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

async function membersOf(
  declared: Declared,
  network: DeclaredNetwork,
  inputs: NetworkInputs | undefined,
): Promise<PolicyMember[] | undefined> {
  const out: PolicyMember[] = [];
  for (const member of declared.members) {
    if (pulumi.Resource.isInstance(member.network) && member.network !== network.resource) continue;
    const own = await settled(member.inputs);
    if (!own || !inputs) return undefined;
    if (member.network !== network.resource && own.network !== inputs.name) continue;
    out.push(memberOf(member.kind, own, inputs));
  }
  return out;
}

const DEFAULT_PORT = 8080;

function memberOf(kind: "app" | "peer", inputs: MemberInputs, network: NetworkInputs): PolicyMember {
  const { name, region, regions = [], instances = 1, tags = {} } = inputs;
  const where = regions.length > 0 ? [...regions] : [region ?? network.regions?.[0] ?? "local"];
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

interface Verdict {
  readonly errors: string[];
  readonly warnings: string[];
  readonly changes: string[];
}

/** @param members of this program; those of other stacks are the registry's */
export function judge(inputs: NetworkInputs, members: readonly PolicyMember[], before: Before): Verdict {
  const { name, regions } = inputs;
  const record = before.networks.find((network) => network.spec.name === name);
  const records = record ? before.members.filter((member) => member.networkId === record.id) : [];
  const foreign = records.filter((member) => !sameStack(member, record!));
  const others = record ? networkOfRecords(record.spec, foreign).members : [];
  const after: PolicyNetwork = {
    name,
    ...(regions === undefined ? {} : { regions }),
    ...(inputs.policy === undefined ? {} : { policy: readPolicy(inputs.policy, []) }),
    members: [...members, ...others.filter((other) => !members.some((member) => member.name === other.name))],
  };
  const problems = checkPolicy(after);
  const say = (severity: PolicyProblem["severity"]) =>
    problems.filter((problem) => problem.severity === severity).map((problem) => sentence(name, problem));
  const changes = record ? reachabilityDiff(networkOfRecords(record.spec, records), after) : [];
  const told = changes.slice(0, TOLD);
  if (changes.length > TOLD)
    told.push(`and ${changes.length - TOLD} more changes: "warren policy check" shows who reaches whom`);
  return { errors: say("error"), warnings: say("warning"), changes: told };
}

/** Members of the stack that declares the network, which the program constructs again where they stay. */
function sameStack(member: MemberRecord, network: NetworkRecord): boolean {
  const { organization, project, stack } = member.owner;
  const owner = network.owner;
  return organization === owner.organization && project === owner.project && stack === owner.stack;
}

function sentence(network: string, { app, path, message }: PolicyProblem): string {
  return app === undefined
    ? `Network ${network}, ${path}: ${message}`
    : `App ${app} of network ${network}, ${path}: ${message}`;
}
