import { type Connection, offerOf } from "./connection";
import { acknowledge } from "./recovery";
import { ACK, FIN, RST, type Segment, SYN } from "./segment";
import { timestampBefore, unwrap } from "./sequence";
import { transmit } from "./transmit";
import { TcpError } from "./types";

/** How long an acknowledgment may wait for company (RFC 9293 section 3.8.6.3: below 500 ms; below the shortest time-outs and probes of peers). */
const DELAYED_ACK = 40;
/** RFC 7323 section 5.5: a timestamp that was not renewed for 24 days says nothing any more. */
const TIMESTAMP_LIFE = 24 * 24 * 3600 * 1000;

/** Bytes that a connection without unread data takes when memory is exhausted. */
const LEAST_TAKEN = 2048;

/** SEGMENT ARRIVES (RFC 9293 section 3.10.7) for a connection in any state but LISTEN, TIME-WAIT and CLOSED. */
export function arrive(c: Connection, segment: Segment): void {
  if (c.state === "syn-sent") {
    arriveInSynSent(c, segment);
    return;
  }
  const { counters, now } = c.host;
  const { flags } = segment;

  // PAWS (RFC 7323 section 5.3) before all else; a RST is exempt.
  if (c.timestamps && !(flags & RST) && !timestampAcceptable(c, segment)) {
    counters.drops.paws++;
    if (segment.length > 0 || flags & (SYN | FIN)) acknowledgeNow(c);
    return;
  }

  const next = c.rcvNxt;
  const start = unwrap(segment.sequence, next);
  const end = start + segment.length + (flags & FIN ? 1 : 0);
  const edge = Math.max(c.advertised, next);

  if (flags & RST) {
    arriveReset(c, start, edge);
    return;
  }
  if (flags & SYN) {
    arriveSyn(c, segment, start);
    return;
  }
  if (!acceptable(c, start, end, next, edge)) {
    counters.drops["outside-window"]++;
    if (end > start && end <= next) noteDuplicate(c, start, end);
    // What carries data was sent in good faith; an answer to the rest is limited, or two ends that disagree would go on for ever.
    if (end > start) acknowledgeNow(c);
    else c.challenge();
    return;
  }
  if (!(flags & ACK)) {
    counters.drops["invalid-ack"]++;
    return;
  }
  if (!takeAcknowledgment(c, segment, start, end)) return;
  c.lastReceived = now;
  if (!c.attached) return;
  if (segment.length > 0) takePayload(c, segment, start, edge);
  if (c.attached && flags & FIN) takeFin(c, start + segment.length, edge);
  if (c.attached && !c.finReceived && c.receive.next === c.finAt) reachFin(c);
}

function timestampAcceptable(c: Connection, segment: Segment): boolean {
  if (!segment.timestamps) return false;
  if (!timestampBefore(segment.timestamp, c.timestampRecent)) return true;
  return c.host.now - c.timestampRecentAt > TIMESTAMP_LIFE;
}

/**
 * RFC 7323 section 4.3, with the condition of Last.ACK.sent. Only of a segment whose acknowledgment is in order (as Linux), or one forged blindly
 * would have PAWS drop all that the peer sends.
 */
function takeTimestamp(c: Connection, segment: Segment, start: number): void {
  if (!c.timestamps || start > c.lastAckSent || timestampBefore(segment.timestamp, c.timestampRecent)) return;
  c.timestampRecent = segment.timestamp;
  c.timestampRecentAt = c.host.now;
}

/** RFC 9293 section 3.10.7.4, first step. A little more is let in than there: acknowledgments overtaken by later ones, and a window probe's. */
function acceptable(c: Connection, start: number, end: number, next: number, edge: number): boolean {
  if (end === start) return start >= Math.min(c.lastAckSent, next) && start <= edge;
  if (start === next) return true;
  return end > next && start < edge;
}

function acknowledgeNow(c: Connection): void {
  c.ackNow = true;
  c.host.schedule(c);
}

function noteDuplicate(c: Connection, start: number, end: number): void {
  if (!c.sack) return;
  c.duplicateStart = start;
  c.duplicateEnd = end;
}

/** RFC 9293 section 3.10.7.3. */
function arriveInSynSent(c: Connection, segment: Segment): void {
  const { flags } = segment;
  const { counters, now } = c.host;
  const ack = unwrap(segment.acknowledgment, c.iss);
  if (flags & ACK && (ack <= c.iss || ack > c.sndNxt)) {
    counters.drops["invalid-ack"]++;
    if (!(flags & RST)) c.host.reset(c, segment.acknowledgment, 0, RST);
    return;
  }
  if (flags & RST) {
    if (!(flags & ACK)) {
      counters.drops["invalid-reset"]++;
      return;
    }
    counters.resetsIn++;
    c.fail(new TcpError("ECONNREFUSED", "the peer refused the connection"));
    return;
  }
  if (!(flags & SYN)) {
    counters.drops["invalid-syn"]++;
    return;
  }
  c.takeOffer(offerOf(segment));
  c.lastReceived = now;
  if (!(flags & ACK)) {
    // Simultaneous open (RFC 9293 section 3.5, figure 8).
    c.state = "syn-received";
    c.synDue = true;
    c.host.schedule(c);
    return;
  }
  measureHandshake(c);
  c.sndUna = ack;
  c.sndWl2 = ack;
  // The SYN may wait for the link, to be sent again: it has arrived.
  c.synDue = false;
  c.establish();
  acknowledgeNow(c);
}

function measureHandshake(c: Connection): void {
  if (c.synTimedOut) c.rtt.synTimedOut();
  else c.rtt.sample(c.host.now - c.synSentAt, c.host.now);
}

/** RFC 5961 section 3: only the exact sequence number ends the connection. */
function arriveReset(c: Connection, start: number, edge: number): void {
  const { counters } = c.host;
  const next = c.rcvNxt;
  if (start !== next) {
    counters.drops["invalid-reset"]++;
    if (start > next && start < edge) c.challenge();
    return;
  }
  counters.resetsIn++;
  switch (c.state) {
    case "syn-received":
      c.fail(new TcpError("ECONNREFUSED", "the peer took the connection back"));
      return;
    case "closing":
    case "last-ack":
      // Everything has been received, and may still be read; whether our FIN has arrived, nobody will learn.
      if (c.send.length > 0) c.fail(new TcpError("ECONNRESET", "the peer reset the connection"));
      else c.finish();
      return;
    default:
      c.fail(new TcpError("ECONNRESET", "the peer reset the connection"));
  }
}

/** RFC 5961 section 4: a SYN never ends a connection. */
function arriveSyn(c: Connection, segment: Segment, start: number): void {
  const repeated = start === c.receive.read - 1 && c.bytesReceived === 0;
  if (c.state === "syn-received" && repeated) {
    if (segment.flags & ACK) {
      // The other half of a simultaneous open: its SYN again, with the acknowledgment of ours.
      if (unwrap(segment.acknowledgment, c.sndUna) === c.sndNxt) {
        segment.flags &= ~SYN;
        segment.sequence = (segment.sequence + 1) >>> 0;
        arrive(c, segment);
        return;
      }
    } else {
      // Ours was lost, or is late.
      c.synDue = true;
      c.host.schedule(c);
      return;
    }
  }
  if (repeated && segment.flags & ACK) {
    // Our acknowledgment of the peer's SYN-ACK was lost.
    acknowledgeNow(c);
    return;
  }
  c.host.counters.drops["invalid-syn"]++;
  c.challenge();
}

/**
 * RFC 9293 section 3.10.7.4, fifth step.
 * @returns false: the segment is not to be looked at further
 */
function takeAcknowledgment(c: Connection, segment: Segment, start: number, end: number): boolean {
  const { counters } = c.host;
  const ack = unwrap(segment.acknowledgment, c.sndUna);
  if (c.state === "syn-received") {
    if (ack !== c.sndNxt) {
      counters.drops["invalid-ack"]++;
      c.host.reset(c, segment.acknowledgment, 0, RST);
      return false;
    }
    takeTimestamp(c, segment, start);
    measureHandshake(c);
    c.sndUna = ack;
    c.sndWnd = segment.window * 2 ** c.sendScale;
    c.maxSndWnd = Math.max(c.maxSndWnd, c.sndWnd);
    c.sndWl1 = start;
    c.sndWl2 = ack;
    c.synDue = false;
    c.establish();
    return true;
  }
  if (ack > c.sndNxt || ack < c.sndUna - c.maxSndWnd) {
    // RFC 5961 section 5: blind injection, or an ancient duplicate.
    counters.drops["invalid-ack"]++;
    c.challenge();
    return false;
  }
  takeTimestamp(c, segment, start);
  const window = segment.window * 2 ** c.sendScale;
  const unchanged = window === c.sndWnd && end === start;
  if (ack >= c.sndUna) {
    // An older segment's window is not taken (SND.WL1, SND.WL2).
    if (start > c.sndWl1 || (start === c.sndWl1 && ack >= c.sndWl2)) takeWindow(c, window, start, ack);
    if (c.flight.count > 0) {
      acknowledge(c, segment, ack, ack === c.sndUna && unchanged);
      c.noteAcknowledged();
      c.host.schedule(c);
    }
  }
  if (c.finQueued && c.sndUna > c.send.end) return finAcknowledged(c);
  return true;
}

function takeWindow(c: Connection, window: number, start: number, ack: number): void {
  c.sndWl1 = start;
  c.sndWl2 = ack;
  if (window === 0) c.unansweredSince = -1;
  if (window > c.sndWnd) c.host.schedule(c);
  c.sndWnd = window;
  c.maxSndWnd = Math.max(c.maxSndWnd, window);
  if (c.timer === "persist") {
    // Answered: the peer lives.
    c.unansweredSince = -1;
    if (ack + window > c.sndNxt) {
      c.setTimer("off", Number.POSITIVE_INFINITY);
      c.persistBackoff = 0;
      c.host.schedule(c);
    }
  }
}

function finAcknowledged(c: Connection): boolean {
  switch (c.state) {
    case "fin-wait-1":
      c.state = "fin-wait-2";
      c.noteFinished();
      c.awaitPeersEnd();
      return true;
    case "closing":
      c.noteFinished();
      c.finishIntoTimeWait();
      return false;
    case "last-ack":
      c.noteFinished();
      c.finish();
      return false;
    default:
      return true;
  }
}

/** Seventh step: text. */
function takePayload(c: Connection, segment: Segment, start: number, edge: number): void {
  const { receive, host } = c;
  const { counters } = host;
  if (c.finReceived) return;
  const next = receive.next;
  const from = Math.max(start, next);
  let to = Math.min(start + segment.length, edge, c.finAt);
  if (start < next) noteDuplicate(c, start, Math.min(start + segment.length, next));
  if (to <= from) {
    acknowledgeNow(c);
    return;
  }
  if (c.readClosed) {
    // RFC 9293 section 3.6.1: data that nobody will read is answered with a RST.
    counters.drops["after-close"]++;
    c.sendReset();
    c.fail(undefined);
    return;
  }
  if (from > next) {
    c.quickAcks = 16;
    if (receive.has(from, to)) noteDuplicate(c, from, to);
    else if (host.memory.scarce || !receive.insert(from, segment.buf, segment.payload + (from - start), to - from)) {
      counters.drops.memory++;
    }
    // RFC 5681 section 4.2: at once, so that the sender sees what is missing; without SACK it counts these acknowledgments.
    acknowledgeNow(c);
    if (!c.sack) transmit(c);
    return;
  }
  const { exhausted, scarce } = host.memory;
  const growing = receive.readable > 0 && receive.readable + (to - from) > host.limits.initialReceiveBuffer;
  if (exhausted ? receive.readable > 0 : scarce && growing) {
    counters.drops.memory++;
    c.turnedAway = true;
    acknowledgeNow(c);
    return;
  }
  if (exhausted) {
    // Enough for whoever reads to go on.
    receive.shrink();
    to = Math.min(to, from + LEAST_TAKEN);
  }
  const filled = receive.hasGaps;
  receive.insert(from, segment.buf, segment.payload + (from - start), to - from);
  const arrived = receive.next - next;
  c.bytesReceived += arrived;
  c.turnedAway = false;
  host.warm(c);
  c.noteReadable();
  acknowledgeLater(c, segment, arrived, filled || start < next);
}

/** Delayed acknowledgments (RFC 9293 section 3.8.6.3): every second full segment, or a moment later. Joined segments are several. */
function acknowledgeLater(c: Connection, segment: Segment, arrived: number, atOnce: boolean): void {
  const size = segment.joined > 0 ? segment.joined : segment.length;
  if (size > c.peerSegment) c.peerSegment = size;
  c.unacknowledged += arrived;
  if (atOnce || c.quickAcks > 0 || c.unacknowledged >= 2 * c.peerSegment) {
    if (c.quickAcks > 0) c.quickAcks--;
    acknowledgeNow(c);
  } else if (c.ackAt === Number.POSITIVE_INFINITY) {
    c.setAckTimer(c.host.now + DELAYED_ACK);
  }
}

/** Eighth step: the FIN, which may be ahead of what has arrived. */
function takeFin(c: Connection, position: number, edge: number): void {
  if (c.finReceived || c.finAt !== Number.POSITIVE_INFINITY) {
    acknowledgeNow(c);
    return;
  }
  // The FIN takes no room in the buffer: it may stand right behind the window.
  if (position > edge) return;
  c.finAt = position;
  if (c.receive.next < position) acknowledgeNow(c);
}

function reachFin(c: Connection): void {
  c.finReceived = true;
  acknowledgeNow(c);
  c.noteReadable();
  switch (c.state) {
    case "established":
      c.state = "close-wait";
      return;
    case "fin-wait-1":
      c.state = "closing";
      return;
    case "fin-wait-2":
      c.finishIntoTimeWait();
      return;
    default:
  }
}
