/** A policy read word by word, and random ones. */
import fc from "fast-check";
import ipaddr from "ipaddr.js";
import type { PolicyConfig } from "../config";

export type Protocol = "tcp" | "udp" | "icmp";

export const inside = (address: Uint8Array, range: string): boolean => {
  const [net, bits] = range.includes("/") ? ipaddr.parseCIDR(range) : [ipaddr.parse(range), 128];
  const one = ipaddr.fromByteArray([...address]);
  if (one.kind() !== net.kind()) return false;
  return one.match([net, Math.min(bits, net.kind() === "ipv4" ? 32 : 128)] as never);
};

/** Whether a flow may start. */
export function slowly(
  policy: PolicyConfig,
  from: Uint8Array,
  to: Uint8Array,
  protocol: Protocol,
  port: number,
): boolean {
  if (!policy.closed.some((range) => inside(to, range))) return true;
  return policy.rules.some(
    (rule) =>
      rule.from.some((range) => inside(from, range)) &&
      rule.to.some((range) => inside(to, range)) &&
      (rule.protocol === protocol || rule.protocol === "any") &&
      (rule.ports.length === 0
        ? true
        : protocol === "icmp"
          ? rule.protocol === "icmp"
          : rule.ports.some(([first, last]) => port >= first && port <= last)),
  );
}

const range4 = fc
  .tuple(fc.integer({ min: 0, max: 15 }), fc.constantFrom(0, 8, 24, 28, 29, 30, 31, 32))
  .map(([last, bits]) => `10.0.0.${last}/${bits}`);
const range6 = fc
  .tuple(fc.integer({ min: 1, max: 9 }), fc.constantFrom(0, 8, 64, 124, 126, 127, 128))
  .map(([last, bits]) => `fd00::${last}/${bits}`);
const ranges = fc.array(fc.oneof(range4, range4, range6), { maxLength: 4 });
const span = fc
  .tuple(fc.integer({ min: 0, max: 12 }), fc.integer({ min: 0, max: 4 }))
  .map(([first, more]) => [first, first + more] as const);
export const policies: fc.Arbitrary<PolicyConfig> = fc.record({
  closed: ranges,
  rules: fc.array(
    fc.record({
      from: ranges,
      to: ranges,
      protocol: fc.constantFrom("any", "tcp", "udp", "icmp"),
      ports: fc.array(span, { maxLength: 2 }),
    }),
    { maxLength: 40 },
  ),
});
