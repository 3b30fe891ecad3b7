import { Cubic } from "./cubic";
import { Flight } from "./flight";
import { Flow } from "./flow-table";
import type { Host } from "./host";
import { arrive } from "./receive";
import { ReceiveBuffer } from "./receive-buffer";
import { onRetransmitTimer, Recovery } from "./recovery";
import { Rtt } from "./rtt";
import { ACK, MAX_HEADER, RST, type Segment, TIMESTAMPS } from "./segment";
import { SendBuffer } from "./send-buffer";
import { sendProbe, transmit } from "./transmit";
import {
  type TcpAddress,
  type TcpConnection,
  type TcpConnectionOptions,
  type TcpConnectionStats,
  TcpError,
  type TcpHandlers,
  type TcpState,
} from "./types";

/** RFC 9293 section 3.7.1: the MSS of a peer that does not say one. */
const DEFAULT_MSS_V4 = 536;
const DEFAULT_MSS_V6 = 1220;
/** A smaller path or peer is not believed (as Linux): options and little else would fit. */
const SMALLEST_MSS = 48;
/** RFC 9293 section 3.8.3: at least three minutes; Linux gives up after 127 seconds. */
const CONNECT_TIMEOUT = 130_000;
/** A SYN-ACK that nobody answers: as Linux, with five repetitions. */
const HALF_OPEN_TIMEOUT = 63_000;
const USER_TIMEOUT = 300_000;
const KEEPALIVE_PROBES = 9;
const KEEPALIVE_INTERVAL = 75_000;
/** How long FIN-WAIT-2 waits for a peer whose data nobody reads any more. */
const ORPHAN_TIMEOUT = 60_000;
/** Send buffer of a connection in a time of scarce memory. */
const LEAST_SEND_BUFFER = 16 * 1024;
const FIRST_SEND_BUFFER = 256 * 1024;
/** Challenge ACKs of a connection in a second (RFC 5961 section 7); there is no common count that an attacker could read off (CVE-2016-5696). */
const CHALLENGES_PER_SECOND = 10;

const CONNECTED = 1;
const READABLE = 2;
const WRITABLE = 4;
const FINISHED = 8;
const FAILED = 16;
const CLOSED = 32;

/** What a SYN says. */
export interface Offer {
  sequence: number;
  window: number;
  mss: number;
  windowScale: number;
  sack: boolean;
  timestamps: boolean;
  timestamp: number;
}

export function offerOf(segment: Segment): Offer {
  return {
    sequence: segment.sequence,
    window: segment.window,
    mss: segment.mss,
    windowScale: segment.windowScale,
    sack: segment.sackPermitted,
    timestamps: segment.timestamps,
    timestamp: segment.timestamp,
  };
}

/** What the retransmission timer is set for; one timer serves all of them, for only one is ever due. */
export type RetransmitTimer = "off" | "syn" | "timeout" | "probe" | "reorder" | "persist";

/** The transmission control block (RFC 9293 section 3.3.1) and its user's side. Segments arrive in `receive.ts` and leave in `transmit.ts`. */
export class Connection extends Flow implements TcpConnection {
  state: TcpState = "closed";
  handlers: TcpHandlers = {};
  owner: unknown = undefined;

  // Send sequence space; all numbers unwrapped (sequence.ts).
  readonly iss: number;
  sndUna: number;
  sndNxt: number;
  sndWnd = 0;
  sndWl1 = 0;
  sndWl2 = 0;
  maxSndWnd = 0;
  readonly send: SendBuffer;
  readonly flight = new Flight();
  readonly rtt = new Rtt();
  readonly congestion: Cubic;
  readonly recovery = new Recovery();
  /** `end` was called: the FIN stands at `send.end`. */
  finQueued = false;
  /** A SYN or SYN-ACK is to be sent. */
  synDue = false;

  // Receive sequence space.
  receive: ReceiveBuffer;
  /** Where the peer's FIN stands; Infinity: not seen. */
  finAt = Number.POSITIVE_INFINITY;
  finReceived = false;
  /** The right edge of the window as the peer knows it; never moves back. */
  advertised = 0;
  /** Bytes that unread data may take: the window is what is left of it. */
  capacity: number;
  /** `rcvNxt` of the last acknowledgment sent (RFC 7323: Last.ACK.sent). */
  lastAckSent = 0;
  ackNow = false;
  /** The peer's next bytes came, and there was no memory for them beside what is unread. */
  turnedAway = false;
  /** Payload bytes that wait for a delayed acknowledgment. */
  unacknowledged = 0;
  /** Segments that are acknowledged at once, for the peer's slow start. */
  quickAcks = 16;
  /** Largest payload of a segment of the peer, as far as seen. */
  peerSegment = 536;
  /** A duplicate to be reported (RFC 2883); equal: none. */
  duplicateStart = 0;
  duplicateEnd = 0;
  /** Receive window tuning: bytes read since, and when it began. */
  #tunedRead = 0;
  #tunedAt = 0;

  // Negotiated.
  sack = true;
  timestamps = true;
  timestampOffset: number;
  timestampRecent = 0;
  timestampRecentAt = 0;
  sendScale = 0;
  receiveScale: number;
  /** Payload of a full segment but for SACK blocks. */
  mss = DEFAULT_MSS_V4;
  peerMss: number;
  /** Below the path MTU where full segments seem to vanish (RFC 8899, RFC 4821 section 7.7). */
  blackHoleMss = Number.POSITIVE_INFINITY;

  timer: RetransmitTimer = "off";
  timerAt = Number.POSITIVE_INFINITY;
  ackAt = Number.POSITIVE_INFINITY;
  idleAt = Number.POSITIVE_INFINITY;
  /** Since when nothing that was sent has been answered; -1: it has. */
  unansweredSince = -1;
  persistBackoff = 0;
  /** A window probe is to be sent. */
  persistDue = false;
  /** RFC 6298 (5.7) and RFC 5681 section 3.1 want a careful start then. */
  synTimedOut = false;
  synSentAt = 0;
  lastReceived = 0;
  lastSent = 0;
  lastDataSent = 0;
  /** Not all that could be sent was: the congestion window was in the way. */
  congestionLimited = false;
  /** One segment of new data goes as a tail loss probe, whatever the congestion window says. */
  probeNew = false;
  #keepAlive: number;
  #keepAliveProbes = 0;

  /** Within the layer's lists. */
  scheduled = false;
  isBlocked = false;
  isWarm = false;
  attached = false;
  /** Counted among the handshakes under way, of this listener where there is one. */
  halfOpen = false;
  listener: { halfOpen: Set<Connection> } | undefined = undefined;
  /** Something was sent since the link was full. */
  served = false;
  /** Who takes the connection once it is established; undefined: its user has it already. */
  acceptor: ((connection: TcpConnection) => void) | undefined = undefined;

  readonly #userTimeout: number;
  #connectTimeout: number;
  readonly #receiveMax: number;
  readonly #sendMax: number;
  noDelay: boolean;
  #events = 0;
  #error: TcpError | undefined = undefined;
  #wantsReadable = true;
  #wantsWritable = false;
  #closedTold = false;
  /** The highest acknowledgment, and when it came; when the user closed. */
  #acknowledged = 0;
  #acknowledgedAt = 0;
  #closedAt = 0;
  /** `close` was called: nobody reads. */
  readClosed = false;
  #challenges = 0;
  #challengesSince = 0;

  bytesSent = 0;
  bytesAcked = 0;
  bytesReceived = 0;
  bytesRetransmitted = 0;
  segmentsSent = 0;
  segmentsReceived = 0;
  retransmissionTimeouts = 0;
  fastRecoveries = 0;

  constructor(
    readonly host: Host,
    local: TcpAddress,
    remote: TcpAddress,
    localPort: number,
    remotePort: number,
    options: TcpConnectionOptions,
    iss = host.secrets.sequence(local, remote, localPort, remotePort, host.now),
  ) {
    super(local, remote, localPort, remotePort);
    const { limits, secrets, now } = host;
    this.noDelay = options.noDelay ?? true;
    this.#keepAlive = options.keepAlive ?? limits.keepAlive;
    this.#connectTimeout = options.connectTimeout ?? CONNECT_TIMEOUT;
    this.#userTimeout = options.userTimeout ?? USER_TIMEOUT;
    this.#receiveMax = options.receiveBuffer ?? limits.receiveBuffer;
    this.#sendMax = options.sendBuffer ?? limits.sendBuffer;
    this.capacity = Math.min(this.#receiveMax, limits.initialReceiveBuffer);
    this.receiveScale = scaleFor(this.#receiveMax);
    this.iss = iss;
    this.sndUna = this.iss;
    this.sndNxt = this.iss;
    this.send = new SendBuffer(this.iss + 1, host.memory);
    this.receive = new ReceiveBuffer(0, host.memory);
    this.timestampOffset = secrets.timestampOffset(local, remote);
    this.peerMss = local.length === 4 ? DEFAULT_MSS_V4 : DEFAULT_MSS_V6;
    this.congestion = new Cubic(this.mss);
    this.lastReceived = now;
    this.lastSent = now;
    this.lastDataSent = now;
    this.#tunedAt = now;
  }

  // The handshake.

  openActive(): void {
    this.state = "syn-sent";
    this.#sendSyn();
  }

  /** A SYN was received: answers it. */
  openPassive(offer: Offer): void {
    this.takeOffer(offer);
    this.state = "syn-received";
    this.#connectTimeout = Math.min(this.#connectTimeout, HALF_OPEN_TIMEOUT);
    this.#sendSyn();
  }

  #sendSyn(): void {
    this.sndNxt = this.iss + 1;
    this.synDue = true;
    this.unansweredSince = this.host.now;
    this.setTimer("syn", this.host.now + this.rtt.rto);
    this.host.schedule(this);
  }

  /** Takes over the options of the peer's SYN, and its sequence number. */
  takeOffer(offer: Offer): void {
    this.receive = new ReceiveBuffer(offer.sequence + 1, this.host.memory);
    // What our SYN says, or the SYN-ACK will say.
    this.advertised = this.receive.next + Math.min(65_535, this.capacity);
    this.lastAckSent = this.receive.next;
    this.sndWnd = offer.window;
    this.maxSndWnd = offer.window;
    this.sndWl1 = offer.sequence;
    this.sndWl2 = this.iss;
    this.sack = offer.sack;
    this.timestamps = offer.timestamps;
    if (offer.timestamps) {
      this.timestampRecent = offer.timestamp;
      this.timestampRecentAt = this.host.now;
    }
    if (offer.windowScale >= 0) {
      this.sendScale = offer.windowScale;
    } else {
      // RFC 7323 section 1.3: scaling needs both sides.
      this.receiveScale = 0;
      this.capacity = Math.min(this.capacity, 65_535);
    }
    if (offer.mss > 0) this.peerMss = Math.max(SMALLEST_MSS, offer.mss);
    this.updateMss();
    this.congestion.restart(this.synTimedOut);
  }

  /** The handshake is complete. */
  establish(): void {
    const { host } = this;
    const passive = this.state === "syn-received";
    this.state = this.finQueued ? "fin-wait-1" : "established";
    this.setTimer("off", Number.POSITIVE_INFINITY);
    this.unansweredSince = -1;
    this.#tunedAt = host.now;
    host.handshakeOver(this);
    if (passive) host.counters.accepted++;
    else host.counters.opened++;
    this.#events |= CONNECTED;
    this.#armIdle();
    host.schedule(this);
  }

  // Sizes and numbers.

  get rcvNxt(): number {
    return this.finReceived ? this.receive.next + 1 : this.receive.next;
  }

  get synchronized(): boolean {
    return this.state !== "syn-sent" && this.state !== "closed";
  }

  /** The clock as the timestamp option has it. */
  timestampAt(time: number): number {
    return (Math.floor(time) + this.timestampOffset) >>> 0;
  }

  updateMss(): void {
    const { environment } = this.host;
    const most = environment.output.room - MAX_HEADER;
    const path = Math.min(environment.mss(this.local, this.remote), this.blackHoleMss, most);
    const whole = Math.max(SMALLEST_MSS, Math.min(path, this.peerMss));
    this.mss = whole - (this.timestamps ? TIMESTAMPS : 0);
    this.congestion.setMss(this.mss);
  }

  /** The path takes less than it did: what is under way in larger segments is sent again (RFC 1191 section 6.4), which is no sign of congestion. */
  pathMtuChanged(): void {
    const before = this.mss;
    this.updateMss();
    if (!this.synchronized || this.mss >= before) return;
    const { flight } = this;
    for (let i = 0; i < flight.count; i++) {
      if (flight.end(i) - flight.start(i) > this.mss) flight.markLost(i);
    }
    this.host.schedule(this);
  }

  /** The window field of the next segment; moves the right edge that the peer knows. */
  windowField(): number {
    const next = this.rcvNxt;
    const edge = this.receive.read + this.capacity;
    const scale = this.receiveScale;
    const open = Math.max(0, edge - next);
    // Rounded down, but never back behind what was promised (RFC 9293 section 3.8.6).
    const field = Math.min(
      65_535,
      Math.max(open >>> scale, Math.ceil(Math.max(0, this.advertised - next) / 2 ** scale)),
    );
    this.advertised = Math.max(this.advertised, next + field * 2 ** scale);
    return field;
  }

  // The user's side.

  write(chunk: Uint8Array): boolean {
    if (this.finQueued || this.state === "closed" || this.state === "time-wait") return false;
    this.send.push(chunk);
    this.host.schedule(this);
    if (this.send.length < this.#sendLimit()) return true;
    this.#wantsWritable = true;
    return false;
  }

  /** Two windows: one in flight, one to follow. */
  #sendLimit(): number {
    if (this.host.memory.scarce) return Math.min(LEAST_SEND_BUFFER, this.#sendMax);
    return Math.min(this.#sendMax, Math.max(FIRST_SEND_BUFFER, 2 * this.congestion.window));
  }

  end(): void {
    if (this.finQueued || this.state === "closed" || this.state === "time-wait") return;
    this.finQueued = true;
    if (this.state === "established") this.state = "fin-wait-1";
    else if (this.state === "close-wait") this.state = "last-ack";
    this.host.schedule(this);
  }

  read(): Buffer | undefined {
    return this.#read(this.receive.take());
  }

  lend(): Buffer | undefined {
    return this.#read(this.receive.lend());
  }

  giveBack(part: Buffer): void {
    this.receive.giveBack(part);
  }

  #read(part: Buffer | undefined): Buffer | undefined {
    const { receive, host } = this;
    if (part === undefined) {
      this.#wantsReadable = true;
      if (!this.attached) {
        receive.drop();
        this.#tellClosed();
      }
      return undefined;
    }
    this.#tune(part.length);
    if (this.attached && !this.finReceived && (this.#windowUpdateDue() || this.#canTakeAgain())) {
      this.turnedAway = false;
      this.ackNow = true;
      host.schedule(this);
    }
    return part;
  }

  /** Receiver's silly window avoidance (RFC 9293 section 3.8.6.2.2): only a step that is worth a segment. */
  #windowUpdateDue(): boolean {
    const gained = this.receive.read + this.capacity - this.advertised;
    return gained >= Math.min(this.capacity / 2, Math.max(2 * this.peerSegment, this.capacity / 8));
  }

  /** With nothing unread there is room for a little, however scarce memory is. */
  #canTakeAgain(): boolean {
    return this.turnedAway && this.receive.readable === 0;
  }

  /** A reader that takes more than half of the window in a round trip could take more: the window doubles. */
  #tune(bytes: number): void {
    if (this.capacity >= this.#receiveMax || this.receiveScale === 0) return;
    this.#tunedRead += bytes;
    const { now, memory } = this.host;
    if (now - this.#tunedAt < Math.max(1, this.rtt.smoothed)) return;
    if (this.#tunedRead * 2 > this.capacity && !memory.scarce) {
      this.capacity = Math.min(this.#receiveMax, this.capacity * 2);
    }
    this.#tunedRead = 0;
    this.#tunedAt = now;
  }

  get readableBytes(): number {
    return this.receive.readable;
  }

  get readEnded(): boolean {
    return this.finReceived && this.receive.readable === 0;
  }

  close(): void {
    if (this.readClosed) return;
    if (!this.attached || this.state === "syn-sent" || this.receive.readable > 0) {
      this.abort();
      return;
    }
    this.readClosed = true;
    this.#closedAt = this.host.now;
    this.end();
    if (this.state === "fin-wait-2") this.#armIdle();
  }

  abort(error?: TcpError): void {
    if (this.attached) {
      if (this.state !== "syn-sent") this.sendReset();
      this.fail(error);
      return;
    }
    this.receive.drop();
    this.readClosed = true;
    this.#tellClosed();
  }

  sendReset(): void {
    this.host.reset(this, this.sndNxt, this.rcvNxt, RST | ACK);
  }

  setNoDelay(on: boolean): void {
    this.noDelay = on;
    if (on) this.host.schedule(this);
  }

  setKeepAlive(idle: number): void {
    this.#keepAlive = idle;
    this.#keepAliveProbes = 0;
    this.#armIdle();
  }

  stats(): TcpConnectionStats {
    return {
      state: this.state,
      bytesSent: this.bytesSent,
      bytesAcked: this.bytesAcked,
      bytesReceived: this.bytesReceived,
      bytesRetransmitted: this.bytesRetransmitted,
      segmentsSent: this.segmentsSent,
      segmentsReceived: this.segmentsReceived,
      retransmissionTimeouts: this.retransmissionTimeouts,
      fastRecoveries: this.fastRecoveries,
      smoothedRtt: this.rtt.smoothed,
      retransmissionTimeout: this.rtt.rto,
      congestionWindow: Math.floor(this.congestion.window),
      slowStartThreshold: this.congestion.threshold,
      sendWindow: this.sndWnd,
      receiveWindow: Math.max(0, this.advertised - this.rcvNxt),
      mss: this.mss,
      bytesInFlight: this.flight.inFlight,
      sendQueue: this.send.length,
      receiveQueue: this.receive.readable,
    };
  }

  // Events.

  noteReadable(): void {
    if (this.#wantsReadable) {
      this.#wantsReadable = false;
      this.#events |= READABLE;
    }
    this.host.schedule(this);
  }

  /** Something was acknowledged: there may be room for the writer again, and our FIN may have arrived. */
  noteAcknowledged(): void {
    if (this.sndUna > this.#acknowledged) {
      this.#acknowledged = this.sndUna;
      this.#acknowledgedAt = this.host.now;
    }
    if (this.#wantsWritable && this.send.length * 2 <= this.#sendLimit()) {
      this.#wantsWritable = false;
      this.#events |= WRITABLE;
      this.host.schedule(this);
    }
  }

  noteFinished(): void {
    this.#events |= FINISHED;
    this.host.schedule(this);
  }

  /** Hands out what has happened, in the order in which a user wants to hear it. */
  deliver(): void {
    const events = this.#events;
    if (events === 0) return;
    this.#events = 0;
    if (events & CONNECTED) {
      const { acceptor } = this;
      this.acceptor = undefined;
      acceptor?.(this);
      this.handlers.connected?.();
    }
    if (events & READABLE) this.handlers.readable?.();
    if (events & WRITABLE) this.handlers.writable?.();
    if (events & FINISHED) this.handlers.finished?.();
    if (events & FAILED && this.#error !== undefined) this.handlers.error?.(this.#error);
    if (events & CLOSED) this.handlers.closed?.();
  }

  // The end.

  /** Both directions have ended in order, and nothing is to be remembered. */
  finish(): void {
    this.state = "closed";
    this.#release();
    this.host.detach(this);
    this.#closeWhenRead();
  }

  /** As `finish`, with TIME-WAIT to follow. */
  finishIntoTimeWait(): void {
    this.state = "time-wait";
    this.#release();
    this.host.enterTimeWait(this);
    this.#closeWhenRead();
  }

  #closeWhenRead(): void {
    this.host.schedule(this);
    if (this.receive.readable === 0) {
      this.receive.drop();
      this.#tellClosed();
    }
  }

  #tellClosed(): void {
    if (this.#closedTold) return;
    this.#closedTold = true;
    this.#events |= CLOSED;
    this.host.schedule(this);
  }

  /** The connection is broken. What has arrived may still be read until `closed`. */
  fail(error: TcpError | undefined): void {
    this.state = "closed";
    this.#release();
    this.host.handshakeOver(this);
    this.host.detach(this);
    if (this.acceptor !== undefined) {
      // Nobody knows of it yet, and nobody will.
      this.acceptor = undefined;
      this.#events = 0;
      this.receive.drop();
      return;
    }
    if (error !== undefined) {
      this.#error = error;
      this.#events |= FAILED;
    }
    if (this.readClosed || error === undefined) this.receive.drop();
    else this.receive.forget();
    this.#tellClosed();
  }

  #release(): void {
    this.send.release(this.send.end);
    this.flight.clear();
    this.timer = "off";
    this.timerAt = Number.POSITIVE_INFINITY;
    this.ackAt = Number.POSITIVE_INFINITY;
    this.idleAt = Number.POSITIVE_INFINITY;
    this.ackNow = false;
    this.synDue = false;
  }

  /** RFC 5961: an answer that says what is expected, and no more often than it has to. @returns false where the limit is reached */
  challenge(): boolean {
    const { now, counters } = this.host;
    if (now - this.#challengesSince >= 1000) {
      this.#challengesSince = now;
      this.#challenges = 0;
    }
    if (this.#challenges >= CHALLENGES_PER_SECOND) {
      counters.drops["challenge-limit"]++;
      return false;
    }
    this.#challenges++;
    counters.challengeAcks++;
    this.ackNow = true;
    this.host.schedule(this);
    return true;
  }

  // Time.

  setTimer(kind: RetransmitTimer, time: number): void {
    this.timer = kind;
    this.timerAt = time;
    if (time !== Number.POSITIVE_INFINITY) this.host.timers.at(this, time);
  }

  setAckTimer(time: number): void {
    this.ackAt = time;
    this.host.timers.at(this, time);
  }

  #armIdle(): void {
    let wait = Number.POSITIVE_INFINITY;
    if (this.state === "fin-wait-2" && this.readClosed) wait = ORPHAN_TIMEOUT;
    else if (this.#keepAlive > 0 && this.attached && this.state !== "syn-sent" && this.state !== "syn-received") {
      wait = this.#keepAlive;
    }
    this.idleAt = this.host.now + wait;
    if (wait !== Number.POSITIVE_INFINITY) this.host.timers.at(this, this.idleAt);
  }

  /** FIN-WAIT-2 was reached. */
  awaitPeersEnd(): void {
    if (this.readClosed) this.#armIdle();
  }

  onTime(now: number): number {
    if (!this.attached) return Number.POSITIVE_INFINITY;
    if (this.ackAt <= now) {
      this.ackAt = Number.POSITIVE_INFINITY;
      this.ackNow = true;
      this.host.schedule(this);
    }
    if (this.timerAt <= now) this.#onTimer(now);
    if (this.attached && this.idleAt <= now) this.#onIdle(now);
    return Math.min(this.ackAt, this.timerAt, this.idleAt);
  }

  #onTimer(now: number): void {
    const { timer } = this;
    this.timer = "off";
    this.timerAt = Number.POSITIVE_INFINITY;
    if (timer === "syn") this.#onSynTimer(now);
    else if (timer === "persist") this.#onPersistTimer(now);
    else onRetransmitTimer(this, timer, now);
  }

  #onSynTimer(now: number): void {
    if (now - this.unansweredSince >= this.#connectTimeout) {
      if (this.state === "syn-received") this.sendReset();
      this.fail(new TcpError("ETIMEDOUT", "the peer does not answer to a SYN"));
      return;
    }
    this.rtt.backOff();
    this.synTimedOut = true;
    this.synDue = true;
    this.retransmissionTimeouts++;
    this.setTimer("syn", now + this.rtt.rto);
    this.host.schedule(this);
  }

  /** Gives up where nothing was answered for the user timeout. @returns true: the connection is gone */
  unanswered(now: number): boolean {
    if (this.unansweredSince < 0) this.unansweredSince = now;
    if (now - this.unansweredSince < this.#userTimeout) return false;
    this.sendReset();
    this.fail(new TcpError("ETIMEDOUT", "the peer no longer answers"));
    return true;
  }

  /** RFC 9293 section 3.8.6.1: asks for the window, as long as the peer answers at all. */
  #onPersistTimer(now: number): void {
    if (this.unanswered(now)) return;
    // As Linux: a peer may not hold what nobody waits for any more, however often it answers.
    if (this.readClosed && now - Math.max(this.#acknowledgedAt, this.#closedAt) >= this.#userTimeout) {
      this.sendReset();
      this.fail(undefined);
      return;
    }
    this.persistBackoff = Math.min(10, this.persistBackoff + 1);
    this.setTimer("persist", now + this.persistWait());
    this.persistDue = true;
    this.host.schedule(this);
  }

  persistWait(): number {
    return Math.min(60_000, this.rtt.rto * 2 ** this.persistBackoff);
  }

  #onIdle(now: number): void {
    if (this.state === "fin-wait-2" && this.readClosed) {
      // As Linux: the rest of the wait is that of TIME-WAIT.
      this.finishIntoTimeWait();
      return;
    }
    this.idleAt = Number.POSITIVE_INFINITY;
    if (this.#keepAlive <= 0) return;
    if (now - this.lastReceived < this.#keepAlive) {
      this.#keepAliveProbes = 0;
      this.idleAt = this.lastReceived + this.#keepAlive;
      return;
    }
    // Data under way is its own probe.
    if (this.flight.count === 0) {
      if (this.#keepAliveProbes >= KEEPALIVE_PROBES) {
        this.sendReset();
        this.fail(new TcpError("ETIMEDOUT", "the peer no longer answers keepalives"));
        return;
      }
      this.#keepAliveProbes++;
      sendProbe(this);
    }
    this.idleAt = now + Math.min(this.#keepAlive, KEEPALIVE_INTERVAL);
  }

  // Called by the layer.

  input(segment: Segment): void {
    this.segmentsReceived++;
    arrive(this, segment);
  }

  output(): void {
    transmit(this);
  }

  /** Nothing has come for a while: memory that waits for more is given back. */
  cool(): void {
    this.receive.shrink();
    if (this.flight.count === 0) this.flight.clear();
  }
}

/** The smallest scale with which a window of `bytes` can be said (RFC 7323 section 2.2). */
function scaleFor(bytes: number): number {
  let scale = 0;
  while (scale < 14 && 65_535 * 2 ** scale < bytes) scale++;
  return scale;
}
