import { compilePolicy } from "./compile";
import { app, network, peer, rule, tcp } from "./testing/networks";

const ANY = { protocol: "any", ports: [] };
const GATEWAYS = ["10.1.2.253/32", "10.1.2.254/32"];

const east = app("east", { ord: "10.1.2.4" }, {}, "10.1.2.252");
const west = app("west", { iad: "10.1.2.5" }, {}, "10.1.2.251");
const both = app("both", { ord: "10.1.2.6", iad: "10.1.2.7" }, { tags: { tier: "db" } }, "10.1.2.250");
const laptop = peer("laptop", "10.1.2.3", { region: "ord", tags: { admin: "" } });
const members = [east, west, both, laptop];

test("no rules, nothing closed", () => {
  expect(compilePolicy(network(members))).toBeUndefined();
  expect(compilePolicy(network(members, []))).toBeUndefined();
  // A rule about nobody closes nobody.
  expect(compilePolicy(network(members, [rule("east", "nobody")]))).toBeUndefined();
});

test("a target is closed to all but those a rule names, and to the gateways; its service address goes with it", () => {
  expect(compilePolicy(network(members, [rule("app:east", "west", tcp(8080))]))).toEqual({
    closed: ["10.1.2.5/32", "10.1.2.251/32"],
    rules: [
      { from: GATEWAYS, to: ["10.1.2.5/32", "10.1.2.251/32"], ...ANY },
      { from: ["10.1.2.4/32"], to: ["10.1.2.5/32", "10.1.2.251/32"], protocol: "tcp", ports: [[8080, 8080]] },
    ],
  });
});

test("an app's allow is a rule about itself; an empty one closes it to all but the gateways", () => {
  const open = app("west", { iad: "10.1.2.5" }, { allow: [{ from: ["peer:laptop"], ...tcp(80) }] });
  expect(compilePolicy(network([east, open, laptop]))).toEqual({
    closed: ["10.1.2.5/32"],
    rules: [
      { from: GATEWAYS, to: ["10.1.2.5/32"], ...ANY },
      { from: ["10.1.2.3/32"], to: ["10.1.2.5/32"], protocol: "tcp", ports: [[80, 80]] },
    ],
  });
  const shut = app("west", { iad: "10.1.2.5" }, { allow: [] }, "10.1.2.251");
  expect(compilePolicy(network([east, shut]))).toEqual({
    closed: ["10.1.2.5/32", "10.1.2.251/32"],
    rules: [{ from: GATEWAYS, to: ["10.1.2.5/32", "10.1.2.251/32"], ...ANY }],
  });
});

test("regions and tags name some instances; a service address is opened only with all of them", () => {
  const compiled = compilePolicy(
    network(members, [rule("tag:admin", "region:ord"), rule("region:iad", "tag:tier=db")]),
  );
  expect(compiled).toEqual({
    closed: ["10.1.2.3/32", "10.1.2.4/32", "10.1.2.6/31", "10.1.2.250/32", "10.1.2.252/32"],
    rules: [
      expect.objectContaining({ from: GATEWAYS }),
      // Of `both` only the instance in ord, and not its service address.
      { from: ["10.1.2.3/32"], to: ["10.1.2.3/32", "10.1.2.4/32", "10.1.2.6/32", "10.1.2.252/32"], ...ANY },
      // Nobody starts from a service address.
      { from: ["10.1.2.5/32", "10.1.2.7/32"], to: ["10.1.2.6/31", "10.1.2.250/32"], ...ANY },
    ],
  });
  expect(compilePolicy(network(members, [rule("*", ["region:ord", "region:iad"])]))!.closed).toContain("10.1.2.250/31");
});

test("* is all that members can be given, but neither what answers on every host nor the gateways' own", () => {
  const compiled = compilePolicy(network([], [rule("*", "*")], { cidr: "10.1.2.0/29", gateways: [] }));
  expect(compiled).toEqual({
    closed: ["10.1.2.3/32", "10.1.2.4/30"],
    rules: [{ from: ["10.1.2.3/32", "10.1.2.4/30"], to: ["10.1.2.3/32", "10.1.2.4/30"], ...ANY }],
  });
  const dual = compilePolicy(network(members, [rule("laptop", "*")], { ipv6Cidr: "fd00::/125" }))!;
  expect(dual.closed).toEqual(expect.arrayContaining(["10.1.2.252/32", "fd00::3/128", "fd00::4/126"]));
  expect(dual.closed).not.toEqual(expect.arrayContaining(["10.1.2.252/31"]));
});

test("what lies behind a peer is the peer's, but for what lies behind another within it", () => {
  const office = peer("office", "10.1.2.8", { routes: ["192.168.0.0/16"] });
  const lab = peer("lab", "10.1.2.9", { routes: ["192.168.128.0/17"] });
  const compiled = compilePolicy(network([east, office, lab], [rule("office", "east"), rule("east", "lab")]))!;
  expect(compiled.rules.slice(1)).toEqual([
    { from: ["10.1.2.8/32", "192.168.0.0/17"], to: ["10.1.2.4/32", "10.1.2.252/32"], ...ANY },
    { from: ["10.1.2.4/32"], to: ["10.1.2.9/32", "192.168.128.0/17"], ...ANY },
  ]);
});
