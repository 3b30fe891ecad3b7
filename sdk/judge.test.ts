import type { MemberRecord, NetworkRecord, Owner } from "../runtime/control/interface/types";
import type { PolicyMember } from "../runtime/policy";
import { type Before, judge as judgeFor, judgeJoined, type NetworkInputs } from "./judge";

const owner: Owner = { organization: "acme", project: "shop", stack: "dev", urn: "urn:net" };
const other: Owner = { ...owner, stack: "prod" };

function networkRecord(policy?: NetworkRecord["spec"]["policy"]): NetworkRecord {
  const spec = { name: "net", reserved: [], regions: [], domain: "internal", mtu: 1420, tags: {}, policy };
  return { id: "net_1", owner, spec } as unknown as NetworkRecord;
}

function appRecord(name: string, by = owner): MemberRecord {
  const app = { regions: ["ord"], instances: 1, port: 8080, health: { type: "tcp" }, tags: {} };
  return { id: name, networkId: "net_1", owner: by, name, kind: "app", app } as unknown as MemberRecord;
}

const app = (name: string): PolicyMember => ({
  kind: "app",
  name,
  regions: ["ord"],
  tags: {},
  instances: 1,
  port: 8080,
});
const nothing = { networks: [], members: [] };
const judge = (inputs: NetworkInputs, members: PolicyMember[], before: Before) =>
  judgeFor(inputs, members, before, owner);

test("a rule about somebody whom neither the program nor another stack has is an error", () => {
  const policy = [{ from: "east", to: "west" }];
  expect(judge({ name: "net", policy }, [app("east"), app("west")], nothing).errors).toEqual([]);
  expect(judge({ name: "net", policy }, [app("east")], nothing).errors).toEqual([
    'Network net, policy[0].to: "west" names nobody: network net has no member west.',
  ]);
  const theirs = { networks: [networkRecord()], members: [appRecord("west", other)] };
  expect(judge({ name: "net", policy }, [app("east")], theirs).errors).toEqual([]);
  // One of this stack that the program no longer constructs goes with this very up.
  const ours = { networks: [networkRecord()], members: [appRecord("west")] };
  expect(judge({ name: "net", policy }, [app("east")], ours).errors).toHaveLength(1);
  const allow = [{ from: ["nobody"], protocol: "any" as const, ports: [] }];
  expect(judge({ name: "net" }, [{ ...app("east"), allow }], nothing).errors).toEqual([
    'App east of network net, allow[0].from: "nobody" names nobody: network net has no member nobody.',
  ]);
});

test("a change of who reaches whom is told, beside what is doubtful", () => {
  const members = [appRecord("api-service-east"), appRecord("api-service-west"), appRecord("web", other)];
  const before = { networks: [networkRecord()], members };
  const after = [app("api-service-east"), app("api-service-west")];
  const policy = [
    { from: "web", to: "api-service-west" },
    { from: "app:web", to: "api-service-west", ports: 8080 },
  ];
  expect(judge({ name: "net", policy }, after, before)).toEqual({
    errors: [],
    warnings: ["Network net, policy[1]: it says nothing that policy[0] does not say already: leave it out."],
    changes: ["api-service-east loses api-service-west:8080"],
  });
  expect(judge({ name: "net" }, after, before).changes).toEqual([]);
});

test("many changes are counted", () => {
  const names = Array.from({ length: 30 }, (_, i) => `app-${i}`);
  const before = { networks: [networkRecord()], members: names.map((name) => appRecord(name)) };
  const policy = [{ from: "app-0", to: "*" }];
  const { changes } = judge({ name: "net", policy }, names.map(app), before);
  expect(changes).toHaveLength(21);
  expect(changes[0]).toBe("app-1, app-2, app-3, app-4 and 25 others lose app-0:8080");
  expect(changes.at(-1)).toBe('and 10 more changes: "warren policy check" shows who reaches whom');
});

test("of another stack's network, this program answers for its own apps; what it does to others is told", () => {
  const policy = [
    { from: ["web"], to: ["api"], protocol: "tcp" as const, ports: [[8080, 8080]] as [number, number][] },
  ];
  const allowing = (name: string, ...from: string[]) => ({
    ...app(name),
    allow: [{ from, protocol: "any" as const, ports: [] }],
  });
  const shared = networkRecord([...policy, { ...policy[0], from: ["gone"], to: ["web"] }]);
  const before = { networks: [shared], members: [appRecord("web"), appRecord("api"), appRecord("mine", other)] };
  const joined = (...members: PolicyMember[]) => judgeJoined(shared, members, before, other);
  // What was wrong before is not its business.
  expect(joined(app("mine"))).toEqual({ errors: [], warnings: [], changes: [] });
  expect(joined(allowing("mine", "api"))).toEqual({ errors: [], warnings: [], changes: ["web loses mine:8080"] });
  expect(joined(allowing("mine", "typo")).errors).toEqual([
    'App mine of network net, allow[0].from: "typo" names nobody: network net has no member typo.',
  ]);
  // It takes away whom somebody else's rule names.
  const naming = { networks: [networkRecord([{ ...policy[0], from: ["mine"] }])], members: before.members };
  expect(judgeJoined(naming.networks[0], [app("new")], naming, other)).toEqual({
    errors: [],
    warnings: ['Network net, policy[0].from: "mine" names nobody: network net has no member mine.'],
    changes: [],
  });
});

test("an app of another stack with a rule about nobody is a warning, and no error of this one", () => {
  const foreign = appRecord("theirs", other);
  const allow = [{ from: ["typo"], protocol: "any" as const, ports: [] }];
  const before = { networks: [networkRecord()], members: [{ ...foreign, app: { ...foreign.app!, allow } }] };
  expect(judge({ name: "net" }, [app("east")], before)).toMatchObject({
    errors: [],
    warnings: ['App theirs of network net, allow[0].from: "typo" names nobody: network net has no member typo.'],
  });
});
