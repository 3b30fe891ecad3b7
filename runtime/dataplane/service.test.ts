/** Which backend a flow gets. */
import fc from "fast-check";
import type { ServiceConfig } from "./config";
import { Headers } from "./headers";
import { type ServiceAddress, serviceAddresses } from "./service";
import { SYN, tcp } from "./testing/flow-packets";

type Behind = readonly [last: number, healthy: boolean, distance: number];

const service = (backends: readonly Behind[]): ServiceConfig => ({
  id: "s",
  addresses: ["10.0.0.200", "fd00::200"],
  backends: backends.map(([last, healthy, distance]) => ({
    addresses: [`10.0.0.${last}`, `fd00::${last}`],
    healthy,
    distance,
  })),
});
const keyFrom = (client: string, port: number): Int32Array => {
  const headers = new Headers();
  const packet = tcp(`${client}:${port}`, "10.0.0.200:80", SYN);
  headers.read(packet, 0, packet.length);
  return Int32Array.from(headers.key);
};
const lasts = (address: ServiceAddress, key: Int32Array): number[] => {
  const found: number[] = [];
  for (let i = 0; ; i++) {
    const backend = address.choose(key, i);
    if (backend === undefined) return found;
    found.push(backend.words[0] & 0xff);
  }
};

test("healthy before others, the client itself after all others of these, nearer before farther; each once", () => {
  const behind = fc.uniqueArray(
    fc.tuple(fc.integer({ min: 3, max: 30 }), fc.boolean(), fc.integer({ min: 0, max: 3 })),
    { selector: ([last]) => last, maxLength: 12 },
  );
  fc.assert(
    fc.property(behind, fc.integer({ min: 3, max: 30 }), fc.nat(65535), (backends, client, port) => {
      const [v4] = serviceAddresses([service(backends)]);
      const found = lasts(v4, keyFrom(`10.0.0.${client}`, port));
      expect([...found].sort()).toEqual(backends.map(([last]) => last).sort());
      const rank = (last: number) => {
        const [, healthy, distance] = backends.find((b) => b[0] === last)!;
        return (healthy ? 0 : 1000) + (last === client ? 100 : 0) + distance;
      };
      const ranks = found.map(rank);
      expect(ranks).toEqual([...ranks].sort((a, b) => a - b));
      expect(lasts(v4, keyFrom(`10.0.0.${client}`, port))).toEqual(found);
    }),
  );
});

test("flows spread evenly among equals, also the second choice, and most stay when one goes", () => {
  const five: Behind[] = [3, 4, 5, 6, 7].map((last) => [last, true, 1]);
  const [v4] = serviceAddresses([service([...five, [8, true, 2], [9, false, 0]])]);
  const [less] = serviceAddresses([service(five.slice(1))]);
  const first = new Map<number, number>();
  const second = new Map<number, number>();
  let moved = 0;
  const flows = 10_000;
  for (let i = 0; i < flows; i++) {
    const key = keyFrom(`10.0.1.${i % 250}`, 1024 + i);
    const [a, b] = [v4.choose(key, 0)!.words[0] & 0xff, v4.choose(key, 1)!.words[0] & 0xff];
    first.set(a, (first.get(a) ?? 0) + 1);
    second.set(b, (second.get(b) ?? 0) + 1);
    if (a !== 3 && (less.choose(key, 0)!.words[0] & 0xff) !== a) moved++;
  }
  for (const counts of [first, second]) {
    expect([...counts.keys()].sort()).toEqual([3, 4, 5, 6, 7]);
    for (const count of counts.values()) expect(Math.abs(count - flows / 5)).toBeLessThan(250);
  }
  expect(moved).toBe(0);
});

test("each family has its own backends; a wrong address is named", () => {
  const config = service([[3, true, 0]]);
  const [v4, v6] = serviceAddresses([{ ...config, backends: [{ ...config.backends[0], addresses: ["fd00::3"] }] }]);
  expect([v4.backends.length, v6.backends.length]).toEqual([0, 1]);
  expect(v4.choose(keyFrom("10.0.0.3", 1), 0)).toBeUndefined();
  expect(() => serviceAddresses([{ ...config, addresses: ["10.0.0.256"] }])).toThrow(/Service s has "10\.0\.0\.256"/);
});
