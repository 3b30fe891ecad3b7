/** Names to addresses: the policy as the data plane enforces it. */
import type { DesiredApp, DesiredMember, DesiredNetwork, DesiredPeer } from "../control/interface/desired";
import type { PolicyConfig, PolicyRuleConfig } from "../dataplane/config";
import { layout } from "../ipam";
import { behind, type FamilySpan, spanOf, spansOf, toCidrs, without } from "./addresses";
import { memberOfDesired, type Party } from "./network";
import { anySelects, rulesOf } from "./rules";
import type { Selector } from "./selector";

/**
 * The network's rules and its apps' `allow` with all names resolved; undefined where nothing is closed.
 *
 * An app's service address follows the app: it is closed as soon as one of its instances is, and a rule opens it that opens all of
 * them. A peer's routes belong to the peer. The gateways' own addresses may always start: they are the machine administrator's
 * way in.
 */
export function compilePolicy(network: DesiredNetwork): PolicyConfig | undefined {
  if (!compiled.has(network)) compiled.set(network, compile(network));
  return compiled.get(network);
}

/** A network's values never change, and health events ask for the same one again and again. */
const compiled = new WeakMap<DesiredNetwork, PolicyConfig | undefined>();

function compile(network: DesiredNetwork): PolicyConfig | undefined {
  const { list, shut } = rulesOf({ policy: network.policy, members: network.members.map(memberOfDesired) });
  if (list.length === 0 && shut.length === 0) return undefined;
  const directory = new Directory(network);
  const closed = toCidrs([...list.flatMap((rule) => directory.closedBy(rule.to)), ...directory.closedBy(shut)]);
  if (closed.length === 0) return undefined;

  const rules: PolicyRuleConfig[] = [];
  const gateways = toCidrs(directory.gateways);
  if (gateways.length > 0) rules.push({ from: gateways, to: closed, protocol: "any", ports: [] });
  for (const rule of list) {
    const from = toCidrs(directory.sources(rule.from));
    const to = toCidrs(directory.targets(rule.to));
    if (from.length > 0 && to.length > 0) rules.push({ from, to, protocol: rule.protocol, ports: rule.ports });
  }
  return { closed, rules };
}

/** Addresses of members by what selectors name. */
class Directory {
  readonly gateways: readonly FamilySpan[];
  private readonly byName = new Map<string, DesiredMember>();
  private readonly everyone: readonly FamilySpan[];
  private readonly routes: ReadonlyMap<string, FamilySpan[]>;

  constructor(private readonly network: DesiredNetwork) {
    for (const member of network.members) this.byName.set(member.name, member);
    this.gateways = network.gateways.flatMap((gateway) => (gateway.address ? spansOf(gateway.address) : []));
    this.routes = behind([...new Set(network.members.flatMap((m) => (m.kind === "peer" ? m.routes : [])))]);
    // All that members may be given, so that one that comes is meant before everybody has heard of it; not the addresses that
    // answer on every host, nor the gateways' own.
    const { cidr, ipv6Cidr, name } = network;
    const issuable = layout({ name, cidr, ipv6Cidr, reserved: [] }).families.map((f) => ({
      family: f.family,
      first: f.issuable.first,
      last: f.range.last,
    }));
    this.everyone = [...without(issuable, this.gateways), ...[...this.routes.values()].flat()];
  }

  /** Who may start. Nobody starts from a service address. */
  sources(selectors: readonly Selector[]): FamilySpan[] {
    return this.resolve(selectors, () => false);
  }

  targets(selectors: readonly Selector[]): FamilySpan[] {
    return this.resolve(selectors, (chosen, app) => chosen.length === app.instances.length);
  }

  closedBy(selectors: readonly Selector[]): FamilySpan[] {
    return this.resolve(selectors, (chosen) => chosen.length > 0);
  }

  private resolve(
    selectors: readonly Selector[],
    withService: (chosen: DesiredApp["instances"], app: DesiredApp) => boolean,
  ): FamilySpan[] {
    if (selectors.some((selector) => selector.kind === "all")) return [...this.everyone];
    return this.named(selectors).flatMap((member) => {
      if (member.kind === "peer") return anySelects(selectors, partyOf(member)) ? this.peer(member) : [];
      const chosen = member.instances.filter(({ region }) => anySelects(selectors, partyOf(member, region)));
      const spans = chosen.flatMap((instance) => spansOf(instance.address));
      if (member.service && withService(chosen, member)) spans.push(...spansOf(member.service));
      return spans;
    });
  }

  /** Members that the selectors may mean: where all of them are names, only those are looked at. */
  private named(selectors: readonly Selector[]): readonly DesiredMember[] {
    const names = new Set<string>();
    for (const selector of selectors) {
      if (!("name" in selector)) return this.network.members;
      names.add(selector.name);
    }
    return [...names].flatMap((name) => this.byName.get(name) ?? []);
  }

  private peer(peer: DesiredPeer): FamilySpan[] {
    return [...spansOf(peer.address), ...peer.routes.flatMap((route) => this.routes.get(route) ?? spanOf(route))];
  }
}

function partyOf(member: DesiredMember, region?: string): Party {
  const { kind, name } = member;
  if (member.kind === "app") return { kind, name, region, tags: member.spec.tags };
  return { kind, name, region: member.region, tags: member.tags ?? {} };
}
