import type { MemberRecord, NetworkRecord } from "../../runtime/control/interface/types";
import { reportOf, text } from "./policy";

function network(policy: NetworkRecord["spec"]["policy"] = []): NetworkRecord {
  const spec = { name: "net", reserved: [], regions: [], domain: "internal", mtu: 1420, tags: {}, policy };
  return { id: "net_1", spec } as unknown as NetworkRecord;
}

function app(name: string, networkId = "net_1"): MemberRecord {
  const spec = { regions: ["ord"], instances: 1, port: 8080, health: { type: "tcp" }, tags: {} };
  return { id: `mem_${name}`, networkId, name, kind: "app", app: spec } as unknown as MemberRecord;
}

const only8080 = { protocol: "tcp" as const, ports: [[8080, 8080]] as [number, number][] };

test("a small network is a matrix, with what is wrong below it", () => {
  const rules = [{ from: ["web"], to: ["api", "db"], ...only8080 }];
  const report = reportOf(network(rules), [app("web"), app("api"), app("elsewhere", "net_2")]);
  expect(text(report)).toBe(
    [
      "Network net",
      "FROM \\ TO   web          api",
      "web         -            tcp 8080",
      "api         everything   -",
      'error: policy[0].to[1]: "db" names nobody: network net has no member db.',
    ].join("\n"),
  );
  expect(report.targets).toEqual([
    { to: "web", open: true, allowed: [], several: false },
    {
      to: "api",
      open: false,
      allowed: [{ access: expect.objectContaining({ all: false, tcp: [[8080, 8080]] }), from: ["web"] }],
      several: false,
    },
  ]);
});

test("a larger one is told by what is closed", () => {
  const members = Array.from({ length: 10 }, (_, i) => app(`app-${i}`));
  const rules = [
    { from: ["app-0", "app-1"], to: ["app-9"], ...only8080 },
    { from: ["app-2"], to: ["app-9"], protocol: "any" as const, ports: [] },
  ];
  const shut = { ...members[8], app: { ...members[8].app!, allow: [] } };
  expect(text(reportOf(network(rules), [...members.slice(0, 8), shut, members[9]]))).toBe(
    [
      "Network net",
      "TO      FROM           MAY USE",
      "app-8   nobody         -",
      "app-9   app-0, app-1   tcp 8080",
      "        app-2          everything",
      "Everything else is open to all members.",
    ].join("\n"),
  );
  expect(text(reportOf(network(), members))).toBe("Network net\nAll 10 members may talk to each other.");
  expect(text(reportOf(network(), []))).toBe("Network net\nIt has no members yet.");
});

test("the instances of one app talk to each other, unless a rule closes it to them too", () => {
  const twice = { ...app("api"), app: { ...app("api").app!, instances: 2 } };
  const shown = (rules: NetworkRecord["spec"]["policy"]) => text(reportOf(network(rules), [app("web"), twice]));
  expect(shown([])).toContain("api         everything   everything");
  expect(shown([{ from: ["web"], to: ["api"], ...only8080 }])).toContain("api         everything   nothing");
});

test("a network of thousands is told by what is closed, and not by its pairs", () => {
  const members = Array.from({ length: 3000 }, (_, i) => app(`app-${i}`));
  const rules = [{ from: ["*"], to: ["app-0"], ...only8080 }];
  const report = reportOf(network(rules), members);
  expect(JSON.stringify(report).length).toBeLessThan(500_000);
  expect(text(report).split("\n").slice(1, -1)).toEqual([
    expect.stringMatching(/^TO +FROM +MAY USE$/),
    expect.stringMatching(/^app-0 {3}app-1, app-2, .* app-16 and 2983 others +tcp 8080$/),
  ]);
});
