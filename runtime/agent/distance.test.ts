import type { DataPlaneEvent } from "../dataplane/config";
import { distanceFrom, measureRoundTrips } from "./distance";
import { desiredOf } from "./testing/values";

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
