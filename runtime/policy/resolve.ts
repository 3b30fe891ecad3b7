/** The rules of a network with what their selectors come to. */
import { type Access, accessOf } from "./access";
import { type Party, type PolicyMember, type PolicyNetwork, partiesOf } from "./network";
import { anySelects, type Rule, rulesOf } from "./rules";
import type { Selector } from "./selector";

export interface ResolvedRule extends Rule {
  readonly fromWhom: ReadonlySet<Party>;
  readonly toWhom: ReadonlySet<Party>;
  readonly access: Access;
}

export class ResolvedRules {
  readonly list: readonly ResolvedRule[];
  private readonly owners = new Map<Party, PolicyMember>();
  private readonly parties = new Map<string, readonly Party[]>();
  private readonly byTarget = new Map<Party, ResolvedRule[]>();
  /** Thousands of apps may let in the same ones. */
  private readonly selected = new Map<string, ReadonlySet<Party>>();

  constructor(readonly network: PolicyNetwork) {
    for (const member of network.members) {
      const parties = partiesOf(member);
      this.parties.set(member.name, parties);
      for (const party of parties) this.owners.set(party, member);
    }
    this.list = rulesOf(network).list.map((rule) => ({
      ...rule,
      fromWhom: this.select(rule.from),
      toWhom: this.select(rule.to),
      access: accessOf(rule.protocol, rule.ports),
    }));
    for (const rule of this.list)
      for (const party of rule.toWhom) {
        const list = this.byTarget.get(party);
        if (list) list.push(rule);
        else this.byTarget.set(party, [rule]);
      }
  }

  select(selectors: readonly Selector[]): ReadonlySet<Party> {
    const key = JSON.stringify(selectors);
    const known = this.selected.get(key) ?? this.look(selectors);
    this.selected.set(key, known);
    return known;
  }

  /** Names are looked up; only other selectors need a look at everyone. */
  private look(selectors: readonly Selector[]): Set<Party> {
    const names = selectors.map((selector) => ("name" in selector ? selector.name : undefined));
    const candidates = names.every((name) => name !== undefined)
      ? names.flatMap((name) => this.parties.get(name) ?? [])
      : [...this.owners.keys()];
    return new Set(candidates.filter((party) => anySelects(selectors, party)));
  }

  partiesOf(member: PolicyMember): readonly Party[] {
    return this.parties.get(member.name) ?? [];
  }

  /** Rules that have it among their targets, in order. */
  about(party: Party): readonly ResolvedRule[] {
    return this.byTarget.get(party) ?? [];
  }

  aboutAny(member: PolicyMember): ResolvedRule[] {
    return [...new Set(this.partiesOf(member).flatMap((party) => this.about(party)))];
  }

  /** The rule's targets, each member once. */
  targets(rule: ResolvedRule): PolicyMember[] {
    return [...new Set([...rule.toWhom].map((party) => this.owners.get(party)!))];
  }
}
