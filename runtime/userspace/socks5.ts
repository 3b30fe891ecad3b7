/** SOCKS5 (RFC 1928) with a password (RFC 1929): its messages as pure functions. */
import * as ipaddr from "ipaddr.js";

export const VERSION = 5;
export const METHOD = { none: 0, password: 2, noneAcceptable: 0xff } as const;
export const COMMAND = { connect: 1, bind: 2, udpAssociate: 3 } as const;
export const REPLY = {
  succeeded: 0,
  failure: 1,
  notAllowed: 2,
  networkUnreachable: 3,
  hostUnreachable: 4,
  refused: 5,
  commandNotSupported: 7,
  addressNotSupported: 8,
} as const;

/** RFC 1929 section 2. */
export const AUTH_VERSION = 1;

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** What a parser says: a value and how many bytes it took, `more` where bytes are missing, `bad` where it can never be right. */
export type Parsed<T> = { readonly value: T; readonly length: number } | "more" | "bad";

/** The methods that a client offers. */
export function parseGreeting(buf: Uint8Array): Parsed<readonly number[]> {
  if (buf.length < 1) return "more";
  if (buf[0] !== VERSION) return "bad";
  if (buf.length < 2 || buf.length < 2 + buf[1]!) return "more";
  return { value: [...buf.subarray(2, 2 + buf[1]!)], length: 2 + buf[1]! };
}

export function parsePassword(buf: Uint8Array): Parsed<{ readonly user: string; readonly password: string }> {
  if (buf.length < 1) return "more";
  if (buf[0] !== AUTH_VERSION) return "bad";
  if (buf.length < 2) return "more";
  const userEnd = 2 + buf[1]!;
  if (buf.length < userEnd + 1) return "more";
  const end = userEnd + 1 + buf[userEnd]!;
  if (buf.length < end) return "more";
  const text = (from: number, to: number) => Buffer.from(buf.subarray(from, to)).toString("utf8");
  return { value: { user: text(2, userEnd), password: text(userEnd + 1, end) }, length: end };
}

/** ATYP, address and port at `at`. @returns "bad-type" for an address type that is not known. */
function parseAddress(buf: Uint8Array, at: number): Parsed<HostPort> {
  if (buf.length < at + 2) return "more";
  const type = buf[at];
  const size = type === 1 ? 4 : type === 4 ? 16 : type === 3 ? buf[at + 1]! + 1 : -1;
  if (size < 0) return "bad";
  const end = at + 1 + size + 2;
  if (buf.length < end) return "more";
  const body = buf.subarray(at + 1, at + 1 + size);
  const host =
    type === 3 ? Buffer.from(body.subarray(1)).toString("latin1") : ipaddr.fromByteArray([...body]).toString();
  if (host === "" || /[^\x21-\x7e]/.test(host)) return "bad";
  return { value: { host, port: buf[end - 2]! * 256 + buf[end - 1]! }, length: end };
}

export interface SocksRequest extends HostPort {
  readonly command: number;
}

export function parseRequest(buf: Uint8Array): Parsed<SocksRequest> {
  if (buf.length < 4) return buf.length > 0 && buf[0] !== VERSION ? "bad" : "more";
  if (buf[0] !== VERSION) return "bad";
  const address = parseAddress(buf, 3);
  if (address === "more" || address === "bad") return address;
  return { value: { command: buf[1]!, ...address.value }, length: address.length };
}

/** VER REP RSV ATYP BND.ADDR BND.PORT, and with `version` 0 the header of a UDP datagram (RSV RSV FRAG). */
function withAddress(head: readonly number[], { host, port }: HostPort): Buffer {
  const bytes = ipaddr.parse(host).toByteArray();
  return Buffer.from([...head, bytes.length === 4 ? 1 : 4, ...bytes, port >>> 8, port & 255]);
}

export function reply(code: number, bound: HostPort = { host: "0.0.0.0", port: 0 }): Buffer {
  return withAddress([VERSION, code, 0], bound);
}

/** The header of a datagram between client and proxy (RFC 1928 section 7); fragments are "bad". */
export function parseDatagram(buf: Uint8Array): Parsed<HostPort> {
  if (buf.length < 4) return "bad";
  if (buf[2] !== 0) return "bad";
  const address = parseAddress(buf, 3);
  return address === "more" ? "bad" : address;
}

export function datagramHeader(from: HostPort): Buffer {
  return withAddress([0, 0, 0], from);
}

/** What a client is told of an error with a system's code. */
export function replyOf(code: string | undefined): number {
  switch (code) {
    case "ECONNREFUSED":
      return REPLY.refused;
    case "ENETUNREACH":
      return REPLY.networkUnreachable;
    case "EACCES":
      return REPLY.notAllowed;
    case "ENOTFOUND":
    case "EHOSTUNREACH":
    case "ETIMEDOUT":
      return REPLY.hostUnreachable;
    default:
      return REPLY.failure;
  }
}
