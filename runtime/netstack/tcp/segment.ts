/** The TCP header (RFC 9293 section 3.1) and its options (RFC 9293 3.2, RFC 7323, RFC 2018): parsed into one object that is used again, and written in place. */

export const FIN = 1;
export const SYN = 2;
export const RST = 4;
export const PSH = 8;
export const ACK = 16;

export const HEADER = 20;
/** NOP NOP timestamps, the form that everyone sends. */
export const TIMESTAMPS = 12;
/** Header and as many options as fit. */
export const MAX_HEADER = 60;

const KIND_END = 0;
const KIND_NOP = 1;
const KIND_MSS = 2;
const KIND_WINDOW_SCALE = 3;
const KIND_SACK_PERMITTED = 4;
const KIND_SACK = 5;
const KIND_TIMESTAMPS = 8;
/** NOP, NOP, kind 8, length 10. */
const ALIGNED_TIMESTAMPS = 0x0101080a;

export class Segment {
  buf: Uint8Array = new Uint8Array(0);
  /** Payload bytes of each joined segment; 0: it was not joined. */
  joined = 0;
  remotePort = 0;
  localPort = 0;
  /** As on the wire, 0 to 2^32 - 1. */
  sequence = 0;
  acknowledgment = 0;
  flags = 0;
  /** Not scaled. */
  window = 0;
  /** Where the payload stands in `buf`, and its length. */
  payload = 0;
  length = 0;

  /** 0: no such option. */
  mss = 0;
  /** -1: no such option. */
  windowScale = -1;
  sackPermitted = false;
  timestamps = false;
  timestamp = 0;
  timestampEcho = 0;
  /** Left and right edges as on the wire, two for each of `sackCount` blocks. */
  readonly sack = new Uint32Array(8);
  sackCount = 0;
}

function u32(buf: Uint8Array, off: number): number {
  return ((buf[off] << 24) | (buf[off + 1] << 16) | (buf[off + 2] << 8) | buf[off + 3]) >>> 0;
}

/** @returns false: it is no TCP segment */
export function parseSegment(into: Segment, buf: Uint8Array, off: number, len: number): boolean {
  if (len < HEADER) return false;
  const header = (buf[off + 12] >>> 4) * 4;
  if (header < HEADER || header > len) return false;
  into.buf = buf;
  into.remotePort = (buf[off] << 8) | buf[off + 1];
  into.localPort = (buf[off + 2] << 8) | buf[off + 3];
  if (into.remotePort === 0 || into.localPort === 0) return false;
  into.sequence = u32(buf, off + 4);
  into.acknowledgment = u32(buf, off + 8);
  into.flags = buf[off + 13] & 0x1f;
  into.window = (buf[off + 14] << 8) | buf[off + 15];
  into.payload = off + header;
  into.length = len - header;
  return parseOptions(into, buf, off + HEADER, off + header);
}

function parseOptions(into: Segment, buf: Uint8Array, from: number, to: number): boolean {
  into.sackCount = 0;
  into.timestamps = false;
  if (to - from === TIMESTAMPS && u32(buf, from) === ALIGNED_TIMESTAMPS) {
    if (into.flags & SYN) forgetSynOptions(into);
    into.timestamps = true;
    into.timestamp = u32(buf, from + 4);
    into.timestampEcho = u32(buf, from + 8);
    return true;
  }
  forgetSynOptions(into);
  let at = from;
  while (at < to) {
    const kind = buf[at];
    if (kind === KIND_END) return true;
    if (kind === KIND_NOP) {
      at++;
      continue;
    }
    // RFC 9293 MUST-7: be prepared for an illegal length.
    if (at + 1 >= to) return false;
    const size = buf[at + 1];
    if (size < 2 || at + size > to) return false;
    if (!parseOption(into, buf, at, kind, size)) return false;
    at += size;
  }
  return true;
}

function forgetSynOptions(into: Segment): void {
  into.mss = 0;
  into.windowScale = -1;
  into.sackPermitted = false;
}

/** An option that is not known is skipped (RFC 9293 MUST-6). */
function parseOption(into: Segment, buf: Uint8Array, at: number, kind: number, size: number): boolean {
  switch (kind) {
    case KIND_MSS:
      if (size !== 4) return false;
      into.mss = (buf[at + 2] << 8) | buf[at + 3];
      return true;
    case KIND_WINDOW_SCALE:
      if (size !== 3) return false;
      // RFC 7323 section 2.3: more than 14 counts as 14.
      into.windowScale = Math.min(14, buf[at + 2]);
      return true;
    case KIND_SACK_PERMITTED:
      if (size !== 2) return false;
      into.sackPermitted = true;
      return true;
    case KIND_TIMESTAMPS:
      if (size !== 10) return false;
      into.timestamps = true;
      into.timestamp = u32(buf, at + 2);
      into.timestampEcho = u32(buf, at + 6);
      return true;
    case KIND_SACK: {
      if (size < 10 || (size - 2) % 8 !== 0) return false;
      const count = Math.min(4, (size - 2) / 8);
      for (let i = 0; i < count * 2; i++) into.sack[i] = u32(buf, at + 2 + i * 4);
      into.sackCount = count;
      return true;
    }
    default:
      return true;
  }
}

function put16(buf: Uint8Array, off: number, value: number): void {
  buf[off] = value >>> 8;
  buf[off + 1] = value;
}

function put32(buf: Uint8Array, off: number, value: number): void {
  const v = value >>> 0;
  buf[off] = v >>> 24;
  buf[off + 1] = v >>> 16;
  buf[off + 2] = v >>> 8;
  buf[off + 3] = v;
}

/**
 * Writes the header without checksum (0) and urgent pointer (0).
 * @param options bytes of options, a multiple of 4, that the caller writes behind the header
 * @param window as on the wire, scaled
 */
export function writeHeader(
  buf: Uint8Array,
  off: number,
  localPort: number,
  remotePort: number,
  sequence: number,
  acknowledgment: number,
  flags: number,
  window: number,
  options: number,
): void {
  put16(buf, off, localPort);
  put16(buf, off + 2, remotePort);
  put32(buf, off + 4, sequence);
  put32(buf, off + 8, acknowledgment);
  buf[off + 12] = ((HEADER + options) / 4) << 4;
  buf[off + 13] = flags;
  put16(buf, off + 14, window);
  put32(buf, off + 16, 0);
}

/** @returns the bytes written: 12 */
export function writeTimestamps(buf: Uint8Array, off: number, timestamp: number, echo: number): number {
  put32(buf, off, ALIGNED_TIMESTAMPS);
  put32(buf, off + 4, timestamp);
  put32(buf, off + 8, echo);
  return TIMESTAMPS;
}

/** The options of a SYN: MSS, window scale, SACK permitted; timestamps apart. @returns the bytes written, a multiple of 4 */
export function writeSynOptions(buf: Uint8Array, off: number, mss: number, windowScale: number, sack: boolean): number {
  let at = off;
  buf[at] = KIND_MSS;
  buf[at + 1] = 4;
  put16(buf, at + 2, mss);
  at += 4;
  if (windowScale >= 0) {
    buf[at] = KIND_NOP;
    buf[at + 1] = KIND_WINDOW_SCALE;
    buf[at + 2] = 3;
    buf[at + 3] = windowScale;
    at += 4;
  }
  if (sack) {
    buf[at] = KIND_NOP;
    buf[at + 1] = KIND_NOP;
    buf[at + 2] = KIND_SACK_PERMITTED;
    buf[at + 3] = 2;
    at += 4;
  }
  return at - off;
}

/** `count` blocks of `edges` (left, right, left, right ...). @returns the bytes written: 4 + 8 × count */
export function writeSack(buf: Uint8Array, off: number, edges: Float64Array, count: number): number {
  buf[off] = KIND_NOP;
  buf[off + 1] = KIND_NOP;
  buf[off + 2] = KIND_SACK;
  buf[off + 3] = 2 + count * 8;
  for (let i = 0; i < count * 2; i++) put32(buf, off + 4 + i * 4, edges[i]);
  return 4 + count * 8;
}
