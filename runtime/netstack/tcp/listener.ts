import type { Connection } from "./connection";
import { type Offer, offerOf } from "./connection";
import { Flow } from "./flow-table";
import { RST, type Segment } from "./segment";
import { unwrap } from "./sequence";
import type { TcpAddress, TcpConnection, TcpConnectionOptions, TcpListener, TcpListenOptions, TcpSyn } from "./types";

/** A port that takes connections, and the handshakes under way, the oldest first. */
export class Listener implements TcpListener {
  readonly halfOpen = new Set<Connection>();
  readonly address: TcpAddress | undefined;

  constructor(
    readonly port: number,
    readonly options: TcpListenOptions,
    private readonly onClose: (listener: Listener) => void,
  ) {
    this.address = options.address;
  }

  close(): void {
    this.onClose(this);
    for (const connection of [...this.halfOpen]) connection.abort();
  }
}

/** Listeners by port; of several, one for the address comes before one for all addresses. */
export class Listeners {
  size = 0;
  readonly #byPort = new Map<number, Listener[]>();

  find(address: TcpAddress, port: number): Listener | undefined {
    let any: Listener | undefined;
    for (const listener of this.#byPort.get(port) ?? []) {
      if (listener.address === undefined) any = listener;
      else if (sameAddress(listener.address, address)) return listener;
    }
    return any;
  }

  /** Whether exactly this place is taken. */
  taken(address: TcpAddress | undefined, port: number): boolean {
    return (this.#byPort.get(port) ?? []).some((listener) =>
      listener.address === undefined || address === undefined
        ? listener.address === address
        : sameAddress(listener.address, address),
    );
  }

  hasPort(port: number): boolean {
    return this.#byPort.has(port);
  }

  add(listener: Listener): void {
    const same = this.#byPort.get(listener.port);
    if (same === undefined) this.#byPort.set(listener.port, [listener]);
    else same.push(listener);
    this.size++;
  }

  remove(listener: Listener): void {
    const same = this.#byPort.get(listener.port);
    const index = same?.indexOf(listener) ?? -1;
    if (same === undefined || index < 0) return;
    same.splice(index, 1);
    if (same.length === 0) this.#byPort.delete(listener.port);
    this.size--;
  }

  all(): Listener[] {
    return [...this.#byPort.values()].flat();
  }
}

function sameAddress(a: TcpAddress, b: TcpAddress): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** What a waiting SYN needs of its layer. */
export interface SynHost {
  now: number;
  readonly limits: { readonly synTimeout: number };
  readonly counters: { resetsIn: number };
  /** The SYN waits no longer. */
  release(syn: PendingSyn): void;
  answer(syn: PendingSyn, offer: Offer, options: TcpConnectionOptions): TcpConnection;
  refuseSyn(syn: PendingSyn, sequence: number): void;
}

/** A SYN that waits for its answer: nothing is kept of it but what it said. */
export class PendingSyn extends Flow implements TcpSyn {
  open = true;
  onGone: () => void = () => {};
  readonly offer: Offer;
  readonly sequence: number;
  readonly until: number;

  constructor(
    private readonly host: SynHost,
    local: TcpAddress,
    remote: TcpAddress,
    segment: Segment,
    /** Where our sequence numbers have to begin; undefined: anywhere. */
    readonly iss: number | undefined,
  ) {
    super(local, remote, segment.localPort, segment.remotePort);
    this.offer = offerOf(segment);
    this.sequence = segment.sequence;
    this.until = host.now + host.limits.synTimeout;
  }

  accept(options: TcpConnectionOptions = {}): TcpConnection | undefined {
    return this.#close() ? this.host.answer(this, this.offer, options) : undefined;
  }

  refuse(): void {
    if (this.#close()) this.host.refuseSyn(this, this.offer.sequence);
  }

  drop(): void {
    this.#close();
  }

  /** Nobody waits for it any more. */
  gone(): void {
    if (this.#close()) this.onGone();
  }

  #close(): boolean {
    if (!this.open) return false;
    this.open = false;
    this.host.release(this);
    return true;
  }

  input(segment: Segment): void {
    // The SYN again changes nothing. A RST is believed where a new connection's would be: right behind the SYN.
    if (!(segment.flags & RST)) return;
    const next = this.offer.sequence + 1;
    if (unwrap(segment.sequence, next) !== next) return;
    this.host.counters.resetsIn++;
    this.gone();
  }

  onTime(now: number): number {
    if (this.until > now) return this.until;
    this.gone();
    return Number.POSITIVE_INFINITY;
  }
}
