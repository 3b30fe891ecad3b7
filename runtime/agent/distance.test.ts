import type { DataPlaneEvent } from "../dataplane/config";
import { distanceFrom, measureRoundTrips } from "./distance";
import { RegionOrders, regionDistanceFrom } from "./region-order";
import { appOf, desiredOf } from "./testing/values";

const gateway = (hostId: string) => ({ hostId, privateKey: "", publicKey: `${hostId}-public` });
const host = (id: string, region: string) => ({ id, region, port: 0, listen: "loopback" as const, local: true });
const hosts = [host("far", "nrt"), host("near", "iad"), host("twin", "ord"), host("self", "ord"), host("new", "lhr")];
const { networks } = desiredOf({ hosts }, { gateways: hosts.map(({ id }) => gateway(id)) });
const network = networks[0]!;

function order(roundTrips: Record<string, number>): string[] {
  const distance = distanceFrom("self", network, hosts, (id, key) => {
    expect(id).toBe("net_1/self");
    return roundTrips[key.replace("-public", "")];
  });
  return hosts.map(({ id }) => id).sort((a, b) => distance(a) - distance(b));
}

test("the host itself, then by round trip; what was not measured comes last", () => {
  expect(order({ far: 150, near: 12, twin: 30 })).toEqual(["self", "near", "twin", "far", "new"]);
});

test("less than a millisecond apart, or not measured: the own region first, else as they stand", () => {
  expect(order({ far: 0.31, near: 0.2, twin: 0.45, new: 0.1 })).toEqual(["self", "twin", "far", "near", "new"]);
  expect(order({})).toEqual(["self", "twin", "far", "near", "new"]);
});

test("a host without a gateway, or unknown, is beyond all", () => {
  const distance = distanceFrom("self", network, hosts, () => 1);
  expect(distance("nowhere")).toBeGreaterThan(distance("far"));
});

test("round trips come from handshakes", () => {
  let tell: (event: DataPlaneEvent) => void = () => undefined;
  const roundTrip = measureRoundTrips({
    onEvent: (listener) => {
      tell = listener;
      return () => true;
    },
  });
  expect(roundTrip("net_1/self", "near-public")).toBeUndefined();
  tell({ type: "handshake", gateway: "net_1/self", publicKey: "near-public", roundTrip: 12.5 });
  expect(roundTrip("net_1/self", "near-public")).toBe(12.5);
  expect(roundTrip("net_1/far", "near-public")).toBeUndefined();
});

describe("regions", () => {
  const many = [...hosts, host("near-too", "iad"), host("far-too", "nrt")];
  const { networks } = desiredOf({ hosts: many }, { gateways: many.map(({ id }) => gateway(id)) });
  const trips = (values: Record<string, number>) => (_: string, key: string) => values[key.replace("-public", "")];
  const distances = (values: Record<string, number>) => {
    const distance = regionDistanceFrom("self", networks[0]!, many, trips(values));
    return Object.fromEntries(many.map(({ id }) => [id, distance(id)]));
  };

  test("all hosts of one are as far as its nearest, measured or not; those of the own region are here", () => {
    const { self, twin, near, far, ...rest } = distances({ near: 12, "near-too": 19, far: 150, twin: 3, new: 40 });
    expect([self, twin]).toEqual([0, 0]);
    expect(rest["near-too"]).toBe(near);
    expect(rest["far-too"]).toBe(far);
    expect([near, rest.new, far].map((one) => Math.round(one!))).toEqual([13, 41, 151]);
  });

  test("an order is another one when regions change places, and not when they are measured anew", () => {
    const service = { slot: "service", ipv4: "10.1.2.250" };
    const members = [{ ...appOf("web", "iad", "10.1.2.3"), service }];
    const desired = desiredOf({ hosts: many }, { gateways: many.map(({ id }) => gateway(id)), members });
    let values: Record<string, number> = {};
    const orders = new RegionOrders((_, key) => trips(values)("", key));
    expect(orders.differs("net_1/self")).toBe(false);
    orders.remember(desired);
    expect(orders.differs("net_1/self")).toBe(false);
    values = { near: 12, far: 150, new: 40 };
    expect(orders.differs("net_1/self")).toBe(true);
    orders.remember(desired);
    values = { near: 14, far: 170, new: 39, "far-too": 160 };
    expect(orders.differs("net_1/self")).toBe(false);
    values = { near: 55, far: 170, new: 39 };
    expect(orders.differs("net_1/self")).toBe(true);
    expect(orders.differs("net_2/self")).toBe(false);
    orders.remember(desiredOf({ hosts: many }, { gateways: many.map(({ id }) => gateway(id)) }));
    values = {};
    expect(orders.differs("net_1/self")).toBe(false);
  });
});
