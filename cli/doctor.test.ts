import type { Status } from "../runtime/control/interface/types";
import * as check from "./doctor";

const status = (change: object = {}) =>
  ({
    version: "1",
    pid: 7,
    revision: 3,
    applied: 3,
    problems: [],
    hosts: [{ id: "host-ord", region: "ord", port: 20_001, endpoint: "127.0.0.1:20001" }],
    networks: [{ id: "n", spec: { name: "net", mtu: 1420, regions: [], tags: {} } }],
    members: [],
    instances: [],
    ...change,
  }) as unknown as Status;

const peer = (endpoint?: string) => ({
  id: "p",
  name: "laptop",
  networkId: "n",
  kind: "peer",
  peer: { endpoint, tags: {} },
  gateway: { endpoint: "127.0.0.1:20001", region: "ord" },
});
const is = (findings: readonly check.Finding[]) => findings.map((finding) => `${finding.is} ${finding.check}`);

test("Node", () => {
  expect(check.node("v20.20.0").is).toBe("ok");
  expect(check.node("v24.1.0").is).toBe("ok");
  expect(check.node("v20.19.9")).toMatchObject({ is: "broken", detail: expect.stringContaining("20.20") });
  expect(check.node("v18.0.0").is).toBe("broken");
});

test("what is missing is no fault where there is another way", () => {
  expect(check.native(undefined, "openssl").is).toBe("ok");
  expect(check.native("no koffi", "wasm")).toMatchObject({ is: "note", detail: expect.stringContaining("no koffi") });
  expect(check.link(undefined).is).toBe("ok");
  expect(check.link("no TUN").is).toBe("note");
  expect(check.resolvers([]).is).toBe("note");
});

test("the state folder", () => {
  const facts = { dir: "/s", exists: true, writable: true, free: 1e9, newest: 0 };
  expect(check.folder(facts).is).toBe("ok");
  expect(check.folder({ ...facts, exists: false }).is).toBe("ok");
  expect(check.folder({ ...facts, writable: false }).is).toBe("broken");
  expect(check.folder({ ...facts, free: 1e6 }).is).toBe("broken");
});

test("a clock that went back, one that may, and one of which nothing is known", () => {
  expect(check.clock(1e12, 1e12 + 1000, true)).toMatchObject({
    is: "ok",
    detail: expect.stringMatching(/kept in step$/),
  });
  expect(check.clock(1e12, 0, false)).toMatchObject({
    is: "note",
    detail: expect.stringContaining("nothing keeps it"),
  });
  expect(check.clock(1e12, 0, undefined)).toMatchObject({
    is: "ok",
    detail: expect.stringContaining("cannot be read"),
  });
  expect(check.clock(1e12, 1e12 + 3_600_000, true)).toMatchObject({
    is: "broken",
    detail: expect.stringContaining("60 min"),
  });
});

test("devices that are too narrow", () => {
  expect(is(check.mtu(status(), new Map([["eth0", 1500]])))).toEqual(["ok mtu"]);
  const [finding] = check.mtu(status(), new Map([["ppp0", 1400]]));
  expect(finding).toMatchObject({ is: "note", detail: expect.stringContaining("mtu: 1320") });
});

test("the registry, its apps and policy", () => {
  expect(is(check.registry(undefined, "1"))).toEqual(["ok registry"]);
  expect(is(check.registry(status(), "1"))).toEqual(["ok daemon", "ok registry"]);
  expect(is(check.registry(status(), "2"))).toEqual(["note daemon", "ok registry"]);
  const bad = status({
    applied: 2,
    problems: ["no port"],
    instances: [{ memberId: "m", slot: "ord/0", state: "failed", detail: "no such file", warnings: ["open to all"] }],
    networks: [
      {
        id: "n",
        spec: {
          name: "net",
          mtu: 1420,
          regions: [],
          tags: {},
          policy: [{ from: ["nobody"], to: ["*"], protocol: "any", ports: [] }],
        },
      },
    ],
  });
  expect(is(check.registry(bad, "1"))).toEqual([
    "ok daemon",
    "broken registry",
    "broken problem",
    "broken app",
    "note app",
    "broken policy",
  ]);
});

test("a warning of the policy is no fault", () => {
  const app = (name: string, port: number) => ({
    id: name,
    name,
    networkId: "n",
    kind: "app",
    addresses: [],
    app: { regions: ["ord"], port, tags: {}, health: { type: "tcp" } },
  });
  const policy = [5432, 22].map((port) => ({ from: ["web"], to: ["db"], protocol: "tcp", ports: [[port, port]] }));
  const spec = { name: "net", mtu: 1420, regions: [], tags: {}, policy };
  const warned = status({ networks: [{ id: "n", spec }], members: [app("web", 8080), app("db", 5432)] });
  const found = check.registry(warned, "1").filter((finding) => finding.check === "policy");
  expect(found).toEqual([{ check: "policy", is: "note", detail: expect.stringContaining("tcp 22") }]);
});

const network = (facts: Partial<check.NetworkFacts> = {}): check.NetworkFacts => ({
  holders: new Map(),
  own: new Set(["192.0.2.1", "2001:db8::1"]),
  resolved: new Map(),
  ...facts,
});

test("ports: the daemon's own, another's, nobody's, and one whose holder is hidden", () => {
  const of = (holder?: check.PortHolder) =>
    is(check.endpoints(status(), network({ holders: new Map(holder ? [[20_001, holder]] : []) })));
  expect(of("daemon")).toEqual(["ok port"]);
  expect(of("hidden")).toEqual(["ok port"]);
  expect(of("other")).toEqual(["broken port"]);
  expect(of()).toEqual(["broken port"]);
});

test("endpoints, also by host name", () => {
  const of = (endpoint?: string, addresses?: string[]) =>
    is(
      check.endpoints(
        status({ hosts: [], members: [peer(endpoint)] }),
        network({ resolved: new Map(addresses ? [["vpn.example.com", addresses]] : []) }),
      ),
    );
  expect(of()).toEqual(["note endpoint"]);
  expect(of("127.0.0.1:20001")).toEqual(["note endpoint"]);
  expect(of("192.0.2.1:20001")).toEqual(["ok endpoint"]);
  expect(of("[2001:db8::1]:20001")).toEqual(["ok endpoint"]);
  expect(of("2001:db8::1")).toEqual(["ok endpoint"]);
  expect(of("192.0.2.9:20001")).toEqual(["note endpoint"]);
  expect(of("vpn.example.com:20001", ["198.51.100.1", "192.0.2.1"])).toEqual(["ok endpoint"]);
  expect(of("vpn.example.com:20001", ["198.51.100.1"])).toEqual(["note endpoint"]);
  expect(
    check.endpoints(
      status({ hosts: [], members: [peer("vpn.example.com")] }),
      network({ resolved: new Map([["vpn.example.com", []]]) }),
    ),
  ).toEqual([{ check: "endpoint", is: "note", detail: expect.stringContaining("has no address") }]);
  const members = [
    peer("vpn.example.com:1"),
    peer("192.0.2.1:1"),
    peer("[2001:db8::1]:1"),
    peer("localhost:1"),
    peer(),
  ];
  expect(check.endpointNames(status({ members }))).toEqual(["vpn.example.com"]);
});
