import { HalfSipHash } from "./halfsiphash";
import type { Segment } from "./segment";
import { Timed } from "./timers";
import type { TcpAddress, TcpPath } from "./types";

/** What a pair of addresses and ports stands for: a connection, a SYN that waits for its answer, or a connection in TIME-WAIT. */
export abstract class Flow extends Timed implements TcpPath {
  cache: unknown = undefined;
  /** Next of the same bucket. */
  nextInBucket: Flow | undefined = undefined;
  hash = 0;
  /** Both ports in one number, as the table compares them. */
  readonly ports: number;

  constructor(
    readonly local: TcpAddress,
    readonly remote: TcpAddress,
    readonly localPort: number,
    readonly remotePort: number,
  ) {
    super();
    this.ports = (localPort << 16) | remotePort;
  }

  abstract input(segment: Segment): void;
}

const SMALLEST = 64;

function word(buf: Uint8Array, off: number): number {
  return buf[off] | (buf[off + 1] << 8) | (buf[off + 2] << 16) | (buf[off + 3] << 24);
}

function same(address: Uint8Array, buf: Uint8Array, off: number, length: number): boolean {
  if (address.length !== length) return false;
  for (let i = 0; i < length; i++) if (address[i] !== buf[off + i]) return false;
  return true;
}

/** All flows by local and remote address and port. Look-ups compare bytes where they stand in the packet. */
export class FlowTable {
  size = 0;
  #buckets: (Flow | undefined)[] = new Array(SMALLEST).fill(undefined);
  readonly #hash: HalfSipHash;
  /** The flow of the last look-up: bulk transfers ask for the same one again and again. */
  #last: Flow | undefined = undefined;

  /** @param key 8 unpredictable bytes: nobody can choose ports that all fall into one bucket */
  constructor(key: Uint8Array) {
    this.#hash = new HalfSipHash(key);
  }

  #hashOf(local: Uint8Array, localOff: number, remote: Uint8Array, remoteOff: number, length: number, ports: number) {
    const hash = this.#hash;
    hash.begin();
    hash.add(ports);
    for (let i = 0; i < length; i += 4) {
      hash.add(word(local, localOff + i));
      hash.add(word(remote, remoteOff + i));
    }
    return hash.finish();
  }

  find(buf: Uint8Array, local: number, remote: number, length: number, localPort: number, remotePort: number) {
    const ports = (localPort << 16) | remotePort;
    const last = this.#last;
    if (last?.ports === ports && same(last.remote, buf, remote, length) && same(last.local, buf, local, length)) {
      return last;
    }
    const hash = this.#hashOf(buf, local, buf, remote, length, ports);
    let flow = this.#buckets[hash & (this.#buckets.length - 1)];
    while (flow !== undefined) {
      if (
        flow.hash === hash &&
        flow.ports === ports &&
        same(flow.remote, buf, remote, length) &&
        same(flow.local, buf, local, length)
      ) {
        this.#last = flow;
        return flow;
      }
      flow = flow.nextInBucket;
    }
    return undefined;
  }

  get(local: TcpAddress, remote: TcpAddress, localPort: number, remotePort: number): Flow | undefined {
    const ports = (localPort << 16) | remotePort;
    const hash = this.#hashOf(local, 0, remote, 0, local.length, ports);
    let flow = this.#buckets[hash & (this.#buckets.length - 1)];
    while (flow !== undefined) {
      if (
        flow.ports === ports &&
        same(flow.remote, remote, 0, remote.length) &&
        same(flow.local, local, 0, local.length)
      ) {
        return flow;
      }
      flow = flow.nextInBucket;
    }
    return undefined;
  }

  /** There must be none with the same addresses and ports. */
  add(flow: Flow): void {
    flow.hash = this.#hashOf(flow.local, 0, flow.remote, 0, flow.local.length, flow.ports);
    if (this.size >= this.#buckets.length) this.#resize(this.#buckets.length * 2);
    const bucket = flow.hash & (this.#buckets.length - 1);
    flow.nextInBucket = this.#buckets[bucket];
    this.#buckets[bucket] = flow;
    this.size++;
  }

  remove(flow: Flow): void {
    if (this.#last === flow) this.#last = undefined;
    const bucket = flow.hash & (this.#buckets.length - 1);
    let at = this.#buckets[bucket];
    if (at === flow) {
      this.#buckets[bucket] = flow.nextInBucket;
    } else {
      while (at !== undefined && at.nextInBucket !== flow) at = at.nextInBucket;
      if (at === undefined) return;
      at.nextInBucket = flow.nextInBucket;
    }
    flow.nextInBucket = undefined;
    this.size--;
    if (this.size * 8 < this.#buckets.length && this.#buckets.length > SMALLEST) this.#resize(this.#buckets.length / 2);
  }

  #resize(size: number): void {
    const old = this.#buckets;
    this.#buckets = new Array(size).fill(undefined);
    for (const head of old) {
      let flow = head;
      while (flow !== undefined) {
        const next = flow.nextInBucket;
        const bucket = flow.hash & (size - 1);
        flow.nextInBucket = this.#buckets[bucket];
        this.#buckets[bucket] = flow;
        flow = next;
      }
    }
  }

  /** Every flow, in no order; the table may be changed by `visit`. */
  forEach(visit: (flow: Flow) => void): void {
    const all: Flow[] = [];
    for (const head of this.#buckets) {
      for (let flow = head; flow !== undefined; flow = flow.nextInBucket) all.push(flow);
    }
    all.forEach(visit);
  }
}
