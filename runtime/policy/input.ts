/** Rules as a person writes them: single values or lists, ports as numbers or "9000-9010", defaults left out. */
import type { AllowRule, PolicyProtocol, PolicyRule } from "../control/interface/types";
import { mergePorts } from "./access";
import type { PortSpan } from "./rules";
import { selectorFault } from "./selector";

/** What is wrong with an input; `property` is its path, such as `policy[0].ports[1]`. */
export interface InputFault {
  readonly property: string;
  readonly reason: string;
}

const PROTOCOLS: readonly PolicyProtocol[] = ["any", "tcp", "udp", "icmp"];
const SHAPE = 'a rule such as {from: "web", to: "db", ports: 5432}';
const ALLOW_SHAPE = 'a selector such as "web", or a rule such as {from: "web", ports: 5432}';

/** A network's `policy`. What is at fault is added to `faults`, and left out of the answer. */
export function readPolicy(value: unknown, faults: InputFault[]): PolicyRule[] {
  if (!Array.isArray(value)) {
    faults.push({ property: "policy", reason: `"policy" must be a list of rules, each ${SHAPE}.` });
    return [];
  }
  return value.flatMap((element, i) => {
    const path = `policy[${i}]`;
    const rule = ruleOf(element, path, ["from", "to", "protocol", "ports"], SHAPE, faults);
    if (!rule) return [];
    const to = readSelectors(rule.to, `${path}.to`, faults);
    const allow = readAllowRule(rule, path, faults);
    return to && allow ? [{ from: allow.from, to, protocol: allow.protocol, ports: allow.ports }] : [];
  });
}

/** An app's `allow`; a selector alone stands for all protocols and ports. */
export function readAllow(value: unknown, faults: InputFault[]): AllowRule[] {
  if (!Array.isArray(value)) {
    faults.push({ property: "allow", reason: `"allow" must be a list, each element ${ALLOW_SHAPE}.` });
    return [];
  }
  return value.flatMap((element, i) => {
    const path = `allow[${i}]`;
    if (typeof element === "string") {
      const from = readSelectors(element, path, faults);
      return from ? [{ from, protocol: "any" as const, ports: [] }] : [];
    }
    const rule = ruleOf(element, path, ["from", "protocol", "ports"], ALLOW_SHAPE, faults);
    return (rule && readAllowRule(rule, path, faults)) ?? [];
  });
}

function ruleOf(
  value: unknown,
  path: string,
  keys: readonly string[],
  shape: string,
  faults: InputFault[],
): Record<string, unknown> | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    faults.push({ property: path, reason: `"${path}" must be ${shape}.` });
    return undefined;
  }
  const foreign = Object.keys(value).filter((key) => !keys.includes(key));
  for (const key of foreign)
    faults.push({ property: `${path}.${key}`, reason: `A rule has no "${key}" here; it has ${keys.join(", ")}.` });
  return value as Record<string, unknown>;
}

function readAllowRule(rule: Record<string, unknown>, path: string, faults: InputFault[]): AllowRule | undefined {
  const from = readSelectors(rule.from, `${path}.from`, faults);
  const ports = readPorts(rule.ports, `${path}.ports`, faults);
  const protocol = readProtocol(rule.protocol, ports, path, faults);
  return from && ports && protocol ? { from, protocol, ports } : undefined;
}

function readSelectors(value: unknown, path: string, faults: InputFault[]): string[] | undefined {
  if (value === undefined || value === null) {
    const end = path.endsWith(".to") ? "whom it is about" : "who may connect";
    faults.push({ property: path, reason: `A rule must say ${end}: a name, or "*" for everyone.` });
    return undefined;
  }
  const list: unknown[] = Array.isArray(value) ? value : [value];
  const at = (i: number) => (Array.isArray(value) ? `${path}[${i}]` : path);
  const before = faults.length;
  if (list.length === 0)
    faults.push({ property: path, reason: `"${path}" is empty: name somebody, or leave the rule out.` });
  for (const [i, text] of list.entries()) {
    if (typeof text !== "string") {
      faults.push({ property: at(i), reason: `"${at(i)}" must be a selector such as "web", "region:ord" or "*".` });
      continue;
    }
    const fault = selectorFault(text);
    if (fault) faults.push({ property: at(i), reason: `"${text}" ${fault}.` });
  }
  return faults.length > before ? undefined : [...new Set(list as string[])];
}

function readProtocol(
  value: unknown,
  ports: readonly PortSpan[] | undefined,
  path: string,
  faults: InputFault[],
): PolicyProtocol | undefined {
  const withPorts = ports === undefined || ports.length > 0;
  if (value === undefined || value === null) return withPorts ? "tcp" : "any";
  if (!PROTOCOLS.includes(value as PolicyProtocol)) {
    faults.push({ property: `${path}.protocol`, reason: `"${path}.protocol" must be one of ${PROTOCOLS.join(", ")}.` });
    return undefined;
  }
  if (withPorts && (value === "any" || value === "icmp")) {
    const why = value === "icmp" ? "icmp has no ports: leave them out" : 'ports are those of "tcp" or "udp": say which';
    faults.push({ property: `${path}.protocol`, reason: `${why}, with a second rule where both are meant.` });
    return undefined;
  }
  return value as PolicyProtocol;
}

/** Sorted, with overlapping spans made one. */
function readPorts(value: unknown, path: string, faults: InputFault[]): [number, number][] | undefined {
  if (value === undefined || value === null) return [];
  const list: unknown[] = Array.isArray(value) ? value : [value];
  if (list.length === 0) {
    faults.push({ property: path, reason: `"${path}" is empty: name a port, or leave it out to mean all.` });
    return undefined;
  }
  const spans: PortSpan[] = [];
  for (const [i, element] of list.entries()) {
    const span = portSpan(element);
    if (span) spans.push(span);
    else
      faults.push({
        property: Array.isArray(value) ? `${path}[${i}]` : path,
        reason: `${JSON.stringify(element)} is no port: write a number from 1 to 65535, or a span such as "9000-9010".`,
      });
  }
  return spans.length < list.length ? undefined : mergePorts(spans).map(([first, last]) => [first, last]);
}

/** `8080`, `"8080"`, `"9000-9010"`, or `[9000, 9010]` as an output has it. */
function portSpan(value: unknown): PortSpan | undefined {
  const [first, last] = Array.isArray(value) ? value : typeof value === "string" ? textSpan(value) : [value, value];
  const fits = (port: unknown): port is number =>
    typeof port === "number" && Number.isInteger(port) && port >= 1 && port <= 65535;
  return fits(first) && fits(last) && first <= last ? [first, last] : undefined;
}

function textSpan(text: string): [number, number] {
  const match = /^\s*(\d{1,5})\s*(?:-\s*(\d{1,5})\s*)?$/.exec(text);
  return match ? [Number(match[1]), Number(match[2] ?? match[1])] : [Number.NaN, Number.NaN];
}
