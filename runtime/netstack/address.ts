/** Addresses between their text and the 4 or 16 bytes that packets carry. */
import ipaddr from "ipaddr.js";
import { isUnicast } from "../dataplane/inet";
import { WarrenError } from "../errors";

/**
 * @param path the input's name for the error
 * @throws WarrenError WARREN_INVALID_INPUT where it is no numeric IPv4 or IPv6 address
 */
export function addressBytes(text: string, path: string): Uint8Array {
  const refuse = (why: string): WarrenError =>
    new WarrenError("WARREN_INVALID_INPUT", `${path}: ${JSON.stringify(text)} ${why}.`, { path });
  if (typeof text !== "string") throw refuse("is no text: give a numeric IPv4 or IPv6 address");
  if (ipaddr.IPv4.isValidFourPartDecimal(text)) return Uint8Array.from(ipaddr.IPv4.parse(text).toByteArray());
  if (text.includes("%")) throw refuse("carries a zone: give the address without it");
  if (!text.includes(":") || !ipaddr.IPv6.isValid(text))
    throw refuse("is no numeric IPv4 or IPv6 address: resolve names first");
  const address = ipaddr.IPv6.parse(text);
  if (address.isIPv4MappedAddress()) throw refuse("is an IPv4-mapped address: give the IPv4 address itself");
  return Uint8Array.from(address.toByteArray());
}

/** @throws WarrenError WARREN_INVALID_INPUT */
export function checkPort(port: number, path: string, lowest = 1): number {
  if (Number.isInteger(port) && port >= lowest && port <= 65535) return port;
  throw new WarrenError(
    "WARREN_INVALID_INPUT",
    `${path}: ${String(port)} is no port: give a whole number from ${lowest} to 65535.`,
    { path },
  );
}

/** The address of this family at `buf[off]` as a text: dotted, or as RFC 5952 has it. */
export function addressText(buf: Uint8Array, off: number, family: 4 | 6): string {
  if (family === 4) return `${buf[off]}.${buf[off + 1]}.${buf[off + 2]}.${buf[off + 3]}`;
  return ipaddr.fromByteArray(Array.from(buf.subarray(off, off + 16))).toString();
}

/** Texts of addresses seen lately: caches of a fixed size, so that forged addresses cost no memory. */
export class AddressTexts {
  private readonly keys: (Uint8Array | undefined)[] = new Array(256).fill(undefined);
  private readonly texts: string[] = new Array(256).fill("");
  private readonly parsed = new Map<string, Uint8Array>();

  of(buf: Uint8Array, off: number, family: 4 | 6): string {
    const size = family === 4 ? 4 : 16;
    let hash = 0;
    for (let i = 0; i < size; i++) hash = (Math.imul(hash, 31) + buf[off + i]) | 0;
    const slot = (hash ^ (hash >>> 8)) & 255;
    const key = this.keys[slot];
    if (key !== undefined && key.length === size && sameBytes(key, 0, buf, off, size)) return this.texts[slot];
    const text = addressText(buf, off, family);
    const bytes = buf.slice(off, off + size);
    this.keys[slot] = bytes;
    this.texts[slot] = text;
    // Whoever is told of an address answers it by its text.
    this.remember(text, bytes);
    return text;
  }

  /** The other way, remembered likewise. @throws WarrenError WARREN_INVALID_INPUT */
  bytes(text: string, path: string): Uint8Array {
    const known = this.parsed.get(text);
    if (known !== undefined) return known;
    const bytes = addressBytes(text, path);
    this.remember(text, bytes);
    return bytes;
  }

  private remember(text: string, bytes: Uint8Array): void {
    if (this.parsed.size >= 1024) this.parsed.clear();
    this.parsed.set(text, bytes);
  }
}

/** The bytes as a key of a Map. */
export function addressKey(buf: Uint8Array, off: number, family: 4 | 6): string {
  let key = "";
  for (let i = 0; i < (family === 4 ? 4 : 16); i++) key += String.fromCharCode(buf[off + i]);
  return key;
}

export function sameBytes(a: Uint8Array, aOff: number, b: Uint8Array, bOff: number, len: number): boolean {
  for (let i = 0; i < len; i++) if (a[aOff + i] !== b[bOff + i]) return false;
  return true;
}

export function familyOfBytes(address: Uint8Array): 4 | 6 {
  return address.length === 4 ? 4 : 6;
}

/** 127.0.0.0/8, `::1`, and IPv4 addresses in the clothes of IPv6 (::ffff:0:0/96): never on a wire. */
function isLoopback(buf: Uint8Array, off: number, family: 4 | 6): boolean {
  if (family === 4) return buf[off] === 127;
  for (let i = 0; i < 10; i++) if (buf[off + i] !== 0) return false;
  if (buf[off + 10] === 0xff && buf[off + 11] === 0xff) return true;
  for (let i = 10; i < 15; i++) if (buf[off + i] !== 0) return false;
  return buf[off + 15] === 1;
}

/** An address that a single host on a wire may have. */
export function isHostAddress(buf: Uint8Array, off: number, family: 4 | 6): boolean {
  return isUnicast(buf, off, family) && !isLoopback(buf, off, family);
}
