import { describeAccess } from "./access";
import { networkOfDesired } from "./network";
import { reachability, reachabilityDiff } from "./reach";
import { app, network, peer, rule, tcp } from "./testing/networks";

const east = app("api-service-east", { ord: "10.1.2.4" });
const west = app("api-service-west", { iad: "10.1.2.5" });
const worker = app("worker", { ord: "10.1.2.6", iad: "10.1.2.7" }, { port: 0 });
const laptop = peer("laptop", "10.1.2.3");
const net = (...policy: Parameters<typeof network>[1] & {}) =>
  networkOfDesired(network([east, west, worker, laptop], policy));

function matrix(policy: ReturnType<typeof net>): Record<string, Record<string, string>> {
  const { subjects, access } = reachability(policy);
  return Object.fromEntries(
    subjects.map((from) => [
      from.label,
      Object.fromEntries(subjects.map((to) => [to.label, describeAccess(access(from, to))])),
    ]),
  );
}

test("the matrix says who reaches whom on what", () => {
  const { "api-service-east": row, laptop: peerRow } = matrix(
    net(
      rule("api-service-east", "api-service-west", tcp(8080, 9000)),
      rule("*", "api-service-west", { protocol: "icmp" }),
      rule("app:api-service-east", "api-service-west", { protocol: "udp" }),
    ),
  );
  expect(row).toEqual({
    "api-service-east": "everything",
    "api-service-west": "tcp 8080, 9000; udp; icmp",
    worker: "everything",
    laptop: "everything",
  });
  expect(peerRow["api-service-west"]).toBe("icmp");
});

test("regions of one app stand apart only where they are treated differently", () => {
  expect(Object.keys(matrix(net(rule("region:ord", "laptop"))))).toEqual([
    "api-service-east",
    "api-service-west",
    "ord.worker",
    "iad.worker",
    "laptop",
  ]);
  expect(Object.keys(matrix(net(rule(["region:ord", "region:iad"], "laptop"))))).toContain("worker");
});

test("a change in words", () => {
  const open = net();
  expect(reachabilityDiff(open, open)).toEqual([]);
  expect(reachabilityDiff(open, net(rule("laptop", "api-service-west")))).toEqual([
    "api-service-east and worker lose api-service-west:8080",
  ]);
  expect(reachabilityDiff(net(rule(["laptop", "worker"], "api-service-west")), open)).toEqual([
    "api-service-east gains api-service-west:8080",
  ]);
  expect(reachabilityDiff(open, net(rule("*", "api-service-west", tcp(8080))))).toEqual([
    "api-service-east, worker and laptop lose everything on api-service-west but api-service-west:8080",
  ]);
  expect(reachabilityDiff(open, net(rule("*", "worker", { protocol: "icmp" })))).toEqual([
    "api-service-east, api-service-west, worker and laptop lose everything on worker but icmp to worker",
  ]);
  expect(
    reachabilityDiff(
      net(rule("laptop", "api-service-west", tcp(8080, 9000))),
      net(rule("laptop", "api-service-west", { ...tcp(9000), protocol: "udp" })),
    ),
  ).toEqual(["laptop loses api-service-west:8080 and api-service-west:9000", "laptop gains api-service-west:9000/udp"]);
  expect(reachabilityDiff(net(rule("worker", "laptop")), net(rule("region:ord", "laptop")))).toEqual([
    "api-service-east gains everything on laptop",
    "iad.worker loses everything on laptop",
  ]);
  expect(reachabilityDiff(open, net(rule("laptop", "api-service-west", { ...tcp(9000) })))).toContain(
    "laptop loses api-service-west:8080 and all else there but api-service-west:9000",
  );
});

test("many are counted; who comes or goes is not told", () => {
  const many = Array.from({ length: 9 }, (_, i) => peer(`p${i}`, `10.1.2.${20 + i}`));
  const before = networkOfDesired(network([east, ...many]));
  const after = networkOfDesired(network([east, west, ...many.slice(1)], [rule("west", "api-service-east")]));
  expect(reachabilityDiff(before, after)).toEqual(["p1, p2, p3, p4 and 4 others lose api-service-east:8080"]);
});
