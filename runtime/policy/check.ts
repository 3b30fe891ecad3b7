/** What is wrong with a policy whose network is whole: rules that mean nobody, ports that nobody can use, rules that say nothing. */
import { type Access, accessOf, describeAccess, hasPort, within } from "./access";
import { type Party, type PolicyMember, type PolicyNetwork, partiesOf } from "./network";
import { anySelects, type Rule, rulesOf } from "./rules";
import { parseSelector, type Selector, selectorFault } from "./selector";

export interface PolicyProblem {
  /** `error`: the policy cannot mean this | `warning`: it may. */
  readonly severity: "error" | "warning";
  /** The app in whose `allow` it is; absent: in the network's policy. */
  readonly app?: string;
  /** `policy[0].to[1]`, or `allow[0]` of the app. */
  readonly path: string;
  /** One sentence. */
  readonly message: string;
}

/** In the order of the rules. @param network with all its members: one that is to come would be missed */
export function checkPolicy(network: PolicyNetwork): PolicyProblem[] {
  const check = new Check(network);
  return [
    ...check.selectors(),
    ...check.ports(),
    ...check.unreachable(),
    ...check.contradictions(),
    ...check.shadowed(),
  ];
}

/** A rule with what it comes to. */
interface Resolved extends Rule {
  readonly fromWhom: ReadonlySet<Party>;
  readonly toWhom: ReadonlySet<Party>;
  readonly access: Access;
}

class Check {
  private readonly members = new Map<Party, PolicyMember>();
  private readonly parties = new Map<string, readonly Party[]>();
  private readonly rules: readonly Resolved[];
  /** By target. */
  private readonly about = new Map<Party, Resolved[]>();

  constructor(private readonly network: PolicyNetwork) {
    for (const member of network.members) {
      const parties = partiesOf(member);
      this.parties.set(member.name, parties);
      for (const party of parties) this.members.set(party, member);
    }
    this.rules = rulesOf(network).list.map((rule) => ({
      ...rule,
      fromWhom: this.select(rule.from),
      toWhom: this.select(rule.to),
      access: accessOf(rule.protocol, rule.ports),
    }));
    for (const rule of this.rules)
      for (const party of rule.toWhom) {
        const list = this.about.get(party);
        if (list) list.push(rule);
        else this.about.set(party, [rule]);
      }
  }

  /** Names are looked up; only other selectors need a look at everyone. */
  private select(selectors: readonly Selector[]): Set<Party> {
    const names = selectors.map((selector) => ("name" in selector ? selector.name : undefined));
    const candidates = names.every((name) => name !== undefined)
      ? names.flatMap((name) => this.parties.get(name) ?? [])
      : [...this.members.keys()];
    return new Set(candidates.filter((party) => anySelects(selectors, party)));
  }

  *selectors(): Generator<PolicyProblem> {
    for (const [i, rule] of (this.network.policy ?? []).entries()) {
      yield* this.nobody(rule.from, `policy[${i}].from`);
      yield* this.nobody(rule.to, `policy[${i}].to`);
    }
    for (const { name, allow } of this.network.members)
      for (const [i, rule] of (allow ?? []).entries()) yield* this.nobody(rule.from, `allow[${i}].from`, name);
  }

  private *nobody(texts: readonly string[], path: string, app?: string): Generator<PolicyProblem> {
    for (const [i, text] of texts.entries()) {
      const at = { ...(app === undefined ? {} : { app }), path: texts.length === 1 ? path : `${path}[${i}]` };
      const why = this.whyNobody(text);
      if (why) yield { severity: "error", ...at, message: `"${text}" ${why}.` };
    }
  }

  private whyNobody(text: string): string | undefined {
    const fault = selectorFault(text);
    if (fault) return fault;
    const selector = parseSelector(text)!;
    if (selector.kind === "all") return undefined;
    if (this.select([selector]).size > 0) return undefined;
    const { name, regions = [], members } = this.network;
    if (selector.kind === "region") {
      const own = regions.length > 0 && !regions.includes(selector.region);
      return own
        ? `names nobody: network ${name} has the regions ${regions.join(", ")}`
        : `names nobody: no member of network ${name} is in region ${selector.region}`;
    }
    if (selector.kind === "tag") return `names nobody: no member of network ${name} has this tag`;
    const other = members.find((member) => member.name === selector.name);
    if (other)
      return `names nobody: ${other.name} is ${other.kind === "app" ? "an app" : "a peer"}, write ${other.kind}:${other.name}`;
    const near = members.find((member) => distance(member.name, selector.name) <= (selector.name.length < 5 ? 1 : 2));
    return `names nobody: network ${name} has no member ${selector.name}${near ? ` (is ${near.name} meant?)` : ""}`;
  }

  /** Ports of rules that their targets do not listen on, and ports of targets that no rule opens. */
  *ports(): Generator<PolicyProblem> {
    for (const rule of this.rules) {
      if (rule.ports.length === 0 || rule.protocol === "udp" || rule.toWhom.size === 0) continue;
      const apps = this.appsAmong(rule.toWhom);
      const some = [...rule.toWhom].some((party) => this.members.get(party)!.kind === "peer");
      if (some || apps.some((app) => portsOf(app).some((port) => hasPort(rule.access, port)))) continue;
      const stray = describeAccess(rule.access);
      const [app] = apps;
      const listens = app.port === 0 ? "listens on no port" : `listens on ${portsOf(app).join(" and ")}`;
      const target = apps.length === 1 ? `${app.name} ${listens}` : "none of its targets listens there";
      const opened = apps.every((a) => a.port !== 0 && this.isOpened(a));
      yield {
        severity: opened ? "warning" : "error",
        ...where(rule),
        path: `${rule.path}.ports`,
        message: opened
          ? `it opens ${stray}, and Warren knows of nothing that listens there: ${target}.`
          : `it opens ${stray}, but ${target}, which no rule opens: nobody can use it.`,
      };
    }
  }

  /** Apps that rules close and whose own port nobody else is let to; a rule with stray ports has said so already. */
  *unreachable(): Generator<PolicyProblem> {
    for (const app of this.network.members) {
      if (!app.port || this.isOpened(app)) continue;
      const about = this.rulesAbout(app).filter((rule) => rule.fromWhom.size > 0);
      if (about.length === 0 || about.some((rule) => rule.protocol === "tcp" && rule.ports.length > 0)) continue;
      const health = portsOf(app).length === 1 ? "; its health is asked from inside, and would look good" : "";
      yield {
        severity: "error",
        ...where(about[0]),
        path: about[0].path,
        message: `nobody reaches ${app.name}:${app.port}, the port that it listens on, since rules that name ${app.name} close it to all whom they do not let in${health}: add a rule that opens it.`,
      };
    }
  }

  /** Whether somebody else may use the app's own port, in each of its regions. */
  private isOpened(app: PolicyMember): boolean {
    const others = (rule: Resolved) =>
      app.instances * app.regions.length > 1 || [...rule.fromWhom].some((from) => this.members.get(from) !== app);
    return this.parties.get(app.name)!.every((party) => {
      const about = this.about.get(party) ?? [];
      return (
        (about.length === 0 && app.allow === undefined) ||
        about.some((rule) => rule.fromWhom.size > 0 && hasPort(rule.access, app.port!) && others(rule))
      );
    });
  }

  private rulesAbout(app: PolicyMember): Resolved[] {
    return [...new Set(this.parties.get(app.name)!.flatMap((party) => this.about.get(party) ?? []))];
  }

  private appsAmong(parties: ReadonlySet<Party>): PolicyMember[] {
    const apps = [...parties].map((party) => this.members.get(party)!).filter((member) => member.kind === "app");
    return [...new Set(apps)];
  }

  /** An app that shuts itself off and is opened all the same. */
  *contradictions(): Generator<PolicyProblem> {
    for (const app of this.network.members) {
      if (app.allow === undefined || app.allow.length > 0) continue;
      const opening = this.rulesAbout(app).find((rule) => rule.fromWhom.size > 0);
      if (opening)
        yield {
          severity: "error",
          app: app.name,
          path: "allow",
          message: `allow is empty, which closes ${app.name} to all, but ${opening.path} of network ${this.network.name} opens it: leave one of them out.`,
        };
    }
  }

  /** Rules that let nobody do what another does not let them do already. */
  *shadowed(): Generator<PolicyProblem> {
    const place = new Map(this.rules.map((rule, i) => [rule, i]));
    for (const [i, rule] of this.rules.entries()) {
      if (rule.fromWhom.size === 0 || rule.toWhom.size === 0) continue;
      const [target] = rule.toWhom;
      // What covers it is about each of its targets.
      const wider = this.about
        .get(target)!
        .find((other) => other !== rule && covers(other, rule) && (place.get(other)! < i || !covers(rule, other)));
      if (wider)
        yield {
          severity: "warning",
          ...where(rule),
          path: rule.path,
          message: `it says nothing that ${wider.app === undefined ? "" : `${wider.app}'s `}${wider.path} does not say already: leave it out.`,
        };
    }
  }
}

function covers(wider: Resolved, rule: Resolved): boolean {
  const has = (whole: ReadonlySet<Party>, part: ReadonlySet<Party>) =>
    part.size <= whole.size && [...part].every((party) => whole.has(party));
  return has(wider.toWhom, rule.toWhom) && has(wider.fromWhom, rule.fromWhom) && within(rule.access, wider.access);
}

function portsOf(app: PolicyMember): number[] {
  return [app.port, app.healthPort].filter((port): port is number => port !== undefined && port !== 0);
}

function where(rule: Rule): { app?: string } {
  return rule.app === undefined ? {} : { app: rule.app };
}

/** Levenshtein's: letters to change, add or take away. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let k = 1; k <= b.length; k++)
      next.push(Math.min(row[k] + 1, next[k - 1] + 1, row[k - 1] + (a[i - 1] === b[k - 1] ? 0 : 1)));
    row = next;
  }
  return row[b.length];
}
