/** A network's policy and its apps' `allow` as one list of rules. */
import type { PolicyProtocol } from "../control/interface/types";
import type { Party, PolicyNetwork } from "./network";
import { parseSelector, type Selector, selects } from "./selector";

/** First and last port, both included. */
export type PortSpan = readonly [number, number];

export interface Rule {
  /** The app whose `allow` it stands in; absent: the network's policy. */
  readonly app?: string;
  /** `policy[2]`, or `allow[0]` of the app. */
  readonly path: string;
  readonly from: readonly Selector[];
  readonly to: readonly Selector[];
  readonly protocol: PolicyProtocol;
  /** Empty: all. */
  readonly ports: readonly PortSpan[];
}

/** What is closed to everyone but those that a rule lets in: all that rules name as a target, and apps with `allow`. */
export interface Rules {
  readonly list: readonly Rule[];
  /** Targets that an `allow` without rules closes. */
  readonly shut: readonly Selector[];
}

export function rulesOf(network: Pick<PolicyNetwork, "policy" | "members">): Rules {
  const list: Rule[] = (network.policy ?? []).map((rule, i) => ({
    path: `policy[${i}]`,
    from: known(rule.from),
    to: known(rule.to),
    protocol: rule.protocol,
    ports: rule.ports,
  }));
  const shut: Selector[] = [];
  for (const { kind, name, allow } of network.members) {
    if (kind !== "app" || allow === undefined) continue;
    const target: Selector = { kind: "app", name };
    if (allow.length === 0) shut.push(target);
    for (const [i, rule] of allow.entries())
      list.push({
        app: name,
        path: `allow[${i}]`,
        from: known(rule.from),
        to: [target],
        protocol: rule.protocol,
        ports: rule.ports,
      });
  }
  return { list, shut };
}

export function anySelects(selectors: readonly Selector[], party: Party): boolean {
  return selectors.some((selector) => selects(selector, party));
}

function known(texts: readonly string[]): Selector[] {
  return texts.map(parseSelector).filter((selector) => selector !== undefined);
}
