/** The rules of a policy, compiled: may this party start a flow to that one? */
import { AllowedIps, formatPrefix, type Prefix, parsePrefix } from "../wireguard/allowedips";
import type { PolicyConfig, PolicyProtocol, PolicyRuleConfig } from "./config";
import { PROTO_ICMP, PROTO_TCP, PROTO_UDP } from "./inet";

/** What one address is to the policy: a bit for each rule that has it among its sources, and its targets. */
interface Standing {
  readonly closed: boolean;
  readonly from: Uint32Array;
  readonly to: Uint32Array;
}

interface Rule {
  readonly protocol: PolicyProtocol;
  /** First and last of each span, one behind the other; empty: all. */
  readonly spans: Uint16Array;
}

interface Part {
  readonly prefix: Prefix;
  closed: boolean;
  readonly from: number[];
  readonly to: number[];
}

export class Policy {
  private readonly rules: readonly Rule[];
  private readonly standings = new AllowedIps<Standing>();
  private readonly nobody: Standing;
  private readonly bytes = new Uint8Array(16);

  /** @throws WarrenError WARREN_INVALID_RANGE */
  constructor(config: PolicyConfig) {
    this.rules = config.rules.map(({ protocol, ports }) => ({ protocol, spans: Uint16Array.from(ports.flat()) }));
    const words = Math.ceil(config.rules.length / 32);
    this.nobody = { closed: false, from: new Uint32Array(words), to: new Uint32Array(words) };
    // The wider ranges first: what a narrower one is, is what lies around it and what is said of itself.
    for (const part of parts(config).sort((a, b) => a.prefix.bits - b.prefix.bits)) {
      const around = this.standing(part.prefix.words, 0, part.prefix.family);
      this.standings.insert(part.prefix, {
        closed: part.closed || around.closed,
        from: withBits(around.from, part.from),
        to: withBits(around.to, part.to),
      });
    }
  }

  /**
   * May a flow start?
   * @param key as of `Headers`.
   * @param reversed from the key's destination to its source.
   */
  allows(key: Int32Array, reversed: boolean): boolean {
    const family = key[9] >>> 8 === 4 ? 4 : 6;
    const to = this.standing(key, reversed ? 0 : 4, family);
    if (!to.closed) return true;
    const targets = to.to;
    const sources = this.standing(key, reversed ? 4 : 0, family).from;
    const protocol = key[9] & 0xff;
    const port = reversed ? key[8] >>> 16 : key[8] & 0xffff;
    for (let i = 0; i < targets.length; i++)
      for (let both = targets[i] & sources[i]; both !== 0; both &= both - 1)
        if (covers(this.rules[32 * i + 31 - Math.clz32(both & -both)], protocol, port)) return true;
    return false;
  }

  /** Whether everyone may reach the key's destination. */
  isOpen(key: Int32Array): boolean {
    return !this.standing(key, 4, key[9] >>> 8 === 4 ? 4 : 6).closed;
  }

  private standing(words: Int32Array, at: number, family: 4 | 6): Standing {
    const { bytes, standings } = this;
    for (let i = 0; i < (family === 4 ? 1 : 4); i++) {
      const word = words[at + i];
      bytes[4 * i] = word >>> 24;
      bytes[4 * i + 1] = word >>> 16;
      bytes[4 * i + 2] = word >>> 8;
      bytes[4 * i + 3] = word;
    }
    return (family === 4 ? standings.lookup4(bytes, 0) : standings.lookup6(bytes, 0)) ?? this.nobody;
  }
}

function covers(rule: Rule, protocol: number, port: number): boolean {
  const { spans } = rule;
  if (rule.protocol === "icmp") return protocol === PROTO_ICMP;
  const hasPorts = protocol === PROTO_TCP || protocol === PROTO_UDP;
  if (rule.protocol === "tcp" && protocol !== PROTO_TCP) return false;
  if (rule.protocol === "udp" && protocol !== PROTO_UDP) return false;
  if (spans.length === 0) return true;
  if (!hasPorts) return false;
  for (let i = 0; i < spans.length; i += 2) if (port >= spans[i] && port <= spans[i + 1]) return true;
  return false;
}

/** Each range that the policy names, once. */
function parts({ closed, rules }: PolicyConfig): Part[] {
  const byText = new Map<string, Part>();
  const part = (text: string, path: string): Part => {
    const prefix = parsePrefix(text, path);
    const name = formatPrefix(prefix);
    let found = byText.get(name);
    if (found === undefined) {
      found = { prefix, closed: false, from: [], to: [] };
      byText.set(name, found);
    }
    return found;
  };
  for (const text of closed) part(text, "policy.closed").closed = true;
  const each = (index: number, rule: PolicyRuleConfig): void => {
    for (const text of rule.from) part(text, `policy.rules[${index}].from`).from.push(index);
    for (const text of rule.to) part(text, `policy.rules[${index}].to`).to.push(index);
  };
  for (const [index, rule] of rules.entries()) each(index, rule);
  return [...byText.values()];
}

function withBits(around: Uint32Array, indices: readonly number[]): Uint32Array {
  if (indices.length === 0) return around;
  const bits = Uint32Array.from(around);
  for (const index of indices) bits[index >>> 5] |= 1 << (index & 31);
  return bits;
}
