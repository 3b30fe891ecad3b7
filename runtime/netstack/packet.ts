/**
 * The IP layer of a received packet: IPv4 with options (RFC 791), IPv6 with its extension headers (RFC 8200 section 4), down to the
 * transport header. Bounded by the packet's own length at every step.
 */
import { addSum, checksum, headerLength, packetLength, u16 } from "../dataplane/inet";
import type { DropReason } from "./drops";

export const PROTO_FRAGMENT = 44;
const HOP_BY_HOP = 0;
const ROUTING = 43;
const NO_NEXT_HEADER = 59;
const DESTINATION_OPTIONS = 60;
/** IPv4 options that would have us pass the packet on (RFC 791 section 3.1; RFC 6274 section 3.13.2). */
const LOOSE_SOURCE_ROUTE = 131;
const STRICT_SOURCE_ROUTE = 137;
/** Headers before the transport header; none that is honest has more (RFC 8504 section 5.3). */
const MAX_EXTENSION_HEADERS = 8;
const MAX_OPTIONS = 32;

/** One packet's fields, read again and again into the same object. */
export class IpPacket {
  family: 4 | 6 = 4;
  buf: Uint8Array = EMPTY;
  off = 0;
  /** Bytes of the packet by its own header. */
  length = 0;
  /** Offsets in `buf`: addresses, and what comes after the headers that were read. */
  source = 0;
  destination = 0;
  transport = 0;
  /** Bytes from `transport` on. */
  payload = 0;
  protocol = 0;
  /** Offset of the byte that names `protocol`. */
  protocolAt = 0;
  /** It is one of several fragments: `transport` is where this one's share begins. */
  fragment = false;
  /** Bytes; only of a fragment. */
  fragmentOffset = 0;
  moreFragments = false;
  identification = 0;
  /** IPv6: offset of the fragment header. */
  fragmentHeader = 0;

  /** @returns why it goes no further, or undefined */
  read(buf: Uint8Array, off: number, len: number): DropReason | undefined {
    const length = packetLength(buf, off, len);
    if (length < 0) return "malformed";
    this.buf = buf;
    this.off = off;
    this.length = length;
    this.fragment = false;
    return buf[off] >>> 4 === 4 ? this.read4() : this.read6();
  }

  private read4(): DropReason | undefined {
    const { buf, off, length } = this;
    const header = headerLength(buf, off, 4);
    if (header > length) return "malformed";
    if (checksum(addSum(0, buf, off, header)) !== 0) return "checksum";
    this.family = 4;
    this.source = off + 12;
    this.destination = off + 16;
    this.protocolAt = off + 9;
    this.protocol = buf[off + 9];
    this.transport = off + header;
    this.payload = length - header;
    if (header > 20 && !this.options4(off + 20, off + header)) return "options";
    const flags = u16(buf, off + 6);
    if ((flags & 0x3fff) !== 0) {
      this.fragment = true;
      this.fragmentOffset = (flags & 0x1fff) * 8;
      this.moreFragments = (flags & 0x2000) !== 0;
      this.identification = u16(buf, off + 4);
    }
    return undefined;
  }

  private options4(from: number, end: number): boolean {
    const { buf } = this;
    for (let at = from; at < end; ) {
      const kind = buf[at];
      if (kind === 0) return true;
      if (kind === 1) {
        at++;
        continue;
      }
      if (kind === LOOSE_SOURCE_ROUTE || kind === STRICT_SOURCE_ROUTE) return false;
      if (at + 1 >= end || buf[at + 1] < 2) return false;
      at += buf[at + 1];
      if (at > end) return false;
    }
    return true;
  }

  private read6(): DropReason | undefined {
    const { buf, off, length } = this;
    const end = off + length;
    this.family = 6;
    this.source = off + 8;
    this.destination = off + 24;
    let nameAt = off + 6;
    let at = off + 40;
    for (let headers = 0; ; headers++) {
      const next = buf[nameAt];
      if (next !== HOP_BY_HOP && next !== ROUTING && next !== DESTINATION_OPTIONS && next !== PROTO_FRAGMENT) {
        this.protocol = next;
        this.protocolAt = nameAt;
        this.transport = at;
        this.payload = end - at;
        return next === NO_NEXT_HEADER ? "protocol" : undefined;
      }
      if (headers === MAX_EXTENSION_HEADERS) return "options";
      if (at + 8 > end) return "malformed";
      if (next === PROTO_FRAGMENT) {
        const field = u16(buf, at + 2);
        // One that is alone is no fragment (RFC 6946).
        if ((field & 0xfff9) !== 0) {
          this.fragment = true;
          this.fragmentOffset = field & 0xfff8;
          this.moreFragments = (field & 1) !== 0;
          this.identification = ((u16(buf, at + 4) << 16) | u16(buf, at + 6)) >>> 0;
          this.fragmentHeader = at;
          this.protocol = buf[at];
          this.protocolAt = nameAt;
          this.transport = at + 8;
          this.payload = end - at - 8;
          return undefined;
        }
        nameAt = at;
        at += 8;
        continue;
      }
      const size = (buf[at + 1] + 1) * 8;
      if (at + size > end) return "malformed";
      // Only the first may be one; a route with a way still to go is none of ours (RFC 5095).
      if (next === HOP_BY_HOP && headers !== 0) return "options";
      if (next === ROUTING) {
        if (buf[at + 3] !== 0) return "options";
      } else if (!this.options6(at + 2, at + size)) return "options";
      nameAt = at;
      at += size;
    }
  }

  /** Options that a node has to know, it drops the packet for (RFC 8200 section 4.2). */
  private options6(from: number, end: number): boolean {
    const { buf } = this;
    let count = 0;
    for (let at = from; at < end; ) {
      if (buf[at] === 0) {
        at++;
        continue;
      }
      if (++count > MAX_OPTIONS || at + 2 > end) return false;
      if (buf[at] !== 1 && buf[at] >>> 6 !== 0) return false;
      at += 2 + buf[at + 1];
      if (at > end) return false;
    }
    return true;
  }
}

const EMPTY = new Uint8Array(0);
