import { Connection, type Offer, offerOf } from "./connection";
import { Flow, FlowTable } from "./flow-table";
import type { Host } from "./host";
import { DEFAULT_LIMITS, type TcpLimits } from "./limits";
import { Listener, Listeners, PendingSyn, type SynHost } from "./listener";
import { Memory } from "./memory";
import { EPHEMERAL_PORTS, FIRST_EPHEMERAL, Secrets } from "./secrets";
import { ACK, FIN, HEADER, parseSegment, RST, Segment, SYN, TIMESTAMPS, writeHeader, writeTimestamps } from "./segment";
import { unwrap } from "./sequence";
import { TimeWait, type TimeWaitHost } from "./time-wait";
import { Timers } from "./timers";
import {
  type TcpAddress,
  type TcpConnection,
  type TcpConnectionOptions,
  type TcpDropReason,
  type TcpEnvironment,
  TcpError,
  type TcpLayer,
  type TcpListener,
  type TcpListenOptions,
  type TcpStats,
  type TcpSyn,
} from "./types";

/** How often connections that fell idle are looked for, in milliseconds. */
const COOLING = 2000;
/** Tries at random before all ports are looked at in turn (RFC 6056 algorithm 2). */
const RANDOM_PORTS = 16;

/** All of TCP: finds the connection of a segment, makes and forgets connections, runs their timers, and keeps them within the limits. */
export class Tcp implements TcpLayer, Host, TimeWaitHost, SynHost {
  onSyn: ((syn: TcpSyn) => void) | undefined = undefined;
  readonly limits: Readonly<TcpLimits>;
  readonly memory: Memory;
  readonly timers = new Timers();
  readonly secrets: Secrets;
  readonly counters: TcpStats;
  now: number;
  full = false;

  readonly #flows: FlowTable;
  readonly #listeners = new Listeners();
  readonly #segment = new Segment();
  /** In the order in which they end, for all wait equally long but those renewed by a repeated FIN. */
  readonly #timeWait = new Set<TimeWait>();
  readonly #halfOpenBySource = new Map<string, number>();
  #scheduled: Connection[] = [];
  #starved: Connection[] = [];
  #served: Connection[] = [];
  #woken = false;
  #warm: Connection[] = [];
  #coolAt = Number.POSITIVE_INFINITY;
  #closed = false;

  constructor(
    readonly environment: TcpEnvironment,
    limits: Partial<TcpLimits> = {},
    /** Whose part this layer's memory is. */
    whole?: Memory,
  ) {
    this.limits = { ...DEFAULT_LIMITS, ...limits };
    this.memory = new Memory(this.limits.memory, whole);
    this.secrets = new Secrets((bytes) => environment.random(bytes));
    this.#flows = new FlowTable(environment.random(8));
    this.now = environment.now();
    this.counters = noStats();
  }

  // Connections and listeners.

  connect(
    remote: { address: TcpAddress; port: number },
    local: { address?: TcpAddress; port?: number } = {},
    options: TcpConnectionOptions = {},
  ): TcpConnection {
    this.#checkOpen();
    this.now = this.environment.now();
    const from = local.address ?? this.environment.source(remote.address);
    if (from === undefined || from.length !== remote.address.length) {
      throw new TcpError("EHOSTUNREACH", "there is no way to this address");
    }
    if (this.counters.connections >= this.limits.connections) {
      throw new TcpError("ENOBUFS", `there are ${this.limits.connections} connections already`);
    }
    const port = this.#localPort(from, remote.address, local.port ?? 0, remote.port);
    const old = this.#flows.get(from, remote.address, port, remote.port);
    let iss: number | undefined;
    if (old instanceof TimeWait) {
      iss = old.nextSequence;
      this.forget(old);
    }
    const connection = new Connection(this, from, remote.address, port, remote.port, options, iss);
    this.#attach(connection);
    connection.openActive();
    return connection;
  }

  #checkOpen(): void {
    if (this.#closed) throw new TcpError("ECONNABORTED", "the network stack was closed");
  }

  #localPort(local: TcpAddress, remote: TcpAddress, wanted: number, remotePort: number): number {
    if (wanted !== 0) {
      if (this.#usable(local, remote, wanted, remotePort)) return wanted;
      throw new TcpError("EADDRINUSE", `port ${wanted} is taken`);
    }
    const free = (port: number) =>
      !this.#listeners.hasPort(port) && this.#flows.get(local, remote, port, remotePort) === undefined;
    for (let i = 0; i < RANDOM_PORTS; i++) {
      const port = this.secrets.ephemeralPort();
      if (free(port)) return port;
    }
    const first = this.secrets.ephemeralPort() - FIRST_EPHEMERAL;
    for (const test of [free, (port: number) => this.#usable(local, remote, port, remotePort)]) {
      for (let i = 0; i < EPHEMERAL_PORTS; i++) {
        const port = FIRST_EPHEMERAL + ((first + i) % EPHEMERAL_PORTS);
        if (test(port)) return port;
      }
    }
    throw new TcpError("EADDRNOTAVAIL", "no free port is left for this destination");
  }

  /** TIME-WAIT gives way where timestamps keep old segments apart (RFC 6191). */
  #usable(local: TcpAddress, remote: TcpAddress, port: number, remotePort: number): boolean {
    const flow = this.#flows.get(local, remote, port, remotePort);
    return flow === undefined || (flow instanceof TimeWait && flow.timestamps);
  }

  listen(options: TcpListenOptions): TcpListener {
    this.#checkOpen();
    let { port } = options;
    if (port === 0) port = this.#freeListenPort();
    else if (this.#listeners.taken(options.address, port)) {
      throw new TcpError("EADDRINUSE", `port ${port} is listened on already`);
    }
    const listener = new Listener(port, options, (closed) => this.#listeners.remove(closed));
    this.#listeners.add(listener);
    return listener;
  }

  #freeListenPort(): number {
    const first = this.secrets.ephemeralPort() - FIRST_EPHEMERAL;
    for (let i = 0; i < EPHEMERAL_PORTS; i++) {
      const port = FIRST_EPHEMERAL + ((first + i) % EPHEMERAL_PORTS);
      if (!this.#listeners.hasPort(port)) return port;
    }
    throw new TcpError("EADDRNOTAVAIL", "no free port is left to listen on");
  }

  #attach(connection: Connection): void {
    connection.attached = true;
    this.#flows.add(connection);
    this.counters.connections++;
  }

  // Segments.

  input(
    buf: Uint8Array,
    off: number,
    len: number,
    local: number,
    remote: number,
    addressLength: number,
    joined: number,
  ): void {
    const segment = this.#segment;
    this.now = this.environment.now();
    this.counters.segmentsIn++;
    if (!parseSegment(segment, buf, off, len)) {
      this.counters.drops.malformed++;
      return;
    }
    segment.joined = joined;
    const flow = this.#flows.find(buf, local, remote, addressLength, segment.localPort, segment.remotePort);
    if (flow !== undefined) {
      flow.input(segment);
      return;
    }
    this.#inputWithoutFlow(segment, buf.slice(local, local + addressLength), buf.slice(remote, remote + addressLength));
  }

  /** LISTEN and CLOSED (RFC 9293 sections 3.10.7.1 and 3.10.7.2). */
  #inputWithoutFlow(segment: Segment, local: TcpAddress, remote: TcpAddress, iss?: number): void {
    const { flags } = segment;
    if (flags & RST) return;
    if ((flags & (SYN | ACK | FIN)) === SYN && this.#offer(segment, local, remote, iss)) return;
    this.counters.drops["no-connection"]++;
    const path = new Stranger(local, remote, segment.localPort, segment.remotePort);
    if (flags & ACK) {
      this.reset(path, segment.acknowledgment, 0, RST);
    } else {
      const length = segment.length + (flags & SYN ? 1 : 0) + (flags & FIN ? 1 : 0);
      this.reset(path, 0, segment.sequence + length, RST | ACK);
    }
  }

  /** A SYN for which there is no connection. @returns false: nobody wants it */
  #offer(segment: Segment, local: TcpAddress, remote: TcpAddress, iss: number | undefined): boolean {
    const listener = this.#listeners.find(local, segment.localPort);
    if (listener === undefined && this.onSyn === undefined) return false;
    const { drops } = this.counters;
    const source = keyOf(remote);
    if ((this.#halfOpenBySource.get(source) ?? 0) >= this.limits.halfOpenPerSource) {
      drops.backlog++;
      return true;
    }
    if (this.counters.connections >= this.limits.connections) {
      drops.limit++;
      return true;
    }
    if (listener !== undefined) {
      this.#offerListener(listener, segment, local, remote, iss);
      return true;
    }
    if (this.counters.pendingSyns >= this.limits.pendingSyns) {
      drops.backlog++;
      return true;
    }
    const syn = new PendingSyn(this, local, remote, segment, iss);
    this.#flows.add(syn);
    this.counters.pendingSyns++;
    this.#countSource(source, 1);
    this.timers.at(syn, syn.until);
    this.onSyn?.(syn);
    return true;
  }

  #offerListener(
    listener: Listener,
    segment: Segment,
    local: TcpAddress,
    remote: TcpAddress,
    iss: number | undefined,
  ): void {
    if (listener.halfOpen.size >= (listener.options.backlog ?? this.limits.backlog)) {
      // The oldest is the least likely to be completed still (RFC 4987 section 3.4).
      const [oldest] = listener.halfOpen;
      this.counters.drops.backlog++;
      oldest.fail(undefined);
    }
    const options = listener.options.connection ?? {};
    const connection = new Connection(this, local, remote, segment.localPort, segment.remotePort, options, iss);
    connection.acceptor = (accepted) => listener.options.onConnection(accepted);
    connection.listener = listener;
    listener.halfOpen.add(connection);
    this.#openPassive(connection, offerOf(segment));
  }

  #openPassive(connection: Connection, offer: Offer): void {
    connection.halfOpen = true;
    this.counters.halfOpen++;
    this.#countSource(keyOf(connection.remote), 1);
    this.#attach(connection);
    connection.openPassive(offer);
  }

  #countSource(source: string, by: 1 | -1): void {
    const count = (this.#halfOpenBySource.get(source) ?? 0) + by;
    if (count > 0) this.#halfOpenBySource.set(source, count);
    else this.#halfOpenBySource.delete(source);
  }

  icmpError(
    kind: "too-big" | "unreachable" | "refused",
    local: TcpAddress,
    remote: TcpAddress,
    localPort: number,
    remotePort: number,
    sequence: number,
  ): boolean {
    this.now = this.environment.now();
    const connection = this.#flows.get(local, remote, localPort, remotePort);
    if (!(connection instanceof Connection)) return false;
    const at = unwrap(sequence, connection.sndUna);
    // RFC 5927 section 4.1: only about what is under way.
    if (at < connection.sndUna || at >= connection.sndNxt) return false;
    if (kind !== "too-big" && connection.state === "syn-sent") {
      const code = kind === "refused" ? "ECONNREFUSED" : "EHOSTUNREACH";
      connection.fail(new TcpError(code, `the network answered that the peer is ${kind}`));
    }
    return true;
  }

  pathMtuChanged(remote: TcpAddress): void {
    this.now = this.environment.now();
    const key = keyOf(remote);
    this.#flows.forEach((flow) => {
      if (flow instanceof Connection && keyOf(flow.remote) === key) flow.pathMtuChanged();
    });
  }

  // Work that waits.

  schedule(connection: Connection): void {
    if (connection.scheduled) return;
    connection.scheduled = true;
    this.#scheduled.push(connection);
    if (!this.#woken) {
      this.#woken = true;
      this.environment.wake();
    }
  }

  flush(): void {
    this.now = this.environment.now();
    // What is scheduled meanwhile belongs to this round; wake is called only for what comes after it.
    this.#woken = true;
    let batch: Connection[] = [];
    let i = 0;
    try {
      while (this.#scheduled.length > 0) {
        batch = this.#scheduled;
        this.#scheduled = [];
        for (i = 0; i < batch.length; i++) {
          const connection = batch[i];
          connection.scheduled = false;
          connection.deliver();
          connection.output();
        }
      }
      this.#woken = false;
    } finally {
      if (this.#woken) {
        // A handler has thrown: the others are served in the next round.
        this.#woken = false;
        const left = batch.slice(i + 1);
        for (const connection of left) connection.scheduled = false;
        batch[i].scheduled = false;
        for (const connection of [batch[i], ...left]) this.schedule(connection);
      }
    }
  }

  blocked(connection: Connection): void {
    this.full = true;
    if (connection.isBlocked) return;
    connection.isBlocked = true;
    (connection.served ? this.#served : this.#starved).push(connection);
  }

  /** Those that got nothing in the last round come first. */
  drained(): void {
    this.full = false;
    const waiting = [...this.#starved, ...this.#served];
    this.#starved = [];
    this.#served = [];
    for (const connection of waiting) {
      connection.isBlocked = false;
      connection.served = false;
      this.schedule(connection);
    }
  }

  nextTimer(): number {
    return Math.min(this.timers.next(), this.#coolAt);
  }

  tick(): void {
    this.now = this.environment.now();
    this.timers.run(this.now);
    if (this.#coolAt <= this.now) this.#cool();
  }

  warm(connection: Connection): void {
    if (connection.isWarm) return;
    connection.isWarm = true;
    this.#warm.push(connection);
    if (this.#coolAt === Number.POSITIVE_INFINITY) this.#coolAt = this.now + COOLING;
  }

  #cool(): void {
    const still: Connection[] = [];
    for (const connection of this.#warm) {
      if (connection.attached && this.now - connection.lastReceived < COOLING) {
        still.push(connection);
        continue;
      }
      connection.isWarm = false;
      if (connection.attached) connection.cool();
    }
    this.#warm = still;
    this.#coolAt = still.length > 0 ? this.now + COOLING : Number.POSITIVE_INFINITY;
  }

  // The end of connections.

  handshakeOver(connection: Connection): void {
    if (!connection.halfOpen) return;
    connection.halfOpen = false;
    this.counters.halfOpen--;
    this.#countSource(keyOf(connection.remote), -1);
    connection.listener?.halfOpen.delete(connection);
    connection.listener = undefined;
  }

  detach(connection: Connection): void {
    if (!connection.attached) return;
    connection.attached = false;
    this.#flows.remove(connection);
    this.timers.remove(connection);
    this.counters.connections--;
  }

  enterTimeWait(connection: Connection): void {
    this.detach(connection);
    if (this.#timeWait.size >= this.limits.timeWait) {
      const [oldest] = this.#timeWait;
      if (oldest !== undefined) this.forget(oldest);
    }
    const flow = new TimeWait(this, connection);
    this.#flows.add(flow);
    this.#timeWait.add(flow);
    this.timers.at(flow, flow.until);
    this.acknowledgeFor(flow);
  }

  forget(flow: TimeWait): void {
    if (!this.#timeWait.delete(flow)) return;
    this.#flows.remove(flow);
    this.timers.remove(flow);
  }

  renew(flow: TimeWait, segment: Segment): void {
    this.forget(flow);
    this.#inputWithoutFlow(segment, flow.local, flow.remote, flow.nextSequence);
  }

  acknowledgeFor(flow: TimeWait): void {
    if (this.full) return;
    const { output } = this.environment;
    const { buf, off } = output;
    const options = flow.timestamps ? TIMESTAMPS : 0;
    if (flow.timestamps) {
      const stamp = (Math.floor(this.now) + flow.timestampOffset) >>> 0;
      writeTimestamps(buf, off + HEADER, stamp, flow.timestampRecent);
    }
    writeHeader(buf, off, flow.localPort, flow.remotePort, flow.sndNxt, flow.rcvNxt, ACK, flow.window, options);
    if (output.commit(flow, HEADER + options, 0)) this.counters.segmentsOut++;
  }

  reset(flow: Flow, sequence: number, acknowledgment: number, flags: number): void {
    if (this.full) return;
    const { output } = this.environment;
    writeHeader(
      output.buf,
      output.off,
      flow.localPort,
      flow.remotePort,
      sequence,
      flags & ACK ? acknowledgment : 0,
      flags,
      0,
      0,
    );
    if (!output.commit(flow, HEADER, 0)) return;
    this.counters.segmentsOut++;
    this.counters.resetsOut++;
  }

  // Waiting SYNs.

  release(syn: PendingSyn): void {
    this.#flows.remove(syn);
    this.timers.remove(syn);
    this.counters.pendingSyns--;
    this.#countSource(keyOf(syn.remote), -1);
  }

  answer(syn: PendingSyn, offer: Offer, options: TcpConnectionOptions): TcpConnection {
    this.now = this.environment.now();
    const connection = new Connection(this, syn.local, syn.remote, syn.localPort, syn.remotePort, options, syn.iss);
    connection.cache = syn.cache;
    this.#openPassive(connection, offer);
    return connection;
  }

  refuseSyn(syn: PendingSyn, sequence: number): void {
    this.reset(syn, 0, sequence + 1, RST | ACK);
  }

  addressGone(local: TcpAddress): void {
    this.now = this.environment.now();
    const key = keyOf(local);
    this.#flows.forEach((flow) => {
      if (keyOf(flow.local) !== key) return;
      if (flow instanceof Connection) flow.fail(new TcpError("EADDRNOTAVAIL", "the stack no longer has this address"));
      else this.#forgetWaiting(flow);
    });
  }

  close(): void {
    this.#closed = true;
    for (const listener of this.#listeners.all()) listener.close();
    this.#flows.forEach((flow) => {
      if (flow instanceof Connection) flow.abort(new TcpError("ECONNABORTED", "the network stack was closed"));
      else this.#forgetWaiting(flow);
    });
  }

  #forgetWaiting(flow: Flow): void {
    if (flow instanceof PendingSyn) flow.gone();
    else if (flow instanceof TimeWait) this.forget(flow);
  }

  stats(): TcpStats {
    return {
      ...this.counters,
      timeWait: this.#timeWait.size,
      listeners: this.#listeners.size,
      memory: this.memory.used,
      drops: { ...this.counters.drops },
    };
  }
}

/** The sender of a segment that belongs to nothing. */
class Stranger extends Flow {
  input(): void {}
  onTime(): number {
    return Number.POSITIVE_INFINITY;
  }
}

function keyOf(address: TcpAddress): string {
  return String.fromCharCode(...address);
}

function noStats(): TcpStats {
  const drops: Record<TcpDropReason, number> = {
    malformed: 0,
    "no-connection": 0,
    backlog: 0,
    limit: 0,
    memory: 0,
    "outside-window": 0,
    paws: 0,
    "invalid-ack": 0,
    "invalid-reset": 0,
    "invalid-syn": 0,
    "challenge-limit": 0,
    "after-close": 0,
  };
  return {
    connections: 0,
    halfOpen: 0,
    pendingSyns: 0,
    timeWait: 0,
    listeners: 0,
    memory: 0,
    segmentsIn: 0,
    segmentsOut: 0,
    opened: 0,
    accepted: 0,
    retransmitted: 0,
    resetsIn: 0,
    resetsOut: 0,
    challengeAcks: 0,
    drops,
  };
}
