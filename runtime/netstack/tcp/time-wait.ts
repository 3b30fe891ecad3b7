import type { Connection } from "./connection";
import { Flow } from "./flow-table";
import { ACK, FIN, RST, type Segment, SYN } from "./segment";
import { timestampBefore, unwrap } from "./sequence";
import type { TcpStats } from "./types";

/** Answers of a remembered connection in a second. */
const ANSWERS_PER_SECOND = 10;

/** What TIME-WAIT needs of its layer. */
export interface TimeWaitHost {
  now: number;
  readonly limits: { readonly timeWaitTime: number };
  readonly counters: TcpStats;
  /** An acknowledgment of the last state of a connection that is over. */
  acknowledgeFor(flow: TimeWait): void;
  /** The time is over, or a new connection takes the place. */
  forget(flow: TimeWait): void;
  /** A RST; best effort. */
  reset(flow: TimeWait, sequence: number, acknowledgment: number, flags: number): void;
  /** A SYN that may begin a new connection between the same addresses and ports. */
  renew(flow: TimeWait, segment: Segment): void;
}

/**
 * A connection in TIME-WAIT (RFC 9293 section 3.3.2): only what is needed to answer a repeated FIN and to tell old segments from a new connection.
 * It may stand for the rest of a FIN-WAIT-2 that nobody reads from any more: then the peer's FIN is still to come.
 */
export class TimeWait extends Flow {
  readonly sndNxt: number;
  rcvNxt: number;
  readonly timestamps: boolean;
  readonly timestampOffset: number;
  timestampRecent: number;
  readonly window: number;
  /** When it ends. */
  until: number;
  #finReceived: boolean;
  /** The right edge of the window that the peer knows. */
  readonly #edge: number;
  #answers = 0;
  #answersSince = 0;

  constructor(
    private readonly host: TimeWaitHost,
    connection: Connection,
  ) {
    super(connection.local, connection.remote, connection.localPort, connection.remotePort);
    this.cache = connection.cache;
    this.sndNxt = connection.sndNxt;
    this.rcvNxt = connection.rcvNxt;
    this.timestamps = connection.timestamps;
    this.timestampOffset = connection.timestampOffset;
    this.timestampRecent = connection.timestampRecent;
    this.window = Math.min(65_535, Math.ceil(connection.capacity / 2 ** connection.receiveScale));
    this.until = host.now + host.limits.timeWaitTime;
    this.#finReceived = connection.finReceived;
    this.#edge = connection.advertised;
  }

  /** Beyond all that the old connection has used (RFC 9293 section 3.4.1), as Linux has it. */
  get nextSequence(): number {
    return (this.sndNxt + 65_537) >>> 0;
  }

  input(segment: Segment): void {
    const { flags } = segment;
    // RFC 1337: a RST, which may be old or forged, does not cut the wait short.
    if (flags & RST) return;
    if (flags & SYN && !(flags & ACK)) {
      // RFC 6191, and RFC 9293 MAY-2: a later timestamp or sequence number shows a new connection.
      const later =
        this.timestamps && segment.timestamps
          ? timestampBefore(this.timestampRecent, segment.timestamp)
          : unwrap(segment.sequence, this.rcvNxt) > this.rcvNxt;
      if (later) this.host.renew(this, segment);
      else this.#answer();
      return;
    }
    const start = unwrap(segment.sequence, this.rcvNxt);
    const end = start + segment.length + (flags & FIN ? 1 : 0);
    if (!this.#finReceived && this.#isNew(segment, start, end)) {
      if (!(flags & FIN) || end > this.rcvNxt + 1) {
        // RFC 9293 section 3.6.1: data that nobody will read is answered with a RST.
        this.host.counters.drops["after-close"]++;
        this.host.reset(this, this.sndNxt, this.rcvNxt, RST | ACK);
        this.host.forget(this);
        return;
      }
      this.rcvNxt = end;
      this.#finReceived = true;
    }
    if (this.#finReceived && flags & FIN && end === this.rcvNxt) {
      // The FIN, or the FIN again: our acknowledgment was lost.
      this.until = this.host.now + this.host.limits.timeWaitTime;
      if (segment.timestamps) this.timestampRecent = segment.timestamp;
    }
    if (segment.length > 0 || flags & (FIN | SYN) || start !== this.rcvNxt) this.#answer();
  }

  /** Whether the segment brings something that has not come before, by the tests that a connection makes. */
  #isNew(segment: Segment, start: number, end: number): boolean {
    if (!(segment.flags & ACK) || segment.flags & SYN || end <= this.rcvNxt || start > this.#edge) return false;
    if (unwrap(segment.acknowledgment, this.sndNxt) > this.sndNxt) return false;
    return !this.timestamps || (segment.timestamps && !timestampBefore(segment.timestamp, this.timestampRecent));
  }

  #answer(): void {
    const { now } = this.host;
    if (now - this.#answersSince >= 1000) {
      this.#answersSince = now;
      this.#answers = 0;
    }
    if (this.#answers++ < ANSWERS_PER_SECOND) this.host.acknowledgeFor(this);
  }

  onTime(now: number): number {
    if (this.until > now) return this.until;
    this.host.forget(this);
    return Number.POSITIVE_INFINITY;
  }
}
