/** The compiled policy against one that reads the rules word by word. */
import fc from "fast-check";
import type { PolicyConfig } from "./config";
import { Headers } from "./headers";
import { Policy } from "./policy";
import { datagram, echo, SYN, tcp } from "./testing/flow-packets";
import { inside, policies, slowly } from "./testing/policy-oracle";
import { ip } from "./testing/switch-world";

test("random policies, and every kind of flow between random ends", () => {
  const ends = fc.tuple(
    fc.boolean(),
    fc.integer({ min: 1, max: 9 }),
    fc.integer({ min: 1, max: 9 }),
    fc.constantFrom("tcp" as const, "udp" as const, "icmp" as const),
    fc.integer({ min: 0, max: 16 }),
  );
  fc.assert(
    fc.property(policies, fc.array(ends, { minLength: 20, maxLength: 20 }), (config, flows) => {
      const policy = new Policy(config);
      const headers = new Headers();
      for (const [v6, a, b, protocol, port] of flows) {
        const [from, to] = v6 ? [`fd00::000${a}`, `fd00::000${b}`] : [`10.0.0.${a}`, `10.0.0.${b}`];
        const at = v6 ? "#" : ":";
        const packet =
          protocol === "tcp"
            ? tcp(`${from}${at}999`, `${to}${at}${port}`, SYN)
            : protocol === "udp"
              ? datagram(`${from}${at}999`, `${to}${at}${port}`)
              : echo(`${from}${at}5`, to);
        headers.read(packet, 0, packet.length);
        const expected = slowly(config, ip(from), ip(to), protocol, port);
        expect(policy.allows(headers.key, false)).toBe(expected);
        const back = slowly(config, ip(to), ip(from), protocol, protocol === "icmp" ? 5 : 999);
        expect(policy.allows(headers.key, true)).toBe(back);
        expect(policy.isOpen(headers.key)).toBe(!config.closed.some((range) => inside(ip(to), range)));
      }
    }),
    { numRuns: 80 },
  );
});

test("other protocols need a rule for any protocol and all ports", () => {
  const key = Int32Array.from([0x0a000003, 0, 0, 0, 0x0a000004, 0, 0, 0, 0, (4 << 8) | 47]);
  const rule = { from: ["10.0.0.0/8"], to: ["10.0.0.4"], ports: [] };
  const allowed = (rules: PolicyConfig["rules"]) => new Policy({ closed: ["10.0.0.4/32"], rules }).allows(key, false);
  expect(allowed([])).toBe(false);
  expect(allowed([{ ...rule, protocol: "any" }])).toBe(true);
  expect(allowed([{ ...rule, protocol: "any", ports: [[0, 65535]] }])).toBe(false);
  for (const protocol of ["tcp", "udp", "icmp"] as const) expect(allowed([{ ...rule, protocol }])).toBe(false);
});

test("a range that is none is refused by its name", () => {
  expect(() => new Policy({ closed: ["10.0.0.300/8"], rules: [] })).toThrow(/policy\.closed/);
  const rules = [{ from: ["x"], to: [], protocol: "any" as const, ports: [] }];
  expect(() => new Policy({ closed: [], rules })).toThrow(/policy\.rules\[0\]\.from/);
});

test("thousands of members and rules compile in a moment and answer the same", () => {
  const address = (i: number) => `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}/32`;
  const closed = Array.from({ length: 5000 }, (_, i) => address(i));
  const rules = Array.from({ length: 500 }, (_, i) => ({
    from: [address(i)],
    to: [address(i + 1), address(i + 2)],
    protocol: "tcp" as const,
    ports: [[80, 90]] as const,
  }));
  const policy = new Policy({ closed, rules });
  const key = (from: number, to: number, port: number) =>
    Int32Array.from([0x0a000000 + from, 0, 0, 0, 0x0a000000 + to, 0, 0, 0, (1000 << 16) | port, (4 << 8) | 6]);
  expect(policy.allows(key(499, 501, 85), false)).toBe(true);
  expect(policy.allows(key(499, 502, 85), false)).toBe(false);
  expect(policy.allows(key(499, 501, 91), false)).toBe(false);
  expect(policy.allows(key(499, 6000, 1), false)).toBe(true);
});
