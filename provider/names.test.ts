import type { NetworkRecord } from "../runtime/control/interface/types";
import { namesOf, read, replyTo, view } from "../runtime/dns/testing/ask";
import { WarrenError } from "../runtime/errors";
import { addressesBehind } from "./names";

const network = { id: "net_1", spec: { name: "net", domain: "internal" } } as unknown as NetworkRecord;
const names = namesOf(view);
const asked: string[] = [];
const control = {
  async dns(id: string, message: Uint8Array) {
    expect(id).toBe("net_1");
    asked.push(read(message).questions[0]!.name);
    return replyTo(message, names);
  },
};

test.each([
  ["api", ["10.1.2.4", "10.1.2.5", "fd00:1::4", "fd00:1::5"]],
  ["api.internal", ["10.1.2.4", "10.1.2.5", "fd00:1::4", "fd00:1::5"]],
  ["iad.api", ["10.1.2.5", "fd00:1::5"]],
  ["top1.nearest.of.api.internal", ["10.1.2.4", "fd00:1::4"]],
  ["api.flycast.", ["10.1.2.254", "fd00:1::fe"]],
  ["laptop._peer.internal", ["10.1.2.3", "fd00:1::3"]],
  ["laptop", ["10.1.2.3", "fd00:1::3"]],
  ["nobody", []],
  ["fra.api.internal", []],
])("%s", async (hostname, addresses) => {
  expect((await addressesBehind(control, network, hostname)).sort()).toEqual(addresses);
});

test("instances that are not healthy are left out, and a whole name is asked for as it is", async () => {
  expect(await addressesBehind(control, network, "ord.api.internal")).toEqual(["10.1.2.4", "fd00:1::4"]);
  asked.length = 0;
  await addressesBehind(control, network, "nobody.internal.");
  expect(new Set(asked)).toEqual(new Set(["nobody.internal"]));
});

test("a daemon that has just been started is given time; other faults are told", async () => {
  let early = 3;
  const late = {
    dns: async (id: string, message: Uint8Array) => {
      if (early-- > 0) throw new WarrenError("WARREN_NOT_READY", "not yet");
      return control.dns(id, message);
    },
  };
  expect(await addressesBehind(late, network, "iad.api.internal")).toHaveLength(2);
  const away = { dns: () => Promise.reject(new WarrenError("WARREN_CONTROL_UNREACHABLE", "away")) };
  await expect(addressesBehind(away, network, "api")).rejects.toThrow("away");
});
