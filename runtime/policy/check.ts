/** What is wrong with a policy whose network is whole: rules that mean nobody, ports that nobody can use, rules that say nothing. */
import { within } from "./access";
import type { Party, PolicyNetwork } from "./network";
import { stray, unreachable } from "./ports";
import type { PolicyProblem } from "./problem";
import { type ResolvedRule, ResolvedRules } from "./resolve";
import type { Rule } from "./rules";
import { parseSelector, selectorFault } from "./selector";

/** In the order of the rules. @param network with all its members: one that is to come would be missed */
export function checkPolicy(network: PolicyNetwork): PolicyProblem[] {
  const rules = new ResolvedRules(network);
  const check = new Check(network, rules);
  return [...check.selectors(), ...stray(rules), ...unreachable(rules), ...check.contradictions(), ...check.shadowed()];
}

class Check {
  constructor(
    private readonly network: PolicyNetwork,
    private readonly rules: ResolvedRules,
  ) {}

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
    if (this.rules.select([selector]).size > 0) return undefined;
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

  /** An app that shuts itself off and is opened all the same. */
  *contradictions(): Generator<PolicyProblem> {
    for (const app of this.network.members) {
      if (app.allow === undefined || app.allow.length > 0) continue;
      const opening = this.rules.aboutAny(app).find((rule) => rule.fromWhom.size > 0);
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
    const { rules } = this;
    const place = new Map(rules.list.map((rule, i) => [rule, i]));
    for (const [i, rule] of rules.list.entries()) {
      if (rule.fromWhom.size === 0 || rule.toWhom.size === 0) continue;
      const [target] = rule.toWhom;
      // What covers it is about each of its targets.
      const wider = rules
        .about(target)
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

function covers(wider: ResolvedRule, rule: ResolvedRule): boolean {
  const has = (whole: ReadonlySet<Party>, part: ReadonlySet<Party>) =>
    part.size <= whole.size && [...part].every((party) => whole.has(party));
  return has(wider.toWhom, rule.toWhom) && has(wider.fromWhom, rule.fromWhom) && within(rule.access, wider.access);
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
