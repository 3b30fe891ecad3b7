/** `warren policy check [NETWORK]`: who reaches whom, and what is wrong with the rules. */
import type { MemberRecord, NetworkRecord } from "../../runtime/control/interface/types";
import { WarrenError } from "../../runtime/errors";
import {
  type Access,
  canMeet,
  checkPolicy,
  describeAccess,
  networkOfRecords,
  type PolicyProblem,
  reachability,
} from "../../runtime/policy";
import { type Context, control, print, printJson } from "../context";
import { table } from "../table";

/** Columns that still fit a screen; a larger network is shown target by target. */
const WIDEST = 8;

interface Reach {
  readonly from: string;
  readonly to: string;
  readonly access: Access;
}

interface Report {
  readonly network: string;
  /** `NAME`, or `REGION.NAME` where regions of an app are treated differently. */
  readonly subjects: readonly string[];
  /** Each pair that can meet. */
  readonly reach: readonly Reach[];
  readonly problems: readonly PolicyProblem[];
}

/** @param name of one network; default: all of them. The process ends with 1 where there is a problem. */
export async function policyCheck(name: string | undefined, { json }: Context): Promise<void> {
  const reports = await allReports(name);
  if (reports.some((report) => report.problems.length > 0)) process.exitCode = 1;
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
  const { subjects, access } = reachability(network);
  const reach = subjects.flatMap((from) =>
    subjects
      .filter((to) => canMeet(from, to))
      .map((to) => ({ from: from.label, to: to.label, access: access(from, to) })),
  );
  return { network: network.name, subjects: subjects.map((s) => s.label), reach, problems: checkPolicy(network) };
}

export function text(report: Report): string {
  const { network, subjects, problems } = report;
  const parts = [`Network ${network}`];
  if (subjects.length === 0) parts.push("It has no members yet.");
  else parts.push(subjects.length <= WIDEST ? matrix(report) : targets(report));
  const lines = problems.map(
    ({ severity, app, path, message }) => `${severity}: ${app === undefined ? "" : `app ${app}, `}${path}: ${message}`,
  );
  return [...parts, ...lines].join("\n");
}

function matrix({ subjects, reach }: Report): string {
  const cells = new Map(reach.map(({ from, to, access }) => [`${from} ${to}`, describeAccess(access)]));
  return table(
    ["FROM \\ TO", ...subjects],
    subjects.map((from) => [from, ...subjects.map((to) => cells.get(`${from} ${to}`) ?? "-")]),
  );
}

/** Who may do what towards each target that is not open to all. */
function targets({ subjects, reach }: Report): string {
  const rows = subjects.flatMap((to) => {
    const pairs = reach.filter((pair) => pair.to === to);
    if (pairs.every(({ access }) => access.all)) return [];
    const whoMay = new Map<string, string[]>();
    for (const { from, access } of pairs) {
      const what = describeAccess(access);
      if (what !== "nothing") whoMay.set(what, [...(whoMay.get(what) ?? []), from]);
    }
    if (whoMay.size === 0) return [[to, "nobody", "-"]];
    return [...whoMay].map(([what, who], i) => [i === 0 ? to : "", who.join(", "), what]);
  });
  if (rows.length === 0) return `All ${subjects.length} members may talk to each other.`;
  return `${table(["TO", "FROM", "MAY USE"], rows)}\nEverything else is open to all members.`;
}
