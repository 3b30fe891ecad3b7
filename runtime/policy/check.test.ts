import type { PolicyRule } from "../control/interface/types";
import { checkPolicy } from "./check";
import { networkOfDesired } from "./network";
import { app, network, peer, rule, tcp } from "./testing/networks";

const web = app("web", { ord: "10.1.2.4" }, { tags: { tier: "front" } });
const db = app(
  "db",
  { ord: "10.1.2.5" },
  { port: 5432, health: { type: "http", port: 9187, interval: 1, timeout: 1, threshold: 1 } },
);
const job = app("job", { iad: "10.1.2.6" }, { port: 0 });
const laptop = peer("laptop", "10.1.2.3");

const problems = (policy: PolicyRule[], members = [web, db, job, laptop], regions?: string[]) =>
  checkPolicy({ ...networkOfDesired(network(members, policy)), ...(regions ? { regions } : {}) }).map(
    ({ severity, app, path, message }) => `${severity} ${app ? `${app}: ` : ""}${path}: ${message}`,
  );

test("a policy that means what it says has none", () => {
  expect(
    problems([
      rule(["web", "peer:laptop"], "db", tcp(5432)),
      rule("laptop", "db", tcp(9187)),
      rule("*", "job", { protocol: "icmp" }),
      rule("region:ord", "tag:tier=front", tcp(8080)),
      rule("tag:tier", "laptop", tcp(22)),
    ]),
  ).toEqual([]);
});

test.each<[PolicyRule, string]>([
  [
    rule("webb", "db", tcp(5432)),
    'policy[0].from: "webb" names nobody: network net has no member webb (is web meant?).',
  ],
  [
    rule("web", "nothing-like-it"),
    'policy[0].to: "nothing-like-it" names nobody: network net has no member nothing-like-it.',
  ],
  [rule("peer:web", "laptop"), 'policy[0].from: "peer:web" names nobody: web is an app, write app:web.'],
  [
    rule(["web", "app:laptop"], "job"),
    'policy[0].from[1]: "app:laptop" names nobody: laptop is a peer, write peer:laptop.',
  ],
  [
    rule("region:fra", "laptop"),
    'policy[0].from: "region:fra" names nobody: no member of network net is in region fra.',
  ],
  [
    rule("tag:tier=back", "laptop"),
    'policy[0].from: "tag:tier=back" names nobody: no member of network net has this tag.',
  ],
])("nobody: %j", (one, message) => {
  expect(problems([one])).toContain(`error ${message}`);
});

test("a region that the network does not have", () => {
  expect(problems([rule("region:fra", "laptop")], undefined, ["ord", "iad"])).toEqual([
    'error policy[0].from: "region:fra" names nobody: network net has the regions ord, iad.',
  ]);
});

test("ports that nobody listens on, and ports that nobody can use", () => {
  expect(problems([rule("web", "job", tcp(8080))])).toEqual([
    "error policy[0].ports: it opens tcp 8080, but job listens on no port: nobody can use it.",
  ]);
  // A port of which Warren knows nothing, beside the one that it knows.
  expect(problems([rule("web", "db", tcp(5432)), rule("laptop", "db", tcp(22))])).toEqual([
    "warning policy[1].ports: it opens tcp 22, and Warren knows of nothing that listens there: db listens on 5432 and 9187.",
  ]);
});

const closes = (place: string, name: string, opens: string) =>
  `error policy[0].ports: nobody reaches ${place}, the port that it listens on, since rules that name ${name} close it to all whom they do not let in, and this one opens ${opens} only; its health is asked from inside, and would look good: add a rule that opens it.`;

test.each<[string, PolicyRule[]]>([
  ["alone", [rule("web", "db", tcp(8080))]],
  ["beside a target that listens there", [rule("*", ["web", "db"], tcp(8080))]],
  ["among all", [rule("*", "*", tcp(8080))]],
  ["beside a peer, which may listen on anything", [rule("web", ["laptop", "db"], tcp(8080))]],
  ["that another rule opens to the app itself alone", [rule("web", "db", tcp(8080)), rule("db", "db", tcp(5432))]],
])("a port that rules leave to nobody: %s", (_, policy) => {
  expect(problems(policy)).toContain(closes("db:5432", "db", "tcp 8080"));
});

test("a port that datagrams alone may use is closed where health says that TCP is spoken there, else doubtful", () => {
  const udp = (port: number) => ({ ...tcp(port), protocol: "udp" as const });
  expect(problems([rule("laptop", "web", udp(8080))])).toEqual([closes("web:8080", "web", "udp 8080")]);
  expect(problems([rule("laptop", "db", udp(5432))])).toEqual([
    'warning policy[0].ports: nobody reaches db:5432 by TCP, since rules open it for UDP only: add a rule with protocol "tcp", unless UDP is what is spoken there.',
  ]);
});

test("what a rule without ports leaves to nobody, told once for all whom it closes", () => {
  expect(problems([rule("laptop", ["web", "db", "job"], { protocol: "icmp" })])).toEqual([
    "error policy[0]: nobody reaches web:8080 and db:5432, the ports that they listen on, since rules that name them close them to all whom they do not let in; their health is asked from inside, and would look good: add a rule that opens them.",
  ]);
  expect(problems([rule("web", "web")])).toHaveLength(1);
});

test("one region of an app that is closed, and a rule for all in a network of one", () => {
  const everywhere = app("api", { ord: "10.1.2.7", iad: "10.1.2.8" });
  expect(problems([rule("web", "region:iad", tcp(9000)), rule("*", "job")], [web, everywhere, job])).toEqual([
    expect.stringContaining("nobody reaches api:8080"),
  ]);
  expect(problems([rule("*", "api", tcp(8080))], [everywhere])).toEqual([]);
  expect(problems([rule("*", "web", tcp(8080))], [web])).toEqual([]);
});

test("contradictions", () => {
  const shut = app("web", { ord: "10.1.2.4" }, { allow: [] });
  expect(problems([], [shut, db])).toEqual([]);
  expect(problems([rule("db", "web")], [shut, db])).toEqual([
    "error web: allow: allow is empty, which closes web to all, but policy[0] of network net opens it: leave one of them out.",
  ]);
});

test("rules that say nothing new", () => {
  expect(problems([rule("*", "db"), rule("web", "db", tcp(5432))])).toEqual([
    "warning policy[1]: it says nothing that policy[0] does not say already: leave it out.",
  ]);
  // Of two alike the second.
  expect(problems([rule("web", "db"), rule("app:web", "app:db")])).toHaveLength(1);
  const own = app("web", { ord: "10.1.2.4" }, { allow: [{ from: ["db"], protocol: "tcp", ports: [[8080, 8080]] }] });
  expect(problems([rule("db", "web")], [own, db])).toEqual([
    "warning web: allow[0]: it says nothing that policy[0] does not say already: leave it out.",
  ]);
});
