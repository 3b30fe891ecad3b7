/**
 * The policy on packets: what may start passes and is remembered, answers and errors of what passes pass too. A flow is asked about
 * again after each change of the policy; one that is not allowed any more is cut, and stays so until it begins anew.
 *
 * What was not seen from its beginning, as after a restart, is judged by who is likely to have begun: see `middle`.
 */
import {
  ANSWERED,
  datagramLife,
  ESTABLISHED,
  FRAGMENTS,
  followDatagram,
  followTcp,
  isClosing,
  OWN_STATE,
  TRANSITORY,
} from "./flow-life";
import { FlowTable } from "./flow-table";
import {
  ECHO_REPLY,
  ECHO_REQUEST,
  FIRST_FRAGMENT,
  Headers,
  ICMP_ERROR,
  KEY_WORDS,
  LATER_FRAGMENT,
  MALFORMED,
  TCP_ACK,
  TCP_SYN,
} from "./headers";
import { PROTO_ICMP, PROTO_TCP } from "./inet";
import type { Policy } from "./policy";

/** Where ports that systems give to clients begin on Linux; the range of RFC 6335 section 6 lies inside. */
const EPHEMERAL = 32768;

/** State of a flow: not allowed any more. */
const CUT = OWN_STATE;

export interface PolicyFilterOptions {
  /** 32 bits that nobody else knows. */
  readonly seed: number;
  /** Flows remembered at once. @default 65536 */
  readonly flows?: number;
  /** Fragmented packets under way at once. @default 1024 */
  readonly fragments?: number;
}

export type Verdict = "pass" | "policy" | "fragment" | "malformed";

export class PolicyFilter {
  readonly flows: FlowTable;
  private readonly fragments: FlowTable;
  private readonly quoted = new Headers();
  private readonly stored = new Int32Array(KEY_WORDS);
  /** Counts policies; a flow whose mark differs was judged by another one. */
  private generation = 1;

  constructor(
    private policy: Policy,
    options: PolicyFilterOptions,
  ) {
    this.flows = new FlowTable(options.flows ?? 65536, options.seed);
    this.fragments = new FlowTable(options.fragments ?? 1024, options.seed);
  }

  /** Another policy from now on, for running flows too. */
  setPolicy(policy: Policy): void {
    this.policy = policy;
    this.generation = (this.generation + 1) | 0;
  }

  /**
   * Judges a packet by its real ends, service addresses resolved.
   * @param headers of the packet in `buf`.
   * @param now milliseconds.
   */
  judge(headers: Headers, buf: Uint8Array, now: number): Verdict {
    const { kind } = headers;
    if (kind === MALFORMED) return "malformed";
    if (kind === LATER_FRAGMENT) return this.isFragmentOfPassed(headers, now) ? "pass" : "fragment";
    const passes = kind === ICMP_ERROR ? this.isAboutPassed(headers, buf, now) : this.passes(headers, now);
    if (!passes) return "policy";
    if (kind === FIRST_FRAGMENT && this.fragments.find(headers.fragmentKey, now) < 0)
      this.fragments.insert(headers.fragmentKey, now + FRAGMENTS, now);
    return "pass";
  }

  private isFragmentOfPassed(headers: Headers, now: number): boolean {
    return this.fragments.find(headers.fragmentKey, now) >= 0 && !this.fragments.reversed;
  }

  private passes(headers: Headers, now: number): boolean {
    const { key, protocol, flags } = headers;
    const { flows } = this;
    const slot = flows.find(key, now);
    if (slot < 0) return this.begin(headers, now);
    const { reversed } = flows;
    if (flows.mark[slot] !== this.generation) this.review(slot);
    const state = flows.state[slot];
    if (protocol === PROTO_TCP) {
      const opens = (flags & (TCP_SYN | TCP_ACK)) === TCP_SYN;
      if (opens && (reversed ? (state & (ANSWERED | CUT)) !== 0 : isClosing(state) || (state & CUT) !== 0))
        return this.beginAgain(headers, slot, now);
      if ((state & CUT) !== 0) {
        // As long as somebody goes on with it, it stays known as cut.
        flows.until[slot] = now + TRANSITORY;
        flows.seen[slot] = now;
        return false;
      }
      followTcp(flows, slot, reversed, flags, now);
      return true;
    }
    if ((state & CUT) !== 0) return false;
    if (protocol === PROTO_ICMP && flags !== (reversed ? ECHO_REPLY : ECHO_REQUEST))
      return this.policy.allows(key, false);
    followDatagram(flows, slot, reversed, protocol, now);
    return true;
  }

  /** A packet of no flow that is known. */
  private begin(headers: Headers, now: number): boolean {
    const { key, protocol, flags } = headers;
    if (protocol === PROTO_TCP && (flags & (TCP_SYN | TCP_ACK)) !== TCP_SYN) return this.middle(headers, now);
    if (!this.policy.allows(key, false)) return false;
    // Of ICMP only a request makes a flow: nothing else has answers.
    if (protocol === PROTO_ICMP && flags !== ECHO_REQUEST) return true;
    this.put(key, protocol === PROTO_TCP ? TRANSITORY : datagramLife(protocol), now);
    return true;
  }

  /** The same ends and ports once more. */
  private beginAgain(headers: Headers, slot: number, now: number): boolean {
    if (!this.policy.allows(headers.key, false)) return false;
    this.flows.remove(slot);
    this.put(headers.key, TRANSITORY, now);
    return true;
  }

  /**
   * A TCP segment whose beginning was not seen. Who answers to SYN did not begin; else the end with a port that is given to clients
   * did. Where both or none have such a port it must be allowed whoever began.
   */
  private middle(headers: Headers, now: number): boolean {
    const { policy } = this;
    const { key, flags } = headers;
    const fromClient = headers.sourcePort >= EPHEMERAL;
    const toClient = headers.destinationPort >= EPHEMERAL;
    const back = (flags & TCP_SYN) !== 0 || (toClient && !fromClient);
    if (!policy.allows(key, back)) return false;
    if (!back && fromClient === toClient && !policy.allows(key, true)) return false;
    if (back) reverse(key, this.stored);
    const slot = this.put(back ? this.stored : key, ESTABLISHED, now);
    this.flows.state[slot] = ANSWERED;
    this.flows.firm[slot] = 1;
    followTcp(this.flows, slot, back, flags, now);
    return true;
  }

  private put(key: Int32Array, life: number, now: number): number {
    const slot = this.flows.insert(key, now + life, now);
    this.flows.mark[slot] = this.generation;
    return slot;
  }

  /** Judges a flow by the present policy. */
  private review(slot: number): void {
    const { flows, stored } = this;
    for (let i = 0, at = slot * KEY_WORDS; i < KEY_WORDS; i++) stored[i] = flows.keys[at + i];
    flows.mark[slot] = this.generation;
    if (this.policy.allows(stored, false)) flows.state[slot] &= ~CUT;
    else flows.state[slot] |= CUT;
  }

  /** An error passes to where everything does, and to who sent, or was sent, what passed. */
  private isAboutPassed(headers: Headers, buf: Uint8Array, now: number): boolean {
    const { quoted, flows } = this;
    if (this.policy.isOpen(headers.key)) return true;
    const at = headers.transport + 8;
    const kind = quoted.readQuoted(buf, at, headers.end);
    if (kind === MALFORMED || kind === ICMP_ERROR || quoted.family !== headers.family) return false;
    // It is told to the sender of what it quotes.
    for (let i = 0; i < 4; i++) if (quoted.key[i] !== headers.key[4 + i]) return false;
    if (kind === LATER_FRAGMENT) return this.isFragmentOfPassed(quoted, now);
    const slot = flows.find(quoted.key, now);
    if (slot < 0) return false;
    if (flows.mark[slot] !== this.generation) this.review(slot);
    return (flows.state[slot] & CUT) === 0;
  }
}

/** The key of the same flow in the other direction. */
function reverse(key: Int32Array, out: Int32Array): void {
  for (let i = 0; i < 4; i++) {
    out[i] = key[4 + i];
    out[4 + i] = key[i];
  }
  out[8] = (key[8] << 16) | (key[8] >>> 16);
  out[9] = key[9];
}
