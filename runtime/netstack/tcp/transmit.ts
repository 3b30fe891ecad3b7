import type { Connection } from "./connection";
import { MOST_ENTRIES, MOST_SEGMENTS } from "./flight";
import { armLossTimer } from "./recovery";
import {
  ACK,
  FIN,
  HEADER,
  MAX_HEADER,
  PSH,
  SYN,
  TIMESTAMPS,
  writeHeader,
  writeSack,
  writeSynOptions,
  writeTimestamps,
} from "./segment";

/** Left and right edges of the blocks to be reported. */
const edges = new Float64Array(8);

/** Sends all that may be sent now: the SYN, what was lost, what is new, and an acknowledgment where none of these carried it. */
export function transmit(c: Connection): void {
  if (c.isBlocked || !c.attached) return;
  if (c.host.full) {
    c.host.blocked(c);
    return;
  }
  if (c.synDue && !sendSyn(c)) return;
  if (c.state === "syn-sent" || c.state === "syn-received") return;
  while (c.flight.lostBytes > c.flight.resentBytes || c.recovery.forced) {
    const sent = retransmit(c);
    if (sent < 0) return;
    if (sent === 0) break;
  }
  if (!sendNew(c)) return;
  if (c.persistDue) {
    c.persistDue = false;
    if (c.flight.count === 0 && !sendProbe(c)) return;
  }
  if (c.ackNow) sendEmpty(c, c.sndNxt);
}

function commit(c: Connection, header: number, payload: number, segment: number): boolean {
  const { host } = c;
  if (!host.environment.output.commit(c, header + payload, payload > segment ? segment : 0)) {
    host.blocked(c);
    return false;
  }
  c.served = true;
  const segments = payload > segment ? Math.ceil(payload / segment) : 1;
  c.segmentsSent += segments;
  host.counters.segmentsOut += segments;
  return true;
}

function sendSyn(c: Connection): boolean {
  const { host } = c;
  const { buf, off } = host.environment.output;
  const passive = c.state === "syn-received";
  const mss = host.environment.mss(c.local, c.remote);
  // The peer's offer is answered, not raised: only what it has sent too (RFC 7323 section 2.2, RFC 2018 section 2).
  const scale = passive && c.receiveScale === 0 ? -1 : c.receiveScale;
  let options = writeSynOptions(buf, off + HEADER, mss, scale, c.sack);
  if (c.timestamps) {
    options += writeTimestamps(buf, off + HEADER + options, c.timestampAt(host.now), passive ? c.timestampRecent : 0);
  }
  // The window of a SYN is never scaled (RFC 7323 section 2.2).
  const window = Math.min(65_535, c.capacity);
  writeHeader(
    buf,
    off,
    c.localPort,
    c.remotePort,
    c.iss,
    passive ? c.rcvNxt : 0,
    passive ? SYN | ACK : SYN,
    window,
    options,
  );
  if (!commit(c, HEADER + options, 0, 1)) return false;
  c.synDue = false;
  c.synSentAt = host.now;
  if (passive) {
    c.advertised = Math.max(c.advertised, c.rcvNxt + window);
    c.lastAckSent = c.rcvNxt;
    c.ackNow = false;
  }
  return true;
}

/** Bytes of options on a segment sent now. */
function optionsLength(c: Connection): number {
  const stamps = c.timestamps ? TIMESTAMPS : 0;
  return stamps + sackLength(c);
}

function sackLength(c: Connection): number {
  if (!c.sack) return 0;
  const duplicate = c.duplicateEnd > c.duplicateStart ? 1 : 0;
  if (duplicate === 0 && !c.receive.hasGaps) return 0;
  const blocks = Math.min(c.timestamps ? 3 : 4, duplicate + c.receive.starts.length);
  return 4 + 8 * blocks;
}

/** Writes header and options of a segment with ACK. */
function writeAcknowledged(c: Connection, sequence: number, flags: number, options: number): void {
  const { host } = c;
  const { buf, off } = host.environment.output;
  let at = off + HEADER;
  if (c.timestamps) at += writeTimestamps(buf, at, c.timestampAt(host.now), c.timestampRecent);
  const left = off + HEADER + options - at;
  if (left > 0) {
    const max = (left - 4) / 8;
    let count = 0;
    if (c.duplicateEnd > c.duplicateStart) {
      edges[0] = c.duplicateStart;
      edges[1] = c.duplicateEnd;
      count = 1;
    }
    count += c.receive.sackBlocks(edges, count * 2, max - count);
    // Ranges of which the list of the latest knows nothing are not told: padded.
    const written = count === 0 ? 0 : writeSack(buf, at, edges, count);
    buf.fill(1, at + written, off + HEADER + options);
  }
  writeHeader(buf, off, c.localPort, c.remotePort, sequence, c.rcvNxt, flags | ACK, c.windowField(), options);
}

/** A segment has left: it carried the acknowledgment of all that has arrived. */
function acknowledged(c: Connection): void {
  c.ackNow = false;
  c.unacknowledged = 0;
  c.ackAt = Number.POSITIVE_INFINITY;
  c.lastAckSent = c.rcvNxt;
  c.duplicateEnd = c.duplicateStart;
  c.lastSent = c.host.now;
}

/** A segment without payload. */
export function sendEmpty(c: Connection, sequence: number): boolean {
  const options = optionsLength(c);
  writeAcknowledged(c, sequence, 0, options);
  if (!commit(c, HEADER + options, 0, 1)) return false;
  acknowledged(c);
  return true;
}

/** A segment that is outside the peer's window on purpose, and so has to be answered (RFC 9293 section 3.8.4): for keepalive and as a window probe. */
export function sendProbe(c: Connection): boolean {
  return c.isBlocked || c.host.full || sendEmpty(c, c.sndUna - 1);
}

/**
 * Sends `length` bytes of the queue from `start`, with the FIN where it is within.
 * @returns false where the link is full
 */
function sendData(c: Connection, start: number, length: number, options: number, fin: boolean): boolean {
  const { output } = c.host.environment;
  const header = HEADER + options;
  const end = start + length;
  const flags = (fin ? FIN : 0) | (length > 0 && end === c.send.end ? PSH : 0);
  writeAcknowledged(c, start, flags, options);
  if (length > 0) c.send.copy(start, length, output.buf, output.off + header);
  if (!commit(c, header, length, segmentSize(c, options))) return false;
  acknowledged(c);
  return true;
}

/** Payload of a full segment with this length of options: `mss` has the timestamps taken off already. */
function segmentSize(c: Connection, options: number): number {
  return c.mss - (options - (c.timestamps ? TIMESTAMPS : 0));
}

/** @returns bytes sent of the first thing that was lost; 0: the congestion window forbids it; -1: the link is full */
function retransmit(c: Connection): number {
  const { flight, recovery, congestion, host } = c;
  const room = congestion.window - flight.inFlight;
  const options = optionsLength(c);
  const size = segmentSize(c, options);
  if (room < size && !recovery.forced && flight.inFlight > 0) return 0;
  const i = flight.firstLost();
  if (i < 0) {
    recovery.forced = false;
    return 0;
  }
  const start = flight.start(i);
  const most = host.environment.output.room - HEADER - options;
  const allowed = Math.max(1, Math.floor(Math.min(most, room) / size)) * size;
  const end = Math.min(flight.end(i), start + (recovery.forced ? size : allowed));
  const payloadEnd = Math.min(end, c.send.end);
  const fin = end > c.send.end;
  if (!sendData(c, start, payloadEnd - start, options, fin)) return -1;
  if (end < flight.end(i)) flight.split(i, end);
  flight.markResent(i, host.now, size);
  recovery.forced = false;
  recovery.noteRetransmission(c, end);
  recovery.sent += end - start;
  c.bytesRetransmitted += payloadEnd - start;
  host.counters.retransmitted++;
  armLossTimer(c);
  return end - start;
}

/** @returns false where the link is full */
function sendNew(c: Connection): boolean {
  const { flight, congestion, host, send } = c;
  const idle = host.now - c.lastDataSent;
  if (flight.count === 0 && c.sndNxt <= send.end && idle > c.rtt.rto) congestion.idle(idle, c.rtt.rto);
  c.congestionLimited = false;
  for (;;) {
    const available = Math.max(0, send.end - c.sndNxt);
    const finDue = c.finQueued && c.sndNxt <= send.end;
    if (available === 0 && !finDue) return true;
    if (flight.count >= MOST_ENTRIES && !c.probeNew) return true;
    const options = optionsLength(c);
    const size = segmentSize(c, options);
    const most = MOST_SEGMENTS * segmentSize(c, MAX_HEADER - HEADER);
    const usable = c.sndUna + Math.min(c.sndWnd, most) - c.sndNxt;
    const inFlight = flight.inFlight;
    const room = congestion.window - inFlight;
    const length = sendable(c, available, usable, room, size, host.environment.output.room - HEADER - options);
    const fin = finDue && length === available && usable > length;
    if (length === 0 && !fin) {
      if (flight.count === 0 && c.timer === "off") {
        // Only the window can be in the way, or too little of it.
        c.setTimer("persist", host.now + c.persistWait());
      }
      return true;
    }
    const start = c.sndNxt;
    if (!sendData(c, start, length, options, fin)) return false;
    c.probeNew = false;
    const end = start + length + (fin ? 1 : 0);
    flight.push(start, end, host.now, size);
    c.sndNxt = end;
    c.bytesSent += length;
    c.lastDataSent = host.now;
    c.recovery.sent += end - start;
    if (c.timer === "off" || c.timer === "persist") armLossTimer(c);
  }
}

/** How much of the queue may go now, by both windows, Nagle (RFC 9293 section 3.7.4) and the sender's silly window avoidance (3.8.6.2.1). */
function sendable(c: Connection, available: number, usable: number, room: number, size: number, most: number): number {
  if (available === 0 || usable <= 0) return 0;
  const { flight } = c;
  const quiet = flight.count === 0;
  if (c.probeNew) return Math.min(available, usable, size);
  if (room < size && !(quiet || room >= available)) {
    c.congestionLimited = true;
    return 0;
  }
  // A segment may always be sent into an empty network.
  const allowed = Math.min(usable, Math.max(room, quiet ? size : 0), most);
  if (available <= allowed) {
    const tail = available % size;
    if (tail === 0 || c.noDelay || quiet || c.finQueued) return available;
    return available - tail;
  }
  if (allowed >= size) return Math.floor(allowed / size) * size;
  if (c.persistDue || usable * 2 >= c.maxSndWnd) return Math.min(usable, available);
  return 0;
}
