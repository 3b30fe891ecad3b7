/** DNS messages (RFC 1035, 6891) on the hot path: reading a question, writing a reply that fits, byte by byte and without a copy too many. */
import type { RecordSet } from "./records";
import { TYPE } from "./records";

export const RCODE = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5 } as const;
export const CLASS = { IN: 1, ANY: 255 } as const;
export const HEADER_BYTES = 12;
/** RFC 1035 section 2.3.4, with the root's byte. */
const MAX_NAME = 255;
/** The limit of an asker without EDNS. */
const PLAIN_UDP_BYTES = 512;
/** What we take ourselves: no fragments on any usual path (DNS flag day 2020). */
export const OUR_UDP_BYTES = 1232;
/** What a two-byte length can say. */
export const TCP_BYTES = 65_535;
/** An OPT record without options. */
const OPT_BYTES = 11;

const FLAG_RESPONSE = 0x8000;
const OPCODE = 0x7800;
const FLAG_AUTHORITATIVE = 0x0400;
const FLAG_TRUNCATED = 0x0200;
export const FLAG_RECURSION_DESIRED = 0x0100;
const FLAG_RECURSION_AVAILABLE = 0x0080;
/** RFC 4035 section 3.1.6: goes back as it came. */
const FLAG_CHECKING_DISABLED = 0x0010;

export interface Query {
  readonly id: number;
  readonly flags: number;
  /** The name as in the message with its letters in lower case: lengths and labels, up to the root. */
  readonly key: string;
  readonly type: number;
  readonly class: number;
  /** Where the question ends. */
  readonly end: number;
  /** Bytes of the largest UDP message that the asker takes. */
  readonly limit: number;
  readonly edns: { readonly version: number; readonly dnssec: boolean } | undefined;
}

export type Reading =
  | { readonly kind: "query"; readonly query: Query }
  /** To be answered with this code. */
  | { readonly kind: "bad"; readonly rcode: number }
  /** No query at all: never answered, so that two servers cannot be set upon each other. */
  | { readonly kind: "ignore" };

const IGNORE: Reading = { kind: "ignore" };
const MALFORMED: Reading = { kind: "bad", rcode: RCODE.FORMERR };
const UNKNOWN_OPERATION: Reading = { kind: "bad", rcode: RCODE.NOTIMP };

export function readQuery(message: Uint8Array): Reading {
  if (message.length < HEADER_BYTES) return IGNORE;
  const flags = u16(message, 2);
  if (flags & FLAG_RESPONSE) return IGNORE;
  if (flags & OPCODE) return UNKNOWN_OPERATION;
  if (u16(message, 4) !== 1) return MALFORMED;
  const nameEnd = endOfQuestionName(message);
  const end = nameEnd + 4;
  if (nameEnd === 0 || end > message.length) return MALFORMED;
  let edns: Query["edns"];
  let limit = PLAIN_UDP_BYTES;
  const before = u16(message, 6) + u16(message, 8);
  const records = before + u16(message, 10);
  for (let i = 0, at = end; i < records; i++) {
    const fields = skipName(message, at);
    if (fields === 0 || fields + 10 > message.length) return MALFORMED;
    const next = fields + 10 + u16(message, fields + 8);
    if (next > message.length) return MALFORMED;
    if (u16(message, fields) === TYPE.OPT) {
      // RFC 6891 section 6.1.1: one, in the additional section, of the root.
      if (edns !== undefined || i < before || fields !== at + 1) return MALFORMED;
      limit = Math.max(PLAIN_UDP_BYTES, u16(message, fields + 2));
      edns = { version: message[fields + 5]!, dnssec: (message[fields + 6]! & 0x80) !== 0 };
    }
    at = next;
  }
  const name = Buffer.from(message.buffer, message.byteOffset + HEADER_BYTES, nameEnd - HEADER_BYTES);
  return {
    kind: "query",
    query: {
      id: u16(message, 0),
      flags,
      // A length is below the letters' codes.
      key: name.toString("latin1").toLowerCase(),
      type: u16(message, nameEnd),
      class: u16(message, nameEnd + 2),
      end,
      limit,
      edns,
    },
  };
}

/** 0: it is none. A pointer in it could only lead to the header or to itself. */
function endOfQuestionName(message: Uint8Array): number {
  for (let at = HEADER_BYTES; at < message.length; ) {
    const length = message[at]!;
    if (length === 0) return at + 1 - HEADER_BYTES <= MAX_NAME ? at + 1 : 0;
    if (length > 63) return 0;
    at += length + 1;
  }
  return 0;
}

/** Where a record's name ends; 0: it does not. Pointers are not followed. */
function skipName(message: Uint8Array, from: number): number {
  for (let at = from; at < message.length; ) {
    const length = message[at]!;
    if (length === 0) return at + 1;
    if (length >= 0xc0) return at + 2;
    if (length > 63) return 0;
    at += length + 1;
  }
  return 0;
}

export interface ReplyParts {
  /** RFC 6891 section 6.1.3: what is above 15 goes into the OPT record. */
  readonly rcode: number;
  readonly authoritative?: boolean;
  readonly answers?: RecordSet;
  /** Which record is the first, where they turn. @default 0 */
  readonly turn?: number;
  /** The authority section, where there is no answer: the SOA, and how many labels its name has. */
  readonly soa?: { readonly records: RecordSet; readonly labels: number };
}

/** @param limit bytes. Answers that do not fit are left out, and the reply says so. */
export function writeReply(message: Uint8Array, query: Query, parts: ReplyParts, limit: number): Uint8Array {
  const { answers, soa } = parts;
  const opt = query.edns === undefined ? 0 : OPT_BYTES;
  const room = limit - query.end - opt;
  const all = answers === undefined ? 0 : answers.starts.length - 1;
  let count = all;
  while (count > 0 && answers!.starts[count]! > room) count--;
  const whole = count === all;
  // Records that turn are of one length, so as many fit from any of them on.
  const turn = answers?.turns ? (parts.turn ?? 0) % all : 0;
  const answerBytes = answers === undefined ? 0 : answers.starts[count]!;
  const soaBytes = soa === undefined || soa.records.bytes.length > room ? 0 : soa.records.bytes.length;
  const along = answers?.additional;
  const additional = along !== undefined && whole && answerBytes + along.bytes.length <= room ? along : undefined;
  const out = Buffer.allocUnsafe(query.end + answerBytes + soaBytes + (additional?.bytes.length ?? 0) + opt);
  const flags =
    FLAG_RESPONSE |
    (query.flags & (FLAG_RECURSION_DESIRED | FLAG_CHECKING_DISABLED)) |
    FLAG_RECURSION_AVAILABLE |
    (parts.authoritative ? FLAG_AUTHORITATIVE : 0) |
    (whole ? 0 : FLAG_TRUNCATED) |
    (parts.rcode & 15);
  putU16(out, 0, query.id);
  putU16(out, 2, flags);
  putU16(out, 4, 1);
  putU16(out, 6, count);
  putU16(out, 8, soaBytes > 0 ? 1 : 0);
  putU16(out, 10, (additional?.count ?? 0) + (opt > 0 ? 1 : 0));
  for (let i = HEADER_BYTES; i < query.end; i++) out[i] = message[i]!;
  let at = query.end;
  if (answerBytes > 0) {
    const { bytes, starts } = answers!;
    at = put(out, at, bytes, starts[turn]!, starts[Math.min(all, turn + count)]!);
    at = put(out, at, bytes, 0, starts[Math.max(0, turn + count - all)]!);
  }
  if (soaBytes > 0) {
    const end = put(out, at, soa!.records.bytes, 0, soaBytes);
    putU16(out, at, 0xc000 | offsetOfLast(message, soa!.labels));
    at = end;
  }
  if (additional !== undefined) at = put(out, at, additional.bytes, 0, additional.bytes.length);
  if (opt > 0) writeOpt(out, at, parts.rcode >> 4, query.edns!.dnssec);
  return out;
}

function writeOpt(out: Uint8Array, at: number, extendedRcode: number, dnssec: boolean): void {
  out[at] = 0;
  putU16(out, at + 1, TYPE.OPT);
  putU16(out, at + 3, OUR_UDP_BYTES);
  out[at + 5] = extendedRcode;
  out[at + 6] = 0;
  // RFC 3225 section 3: the bit comes back as it was.
  putU16(out, at + 7, dnssec ? 0x8000 : 0);
  putU16(out, at + 9, 0);
}

/** Where the last labels of the question's name begin. */
function offsetOfLast(message: Uint8Array, labels: number): number {
  let count = 0;
  for (let at = HEADER_BYTES; message[at] !== 0; at += message[at]! + 1) count++;
  let at = HEADER_BYTES;
  for (let skip = count - labels; skip > 0; skip--) at += message[at]! + 1;
  return at;
}

/** Small pieces byte by byte: a call to copy costs more. */
function put(out: Uint8Array, at: number, from: Uint8Array, start: number, end: number): number {
  if (end - start > 64) out.set(from.subarray(start, end), at);
  else for (let i = start; i < end; i++) out[at + i - start] = from[i]!;
  return at + end - start;
}

/** The header of a query with a code, and its question where that can be read. */
export function writeError(message: Uint8Array, rcode: number): Uint8Array {
  const reading = readQuery(message);
  if (reading.kind === "query") return writeReply(message, reading.query, { rcode }, TCP_BYTES);
  const out = Buffer.alloc(HEADER_BYTES);
  out.set(message.subarray(0, 2));
  const flags = u16(message, 2) & (OPCODE | FLAG_RECURSION_DESIRED);
  putU16(out, 2, FLAG_RESPONSE | flags | FLAG_RECURSION_AVAILABLE | rcode);
  return out;
}

/** A reply of another server, made to fit: records of one that does not are left out, and it says so. */
export function fitReply(reply: Uint8Array, limit: number): Uint8Array {
  if (reply.length <= limit) return reply;
  const end = u16(reply, 4) === 1 ? endOfQuestionName(reply) + 4 : HEADER_BYTES;
  const out = Buffer.from(reply.subarray(0, Math.max(end, HEADER_BYTES)));
  putU16(out, 2, u16(out, 2) | FLAG_TRUNCATED);
  putU16(out, 4, out.length > HEADER_BYTES ? 1 : 0);
  out.fill(0, 6, HEADER_BYTES);
  return out;
}

export function isTruncated(reply: Uint8Array): boolean {
  return (reply[2]! & (FLAG_TRUNCATED >> 8)) !== 0;
}

/** Same id, a response, and the same question (letters of either case: some servers change them). */
export function isReplyTo(reply: Uint8Array, query: Uint8Array): boolean {
  if (reply.length < HEADER_BYTES || u16(reply, 0) !== u16(query, 0) || !(u16(reply, 2) & FLAG_RESPONSE)) return false;
  const questions = u16(reply, 4);
  if (questions === 0) return (reply[3]! & 15) !== RCODE.NOERROR;
  const nameEnd = endOfQuestionName(query);
  const name = (message: Uint8Array) =>
    Buffer.from(message.buffer, message.byteOffset, nameEnd).toString("latin1", HEADER_BYTES).toLowerCase();
  return (
    questions === 1 &&
    reply.length >= nameEnd + 4 &&
    u16(reply, nameEnd) === u16(query, nameEnd) &&
    u16(reply, nameEnd + 2) === u16(query, nameEnd + 2) &&
    name(reply) === name(query)
  );
}

function u16(message: Uint8Array, at: number): number {
  return (message[at]! << 8) | message[at + 1]!;
}

export function putU16(out: Uint8Array, at: number, value: number): void {
  out[at] = value >> 8;
  out[at + 1] = value;
}
