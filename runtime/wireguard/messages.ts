/**
 * The three handshake messages on the wire: exact length first, then the type with its three zero bytes, then the fields.
 * Parsed fields are views into the datagram.
 */
import { readU32, writeU32 } from "./bytes";
import {
  COOKIE_NONCE_BYTES,
  COOKIE_REPLY_BYTES,
  INITIATION_BYTES,
  KEEPALIVE_BYTES,
  KEY_BYTES,
  MAC_BYTES,
  RESPONSE_BYTES,
  TAG_BYTES,
  TIMESTAMP_BYTES,
  TYPE_COOKIE_REPLY,
  TYPE_INITIATION,
  TYPE_RESPONSE,
  TYPE_TRANSPORT,
} from "./constants";

const INITIATION_STATIC = 8 + KEY_BYTES;
const INITIATION_TIMESTAMP = INITIATION_STATIC + KEY_BYTES + TAG_BYTES;
const RESPONSE_EMPTY = 12 + KEY_BYTES;

export type MessageType = "initiation" | "response" | "cookie-reply" | "transport";

/** The kind of a datagram, or undefined when its length or its first four bytes fit none. */
export function messageType(buf: Uint8Array, off: number, len: number): MessageType | undefined {
  if (len < KEEPALIVE_BYTES) return undefined;
  switch (readU32(buf, off)) {
    case TYPE_TRANSPORT:
      return "transport";
    case TYPE_INITIATION:
      return len === INITIATION_BYTES ? "initiation" : undefined;
    case TYPE_RESPONSE:
      return len === RESPONSE_BYTES ? "response" : undefined;
    case TYPE_COOKIE_REPLY:
      return len === COOKIE_REPLY_BYTES ? "cookie-reply" : undefined;
    default:
      return undefined;
  }
}

export interface Initiation {
  readonly sender: number;
  readonly ephemeral: Uint8Array;
  /** Sealed public key, 48 bytes. */
  readonly static: Uint8Array;
  /** Sealed timestamp, 28 bytes. */
  readonly timestamp: Uint8Array;
}

export function parseInitiation(message: Uint8Array): Initiation | undefined {
  if (message.length !== INITIATION_BYTES || readU32(message, 0) !== TYPE_INITIATION) return undefined;
  return {
    sender: readU32(message, 4),
    ephemeral: message.subarray(8, INITIATION_STATIC),
    static: message.subarray(INITIATION_STATIC, INITIATION_TIMESTAMP),
    timestamp: message.subarray(INITIATION_TIMESTAMP, INITIATION_TIMESTAMP + TIMESTAMP_BYTES + TAG_BYTES),
  };
}

/** @returns the message with both MACs still zero. */
export function formatInitiation(fields: Initiation): Uint8Array {
  const out = new Uint8Array(INITIATION_BYTES);
  writeU32(out, 0, TYPE_INITIATION);
  writeU32(out, 4, fields.sender);
  out.set(fields.ephemeral, 8);
  out.set(fields.static, INITIATION_STATIC);
  out.set(fields.timestamp, INITIATION_TIMESTAMP);
  return out;
}

export interface Response {
  readonly sender: number;
  readonly receiver: number;
  readonly ephemeral: Uint8Array;
  /** The tag over nothing, 16 bytes. */
  readonly empty: Uint8Array;
}

export function parseResponse(message: Uint8Array): Response | undefined {
  if (message.length !== RESPONSE_BYTES || readU32(message, 0) !== TYPE_RESPONSE) return undefined;
  return {
    sender: readU32(message, 4),
    receiver: readU32(message, 8),
    ephemeral: message.subarray(12, RESPONSE_EMPTY),
    empty: message.subarray(RESPONSE_EMPTY, RESPONSE_EMPTY + TAG_BYTES),
  };
}

/** @returns the message with both MACs still zero. */
export function formatResponse(fields: Response): Uint8Array {
  const out = new Uint8Array(RESPONSE_BYTES);
  writeU32(out, 0, TYPE_RESPONSE);
  writeU32(out, 4, fields.sender);
  writeU32(out, 8, fields.receiver);
  out.set(fields.ephemeral, 12);
  out.set(fields.empty, RESPONSE_EMPTY);
  return out;
}

export interface CookieReply {
  readonly receiver: number;
  readonly nonce: Uint8Array;
  /** Sealed cookie, 32 bytes. */
  readonly cookie: Uint8Array;
}

export function parseCookieReply(message: Uint8Array): CookieReply | undefined {
  if (message.length !== COOKIE_REPLY_BYTES || readU32(message, 0) !== TYPE_COOKIE_REPLY) return undefined;
  return {
    receiver: readU32(message, 4),
    nonce: message.subarray(8, 8 + COOKIE_NONCE_BYTES),
    cookie: message.subarray(8 + COOKIE_NONCE_BYTES, COOKIE_REPLY_BYTES),
  };
}

export function formatCookieReply(fields: CookieReply): Uint8Array {
  const out = new Uint8Array(COOKIE_REPLY_BYTES);
  writeU32(out, 0, TYPE_COOKIE_REPLY);
  writeU32(out, 4, fields.receiver);
  out.set(fields.nonce, 8);
  out.set(fields.cookie, 8 + COOKIE_NONCE_BYTES);
  return out;
}

/** Offset of MAC1 in an initiation or response of this length; MAC2 follows it. */
export function mac1Offset(length: number): number {
  return length - 2 * MAC_BYTES;
}
