import type { Connection, RetransmitTimer } from "./connection";
import { LOST, MOST_ENTRIES, REPEATED, RESENT, SACKED } from "./flight";
import type { Segment } from "./segment";
import { timestampBefore, unwrap } from "./sequence";

/** RFC 5681 section 3.2. */
const DUPLICATE_THRESHOLD = 3;
/** RFC 8985 section 7.2: the largest delay of an acknowledgment that a probe waits for, and the shortest time to probe. */
const WORST_ACK_DELAY = 200;
const LEAST_PROBE_TIME = 10;
/** RFC 8985 section 6.2, step 4: losses without DSACK after which the window for reordering is small again. */
const REORDER_PERSISTENCE = 16;
/** Time-outs in a row after which full segments are suspected to vanish (RFC 4821 section 7.7), and what is tried then. */
const BLACK_HOLE_TIMEOUTS = 3;
const BLACK_HOLE_MSS = 1200;
const BLACK_HOLE_LAST_MSS = 516;

/** Loss detection by time (RACK-TLP, RFC 8985) and what is done about it (RFC 6675, PRR of RFC 6937, Eifel of RFC 3522). */
export class Recovery {
  /** `loss`: after a retransmission time-out. */
  phase: "open" | "recovery" | "loss" = "open";
  /** Recovery ends when this is acknowledged: what was sent when it began. */
  point = 0;
  /** One segment is sent again whatever the congestion window says. */
  forced = false;

  // PRR (RFC 6937).
  delivered = 0;
  sent = 0;
  flightAtStart = 0;

  // RACK (RFC 8985 section 5.2): the most recently sent of what was delivered.
  sentAt = Number.NEGATIVE_INFINITY;
  end = 0;
  rtt = 0;
  /** The highest sequence delivered. */
  highest = 0;
  reordering = false;
  reorderFactor = 1;
  reorderPersist = REORDER_PERSISTENCE;
  duplicateRound = 0;

  // Tail loss probe (RFC 8985 section 7): what was sent when it went, 0: none.
  probeEnd = 0;
  probeResent = false;

  duplicates = 0;
  timeouts = 0;

  // Eifel: the timestamp of the first retransmission, and what it covers; 0: none.
  eifelEnd = 0;
  eifelTimestamp = 0;

  noteRetransmission(c: Connection, end: number): void {
    if (this.eifelEnd !== 0 || this.phase === "open") return;
    this.eifelEnd = end;
    this.eifelTimestamp = c.timestampAt(c.host.now);
  }
}

/** What one acknowledgment brought; used again for each. */
const news = { delivered: 0, oldestSample: -1, duplicateSack: false };

/**
 * Takes an acceptable acknowledgment: the cumulative one and SACK.
 * @param ack unwrapped, between `sndUna` and `sndNxt`
 * @param duplicate it has no payload and changes nothing else
 */
export function acknowledge(c: Connection, segment: Segment, ack: number, duplicate: boolean): void {
  const { flight, recovery, congestion, host } = c;
  const { now } = host;
  const before = flight.inFlight;
  const limited = c.congestionLimited || before * 2 >= congestion.window;
  news.delivered = 0;
  news.oldestSample = -1;
  news.duplicateSack = false;
  const progress = ack > c.sndUna ? ack - c.sndUna : 0;

  if (progress > 0) takeCumulative(c, segment, ack);
  if (c.sack && segment.sackCount > 0) takeSack(c, segment, ack);
  if (news.oldestSample >= 0) c.rtt.sample(news.oldestSample, now);
  if (progress > 0) {
    c.rtt.settle();
    recovery.timeouts = 0;
    recovery.duplicates = 0;
    c.unansweredSince = -1;
  }
  if (news.duplicateSack) widenReordering(c);

  if (recovery.probeEnd !== 0) judgeProbe(c, ack, duplicate && progress === 0);
  if (progress > 0 && recovery.phase !== "open") tryUndo(c, segment, ack);
  if (recovery.phase !== "open" && ack >= recovery.point) leaveRecovery(c);

  if (c.sack) {
    if (news.delivered > 0) detectLosses(c);
  } else {
    countDuplicates(c, progress, duplicate);
  }

  if (recovery.phase === "recovery") reduceProportionally(c, news.delivered);
  else if (limited && news.delivered > 0 && progress > 0) {
    congestion.acknowledged(progress, now, c.rtt.smoothed);
  }
  // RFC 6298 (5.3): an acknowledgment of new data restarts the timer.
  if (progress > 0 || (news.delivered > 0 && c.timer !== "reorder")) {
    if (c.timer !== "reorder" || flight.count === 0) armLossTimer(c);
  }
}

function takeCumulative(c: Connection, segment: Segment, ack: number): void {
  const { flight } = c;
  let repeated = false;
  while (flight.count > 0 && flight.start(0) < ack) {
    const end = Math.min(ack, flight.end(0));
    const flags = flight.flags(0);
    if (!(flags & SACKED)) {
      if (flags & REPEATED) repeated = true;
      news.delivered += end - flight.start(0);
      delivered(c, segment, flight.sentAt(0), end, flags);
    }
    flight.removeHead(ack);
  }
  // What lay behind a gap was not acknowledged when it arrived but when the gap was filled: no sample.
  if (repeated) news.oldestSample = -1;
  c.bytesAcked += Math.min(ack, c.send.end) - Math.min(c.sndUna, c.send.end);
  c.sndUna = ack;
  c.send.release(Math.min(ack, c.send.end));
}

function takeSack(c: Connection, segment: Segment, ack: number): void {
  const { flight } = c;
  for (let b = 0; b < segment.sackCount; b++) {
    const start = unwrap(segment.sack[b * 2], ack);
    const end = unwrap(segment.sack[b * 2 + 1], ack);
    if (end <= start || end > c.sndNxt) continue;
    if (start < ack) {
      // RFC 2883: a block below the cumulative acknowledgment reports a duplicate.
      if (b === 0) news.duplicateSack = true;
      continue;
    }
    if (b === 0 && segment.sackCount > 1) {
      const outerStart = unwrap(segment.sack[2], ack);
      const outerEnd = unwrap(segment.sack[3], ack);
      if (start >= outerStart && end <= outerEnd) {
        news.duplicateSack = true;
        continue;
      }
    }
    for (let i = flight.find(start); i < flight.count && flight.start(i) < end; i++) {
      if (!(flight.flags(i) & SACKED)) i = takeSacked(c, segment, i, start, end);
    }
  }
}

/**
 * The receiver has what lies between `start` and `end`: marks the segments of entry `i` that are within as a whole. Of the others nothing is
 * believed, or a peer that reports single bytes would cut what is in flight to pieces, each of which costs memory and time (CVE-2019-11478).
 * @returns the last entry that was looked at: what is left of `i` may be behind it
 */
function takeSacked(c: Connection, segment: Segment, i: number, start: number, end: number): number {
  const { flight } = c;
  const from = flight.segmentFrom(i, start);
  const to = flight.segmentTo(i, end);
  if (to <= from) return i;
  const whole = from === flight.start(i) && to === flight.end(i);
  if (!whole && flight.count >= MOST_ENTRIES) return i;
  let at = i;
  if (from > flight.start(at)) flight.split(at++, from);
  if (to < flight.end(at)) flight.split(at, to);
  news.delivered += to - from;
  delivered(c, segment, flight.sentAt(at), to, flight.flags(at));
  flight.markSacked(at);
  return at;
}

/** Something was delivered for the first time: round trip, reordering, RACK's state. */
function delivered(c: Connection, segment: Segment, sentAt: number, end: number, flags: number): void {
  const { recovery, host } = c;
  const rtt = host.now - sentAt;
  if (flags & REPEATED) {
    // RFC 8985 section 6.2, step 2: it may be the first transmission that was delivered.
    if (c.timestamps ? timestampBefore(segment.timestampEcho, c.timestampAt(sentAt)) : rtt < c.rtt.min) return;
  } else {
    if (news.oldestSample < 0) news.oldestSample = rtt;
    if (end < recovery.highest) recovery.reordering = true;
  }
  if (end > recovery.highest) recovery.highest = end;
  if (sentAt > recovery.sentAt || (sentAt === recovery.sentAt && end > recovery.end)) {
    recovery.sentAt = sentAt;
    recovery.end = end;
    recovery.rtt = rtt;
  }
}

/** RFC 8985 section 6.2, step 4: a retransmission was for nothing, so wait longer; once for each round trip. */
function widenReordering(c: Connection): void {
  const { recovery } = c;
  if (c.sndUna < recovery.duplicateRound) return;
  recovery.duplicateRound = c.sndNxt;
  recovery.reorderFactor = Math.min(64, recovery.reorderFactor + 1);
  recovery.reorderPersist = REORDER_PERSISTENCE;
}

function reorderWindow(c: Connection): number {
  const { recovery, flight, rtt } = c;
  if (!recovery.reordering) {
    if (recovery.phase !== "open") return 0;
    if (flight.sackedEntries >= DUPLICATE_THRESHOLD || flight.sackedBytes >= DUPLICATE_THRESHOLD * c.mss) return 0;
  }
  return Math.min((recovery.reorderFactor * rtt.min) / 4, rtt.smoothed);
}

/** RFC 8985 section 6.2, step 5: lost is what was sent long enough before something that was delivered. */
function detectLosses(c: Connection): void {
  const { flight, recovery, host } = c;
  const { now } = host;
  const window = reorderWindow(c);
  let lost = 0;
  let wait = 0;
  for (let i = 0; i < flight.count; i++) {
    const flags = flight.flags(i);
    if (flags & SACKED || (flags & LOST && !(flags & RESENT))) continue;
    const sentAt = flight.sentAt(i);
    const earlier = sentAt < recovery.sentAt || (sentAt === recovery.sentAt && flight.end(i) < recovery.end);
    if (!earlier) {
      // What follows and was sent once only was sent later still.
      if (!(flags & REPEATED)) break;
      continue;
    }
    const left = sentAt + recovery.rtt + window - now;
    if (left <= 0) lost += flight.markLost(i);
    else wait = Math.max(wait, left);
  }
  if (lost > 0 && recovery.phase === "open") enterRecovery(c);
  if (wait > 0) c.setTimer("reorder", now + wait);
  else if (c.timer === "reorder") armLossTimer(c);
}

function enterRecovery(c: Connection): void {
  const { recovery, congestion } = c;
  recovery.phase = "recovery";
  recovery.point = c.sndNxt;
  recovery.delivered = 0;
  recovery.sent = 0;
  recovery.flightAtStart = Math.max(c.mss, c.sndNxt - c.sndUna);
  recovery.forced = true;
  recovery.eifelEnd = 0;
  recovery.probeEnd = 0;
  // RFC 5681 equation 4: the flight size is all that is not acknowledged.
  congestion.congestion(c.sndNxt - c.sndUna);
  c.fastRecoveries++;
}

function leaveRecovery(c: Connection): void {
  const { recovery, congestion, flight } = c;
  if (recovery.phase === "recovery") {
    congestion.window = congestion.threshold;
    if (--recovery.reorderPersist <= 0) recovery.reorderFactor = 1;
  }
  recovery.phase = "open";
  recovery.eifelEnd = 0;
  recovery.forced = false;
  flight.duplicateBytes = 0;
}

/** RFC 3522: the acknowledgment echoes a timestamp older than the retransmission, so the first transmission had arrived. */
function tryUndo(c: Connection, segment: Segment, ack: number): void {
  const { recovery, congestion, flight } = c;
  if (recovery.eifelEnd === 0 || ack < recovery.eifelEnd || !c.timestamps || !segment.timestamps) return;
  if (timestampBefore(segment.timestampEcho, recovery.eifelTimestamp)) {
    congestion.undo();
    flight.forgiveLosses();
    recovery.phase = "open";
    recovery.forced = false;
  }
  recovery.eifelEnd = 0;
}

/** RFC 6937: in recovery, what is sent follows what is delivered, so that the window comes down over a round trip and not at once. */
function reduceProportionally(c: Connection, bytes: number): void {
  const { recovery, congestion, flight } = c;
  recovery.delivered += bytes;
  const inFlight = flight.inFlight;
  let more: number;
  if (inFlight > congestion.threshold) {
    more = Math.ceil((recovery.delivered * congestion.threshold) / recovery.flightAtStart) - recovery.sent;
  } else {
    const limit = Math.max(recovery.delivered - recovery.sent, bytes) + c.mss;
    more = Math.min(congestion.threshold - inFlight, limit);
  }
  congestion.window = inFlight + Math.max(0, more);
}

/** Without SACK: each duplicate acknowledgment says that one more segment has left the network (RFC 5681, NewReno of RFC 6582). */
function countDuplicates(c: Connection, progress: number, duplicate: boolean): void {
  const { recovery, flight } = c;
  if (progress > 0) {
    flight.duplicateBytes = Math.max(0, flight.duplicateBytes - Math.max(0, progress - c.mss));
    if (recovery.phase === "recovery" && flight.count > 0) {
      // RFC 6582 section 3.2, step 5: a partial acknowledgment shows the next loss, which is sent again at once.
      loseHead(c);
      recovery.forced = true;
    } else flight.duplicateBytes = recovery.phase === "open" ? 0 : flight.duplicateBytes;
    return;
  }
  if (!duplicate || flight.count === 0 || recovery.phase === "loss") return;
  recovery.duplicates++;
  const most = c.sndNxt - c.sndUna - c.mss;
  flight.duplicateBytes = Math.max(0, Math.min(most, flight.duplicateBytes + c.mss));
  news.delivered += c.mss;
  if (recovery.phase === "open" && recovery.duplicates >= DUPLICATE_THRESHOLD) {
    loseHead(c);
    enterRecovery(c);
  }
}

/** The first segment of what is in flight. */
function loseHead(c: Connection): void {
  const { flight } = c;
  if (flight.flags(0) & LOST && !(flight.flags(0) & RESENT)) return;
  if (flight.end(0) - flight.start(0) > c.mss) flight.split(0, flight.start(0) + c.mss);
  flight.markLost(0);
}

/** RFC 8985 section 7.4: a loss that the probe has repaired is a loss all the same. */
function judgeProbe(c: Connection, ack: number, duplicate: boolean): void {
  const { recovery, congestion, flight } = c;
  if (ack < recovery.probeEnd) return;
  if (!recovery.probeResent || news.duplicateSack || duplicate) {
    recovery.probeEnd = 0;
    return;
  }
  if (ack === recovery.probeEnd) return;
  recovery.probeEnd = 0;
  congestion.congestion(flight.inFlight);
  congestion.window = congestion.threshold;
}

/** Sets the timer for what comes first: the tail loss probe or the retransmission time-out. */
export function armLossTimer(c: Connection): void {
  const { flight, recovery, rtt, host } = c;
  if (flight.count === 0) {
    if (c.timer !== "persist") c.setTimer("off", Number.POSITIVE_INFINITY);
    return;
  }
  const timeout = rtt.rto;
  if (c.sack && recovery.phase === "open" && recovery.probeEnd === 0 && flight.sackedBytes === 0 && rtt.smoothed > 0) {
    let probe = Math.max(LEAST_PROBE_TIME, 2 * rtt.smoothed);
    if (c.sndNxt - c.sndUna <= c.mss) probe += WORST_ACK_DELAY;
    if (probe < timeout) {
      c.setTimer("probe", host.now + probe);
      return;
    }
  }
  c.setTimer("timeout", host.now + timeout);
}

export function onRetransmitTimer(c: Connection, timer: RetransmitTimer, now: number): void {
  if (c.flight.count === 0) return;
  if (timer === "reorder") {
    detectLosses(c);
    if (c.timer === "off") armLossTimer(c);
  } else if (timer === "probe") {
    probeTail(c, now);
  } else {
    timeOut(c, now);
  }
  if (c.attached) c.host.schedule(c);
}

/** RFC 8985 section 7.3: the last segment again, so that its acknowledgment shows what is missing before it. */
function probeTail(c: Connection, now: number): void {
  const { flight, recovery } = c;
  const newData = c.send.end > c.sndNxt && c.sndUna + c.sndWnd > c.sndNxt;
  recovery.probeEnd = c.sndNxt;
  recovery.probeResent = !newData;
  if (newData) {
    c.probeNew = true;
  } else {
    const last = flight.count - 1;
    if (flight.end(last) - flight.start(last) > c.mss) flight.split(last, flight.end(last) - c.mss);
    flight.markLost(flight.count - 1);
    recovery.forced = true;
  }
  c.setTimer("timeout", now + c.rtt.rto);
}

/** RFC 6298 section 5, RFC 5681 section 3.1. */
function timeOut(c: Connection, now: number): void {
  const { flight, recovery, congestion, rtt } = c;
  if (c.unanswered(now)) return;
  c.retransmissionTimeouts++;
  recovery.timeouts++;
  rtt.backOff();
  suspectBlackHole(c);
  if (recovery.phase !== "loss") congestion.congestion(c.sndNxt - c.sndUna);
  congestion.window = congestion.mss;
  if (flight.flags(0) & SACKED) flight.forgetSacks();
  flight.duplicateBytes = 0;
  for (let i = 0; i < flight.count; i++) {
    if (!(flight.flags(i) & SACKED)) flight.markLost(i);
  }
  recovery.phase = "loss";
  recovery.point = c.sndNxt;
  recovery.forced = true;
  recovery.eifelEnd = 0;
  recovery.probeEnd = 0;
  c.setTimer("timeout", now + rtt.rto);
}

/** Larger segments may vanish on the way without any ICMP message: smaller ones are tried. */
function suspectBlackHole(c: Connection): void {
  const { recovery, flight } = c;
  if (recovery.timeouts < BLACK_HOLE_TIMEOUTS || flight.end(0) - flight.start(0) < c.mss) return;
  const next =
    recovery.timeouts < 2 * BLACK_HOLE_TIMEOUTS || c.local.length === 16 ? BLACK_HOLE_MSS : BLACK_HOLE_LAST_MSS;
  if (next >= Math.min(c.blackHoleMss, c.mss)) return;
  c.blackHoleMss = next;
  c.updateMss();
}
