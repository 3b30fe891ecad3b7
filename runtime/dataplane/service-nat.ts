/**
 * Service addresses on packets, at the gateway of the client: the destination becomes a backend, the source of its answers the
 * service address again. Only addresses change, ports never. A flow keeps its backend; one that has had no answer yet goes on to
 * the next when the backend refuses it, cannot be reached, or the client asks again.
 *
 * Two tables that point at each other: from client to service address, and from client to backend. Where a client is its own only
 * backend, it is given the service address as source too, or its answers would never come by here.
 */
import { FirstPackets } from "./first-packets";
import { ANSWERED, FRAGMENTS, followDatagram, followTcp, isClosing, TRANSITORY } from "./flow-life";
import { FlowTable } from "./flow-table";
import {
  FIRST_FRAGMENT,
  Headers,
  ICMP_ERROR,
  KEY_WORDS,
  LATER_FRAGMENT,
  MALFORMED,
  TCP_ACK,
  TCP_RST,
  TCP_SYN,
} from "./headers";
import { PROTO_TCP } from "./inet";
import { completeChecksum, rewriteAddress, rewriteQuoted } from "./rewrite";
import { type Backend, type ServiceAddress, sameAddress } from "./service";

/** Milliseconds after which a SYN is one that the client sent again; RFC 6298 section 2: it waits a second. */
const ASKED_AGAIN = 500;
/** Milliseconds that a flow of datagrams keeps a backend that is not healthy any more. */
const DRAIN = 30_000;

const SOURCE = 0;
const DESTINATION = 4;

/** Of a fragmented packet: which way it goes. */
const TO_CLIENT = 1;

/** `retry`: nothing goes on, the flow has another backend, and `takeRetry` may have its first packet. */
export type Steering = "pass" | "no-backend" | "fragment" | "malformed" | "retry";

export interface ServiceNatOptions {
  /** 32 bits that nobody else knows. */
  readonly seed: number;
  /** Flows at once. @default 32768 */
  readonly flows?: number;
  /** Fragmented packets under way at once. @default 1024 */
  readonly fragments?: number;
}

export class ServiceNat {
  /** Of the packet that `toBackend` passed: client and backend are the same. */
  toItself = false;
  private readonly outer: FlowTable;
  private readonly inner: FlowTable;
  private readonly fragments: FlowTable;
  /** By place in `outer`: number of the try, when it was made, and whether its backend is to be left. */
  private readonly attempts: Uint8Array;
  private readonly asked: Float64Array;
  private readonly draining: Uint8Array;
  private readonly first = new FirstPackets();
  private readonly quoted = new Headers();
  private readonly stored = new Headers();
  private readonly innerKey = new Int32Array(KEY_WORDS);
  private services: readonly ServiceAddress[] = [];
  /** No flow lives longer, as of now. */
  private latest = 0;
  private retrying = -1;

  constructor({ seed, flows = 32768, fragments = 1024 }: ServiceNatOptions) {
    this.outer = new FlowTable(flows, seed, (slot) => {
      if (this.outer.mark[slot] >= 0) this.inner.forget(this.outer.mark[slot]);
    });
    this.inner = new FlowTable(flows, seed, (slot) => this.outer.forget(this.inner.mark[slot]));
    this.fragments = new FlowTable(fragments, seed);
    this.attempts = new Uint8Array(this.outer.capacity);
    this.asked = new Float64Array(this.outer.capacity);
    this.draining = new Uint8Array(this.outer.capacity);
  }

  /** Flows that live. Looks at all places. */
  count(now: number): number {
    return this.outer.count(now);
  }

  /** Whether `toClient` may have anything to do. */
  isBusy(now: number): boolean {
    return now < this.latest;
  }

  /** The services from now on; flows keep their backends, those of datagrams only healthy ones. */
  setServices(services: readonly ServiceAddress[], now: number): void {
    this.services = services;
    const { outer } = this;
    for (let slot = 0; slot < outer.capacity; slot++) {
      if (!outer.has(slot) || (outer.keys[slot * KEY_WORDS + 9] & 0xff) === PROTO_TCP) continue;
      const service = this.serviceOf(slot);
      const healthy = service?.find(this.inner.keys, outer.mark[slot] * KEY_WORDS + DESTINATION)?.healthy ?? false;
      if (healthy) this.draining[slot] = 0;
      else if (this.draining[slot] === 0) {
        this.draining[slot] = 1;
        this.lives(slot, Math.min(outer.until[slot], now + DRAIN));
      }
    }
  }

  private serviceOf(slot: number): ServiceAddress | undefined {
    const at = slot * KEY_WORDS + DESTINATION;
    const size = this.outer.keys[slot * KEY_WORDS + 9] >>> 8 === 4 ? 4 : 16;
    return this.services.find(
      (service) => service.address.length === size && sameAddress(service.words, 0, this.outer.keys, at),
    );
  }

  /**
   * A packet to a service address: rewrites it, and `headers` with it.
   * @param headers of the packet at `buf[off]`.
   * @param partial its checksum field holds the pseudo header's share alone.
   */
  toBackend(
    headers: Headers,
    buf: Uint8Array,
    off: number,
    service: ServiceAddress,
    partial: boolean,
    now: number,
  ): Steering {
    this.toItself = false;
    const { kind } = headers;
    if (kind === MALFORMED) return "malformed";
    if (kind === ICMP_ERROR) return this.errorToBackend(headers, buf, off, partial, now);
    if (kind === LATER_FRAGMENT) {
      const slot = this.fragmentOf(headers, now);
      if (slot < 0) return "fragment";
      if (this.fragmentState(headers, now) === TO_CLIENT) this.rewriteToItself(slot, headers, buf, off, partial);
      else this.rewriteForth(slot, headers, buf, off, partial);
      return "pass";
    }
    const { key, protocol, flags } = headers;
    const { outer } = this;
    const opens = protocol === PROTO_TCP && (flags & (TCP_SYN | TCP_ACK)) === TCP_SYN;
    let slot = outer.find(key, now);
    if (slot < 0) {
      const answered = this.inner.find(key, now);
      if (answered >= 0 && this.inner.reversed) return this.answerToItself(answered, headers, buf, off, partial, now);
      slot = this.begin(headers, service, now);
    } else if (opens ? isClosing(outer.state[slot]) : this.draining[slot] !== 0 && !this.isAnswered(slot)) {
      outer.remove(slot);
      slot = this.begin(headers, service, now);
    } else if (opens && !this.isAnswered(slot) && now - this.asked[slot] >= ASKED_AGAIN)
      if (!this.next(slot, service, now)) this.restart(slot, service, now);
    if (slot < 0) return "no-backend";
    // A connection that was begun before this gateway knew it has had its answer.
    if (protocol === PROTO_TCP && !opens && outer.state[slot] === 0) outer.state[slot] = ANSWERED;
    if (opens || (protocol !== PROTO_TCP && outer.state[slot] === 0))
      this.first.keep(slot, buf, off, headers.end - off, partial);
    this.follow(slot, headers, false, now);
    if (headers.kind === FIRST_FRAGMENT) this.keepFragment(headers, slot, 0, now);
    this.rewriteForth(slot, headers, buf, off, partial);
    return "pass";
  }

  /** A packet to a client: gives it the service address as source where it answers to one. */
  toClient(headers: Headers, buf: Uint8Array, off: number, partial: boolean, now: number): "pass" | "retry" {
    const { kind } = headers;
    if (kind === MALFORMED) return "pass";
    if (kind === ICMP_ERROR) return this.errorToClient(headers, buf, off, partial, now);
    if (kind === LATER_FRAGMENT) {
      const slot = this.fragmentOf(headers, now);
      if (slot >= 0) this.rewrite(headers, buf, off, "source", this.outer.keys, slot, partial);
      return "pass";
    }
    const { inner } = this;
    const found = inner.find(headers.key, now);
    // Forth, it is the client itself that speaks to the backend, past the service.
    if (found < 0 || !inner.reversed) return "pass";
    const slot = inner.mark[found];
    const refuses = headers.protocol === PROTO_TCP && (headers.flags & TCP_RST) !== 0 && !this.isAnswered(slot);
    if (refuses && this.tryNext(slot, now)) return "retry";
    this.follow(slot, headers, true, now);
    if (kind === FIRST_FRAGMENT) this.keepFragment(headers, slot, TO_CLIENT, now);
    this.rewrite(headers, buf, off, "source", this.outer.keys, slot, partial);
    return "pass";
  }

  /**
   * After `retry`: writes the packet that the flow began with at `out[off]`, as the client sent it, with whole checksums.
   * @returns its length; 0: it was not kept, and the client will ask again itself
   */
  takeRetry(out: Uint8Array, off: number): number {
    const slot = this.retrying;
    this.retrying = -1;
    const place = slot < 0 ? -1 : this.first.copy(slot, out, off);
    if (place < 0) return 0;
    const length = this.first.lengthOf(place);
    if (this.first.isPartial(place)) {
      this.stored.read(out, off, length);
      completeChecksum(this.stored, out);
    }
    return length;
  }

  /** Undoes what `toBackend` did to a packet that goes no further, so that its client can be told about it. */
  undo(headers: Headers, buf: Uint8Array, off: number, service: ServiceAddress, partial: boolean): void {
    this.put(headers, buf, off, "destination", service.words, 0, partial);
  }

  private isAnswered(slot: number): boolean {
    return (this.outer.state[slot] & ANSWERED) !== 0;
  }

  /** A new flow with the first backend that can have it. @returns its place; -1: there is none */
  private begin(headers: Headers, service: ServiceAddress, now: number): number {
    const { outer } = this;
    const slot = outer.insert(headers.key, now + TRANSITORY, now);
    outer.mark[slot] = -1;
    this.attempts[slot] = 0;
    this.draining[slot] = 0;
    if (this.bind(slot, service, 0, now)) return slot;
    outer.remove(slot);
    return -1;
  }

  /** Another backend for a flow. @returns false where none is left: it keeps the one it has */
  private next(slot: number, service: ServiceAddress, now: number): boolean {
    return this.bind(slot, service, this.attempts[slot] + 1, now);
  }

  private restart(slot: number, service: ServiceAddress, now: number): void {
    this.bind(slot, service, 0, now);
  }

  /** As `next`, of a flow whose first packet is then taken with `takeRetry`. */
  private tryNext(slot: number, now: number): boolean {
    const service = this.serviceOf(slot);
    if (service === undefined || !this.next(slot, service, now)) return false;
    this.retrying = slot;
    return true;
  }

  /** Gives a flow the first backend from number `attempt` on with which it can be told from all others. */
  private bind(slot: number, service: ServiceAddress, attempt: number, now: number): boolean {
    const { outer, inner, innerKey } = this;
    const at = slot * KEY_WORDS;
    const key = outer.keys.subarray(at, at + KEY_WORDS);
    for (let number = attempt; number < 256; number++) {
      const backend = service.choose(key, number);
      if (backend === undefined) return false;
      this.writeInnerKey(key, service, backend);
      const other = inner.find(innerKey, now);
      if (other >= 0 && other !== outer.mark[slot]) {
        // Of another service with this backend, from the same port.
        if (!isClosing(outer.state[inner.mark[other]])) continue;
        inner.remove(other);
      }
      if (outer.mark[slot] >= 0) inner.forget(outer.mark[slot]);
      const place = inner.insert(innerKey, outer.until[slot], now);
      inner.mark[place] = slot;
      outer.mark[slot] = place;
      this.attempts[slot] = number;
      this.asked[slot] = now;
      this.latest = Math.max(this.latest, outer.until[slot]);
      return true;
    }
    return false;
  }

  private writeInnerKey(key: Int32Array, service: ServiceAddress, backend: Backend): void {
    const { innerKey } = this;
    const source = sameAddress(backend.words, 0, key, SOURCE) ? service.words : key;
    for (let i = 0; i < 4; i++) {
      innerKey[SOURCE + i] = source[i];
      innerKey[DESTINATION + i] = backend.words[i];
    }
    innerKey[8] = key[8];
    innerKey[9] = key[9];
  }

  private follow(slot: number, { protocol, flags }: Headers, back: boolean, now: number): void {
    const { outer } = this;
    if (protocol === PROTO_TCP) followTcp(outer, slot, back, flags, now);
    else if (this.draining[slot] !== 0) outer.seen[slot] = now;
    else followDatagram(outer, slot, back, protocol, now);
    this.lives(slot, outer.until[slot]);
  }

  private lives(slot: number, until: number): void {
    const { outer, inner } = this;
    const other = outer.mark[slot];
    outer.until[slot] = until;
    inner.until[other] = until;
    inner.seen[other] = outer.seen[slot];
    inner.firm[other] = outer.firm[slot];
    if (until > this.latest) this.latest = until;
  }

  private rewriteForth(slot: number, headers: Headers, buf: Uint8Array, off: number, partial: boolean): void {
    const { inner } = this;
    const other = this.outer.mark[slot];
    this.toItself = this.isToItself(slot);
    if (this.toItself) this.put(headers, buf, off, "source", inner.keys, other * KEY_WORDS + SOURCE, partial);
    this.rewrite(headers, buf, off, "destination", inner.keys, other, partial);
  }

  /** The answer of a client to itself. */
  private answerToItself(
    other: number,
    headers: Headers,
    buf: Uint8Array,
    off: number,
    partial: boolean,
    now: number,
  ): Steering {
    const slot = this.inner.mark[other];
    const refuses = headers.protocol === PROTO_TCP && (headers.flags & TCP_RST) !== 0 && !this.isAnswered(slot);
    if (refuses && this.tryNext(slot, now)) return "retry";
    this.follow(slot, headers, true, now);
    if (headers.kind === FIRST_FRAGMENT) this.keepFragment(headers, slot, TO_CLIENT, now);
    this.rewriteToItself(slot, headers, buf, off, partial);
    return "pass";
  }

  private rewriteToItself(slot: number, headers: Headers, buf: Uint8Array, off: number, partial: boolean): void {
    const at = slot * KEY_WORDS;
    this.toItself = true;
    this.put(headers, buf, off, "source", this.outer.keys, at + DESTINATION, partial);
    this.put(headers, buf, off, "destination", this.outer.keys, at + SOURCE, partial);
  }

  private isToItself(slot: number): boolean {
    const at = this.outer.mark[slot] * KEY_WORDS;
    return sameAddress(this.inner.keys, at + SOURCE, this.outer.keys, slot * KEY_WORDS + DESTINATION);
  }

  /** From a client, about an answer that it got in the name of the service. */
  private errorToBackend(headers: Headers, buf: Uint8Array, off: number, partial: boolean, now: number): Steering {
    const { quoted, outer, inner } = this;
    const at = headers.transport + 8;
    const kind = quoted.readQuoted(buf, at, headers.end);
    if (kind !== MALFORMED && kind !== LATER_FRAGMENT && quoted.family === headers.family) {
      const slot = outer.find(quoted.key, now);
      if (slot >= 0 && outer.reversed) {
        const other = outer.mark[slot] * KEY_WORDS;
        rewriteQuoted(headers, quoted, buf, at, "source", inner.keys, other + DESTINATION);
        if (this.isToItself(slot)) {
          rewriteQuoted(headers, quoted, buf, at, "destination", inner.keys, other + SOURCE);
          this.put(headers, buf, off, "source", inner.keys, other + SOURCE, partial);
          this.toItself = true;
        }
        this.put(headers, buf, off, "destination", inner.keys, other + DESTINATION, partial);
        return "pass";
      }
      const answered = inner.find(quoted.key, now);
      if (answered >= 0 && !inner.reversed && this.isToItself(inner.mark[answered])) {
        const origin = inner.mark[answered];
        if (isUnreachable(headers, buf) && !this.isAnswered(origin) && this.tryNext(origin, now)) return "retry";
        const keys = origin * KEY_WORDS;
        rewriteQuoted(headers, quoted, buf, at, "source", outer.keys, keys + SOURCE);
        rewriteQuoted(headers, quoted, buf, at, "destination", outer.keys, keys + DESTINATION);
        this.rewriteToItself(origin, headers, buf, off, partial);
        return "pass";
      }
    }
    return "no-backend";
  }

  /** About a packet that a client sent to a service and that went to a backend. */
  private errorToClient(
    headers: Headers,
    buf: Uint8Array,
    off: number,
    partial: boolean,
    now: number,
  ): "pass" | "retry" {
    const { quoted, inner, outer } = this;
    const at = headers.transport + 8;
    const kind = quoted.readQuoted(buf, at, headers.end);
    if (kind === MALFORMED || kind === LATER_FRAGMENT || quoted.family !== headers.family) return "pass";
    if (!sameAddress(quoted.key, SOURCE, headers.key, DESTINATION)) return "pass";
    const found = inner.find(quoted.key, now);
    if (found < 0 || inner.reversed) return "pass";
    const slot = inner.mark[found];
    if (isUnreachable(headers, buf) && !this.isAnswered(slot) && this.tryNext(slot, now)) return "retry";
    const service = slot * KEY_WORDS + DESTINATION;
    const fromBackend = sameAddress(headers.key, SOURCE, quoted.key, DESTINATION);
    rewriteQuoted(headers, quoted, buf, at, "destination", outer.keys, service);
    if (fromBackend) this.put(headers, buf, off, "source", outer.keys, service, partial);
    return "pass";
  }

  private keepFragment(headers: Headers, slot: number, way: number, now: number): void {
    const { fragments } = this;
    let place = fragments.find(headers.fragmentKey, now);
    if (place < 0) place = fragments.insert(headers.fragmentKey, now + FRAGMENTS, now);
    fragments.mark[place] = slot;
    fragments.state[place] = way;
  }

  private fragmentState(headers: Headers, now: number): number {
    return this.fragments.state[this.fragments.find(headers.fragmentKey, now)];
  }

  /** The flow of a later fragment's first one, which may be another's place by now. */
  private fragmentOf(headers: Headers, now: number): number {
    const { fragments, outer, inner } = this;
    const place = fragments.find(headers.fragmentKey, now);
    if (place < 0 || fragments.reversed) return -1;
    const slot = fragments.mark[place];
    if (!outer.has(slot)) return -1;
    const [keys, at, back] =
      fragments.state[place] === TO_CLIENT
        ? ([inner.keys, outer.mark[slot] * KEY_WORDS, DESTINATION] as const)
        : ([outer.keys, slot * KEY_WORDS, SOURCE] as const);
    const { key } = headers;
    const same =
      sameAddress(key, SOURCE, keys, at + back) && sameAddress(key, DESTINATION, keys, at + (DESTINATION - back));
    return same ? slot : -1;
  }

  /** Writes the far end's address of the flow at `slot` of these keys. */
  private rewrite(
    headers: Headers,
    buf: Uint8Array,
    off: number,
    side: "source" | "destination",
    keys: Int32Array,
    slot: number,
    partial: boolean,
  ): void {
    this.put(headers, buf, off, side, keys, slot * KEY_WORDS + DESTINATION, partial);
  }

  /** Writes an address into the packet and its headers. */
  private put(
    headers: Headers,
    buf: Uint8Array,
    off: number,
    side: "source" | "destination",
    words: Int32Array,
    from: number,
    partial: boolean,
  ): void {
    rewriteAddress(headers, buf, off, side, words, from, partial);
    const at = side === "source" ? SOURCE : DESTINATION;
    for (let i = 0; i < 4; i++) {
      headers.key[at + i] = words[from + i];
      headers.fragmentKey[at + i] = words[from + i];
    }
  }
}

/** Destination unreachable, but for want of a smaller packet. */
function isUnreachable({ family, transport }: Headers, buf: Uint8Array): boolean {
  return family === 4 ? buf[transport] === 3 && buf[transport + 1] !== 4 : buf[transport] === 1;
}
