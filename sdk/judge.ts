/** What a program comes to for one network: which rules mean nobody, and what members lose and gain. Pure. */
import type { MemberRecord, NetworkRecord, Owner } from "../runtime/control/interface/types";
import {
  checkPolicy,
  networkOfRecords,
  type PolicyMember,
  type PolicyNetwork,
  type PolicyProblem,
  reachabilityDiff,
  readPolicy,
} from "../runtime/policy";

export interface NetworkInputs {
  readonly name: string;
  readonly domain?: string;
  readonly policy?: unknown;
  readonly regions?: readonly string[];
}

/** What control had before the program ran. */
export interface Before {
  readonly networks: readonly NetworkRecord[];
  readonly members: readonly MemberRecord[];
}

export type Stack = Pick<Owner, "organization" | "project" | "stack">;

export interface Verdict {
  readonly errors: string[];
  readonly warnings: string[];
  readonly changes: string[];
}

/** Sentences that one change is told in; more say only that there are more. */
const TOLD = 20;

/**
 * Of a network that the program declares.
 * @param members of this program; those of other stacks are the registry's
 * @param stack whose program it is
 */
export function judge(inputs: NetworkInputs, members: readonly PolicyMember[], before: Before, stack: Stack): Verdict {
  const { name, regions } = inputs;
  const record = before.networks.find((network) => network.spec.name === name);
  const after: PolicyNetwork = {
    name,
    ...(regions === undefined ? {} : { regions }),
    ...(inputs.policy === undefined ? {} : { policy: readPolicy(inputs.policy, []) }),
    members: [...members, ...others(record, members, before, stack)],
  };
  const isOurs = ({ app }: PolicyProblem) => app === undefined || has(members, app);
  return verdict(after, isOurs, new Set(), record, before);
}

/** Of a network that another stack declares, and this program has members in: its rules are not this program's to mend. */
export function judgeJoined(
  record: NetworkRecord,
  members: readonly PolicyMember[],
  before: Before,
  stack: Stack,
): Verdict {
  const was = networkOfRecords(record.spec, recordsOf(record, before));
  const after = { ...was, members: [...members, ...others(record, members, before, stack)] };
  const isOurs = ({ app }: PolicyProblem) => app !== undefined && has(members, app);
  const known = new Set(checkPolicy(was).map((problem) => sentence(was.name, problem)));
  return verdict(after, isOurs, known, record, before);
}

/** @param known sentences about others that the program did not bring about */
function verdict(
  after: PolicyNetwork,
  isOurs: (problem: PolicyProblem) => boolean,
  known: ReadonlySet<string>,
  record: NetworkRecord | undefined,
  before: Before,
): Verdict {
  const errors: string[] = [];
  const warnings: string[] = [];
  for (const problem of checkPolicy(after)) {
    const line = sentence(after.name, problem);
    if (!isOurs(problem) && known.has(line)) continue;
    (problem.severity === "error" && isOurs(problem) ? errors : warnings).push(line);
  }
  const changes = record ? reachabilityDiff(networkOfRecords(record.spec, recordsOf(record, before)), after) : [];
  const told = changes.slice(0, TOLD);
  if (changes.length > TOLD)
    told.push(`and ${changes.length - TOLD} more changes: "warren policy check" shows who reaches whom`);
  return { errors, warnings, changes: told };
}

function recordsOf(network: NetworkRecord, before: Before): MemberRecord[] {
  return before.members.filter((member) => member.networkId === network.id);
}

/** Members of other stacks. Those of this one are constructed again where they stay. */
function others(
  network: NetworkRecord | undefined,
  members: readonly PolicyMember[],
  before: Before,
  { organization, project, stack }: Stack,
): readonly PolicyMember[] {
  if (!network) return [];
  const foreign = recordsOf(network, before).filter(
    ({ name, owner }) =>
      !has(members, name) &&
      (owner.organization !== organization || owner.project !== project || owner.stack !== stack),
  );
  return networkOfRecords(network.spec, foreign).members;
}

function has(members: readonly PolicyMember[], name: string): boolean {
  return members.some((member) => member.name === name);
}

function sentence(network: string, { app, path, message }: PolicyProblem): string {
  return app === undefined
    ? `Network ${network}, ${path}: ${message}`
    : `App ${app} of network ${network}, ${path}: ${message}`;
}
