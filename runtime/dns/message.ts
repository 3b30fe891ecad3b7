/** DNS messages (RFC 1035, 6891) with dns-packet: reading a question, writing a reply that fits. */
import * as dnsPacket from "dns-packet";

export const RCODE = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5 } as const;
const HEADER_BYTES = 12;
/** The limit of an asker without EDNS. */
const PLAIN_UDP_BYTES = 512;
/** What we take ourselves: no fragments on any usual path (DNS flag day 2020). */
export const OUR_UDP_BYTES = 1232;

const FLAG_RESPONSE = 0x8000;
const FLAG_AUTHORITATIVE = 0x0400;
const FLAG_TRUNCATED = 0x0200;
const FLAG_RECURSION_DESIRED = 0x0100;
const FLAG_RECURSION_AVAILABLE = 0x0080;

export interface Query {
  readonly id: number;
  readonly flags: number;
  readonly name: string;
  readonly type: string;
  readonly class: string;
  /** Bytes of the largest reply that the asker takes. */
  readonly limit: number;
  /** Undefined: no EDNS. */
  readonly ednsVersion: number | undefined;
}

export type Reading =
  | { readonly kind: "query"; readonly query: Query }
  /** To be answered with this code. */
  | { readonly kind: "bad"; readonly rcode: number }
  /** No query at all: never answered, so that two servers cannot be set upon each other. */
  | { readonly kind: "ignore" };

export function readQuery(message: Uint8Array): Reading {
  if (message.length < HEADER_BYTES) return { kind: "ignore" };
  const buf = Buffer.from(message.buffer, message.byteOffset, message.length);
  const flags = buf.readUInt16BE(2);
  if (flags & FLAG_RESPONSE) return { kind: "ignore" };
  if ((flags >> 11) & 15) return { kind: "bad", rcode: RCODE.NOTIMP };
  if (buf.readUInt16BE(4) !== 1) return { kind: "bad", rcode: RCODE.FORMERR };
  let packet: dnsPacket.DecodedPacket;
  try {
    packet = dnsPacket.decode(buf);
  } catch {
    return { kind: "bad", rcode: RCODE.FORMERR };
  }
  const question = packet.questions?.[0];
  if (question === undefined) return { kind: "bad", rcode: RCODE.FORMERR };
  const opts = (packet.additionals ?? []).filter((record) => record.type === "OPT") as unknown as {
    udpPayloadSize: number;
    ednsVersion: number;
  }[];
  if (opts.length > 1) return { kind: "bad", rcode: RCODE.FORMERR };
  return {
    kind: "query",
    query: {
      id: buf.readUInt16BE(0),
      flags,
      name: question.name,
      type: question.type,
      class: question.class ?? "IN",
      limit: Math.max(PLAIN_UDP_BYTES, opts[0]?.udpPayloadSize ?? PLAIN_UDP_BYTES),
      ednsVersion: opts[0]?.ednsVersion,
    },
  };
}

export interface ReplyParts {
  readonly rcode: number;
  /** RFC 6891: the upper bits of an rcode above 15. */
  readonly extendedRcode?: number;
  readonly authoritative: boolean;
  readonly answers: readonly dnsPacket.Answer[];
  readonly authorities: readonly dnsPacket.Answer[];
}

/** @param maxReply bytes that the way to the asker takes. Answers that do not fit are left out, and the reply says so. */
export function writeReply(query: Query, parts: ReplyParts, maxReply: number): Uint8Array {
  const limit = Math.min(query.limit, maxReply);
  const flags =
    parts.rcode |
    (query.flags & FLAG_RECURSION_DESIRED) |
    FLAG_RECURSION_AVAILABLE |
    (parts.authoritative ? FLAG_AUTHORITATIVE : 0);
  const encode = (answers: readonly dnsPacket.Answer[], whole: boolean): Uint8Array =>
    dnsPacket.encode({
      type: "response",
      id: query.id,
      flags: whole ? flags : flags | FLAG_TRUNCATED,
      questions: [{ name: query.name, type: query.type as dnsPacket.RecordType, class: query.class as "IN" }],
      answers: [...answers],
      authorities: whole ? [...parts.authorities] : [],
      additionals:
        query.ednsVersion === undefined
          ? []
          : [
              {
                type: "OPT",
                name: ".",
                udpPayloadSize: OUR_UDP_BYTES,
                extendedRcode: parts.extendedRcode ?? 0,
                ednsVersion: 0,
                flags: 0,
                flag_do: false,
                options: [],
              } as unknown as dnsPacket.Answer,
            ],
    });
  const whole = encode(parts.answers, true);
  if (whole.length <= limit) return whole;
  for (let keep = parts.answers.length - 1; keep >= 0; keep--) {
    const part = encode(parts.answers.slice(0, keep), false);
    if (part.length <= limit || keep === 0) return part;
  }
  return encode([], false);
}

/** The header and question of a query with a code and nothing else; a question that cannot be read is left out. */
export function writeError(message: Uint8Array, rcode: number): Uint8Array {
  const flags = (message[2] << 8) | message[3];
  const reading = readQuery(message);
  const body = reading.kind === "query" ? questionEnd(message) : HEADER_BYTES;
  const out = Buffer.alloc(body);
  out.set(message.subarray(0, body));
  out.writeUInt16BE(FLAG_RESPONSE | (flags & (0x7800 | FLAG_RECURSION_DESIRED)) | FLAG_RECURSION_AVAILABLE | rcode, 2);
  out.writeUInt16BE(body > HEADER_BYTES ? 1 : 0, 4);
  out.fill(0, 6, HEADER_BYTES);
  return out;
}

/** Where the one question of a message that `readQuery` accepted ends. */
export function questionEnd(message: Uint8Array): number {
  let at = HEADER_BYTES;
  while (at < message.length && message[at] !== 0) {
    // A pointer ends a name; one in the first question can only point into the header.
    if ((message[at] & 0xc0) !== 0) return Math.min(message.length, at + 6);
    at += message[at] + 1;
  }
  return Math.min(message.length, at + 5);
}

/**
 * A reply of another server, made to fit: records that do not are left out whole sections at a time and the reply says so.
 * @returns undefined where it cannot be read.
 */
export function fitReply(reply: Uint8Array, limit: number): Uint8Array {
  if (reply.length <= limit) return reply;
  const end = questionEnd(reply);
  const out = Buffer.from(reply.subarray(0, Math.min(end, limit)));
  out.writeUInt16BE(out.readUInt16BE(2) | FLAG_TRUNCATED, 2);
  out.fill(0, 6, HEADER_BYTES);
  return out;
}

export function isTruncated(reply: Uint8Array): boolean {
  return reply.length >= HEADER_BYTES && (reply[2] & 0x02) !== 0;
}
