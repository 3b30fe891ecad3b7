import { type InputFault, readAllow, readPolicy } from "./input";

const read = (value: unknown, how = readPolicy) => {
  const faults: InputFault[] = [];
  return { rules: how(value, faults as never), faults };
};

test("single values, lists and defaults become one form", () => {
  const { rules, faults } = read([
    { from: "web", to: "db", ports: 5432 },
    { from: ["*", "*"], to: ["app:db", "region:ord"], ports: ["9000-9010", 80, "9005-9020", [1, 2]] },
    { from: "tag:team=a:b=c", to: "tag:public" },
    { from: "peer:laptop", to: "*", protocol: "udp", ports: "53" },
    { from: "peer:laptop", to: "*", protocol: "icmp" },
    { from: "peer:laptop", to: "*", protocol: "tcp" },
  ]);
  expect(faults).toEqual([]);
  expect(rules).toEqual([
    { from: ["web"], to: ["db"], protocol: "tcp", ports: [[5432, 5432]] },
    {
      from: ["*"],
      to: ["app:db", "region:ord"],
      protocol: "tcp",
      ports: [
        [1, 2],
        [80, 80],
        [9000, 9020],
      ],
    },
    { from: ["tag:team=a:b=c"], to: ["tag:public"], protocol: "any", ports: [] },
    { from: ["peer:laptop"], to: ["*"], protocol: "udp", ports: [[53, 53]] },
    { from: ["peer:laptop"], to: ["*"], protocol: "icmp", ports: [] },
    { from: ["peer:laptop"], to: ["*"], protocol: "tcp", ports: [] },
  ]);
  expect(read(["web", { from: ["peer:a", "b"], ports: 22 }], readAllow as never)).toEqual({
    faults: [],
    rules: [
      { from: ["web"], protocol: "any", ports: [] },
      { from: ["peer:a", "b"], protocol: "tcp", ports: [[22, 22]] },
    ],
  });
  // What an output has can be an input.
  const withPorts = rules.filter((rule) => rule.ports.length > 0);
  expect(read(withPorts).rules).toEqual(withPorts);
});

test.each<[unknown, string, RegExp]>([
  [{}, "policy", /must be a list of rules/],
  [["web"], "policy[0]", /must be a rule such as/],
  [[{ from: "web" }], "policy[0].to", /whom it is about/],
  [[{ to: "web" }], "policy[0].from", /who may connect/],
  [[{ from: [], to: "web" }], "policy[0].from", /is empty/],
  [[{ from: "a", to: "b", port: 1 }], "policy[0].port", /has no "port" here; it has from, to, protocol, ports/],
  [[{ from: "Web", to: "b" }], "policy[0].from", /"Web" names "Web", which can be no name of a member/],
  [[{ from: ["a", "peer:x_y"], to: "b" }], "policy[0].from[1]", /no name of a peer/],
  [[{ from: "a", to: "region:" }], "policy[0].to", /no name of a region/],
  [[{ from: "a", to: "tag:" }], "policy[0].to", /names no tag/],
  [[{ from: "a", to: "host:x" }], "policy[0].to", /no kind of selector: use \*, NAME, app:NAME/],
  [[{ from: 3, to: "b" }], "policy[0].from", /must be a selector/],
  [[{ from: "a", to: "b", protocol: "sctp" }], "policy[0].protocol", /one of any, tcp, udp, icmp/],
  [[{ from: "a", to: "b", protocol: "icmp", ports: 1 }], "policy[0].protocol", /icmp has no ports/],
  [[{ from: "a", to: "b", protocol: "any", ports: 1 }], "policy[0].protocol", /say which/],
  [[{ from: "a", to: "b", ports: [] }], "policy[0].ports", /is empty/],
  [[{ from: "a", to: "b", ports: 0 }], "policy[0].ports", /0 is no port/],
  [[{ from: "a", to: "b", ports: [80, 65536] }], "policy[0].ports[1]", /65536 is no port/],
  [[{ from: "a", to: "b", ports: ["90-80"] }], "policy[0].ports[0]", /"90-80" is no port/],
  [[{ from: "a", to: "b", ports: "http" }], "policy[0].ports", /"http" is no port/],
  [[{ from: "a", to: "b", ports: 80.5 }], "policy[0].ports", /80.5 is no port/],
])("%j is refused at %s", (value, property, reason) => {
  const { faults, rules } = read(value);
  expect(faults).toEqual([{ property, reason: expect.stringMatching(reason) }]);
  // A rule with a key too many is read all the same.
  expect(rules.length).toBe(property.endsWith(".port") ? 1 : 0);
});

test.each<[unknown, string]>([
  ["web", "allow"],
  [[3], "allow[0]"],
  [["a b"], "allow[0]"],
  [[{ from: "a", to: "b" }], "allow[0].to"],
])("allow: %j is refused at %s", (value, property) => {
  expect(read(value, readAllow as never).faults).toMatchObject([{ property }]);
});
