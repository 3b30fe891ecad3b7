/** What one party may start towards another, as a set that can be joined, subtracted and said. */
import type { PolicyProtocol } from "../control/interface/types";
import type { PortSpan } from "./rules";

/** All protocols and ports, or these. Sorted spans that touch nowhere. */
export interface Access {
  readonly all: boolean;
  readonly icmp: boolean;
  readonly tcp: readonly PortSpan[];
  readonly udp: readonly PortSpan[];
}

const LAST_PORT = 65535;
const EVERY_PORT: readonly PortSpan[] = [[0, LAST_PORT]];

export const NOTHING: Access = { all: false, icmp: false, tcp: [], udp: [] };
export const EVERYTHING: Access = { all: true, icmp: true, tcp: EVERY_PORT, udp: EVERY_PORT };

export function accessOf(protocol: PolicyProtocol, ports: readonly PortSpan[]): Access {
  if (protocol === "any" && ports.length === 0) return EVERYTHING;
  const spans = ports.length === 0 ? EVERY_PORT : mergePorts(ports);
  return {
    all: false,
    // ICMP has no ports: a rule with ports is not about it.
    icmp: protocol === "icmp",
    tcp: protocol === "tcp" || protocol === "any" ? spans : [],
    udp: protocol === "udp" || protocol === "any" ? spans : [],
  };
}

export function join(a: Access, b: Access): Access {
  if (a.all || b.all) return EVERYTHING;
  return {
    all: false,
    icmp: a.icmp || b.icmp,
    tcp: mergePorts([...a.tcp, ...b.tcp]),
    udp: mergePorts([...a.udp, ...b.udp]),
  };
}

/** What `a` has and `b` has not. */
export function less(a: Access, b: Access): Access {
  if (b.all) return NOTHING;
  return {
    all: a.all,
    icmp: a.icmp && !b.icmp,
    tcp: subtractPorts(a.tcp, b.tcp),
    udp: subtractPorts(a.udp, b.udp),
  };
}

export function isNothing(access: Access): boolean {
  return !access.all && !access.icmp && access.tcp.length === 0 && access.udp.length === 0;
}

/** True where everything of `a` is in `b`. */
export function within(a: Access, b: Access): boolean {
  return b.all || isNothing(less(a, b));
}

export function sameAccess(a: Access, b: Access): boolean {
  return within(a, b) && within(b, a);
}

export function hasPort(access: Access, port: number): boolean {
  return [...access.tcp, ...access.udp].some(([first, last]) => first <= port && port <= last);
}

/** `everything`, `nothing`, or `tcp 8080, 9000-9010; udp 53; icmp`. */
export function describeAccess(access: Access): string {
  if (access.all) return "everything";
  const parts: string[] = [];
  if (access.tcp.length > 0) parts.push(describeSpans("tcp", access.tcp));
  if (access.udp.length > 0) parts.push(describeSpans("udp", access.udp));
  if (access.icmp) parts.push("icmp");
  return parts.join("; ") || "nothing";
}

export function describeSpan([first, last]: PortSpan): string {
  return first === last ? String(first) : `${first}-${last}`;
}

export function coversAllPorts(spans: readonly PortSpan[]): boolean {
  return spans.length === 1 && spans[0][0] <= 1 && spans[0][1] === LAST_PORT;
}

/** Sorted, with overlapping and touching spans made one. */
export function mergePorts(spans: readonly PortSpan[]): PortSpan[] {
  const out: [number, number][] = [];
  for (const [first, last] of [...spans].sort((a, b) => a[0] - b[0])) {
    const previous = out.at(-1);
    if (previous && first <= previous[1] + 1) previous[1] = Math.max(previous[1], last);
    else out.push([first, last]);
  }
  return out;
}

function subtractPorts(from: readonly PortSpan[], holes: readonly PortSpan[]): PortSpan[] {
  const out: PortSpan[] = [];
  for (const [first, last] of from) {
    let next = first;
    for (const [a, b] of holes) {
      if (b < next || a > last) continue;
      if (a > next) out.push([next, a - 1]);
      next = b + 1;
    }
    if (next <= last) out.push([next, last]);
  }
  return out;
}

function describeSpans(protocol: string, spans: readonly PortSpan[]): string {
  return coversAllPorts(spans) ? protocol : `${protocol} ${spans.map(describeSpan).join(", ")}`;
}
