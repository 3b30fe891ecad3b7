/** Ports that rules leave to nobody, and ports that they open where nobody listens. */
import { type Access, describeAccess, hasPort } from "./access";
import type { Party, PolicyMember } from "./network";
import type { PolicyProblem } from "./problem";
import type { ResolvedRule, ResolvedRules } from "./resolve";
import { list, names } from "./words";

/**
 * Apps that rules close, and whose own port no rule opens to anybody else, in one region at least: a sentence for each rule that is
 * the first to close some. One that its own empty `allow` closes is meant so.
 */
export function* unreachable(rules: ResolvedRules): Generator<PolicyProblem> {
  const closed = new Map<ResolvedRule, { errors: PolicyMember[]; doubts: PolicyMember[] }>();
  for (const app of rules.network.members) {
    const use = portUse(rules, app);
    if (use === "open") continue;
    // A rule from people whom nobody knows is an error of its own.
    const about = rules.aboutAny(app).filter((rule) => rule.fromWhom.size > 0);
    if (about.length === 0) continue;
    const blamed = about.find((rule) => rule.ports.length > 0) ?? about[0];
    const found = closed.get(blamed) ?? { errors: [], doubts: [] };
    closed.set(blamed, found);
    (use === "closed" ? found.errors : found.doubts).push(app);
  }
  for (const [rule, { errors, doubts }] of closed) {
    if (errors.length > 0) yield { severity: "error", ...ofPorts(rule), message: closedMessage(rule, errors) };
    if (doubts.length > 0) yield { severity: "warning", ...ofPorts(rule), message: doubtMessage(doubts) };
  }
}

/** Rules about ports that none of their targets listens on. */
export function* stray(rules: ResolvedRules): Generator<PolicyProblem> {
  for (const rule of rules.list) {
    // What listens for datagrams, nobody tells.
    if (rule.ports.length === 0 || rule.protocol === "udp" || rule.toWhom.size === 0) continue;
    const targets = rules.targets(rule);
    if (targets.some((target) => target.kind === "peer" || knownPorts(target).some((p) => hasPort(rule.access, p))))
      continue;
    const opens = `it opens ${describeAccess(rule.access)}`;
    const one = targets.length === 1;
    if (targets.every((app) => knownPorts(app).length === 0))
      yield {
        severity: "error",
        ...ofPorts(rule),
        message: `${opens}, but ${names(targets.map((app) => app.name))} ${one ? "listens" : "listen"} on no port: nobody can use it.`,
      };
    // Of a closed port `unreachable` says more.
    else if (targets.every((app) => portUse(rules, app) === "open")) {
      const heard = one ? `${targets[0].name} listens on ${list(knownPorts(targets[0]).map(String))}` : undefined;
      yield {
        severity: "warning",
        ...ofPorts(rule),
        message: `${opens}, and Warren knows of nothing that listens there: ${heard ?? "none of its targets does"}.`,
      };
    }
  }
}

/** Of an app's port: `datagrams` where rules open it for UDP alone, and the app may be one that speaks UDP. */
type PortUse = "open" | "datagrams" | "closed";

function portUse(rules: ResolvedRules, app: PolicyMember): PortUse {
  const { port } = app;
  if (!port) return "open";
  const uses = rules.partiesOf(app).map((party): PortUse => {
    const about = rules.about(party);
    if (about.length === 0 && app.allow === undefined) return "open";
    const helpful = about.filter((rule) => lets(rule, party, app));
    if (helpful.some((rule) => hasTcp(rule.access, port))) return "open";
    // Its health is asked with TCP: where that is on this very port, TCP is what it listens on.
    const mayBeUdp = app.healthPort !== port;
    return mayBeUdp && helpful.some((rule) => hasPort(rule.access, port)) ? "datagrams" : "closed";
  });
  return uses.find((use) => use === "closed") ?? uses.find((use) => use === "datagrams") ?? "open";
}

/** Whether it is about somebody else than the target alone; `*` is, whoever is there yet. */
function lets(rule: ResolvedRule, target: Party, app: PolicyMember): boolean {
  if (rule.from.some((selector) => selector.kind === "all")) return true;
  return rule.fromWhom.size > 1 || (rule.fromWhom.size === 1 && (app.instances > 1 || !rule.fromWhom.has(target)));
}

function closedMessage(rule: ResolvedRule, apps: readonly PolicyMember[]): string {
  const one = apps.length === 1;
  const what = one ? "the port that it listens on" : "the ports that they listen on";
  const closes = one ? `rules that name ${apps[0].name} close it` : "rules that name them close them";
  const opened = rule.ports.length > 0 ? `, and this one opens ${describeAccess(rule.access)} only` : "";
  const asked = apps.some((app) => app.healthPort !== undefined);
  const health = asked ? `; ${one ? "its" : "their"} health is asked from inside, and would look good` : "";
  return `nobody reaches ${places(apps)}, ${what}, since ${closes} to all whom they do not let in${opened}${health}: add a rule that opens ${one ? "it" : "them"}.`;
}

function doubtMessage(apps: readonly PolicyMember[]): string {
  return `nobody reaches ${places(apps)} by TCP, since rules open it for UDP only: add a rule with protocol "tcp", unless UDP is what is spoken there.`;
}

function places(apps: readonly PolicyMember[]): string {
  return names(apps.map((app) => `${app.name}:${app.port}`));
}

function hasTcp(access: Access, port: number): boolean {
  return access.tcp.some(([first, last]) => first <= port && port <= last);
}

function knownPorts(app: Pick<PolicyMember, "port" | "healthPort">): number[] {
  return [...new Set([app.port, app.healthPort])].filter((port): port is number => port !== undefined && port !== 0);
}

function ofPorts(rule: ResolvedRule): { app?: string; path: string } {
  const path = rule.ports.length > 0 ? `${rule.path}.ports` : rule.path;
  return rule.app === undefined ? { path } : { app: rule.app, path };
}
