/** `warren policy check [NETWORK]`: who reaches whom, and what is wrong with the rules. */
import type { MemberRecord, NetworkRecord } from "../../runtime/control/interface/types";
import { WarrenError } from "../../runtime/errors";
import {
  type Access,
  canMeet,
  checkPolicy,
  describeAccess,
  EVERYTHING,
  isNothing,
  NOTHING,
  networkOfRecords,
  type PolicyProblem,
  type Reachability,
  reachability,
  type Subject,
} from "../../runtime/policy";
import { type Context, control, print, printJson } from "../context";
import { table } from "../table";

/** Columns that still fit a screen; a larger network is shown target by target. */
const WIDEST = 8;
/** Names in a row there; `--json` has them all. */
const NAMED = 16;

/** Who may start what towards one target. */
interface Target {
  readonly to: string;
  /** To everyone and for everything: then nobody is listed. */
  readonly open: boolean;
  readonly allowed: readonly Grant[];
  /** Whether it is several that may talk to each other: instances of one app. */
  readonly several: boolean;
}

interface Grant {
  readonly access: Access;
  readonly from: readonly string[];
}

interface Report {
  readonly network: string;
  /** `NAME`, or `REGION.NAME` where regions of an app are treated differently. */
  readonly subjects: readonly string[];
  readonly targets: readonly Target[];
  readonly problems: readonly PolicyProblem[];
}

/** @param name of one network; default: all of them. The process ends with 1 where there is an error; a warning is none. */
export async function policyCheck(name: string | undefined, { json }: Context): Promise<void> {
  const reports = await allReports(name);
  if (reports.some(({ problems }) => problems.some(({ severity }) => severity === "error"))) process.exitCode = 1;
  if (json) return printJson(reports);
  if (reports.length === 0)
    return print("Nothing here yet: no network was ever declared on this machine, or all were destroyed.");
  print(reports.map(text).join("\n\n"));
}

async function allReports(name: string | undefined): Promise<Report[]> {
  const client = await control();
  try {
    const [networks, members] = client ? [await client.networks(), await client.members()] : [[], []];
    const chosen = networks.filter(
      (network) => name === undefined || network.spec.name === name || network.id === name,
    );
    if (name !== undefined && chosen.length === 0)
      throw new WarrenError(
        "WARREN_NOT_FOUND",
        `There is no network "${name}" here: ${networks.length > 0 ? `there are ${networks.map((n) => n.spec.name).join(", ")}` : "none was declared"}.`,
      );
    return chosen.map((network) => reportOf(network, members));
  } finally {
    await client?.close();
  }
}

export function reportOf(record: NetworkRecord, members: readonly MemberRecord[]): Report {
  const network = networkOfRecords(
    record.spec,
    members.filter((member) => member.networkId === record.id),
  );
  const reach = reachability(network);
  return {
    network: network.name,
    subjects: reach.subjects.map(({ label }) => label),
    targets: reach.subjects.map((to) => targetOf(to, reach)),
    problems: checkPolicy(network),
  };
}

function targetOf(to: Subject, { subjects, access, isOpen }: Reachability): Target {
  const several = canMeet(to, to);
  if (isOpen(to)) return { to: to.label, open: true, allowed: [], several };
  const grants = new Map<string, { access: Access; from: string[] }>();
  for (const from of subjects) {
    if (!canMeet(from, to)) continue;
    const may = access(from, to);
    if (isNothing(may)) continue;
    const what = describeAccess(may);
    const grant = grants.get(what);
    if (grant) grant.from.push(from.label);
    else grants.set(what, { access: may, from: [from.label] });
  }
  return { to: to.label, open: false, allowed: [...grants.values()], several };
}

export function text(report: Report): string {
  const { network, subjects, problems } = report;
  const parts = [`Network ${network}`];
  if (subjects.length === 0) parts.push("It has no members yet.");
  else parts.push(subjects.length <= WIDEST ? matrix(report) : list(report));
  const lines = problems.map(
    ({ severity, app, path, message }) => `${severity}: ${app === undefined ? "" : `app ${app}, `}${path}: ${message}`,
  );
  return [...parts, ...lines].join("\n");
}

function matrix({ subjects, targets }: Report): string {
  const cell = (from: string, { to, open, allowed, several }: Target) => {
    if (from === to && !several) return "-";
    if (open) return describeAccess(EVERYTHING);
    const grant = allowed.find((one) => one.from.includes(from));
    return describeAccess(grant?.access ?? NOTHING);
  };
  return table(
    ["FROM \\ TO", ...subjects],
    subjects.map((from) => [from, ...targets.map((target) => cell(from, target))]),
  );
}

/** Who may do what towards each target that is not open to all. */
function list({ subjects, targets }: Report): string {
  const rows = targets.flatMap(({ to, open, allowed }) => {
    if (open) return [];
    if (allowed.length === 0) return [[to, "nobody", "-"]];
    return allowed.map(({ access, from }, i) => [i === 0 ? to : "", row(from), describeAccess(access)]);
  });
  if (rows.length === 0) return `All ${subjects.length} members may talk to each other.`;
  return `${table(["TO", "FROM", "MAY USE"], rows)}\nEverything else is open to all members.`;
}

function row(names: readonly string[]): string {
  if (names.length <= NAMED + 1) return names.join(", ");
  return `${names.slice(0, NAMED).join(", ")} and ${names.length - NAMED} others`;
}
