import type { DataPlaneConfig } from "./config";
import { assignPorts, keptOf, mergeResults, shardOf } from "./shards";

const config = (
  ports: readonly string[],
  gateways: readonly (readonly [id: string, port: string, ...links: string[]])[],
) =>
  ({
    ports: ports.map((id) => ({ id, listen: [], port: 0 })),
    gateways: gateways.map(([id, port, ...links]) => ({
      id,
      port,
      privateKey: "",
      mtu: 1420,
      gatewayIps: [],
      dnsIps: [],
      peers: [],
      links: links.map((link) => ({ id: link, source: { kind: "stack" }, addresses: [] })),
    })),
  }) as DataPlaneConfig;

const names = ({ ports, gateways }: DataPlaneConfig) => [
  ports.map(({ id }) => id),
  gateways.map(({ id, links }) => [id, ...links.map((link) => link.id)]),
];

test("ports are spread evenly and stay where they are; a thread that is no more loses its ports to the others", () => {
  const first = assignPorts(new Map(), ["a", "b", "c"], 2);
  expect([...first]).toEqual([
    ["a", 0],
    ["b", 1],
    ["c", 0],
  ]);
  const second = assignPorts(first, ["c", "d", "b", "e"], 2);
  expect(Object.fromEntries(second)).toEqual({ c: 0, b: 1, d: 0, e: 1 });
  expect(Object.fromEntries(assignPorts(second, ["b", "c"], 1))).toEqual({ b: 0, c: 0 });
  expect(assignPorts(second, [], 2).size).toBe(0);
});

test("a shard has a port, its gateways and their links; the first one also what has no port, and what is watched", () => {
  const whole = {
    ...config(
      ["a", "b"],
      [
        ["g", "a", "x"],
        ["h", "b", "y"],
        ["i", "b"],
        ["lost", "nowhere"],
      ],
    ),
    watch: 7,
  };
  const assigned = assignPorts(new Map(), ["a", "b"], 2);
  const shards = [0, 1].map((thread) => shardOf(whole, assigned, thread));
  expect(shards.map(names)).toEqual([
    [["a"], [["g", "x"], ["lost"]]],
    [["b"], [["h", "y"], ["i"]]],
  ]);
  expect(shards.map(({ watch }) => watch)).toEqual([7, undefined]);
});

test("what moves to another thread is given up first, what came new is not yet taken", () => {
  const before = config(["a"], [["g", "a", "x", "y"]]);
  expect(keptOf(before, config(["a", "b"], [["g", "a", "x", "y", "z"]]))).toBeUndefined();
  expect(
    names(
      keptOf(
        before,
        config(
          ["a", "b"],
          [
            ["g", "a", "x", "z"],
            ["h", "b", "w"],
          ],
        ),
      )!,
    ),
  ).toEqual([["a"], [["g", "x"]]]);
  expect(names(keptOf(before, config(["b"], [["h", "b", "y"]]))!)).toEqual([[], []]);
});

test("answers of all threads are one", () => {
  const problem = { id: "x", message: "no" };
  expect(
    mergeResults([
      { ports: { a: 1 }, problems: [] },
      { ports: { b: 2 }, problems: [problem] },
    ]),
  ).toEqual({ ports: { a: 1, b: 2 }, problems: [problem] });
});
