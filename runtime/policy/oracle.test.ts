/** Random policies: what is compiled and what is told, against the rules applied one by one to each pair of addresses. */

import * as fc from "fast-check";
import type { DesiredMember, DesiredNetwork } from "../control/interface/desired";
import type { AllowRule, PolicyRule } from "../control/interface/types";
import type { PolicyConfig } from "../dataplane/config";
import type { Access } from "./access";
import { checkPolicy } from "./check";
import { compilePolicy } from "./compile";
import { networkOfDesired } from "./network";
import { reachability } from "./reach";
import { app, network, peer } from "./testing/networks";

const REGIONS = ["ord", "iad", "fra"];
const NAMES = ["a", "b", "c", "d", "e"];

const selectors = fc.oneof(
  fc.constantFrom(...NAMES, "*", "nobody"),
  fc.constantFrom(...NAMES).map((name) => `app:${name}`),
  fc.constantFrom(...NAMES).map((name) => `peer:${name}`),
  fc.constantFrom(...REGIONS).map((region) => `region:${region}`),
  fc.constantFrom("tag:t", "tag:t=1", "tag:t=2", "tag:u"),
);
const spans = fc
  .tuple(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 0, max: 3 }))
  .map(([first, more]): [number, number] => [first, first + more]);
const rules: fc.Arbitrary<AllowRule> = fc
  .record({
    from: fc.array(selectors, { minLength: 1, maxLength: 3 }),
    protocol: fc.constantFrom("any" as const, "tcp" as const, "udp" as const, "icmp" as const),
    ports: fc.constant<[number, number][]>([]),
  })
  .chain((rule) =>
    rule.protocol === "tcp" || rule.protocol === "udp"
      ? fc.array(spans, { maxLength: 2 }).map((ports) => ({ ...rule, ports }))
      : fc.constant(rule),
  );
const tags: fc.Arbitrary<Record<string, string>> = fc.constantFrom<Record<string, string>[]>(
  {},
  { t: "1" },
  { t: "2" },
  { t: "1", u: "" },
);
const memberOf = (name: string, i: number): fc.Arbitrary<DesiredMember> =>
  fc.oneof(
    fc
      .record({
        regions: fc.subarray(REGIONS, { minLength: 1 }),
        tags,
        port: fc.constantFrom(2, 4, 8080),
        allow: fc.option(fc.array(rules, { maxLength: 2 }), { nil: undefined }),
      })
      .map(({ regions, tags, port, allow }) =>
        app(
          name,
          Object.fromEntries(regions.map((region, k) => [region, `10.1.2.${10 + i * 4 + k}`])),
          { tags, port, ...(allow ? { allow } : {}) },
          `10.1.2.${200 + i}`,
        ),
      ),
    fc
      .record({ region: fc.constantFrom(...REGIONS, undefined), tags, routed: fc.boolean() })
      .map(({ region, tags, routed }) =>
        peer(name, `10.1.2.${10 + i * 4}`, { region, tags, routes: routed ? [`192.168.${i}.0/24`] : [] }),
      ),
  );
const networks: fc.Arbitrary<DesiredNetwork> = fc
  .record({
    members: fc.tuple(...NAMES.map(memberOf)),
    policy: fc.array(
      rules.chain((rule) =>
        fc.array(selectors, { minLength: 1, maxLength: 3 }).map((to): PolicyRule => ({ ...rule, to })),
      ),
      { maxLength: 4 },
    ),
  })
  .map(({ members, policy }) => network(members, policy));

/** One address of the network, and whose it is. */
interface Place {
  readonly ip: string;
  readonly member: DesiredMember;
  readonly region?: string;
}
type Packet = { protocol: "tcp" | "udp"; port: number } | { protocol: "icmp" } | { protocol: "gre" };

const PACKETS: Packet[] = [
  { protocol: "icmp" },
  { protocol: "gre" },
  ...[1, 3, 5, 7, 9, 60000].flatMap((port): Packet[] => [
    { protocol: "tcp", port },
    { protocol: "udp", port },
  ]),
];

function places(net: DesiredNetwork): Place[] {
  return net.members.flatMap((member): Place[] => {
    if (member.kind === "app")
      return member.instances.map(({ address, region }) => ({ ip: address.ipv4!, member, region }));
    const routed = member.routes.map((route) => route.replace("0/24", "77"));
    return [member.address.ipv4!, ...routed].map((ip) => ({ ip, member, region: member.region }));
  });
}

/** The selector's text itself, read the plain way. */
function means(selector: string, { member, region }: Place): boolean {
  const tags = (member.kind === "app" ? member.spec.tags : member.tags) ?? {};
  if (selector === "*") return true;
  if (!selector.includes(":")) return member.name === selector;
  if (selector.startsWith("region:")) return `region:${region}` === selector;
  if (selector.startsWith("tag:"))
    return Object.entries(tags).some(([k, v]) => [`tag:${k}`, `tag:${k}=${v}`].includes(selector));
  return selector === `${member.kind}:${member.name}`;
}

function lets(rule: { protocol: string; ports: readonly (readonly [number, number])[] }, packet: Packet): boolean {
  if (rule.protocol === "any") return true;
  if (rule.protocol !== packet.protocol) return false;
  return (
    !("port" in packet) || rule.ports.length === 0 || rule.ports.some(([a, z]) => a <= packet.port && packet.port <= z)
  );
}

function oracle(net: DesiredNetwork, from: Place, to: Place, packet: Packet): boolean {
  let closed = false;
  for (const rule of net.policy ?? []) {
    if (!rule.to.some((text) => means(text, to))) continue;
    closed = true;
    if (rule.from.some((text) => means(text, from)) && lets(rule, packet)) return true;
  }
  const allow = to.member.kind === "app" ? to.member.spec.allow : undefined;
  if (allow === undefined) return !closed;
  return allow.some((rule) => rule.from.some((text) => means(text, from)) && lets(rule, packet));
}

const kept = new Map<string, { first: number; last: number }>();
function spanOf(text: string): { first: number; last: number } {
  const known = kept.get(text);
  if (known) return known;
  const [base, prefix = "32"] = text.split("/");
  const first = base.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
  const span = { first, last: first + 2 ** (32 - Number(prefix)) - 1 };
  kept.set(text, span);
  return span;
}
function inside(ip: string, ranges: readonly string[]): boolean {
  const { first: address } = spanOf(ip);
  return ranges.some((range) => spanOf(range).first <= address && address <= spanOf(range).last);
}

function enforced(config: PolicyConfig | undefined, from: string, to: string, packet: Packet): boolean {
  if (!config || !inside(to, config.closed)) return true;
  return config.rules.some((rule) => inside(from, rule.from) && inside(to, rule.to) && lets(rule, packet));
}

function told(access: Access, packet: Packet): boolean {
  if (packet.protocol === "gre") return access.all;
  if (packet.protocol === "icmp") return access.icmp;
  return access[packet.protocol].some(([a, z]) => a <= packet.port && packet.port <= z);
}

test("what is enforced and what is told is what the rules say", () => {
  fc.assert(
    fc.property(networks, (net) => {
      const config = compilePolicy(net);
      const all = places(net);
      const { subjects, access } = reachability(networkOfDesired(net));
      const subjectOf = (place: Place) =>
        subjects.find((s) => s.member.name === place.member.name && (s.region ?? place.region) === place.region)!;
      for (const from of all)
        for (const to of all) {
          const granted = access(subjectOf(from), subjectOf(to));
          for (const packet of PACKETS) {
            const expected = oracle(net, from, to, packet);
            const got = enforced(config, from.ip, to.ip, packet);
            const said = told(granted, packet);
            if (got !== expected || said !== expected)
              throw new Error(`${from.ip} to ${to.ip} ${JSON.stringify(packet)}: ${expected}, not ${got} and ${said}`);
          }
        }
      for (const gateway of ["10.1.2.253", "10.1.2.254"])
        for (const to of all) expect(enforced(config, gateway, to.ip, { protocol: "tcp", port: 9 })).toBe(true);
      // A service address is never more open than all that stand behind it, nor closed where they are open to all.
      for (const member of net.members) {
        if (member.kind !== "app") continue;
        const behind = all.filter((place) => place.member === member);
        const service = member.service!.ipv4!;
        for (const from of all)
          for (const packet of PACKETS) {
            const through = behind.map((to) => oracle(net, from, to, packet));
            const got = enforced(config, from.ip, service, packet);
            if ((got && through.includes(false)) || (through.length === 1 && got !== through[0]))
              throw new Error(
                `${from.ip} to ${member.name}'s service ${JSON.stringify(packet)}: ${through}, not ${got}`,
              );
          }
      }
    }),
    { numRuns: 40 },
  );
});

test("a policy without errors leaves each app's own port to somebody else", () => {
  let judged = 0;
  fc.assert(
    fc.property(networks, (net) => {
      if (checkPolicy(networkOfDesired(net)).some(({ severity }) => severity === "error")) return;
      const all = places(net);
      for (const to of all) {
        const { member } = to;
        if (member.kind !== "app") continue;
        // Closed on purpose.
        if (member.spec.allow?.length === 0) continue;
        const packet: Packet = { protocol: "tcp", port: member.spec.port };
        const others = all.filter((from) => from.ip !== to.ip);
        if (!others.some((from) => oracle(net, from, to, packet)))
          throw new Error(`nobody reaches ${member.name}:${member.spec.port} at ${to.ip}, and no error says so`);
        if ((net.policy ?? []).length > 0) judged++;
      }
    }),
    { numRuns: 6000 },
  );
  expect(judged).toBeGreaterThan(50);
});
