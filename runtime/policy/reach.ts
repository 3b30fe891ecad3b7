/** Who reaches whom, on which protocols and ports; and what a change takes and gives, in words. */
import { type Access, accessOf, describeSpan, EVERYTHING, isNothing, join, less, NOTHING, sameAccess } from "./access";
import type { Party, PolicyMember, PolicyNetwork } from "./network";
import { partiesOf } from "./network";
import { anySelects, type Rule, rulesOf } from "./rules";
import type { Selector } from "./selector";
import { list, names } from "./words";

/** A member; or, where regions of one app are treated differently, its instances in one of them. */
export interface Subject {
  /** `NAME`, or `REGION.NAME` as its host name is. */
  readonly label: string;
  readonly member: PolicyMember;
  readonly region?: string;
}

export interface Reachability {
  readonly subjects: readonly Subject[];
  /** What the first may start towards the second. A subject that is one instance or peer has nobody of its own to reach. */
  access(from: Subject, to: Subject): Access;
  /** Whether everybody may start everything towards it. */
  isOpen(to: Subject): boolean;
}

export function reachability(network: PolicyNetwork): Reachability {
  const policy = new Policy(network);
  const parts = network.members.map((member) => partiesOf(member).map((party) => ({ member, party })));
  const all = parts.flat();
  const differ = ({ party: a }: Part, { party: b }: Part) =>
    all.some(
      ({ party: x }) =>
        !sameAccess(policy.access(a, x), policy.access(b, x)) || !sameAccess(policy.access(x, a), policy.access(x, b)),
    );
  const subjects: (Subject & { party: Party })[] = parts.flatMap((list): (Subject & { party: Party })[] => {
    const [first] = list;
    if (!first) return [];
    if (!policy.tellsRegionsApart || !list.some((part) => differ(first, part)))
      return [{ label: first.member.name, ...first }];
    return list.map((part) => ({
      label: `${part.party.region}.${part.member.name}`,
      region: part.party.region,
      ...part,
    }));
  });
  const parties = new Map<Subject, Party>(subjects.map((subject) => [subject, subject.party]));
  return {
    subjects,
    access: (from, to) => policy.access(parties.get(from)!, parties.get(to)!),
    isOpen: (to) => policy.isOpen(parties.get(to)!),
  };
}

interface Part {
  readonly member: PolicyMember;
  readonly party: Party;
}

/** The rules, asked about parties. */
class Policy {
  readonly tellsRegionsApart: boolean;
  private readonly rules: readonly (Rule & { readonly access: Access })[];
  private readonly shut: readonly Selector[];
  private readonly about = new WeakMap<Party, Standing>();

  constructor(network: PolicyNetwork) {
    const { list, shut } = rulesOf(network);
    this.rules = list.map((rule) => ({ ...rule, access: accessOf(rule.protocol, rule.ports) }));
    this.shut = shut;
    this.tellsRegionsApart = list.some((rule) => [...rule.from, ...rule.to].some((s) => s.kind === "region"));
  }

  access(from: Party, to: Party): Access {
    const { open, rules } = this.standing(to);
    if (open) return EVERYTHING;
    return rules.filter((rule) => anySelects(rule.from, from)).reduce((sum, rule) => join(sum, rule.access), NOTHING);
  }

  isOpen(to: Party): boolean {
    return this.standing(to).open;
  }

  private standing(to: Party): Standing {
    const known = this.about.get(to);
    if (known) return known;
    const rules = this.rules.filter((rule) => anySelects(rule.to, to));
    const standing = { open: rules.length === 0 && !anySelects(this.shut, to), rules };
    this.about.set(to, standing);
    return standing;
  }
}

/** What the rules say of a target. */
interface Standing {
  /** To all, for no rule is about it. */
  readonly open: boolean;
  readonly rules: readonly (Rule & { readonly access: Access })[];
}

/** True where a subject can start something towards another: one instance, or a peer, has only others. */
export function canMeet(from: Subject, to: Subject): boolean {
  if (from.member.name !== to.member.name) return true;
  const count = from.member.instances * (from.region === undefined ? Math.max(1, from.member.regions.length) : 1);
  return from.member.kind === "app" && (from.label !== to.label || count > 1);
}

/**
 * What members that are in both networks lose and gain, a sentence for each target and change: "api-service-east loses
 * api-service-west:8080". Who comes or goes is not told.
 */
export function reachabilityDiff(before: PolicyNetwork, after: PolicyNetwork): string[] {
  const was = new Set(before.members.map((member) => member.name));
  const stays = after.members.map((member) => member.name).filter((name) => was.has(name));
  const closed = new Set([...closedIn(before), ...closedIn(after)]);
  const targets = stays.filter((name) => closed.has(name));
  if (targets.length * stays.length > MOST_PAIRS)
    return [`of ${stays.length} members, ${targets.length} are or were closed to some`];
  const old = spread(before, stays, targets);
  const now = spread(after, stays, targets);
  const changes = new Map<string, { who: string[]; verb: "lose" | "gain"; what: string }>();
  const note = (who: string, verb: "lose" | "gain", what: string) => {
    const key = `${verb} ${what}`;
    const change = changes.get(key);
    if (!change) changes.set(key, { who: [who], verb, what });
    else if (!change.who.includes(who)) change.who.push(who);
  };
  for (const [key, { from, to, access }] of now) {
    const had = old.get(key)?.access;
    // A region that came or went.
    if (had === undefined || sameAccess(had, access)) continue;
    const lost = less(had, access);
    const gained = less(access, had);
    if (!isNothing(lost)) note(from, "lose", phrase(lost, access, to));
    if (!isNothing(gained)) note(from, "gain", phrase(gained, access, to));
  }
  return [...changes.values()].map(
    ({ who, verb, what }) => `${names(who)} ${who.length === 1 ? `${verb}s` : verb} ${what}`,
  );
}

interface Pair {
  readonly from: string;
  readonly to: { readonly label: string; readonly port?: number };
  readonly access: Access;
}

/** Pairs beyond which a change is not told one by one: a second or so. */
const MOST_PAIRS = 500_000;

/** Names of members that rules close. */
function closedIn(network: PolicyNetwork): string[] {
  const policy = new Policy(network);
  return network.members.filter((m) => partiesOf(m).some((party) => !policy.isOpen(party))).map((m) => m.name);
}

/** Every pair of these that can meet, by label; regions apart, so that two networks that tell them apart differently can be compared. */
function spread(network: PolicyNetwork, sources: readonly string[], targets: readonly string[]): Map<string, Pair> {
  const policy = new Policy(network);
  const out = new Map<string, Pair>();
  const byName = new Map(network.members.map((member) => [member.name, { member, parties: partiesOf(member) }]));
  const of = (names: readonly string[]) => names.map((name) => byName.get(name)!);
  const theirs = of(targets);
  for (const { member: a, parties: starting } of of(sources))
    for (const { member: b, parties: meant } of theirs) {
      if (!canMeet({ label: a.name, member: a }, { label: b.name, member: b })) continue;
      const accesses = starting.flatMap((from) => meant.map((to) => ({ from, to, access: policy.access(from, to) })));
      const to = { label: b.name, port: b.port };
      const alike = accesses.every(({ access }) => sameAccess(access, accesses[0].access));
      for (const { from, to: target, access } of accesses) {
        const key = `${a.name}/${from.region ?? ""} ${b.name}/${target.region ?? ""}`;
        if (alike) out.set(key, { from: a.name, to, access });
        else
          out.set(key, {
            from: a.regions.length > 1 ? `${from.region}.${a.name}` : a.name,
            to: { ...to, label: b.regions.length > 1 ? `${target.region}.${b.name}` : b.name },
            access,
          });
      }
    }
  return out;
}

/** `db:5432`, `db:9000-9010 and db:53/udp`; with `now` where everything else goes or comes with it. */
function phrase(part: Access, now: Access, to: Pair["to"]): string {
  const { label, port } = to;
  if (!part.all) return list(items(part, label));
  // From all to some, or from some to all.
  const known = port !== undefined && port !== 0 && part.tcp.some(([first, last]) => first <= port && port <= last);
  const what = known ? `${label}:${port}` : `everything on ${label}`;
  const kept = now.all ? [] : items(now, label);
  if (kept.length === 0) return what;
  return known ? `${what} and all else there but ${list(kept)}` : `${what} but ${list(kept)}`;
}

function items(access: Access, label: string): string[] {
  const whole = (spans: Access["tcp"]) => spans.length === 1 && spans[0][0] <= 1 && spans[0][1] === 65535;
  const ports = (spans: Access["tcp"], suffix: string, protocol: string) =>
    whole(spans) ? [`${protocol} to ${label}`] : spans.map((span) => `${label}:${describeSpan(span)}${suffix}`);
  return [
    ...ports(access.tcp, "", "tcp"),
    ...ports(access.udp, "/udp", "udp"),
    ...(access.icmp ? [`icmp to ${label}`] : []),
  ];
}
