/** Reads a resource's inputs one by one and gathers what is wrong with them; what is not known yet passes through. */
import * as ipaddr from "ipaddr.js";
import type { Failure, Props } from "./crud";
import { hasUnknown, isUnknown, UNKNOWN, type Unknown } from "./unknown";

type Read<T> = T | Unknown | undefined;

/** RFC 1035 label in lower case: what a name of a member or network must be, since it becomes part of a host name. */
export const DNS_LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

export class InputReader {
  readonly failures: Failure[] = [];

  constructor(
    private readonly kind: string,
    private readonly props: Props,
  ) {}

  fail(property: string, reason: string): undefined {
    this.failures.push({ property, reason });
    return undefined;
  }

  raw(key: string): unknown {
    const value = this.props[key];
    return value === null ? undefined : value;
  }

  has(key: string): boolean {
    return this.raw(key) !== undefined;
  }

  /** Refuses what is no input at all: a misspelt name must not be ignored. */
  onlyKeys(known: readonly string[]): void {
    for (const key of Object.keys(this.props))
      if (!known.includes(key) && this.has(key))
        this.fail(
          key,
          `${this.kind} has no input "${key}"; it has ${known.filter((k) => !k.startsWith("_")).join(", ")}.`,
        );
  }

  unsupported(key: string, why: string): void {
    if (this.has(key)) this.fail(key, `"${key}" is not supported yet: ${why}`);
  }

  string(key: string): Read<string> {
    const value = this.raw(key);
    if (value === undefined || isUnknown(value)) return value;
    if (typeof value !== "string") return this.fail(key, `"${key}" must be a string, not ${describe(value)}.`);
    if (value === "") return this.fail(key, `"${key}" is empty: leave it out, or give it a value.`);
    if (value.includes("\0")) return this.fail(key, `"${key}" contains a NUL character.`);
    return value;
  }

  label(key: string): Read<string> {
    const value = this.string(key);
    if (value === undefined || isUnknown(value)) return value;
    if (DNS_LABEL.test(value)) return value;
    return this.fail(key, notALabel(key, value));
  }

  integer(key: string, from: number, to: number, unit = ""): Read<number> {
    const value = this.raw(key);
    if (value === undefined || isUnknown(value)) return value;
    if (typeof value !== "number" || !Number.isInteger(value) || value < from || value > to)
      return this.fail(key, `"${key}" must be a whole number from ${from} to ${to}${unit}, not ${describe(value)}.`);
    return value;
  }

  boolean(key: string): Read<boolean> {
    const value = this.raw(key);
    if (value === undefined || isUnknown(value)) return value;
    if (typeof value !== "boolean") return this.fail(key, `"${key}" must be true or false, not ${describe(value)}.`);
    return value;
  }

  oneOf<T extends string>(key: string, choices: readonly T[]): Read<T> {
    const value = this.raw(key);
    if (value === undefined || isUnknown(value)) return value;
    if (choices.includes(value as T)) return value as T;
    return this.fail(key, `"${key}" must be one of ${choices.join(", ")}, not ${describe(value)}.`);
  }

  /** A list of strings; an element that is not known makes the whole list unknown. */
  strings(key: string): Read<string[]> {
    const value = this.raw(key);
    if (value === undefined || isUnknown(value)) return value;
    if (!Array.isArray(value)) return this.fail(key, `"${key}" must be a list of strings, not ${describe(value)}.`);
    const unknown = value.find(isUnknown);
    if (unknown) return unknown;
    for (const [i, element] of value.entries())
      if (typeof element !== "string" || element.includes("\0"))
        return this.fail(`${key}[${i}]`, `"${key}[${i}]" must be a string without NUL, not ${describe(element)}.`);
    return value as string[];
  }

  labels(key: string): Read<string[]> {
    const value = this.strings(key);
    if (value === undefined || isUnknown(value)) return value;
    for (const [i, element] of value.entries()) {
      if (!DNS_LABEL.test(element)) return this.fail(`${key}[${i}]`, notALabel(`${key}[${i}]`, element));
      if (value.indexOf(element) !== i) return this.fail(`${key}[${i}]`, `"${element}" stands twice in "${key}".`);
    }
    return value;
  }

  /** A map of strings; values that are not known stay as they are. */
  record(key: string): Read<Record<string, string>> {
    const value = this.raw(key);
    if (value === undefined || isUnknown(value)) return value;
    if (typeof value !== "object" || value === null || Array.isArray(value))
      return this.fail(key, `"${key}" must be a map of strings, not ${describe(value)}.`);
    for (const [name, element] of Object.entries(value))
      if (!isUnknown(element) && (typeof element !== "string" || element.includes("\0")))
        return this.fail(`${key}.${name}`, `"${key}.${name}" must be a string without NUL, not ${typeName(element)}.`);
    return value as Record<string, string>;
  }

  /** Rules, read by `read` of the policy; UNKNOWN where anything in them is. */
  rules<T>(key: string, read: (value: unknown, faults: Failure[]) => T[]): Read<T[]> {
    const value = this.raw(key);
    if (value === undefined) return undefined;
    if (hasUnknown(value)) return UNKNOWN;
    return read(value, this.failures);
  }

  /** An address or, with `ranges`, also a range in CIDR notation. */
  addresses(key: string): Read<string[]> {
    const value = this.strings(key);
    if (value === undefined || isUnknown(value)) return value;
    for (const [i, element] of value.entries())
      if (!isAddress(element) && !isRange(element))
        return this.fail(`${key}[${i}]`, `"${element}" is neither an address nor a range such as 10.1.2.0/28.`);
    return value;
  }

  address(key: string): Read<string> {
    const value = this.string(key);
    if (value === undefined || isUnknown(value)) return value;
    if (!isAddress(value)) return this.fail(key, `"${value}" is no IP address.`);
    return value;
  }

  ranges(key: string): Read<string[]> {
    const value = this.strings(key);
    if (value === undefined || isUnknown(value)) return value;
    for (const [i, element] of value.entries())
      if (!isRange(element))
        return this.fail(`${key}[${i}]`, `"${element}" is no range; write it like 192.168.7.0/24.`);
    return value;
  }

  /** base64 of exactly 32 bytes, as WireGuard writes keys. The text of a wrong one is never repeated: it may be a secret. */
  key(key: string): Read<string> {
    const value = this.string(key);
    if (value === undefined || isUnknown(value)) return value;
    if (!/^[A-Za-z0-9+/]{43}=$/.test(value) || Buffer.from(value, "base64").toString("base64") !== value)
      return this.fail(key, `"${key}" must be a WireGuard key: 32 bytes in base64, 44 characters.`);
    return value;
  }

  /** `host:port`, `[v6]:port`, or with `portOptional` the host alone. */
  hostPort(key: string, options: { portOptional: boolean }): Read<string> {
    const value = this.string(key);
    if (value === undefined || isUnknown(value)) return value;
    if (parseHostPort(value, options)) return value;
    return this.fail(
      key,
      `"${value}" is not ${options.portOptional ? "host or host:port" : "host:port"}, for instance 127.0.0.1:5432.`,
    );
  }
}

/** Splits `host:port`, `[v6]:port` or, where allowed, a host alone. */
export function parseHostPort(
  text: string,
  options: { portOptional: boolean },
): { host: string; port?: number } | undefined {
  if (options.portOptional && isAddress(text)) return { host: text };
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::(\d{1,5}))?$/.exec(text);
  if (!match) return undefined;
  const host = match[1] ?? match[2];
  if (match[1] !== undefined && !ipaddr.IPv6.isValid(match[1])) return undefined;
  if (match[3] === undefined) return options.portOptional ? { host } : undefined;
  const port = Number(match[3]);
  return port >= 1 && port <= 65535 ? { host, port } : undefined;
}

export function isAddress(text: string): boolean {
  return ipaddr.IPv4.isValidFourPartDecimal(text) || (text.includes(":") && ipaddr.IPv6.isValid(text));
}

export function isRange(text: string): boolean {
  return ipaddr.isValidCIDR(text) && isAddress(text.slice(0, text.lastIndexOf("/")));
}

function notALabel(key: string, value: string): string {
  const suggestion = value
    .toLowerCase()
    .replace(/[^a-z0-9-]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 63)
    .replace(/-+$/, "");
  const hint = suggestion ? `, for instance "${suggestion}"` : "";
  return `"${value}" is no DNS label: set "${key}" to lower-case letters, digits and inner hyphens, at most 63${hint}.`;
}

function describe(value: unknown): string {
  return typeof value === "number" || typeof value === "boolean" ? String(value) : typeName(value);
}

function typeName(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  if (value === null) return "null";
  return typeof value === "object" ? "a map" : `a ${typeof value}`;
}
