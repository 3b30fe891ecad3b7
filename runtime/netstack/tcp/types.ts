/** What the IP layer, the streams and the forwarders meet TCP by. */

/** An IP address in network order: 4 bytes for IPv4, 16 for IPv6. TCP keeps it and never alters it; nor may its giver. */
export type TcpAddress = Uint8Array;

/** The two addresses of a segment, as the IP layer needs them for its header. */
export interface TcpPath {
  readonly local: TcpAddress;
  readonly remote: TcpAddress;
  /** For the IP layer alone, `undefined` at first: what it wants to keep for this path, such as its header and pseudo header sum. */
  cache: unknown;
}

/** Where TCP writes its segments. Checksums are the work of the IP layer. */
export interface TcpOutput {
  /** Memory for one segment, free again when `commit` has returned. */
  readonly buf: Uint8Array;
  /** Where the TCP header begins; the IP header has its place before. */
  readonly off: number;
  /** Bytes from `off` on: header and payload of the largest super-segment. */
  readonly room: number;
  /**
   * Sends the `len` bytes at `off`.
   * @param segment 0: one segment. Else a super-segment, to be split after each `segment` bytes of payload; FIN and PSH belong on its last part only.
   * @returns false where the link is full: nothing was taken. TCP then waits for `TcpLayer.drained`.
   */
  commit(path: TcpPath, len: number, segment: number): boolean;
}

/** Everything that TCP takes from outside. */
export interface TcpEnvironment {
  /** Milliseconds of a clock that never goes back; fractions are used. */
  now(): number;
  /** Unpredictable bytes. */
  random(bytes: number): Uint8Array;
  readonly output: TcpOutput;
  /** Payload of the largest segment without TCP options: path MTU less IP header less 20. Asked at the handshake and after `pathMtuChanged`. */
  mss(local: TcpAddress, remote: TcpAddress): number;
  /** The address that a connection to `remote` comes from, or undefined where there is no way to it (EHOSTUNREACH). */
  source(remote: TcpAddress): TcpAddress | undefined;
  /** There is work for `flush`, wanted in this turn of the event loop (a microtask). Called once until `flush` runs. */
  wake(): void;
}

export type TcpState =
  | "syn-sent"
  | "syn-received"
  | "established"
  | "fin-wait-1"
  | "fin-wait-2"
  | "close-wait"
  | "closing"
  | "last-ack"
  | "time-wait"
  | "closed";

/** Codes as Node's sockets have them. */
export type TcpErrorCode =
  | "ECONNREFUSED" // a RST in answer to the SYN
  | "ECONNRESET" // a RST later
  | "ECONNABORTED" // `abort` by this side, or the layer was closed
  | "ETIMEDOUT" // no answer to a SYN, to data, or to keepalives
  | "EHOSTUNREACH" // no way there, or ICMP said so
  | "EADDRINUSE" // the local address and port are taken
  | "EADDRNOTAVAIL" // no free port is left, or the stack no longer has the connection's address
  | "ENOBUFS"; // a limit of this layer

export class TcpError extends Error {
  constructor(
    readonly code: TcpErrorCode,
    message: string,
  ) {
    super(message);
    this.name = "TcpError";
  }
}

/** What a connection tells its user; called from `flush` only, never from within another call. A missing handler is no event. */
export interface TcpHandlers {
  /** The handshake is complete. */
  connected?(): void;
  /** `read` has something, or the peer's end has been reached (`readEnded`). Called again only after a `read` returned undefined. */
  readable?(): void;
  /** After a `write` that returned false: there is room again. */
  writable?(): void;
  /** All that was written, and our FIN, has been acknowledged. */
  finished?(): void;
  /** The connection has broken; `closed` follows. */
  error?(error: TcpError): void;
  /** The last event: both directions are done (TIME-WAIT is not waited for), or it broke. */
  closed?(): void;
}

export interface TcpConnectionOptions {
  /** Nagle's algorithm is off when true. @default true */
  noDelay?: boolean;
  /** Milliseconds of silence before the first keepalive probe; 0 turns them off. @default limits.keepAlive */
  keepAlive?: number;
  /** Milliseconds without an answer to a SYN. @default 130_000 */
  connectTimeout?: number;
  /** Milliseconds in which data or probes stay without any answer (RFC 9293 section 3.8.3: R2). @default 300_000 */
  userTimeout?: number;
  /** Bytes that unread data may grow to. @default limits.receiveBuffer */
  receiveBuffer?: number;
  /** Bytes that unsent and unacknowledged data may grow to. @default limits.sendBuffer */
  sendBuffer?: number;
}

export interface TcpConnectionStats {
  state: TcpState;
  /** Payload bytes, each once. */
  bytesSent: number;
  bytesAcked: number;
  bytesReceived: number;
  bytesRetransmitted: number;
  segmentsSent: number;
  segmentsReceived: number;
  retransmissionTimeouts: number;
  fastRecoveries: number;
  /** Milliseconds; 0 before the first measurement. */
  smoothedRtt: number;
  retransmissionTimeout: number;
  congestionWindow: number;
  slowStartThreshold: number;
  sendWindow: number;
  receiveWindow: number;
  /** Payload bytes of a full segment, options taken off. */
  mss: number;
  bytesInFlight: number;
  sendQueue: number;
  receiveQueue: number;
}

export interface TcpConnection {
  readonly local: TcpAddress;
  readonly remote: TcpAddress;
  readonly localPort: number;
  readonly remotePort: number;
  readonly state: TcpState;
  /** Set these at once: in the turn that made the connection. */
  handlers: TcpHandlers;
  /** Free for its user. */
  owner: unknown;

  /**
   * Sends `chunk`, which belongs to TCP from now on and must not be altered (large ones are not copied until they are sent).
   * Allowed before the handshake is complete. Bytes after `end` or after the end of the connection are dropped.
   * @returns false where the send buffer is full: `writable` follows when there is room.
   */
  write(chunk: Uint8Array): boolean;
  /** FIN after what was written; reading goes on (half-close). */
  end(): void;
  /**
   * The next unread bytes, which belong to the caller, or undefined where there are none now: then `readable` follows.
   * Reading opens the window: a reader that does not read stops the sender.
   */
  read(): Buffer | undefined;
  /** As `read`, but the bytes are the caller's until `giveBack` only: their memory is used again. */
  lend(): Buffer | undefined;
  /** @param part what `lend` gave, as it was given; nobody reads it any more */
  giveBack(part: Buffer): void;
  /** Unread bytes that `read` would give. */
  readonly readableBytes: number;
  /** The peer's FIN was reached and everything has been read. */
  readonly readEnded: boolean;
  /** Closes both directions: as `end`, but unread or later data is answered with a RST (RFC 2525 section 2.17), and FIN-WAIT-2 ends after a minute. */
  close(): void;
  /** RST to the peer. `error` (if given) and `closed` follow for the user. */
  abort(error?: TcpError): void;
  setNoDelay(on: boolean): void;
  /** @param idle milliseconds; 0 turns keepalives off */
  setKeepAlive(idle: number): void;
  stats(): TcpConnectionStats;
}

/** A SYN that nobody has answered yet: it may be answered later, once. The peer's repeated SYNs are taken as the same one. */
export interface TcpSyn {
  readonly local: TcpAddress;
  readonly remote: TcpAddress;
  readonly localPort: number;
  readonly remotePort: number;
  /** The SYN's sequence number: an ICMP error about it has to quote that to be believed. */
  readonly sequence: number;
  /** False once it was answered or its time is over (limits.synTimeout); then the calls below do nothing. */
  readonly open: boolean;
  /** Called when its time is over, or the peer took it back with a RST: whoever is connecting a real socket can stop. */
  onGone: () => void;
  /** SYN-ACK. `connected` or `error` follows. Undefined where the SYN is gone. */
  accept(options?: TcpConnectionOptions): TcpConnection | undefined;
  /** RST: the peer sees "connection refused" at once. */
  refuse(): void;
  /** No answer. */
  drop(): void;
}

export interface TcpListenOptions {
  /** Undefined: every local address. */
  address?: TcpAddress;
  /** 0 picks a free one. */
  port: number;
  /** Handshakes under way at once. @default limits.backlog */
  backlog?: number;
  connection?: TcpConnectionOptions;
  /** A connection whose handshake is complete. */
  onConnection(connection: TcpConnection): void;
}

export interface TcpListener {
  readonly address: TcpAddress | undefined;
  readonly port: number;
  /** No more connections; handshakes under way are refused, established connections stay. */
  close(): void;
}

export interface TcpLayer {
  /**
   * @param remote address and port
   * @param local missing parts are chosen: the address by `environment.source`, the port at random (RFC 6056)
   * @throws TcpError EADDRINUSE, EADDRNOTAVAIL, EHOSTUNREACH, ENOBUFS; ECONNABORTED once the layer is closed
   */
  connect(
    remote: { address: TcpAddress; port: number },
    local?: { address?: TcpAddress; port?: number },
    options?: TcpConnectionOptions,
  ): TcpConnection;
  /** @throws TcpError EADDRINUSE, EADDRNOTAVAIL; ECONNABORTED once the layer is closed */
  listen(options: TcpListenOptions): TcpListener;
  /** Gets the SYNs that no listener takes, to any address and port that the IP layer lets through. Undefined: they are refused (RST). */
  onSyn: ((syn: TcpSyn) => void) | undefined;

  /**
   * One segment, or several of one connection joined (up to 64 KiB of payload, all but the last of one size). Its checksum was right. Valid during the call.
   * @param local where in `buf` the destination address stands
   * @param remote where in `buf` the source address stands
   * @param addressLength 4 or 16
   * @param segment 0, or the payload bytes of each joined segment
   */
  input(
    buf: Uint8Array,
    off: number,
    len: number,
    local: number,
    remote: number,
    addressLength: number,
    segment: number,
  ): void;
  /**
   * An ICMP error about a segment of ours, with the first 8 bytes of its TCP header. Believed only where the sequence number is in flight (RFC 5927).
   * @param local our address as in the quoted header (its source), `remote` its destination
   * @param kind `too-big` with the MTU of the next hop (0: unknown); `unreachable`: soft on an established connection, hard on one in SYN-SENT;
   *   `refused` (port or protocol unreachable, prohibited): as unreachable, with ECONNREFUSED
   * @returns whether it was believed: only then may the IP layer lower its path MTU. For `too-big` the caller then calls `pathMtuChanged`.
   */
  icmpError(
    kind: "too-big" | "unreachable" | "refused",
    local: TcpAddress,
    remote: TcpAddress,
    localPort: number,
    remotePort: number,
    sequence: number,
  ): boolean;
  /** `environment.mss` gives another answer for this remote address: its connections follow, and send again what was too big. */
  pathMtuChanged(remote: TcpAddress): void;

  /** The stack no longer has this address: its connections end with EADDRNOTAVAIL, without a word to their peers. Followed by `flush`. */
  addressGone(local: TcpAddress): void;

  /** Hands out events and sends what became due. To be called after a round of `input`, after `tick`, and on `wake`. */
  flush(): void;
  /** The link takes segments again. Followed by `flush`. */
  drained(): void;
  /** When `tick` is next due, in the clock's milliseconds; Infinity: never. May be early. */
  nextTimer(): number;
  /** Runs the timers that are due. Followed by `flush`. */
  tick(): void;
  /** Aborts every connection, closes every listener. */
  close(): void;
  stats(): TcpStats;
}

/** Counters since the start, and what there is now. */
export interface TcpStats {
  connections: number;
  halfOpen: number;
  pendingSyns: number;
  timeWait: number;
  listeners: number;
  /** Bytes of buffered data of all connections. */
  memory: number;
  segmentsIn: number;
  segmentsOut: number;
  opened: number;
  accepted: number;
  retransmitted: number;
  resetsIn: number;
  resetsOut: number;
  challengeAcks: number;
  /** Segments that were not taken, by reason. */
  drops: Record<TcpDropReason, number>;
}

export type TcpDropReason =
  | "malformed" // header or options run over the segment, or a port is 0
  | "no-connection" // answered with a RST
  | "backlog" // a half-open handshake gave way to a newer one, or a SYN found no room
  | "limit" // the limit of connections
  | "memory" // the limit of memory, of all connections or of this one
  | "outside-window"
  | "paws" // an old timestamp (RFC 7323 section 5)
  | "invalid-ack" // RFC 5961 section 5
  | "invalid-reset" // RFC 5961 section 3
  | "invalid-syn" // RFC 5961 section 4
  | "challenge-limit" // a challenge ACK that was not sent (RFC 5961 section 7)
  | "after-close"; // data for a reader that is gone, answered with a RST
