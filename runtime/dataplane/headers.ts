/** The headers of one packet as numbers: whom it goes from and to, by address, protocol and port. */
import { familyOf, headerLength, PROTO_ICMP, PROTO_ICMPV6, PROTO_TCP, PROTO_UDP, sourceOffset, u16 } from "./inet";

/** What a packet is to whoever follows flows. */
export const WHOLE = 0;
export const FIRST_FRAGMENT = 1;
/** It has no transport header: the first one speaks for it. */
export const LATER_FRAGMENT = 2;
/** An ICMP error about another packet. */
export const ICMP_ERROR = 3;
/** Its transport header is cut short or hidden. */
export const MALFORMED = -1;

export type PacketKind = typeof WHOLE | typeof FIRST_FRAGMENT | typeof LATER_FRAGMENT | typeof ICMP_ERROR | -1;

export const TCP_FIN = 0x01;
export const TCP_SYN = 0x02;
export const TCP_RST = 0x04;
export const TCP_ACK = 0x10;

/** Of `flags` where the protocol is ICMP. */
export const ECHO_REQUEST = 1;
export const ECHO_REPLY = 2;

/** Four words of the source, four of the destination (IPv4: one and zeros), both ports, family and protocol. */
export const KEY_WORDS = 10;
const PORTS = 8;
const PROTOCOL = 9;

const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT = 44;
const AUTHENTICATION = 51;
const DESTINATION_OPTIONS = 60;
const MOBILITY = 135;
const MAX_EXTENSION_HEADERS = 8;

export class Headers {
  /**
   * Who talks to whom: KEY_WORDS words. An echo has its identifier as both ports, a protocol without ports has zeros. A fragment
   * that is not the first has its identification instead of ports.
   */
  readonly key = new Int32Array(KEY_WORDS);
  /** The same for fragments of one packet, the first included; set for fragments. */
  readonly fragmentKey = new Int32Array(KEY_WORDS);
  kind: PacketKind = MALFORMED;
  family: 4 | 6 = 4;
  /** ICMPv6 is PROTO_ICMP here. */
  protocol = 0;
  /** Of TCP as they stand there; of ICMP ECHO_REQUEST, ECHO_REPLY or 0. */
  flags = 0;
  /** Where the transport header begins, and where the packet ends, in the buffer. */
  transport = 0;
  end = 0;

  /** Reads the packet at `buf[off]`, whose IP header was checked. @returns its kind */
  read(buf: Uint8Array, off: number, len: number): PacketKind {
    return this.readUpTo(buf, off, off + len, false);
  }

  /** Reads the start of a packet that an ICMP error quotes: the IP header and at least 8 bytes behind it. */
  readQuoted(buf: Uint8Array, off: number, end: number): PacketKind {
    const version = off < end ? buf[off] >>> 4 : 0;
    const enough = version === 4 ? end - off >= 28 && (buf[off] & 15) >= 5 : version === 6 && end - off >= 48;
    if (!enough) {
      this.kind = MALFORMED;
      return MALFORMED;
    }
    return this.readUpTo(buf, off, end, true);
  }

  get sourcePort(): number {
    return this.key[PORTS] >>> 16;
  }

  get destinationPort(): number {
    return this.key[PORTS] & 0xffff;
  }

  private readUpTo(buf: Uint8Array, off: number, end: number, quoted: boolean): PacketKind {
    const family = familyOf(buf, off);
    const { key } = this;
    this.family = family;
    this.end = end;
    this.flags = 0;
    const from = sourceOffset(off, family);
    if (family === 4) {
      key[0] = word(buf, from);
      key[4] = word(buf, from + 4);
      for (let i = 1; i < 4; i++) key[i] = key[4 + i] = 0;
    } else for (let i = 0; i < 8; i++) key[i] = word(buf, from + 4 * i);
    this.kind = family === 4 ? this.readIpv4(buf, off) : this.readIpv6(buf, off);
    if (this.kind !== MALFORMED && this.kind !== LATER_FRAGMENT) this.readTransport(buf, quoted);
    key[PROTOCOL] = (family << 8) | this.protocol;
    return this.kind;
  }

  private readIpv4(buf: Uint8Array, off: number): PacketKind {
    this.protocol = buf[off + 9];
    this.transport = off + headerLength(buf, off, 4);
    const fragment = u16(buf, off + 6);
    if ((fragment & 0x3fff) === 0) return WHOLE;
    return this.readFragment((this.protocol << 16) | u16(buf, off + 4), fragment & 0x1fff);
  }

  /** Goes over the extension headers (RFC 8200 section 4). */
  private readIpv6(buf: Uint8Array, off: number): PacketKind {
    const { end } = this;
    let next = buf[off + 6];
    let at = off + 40;
    let kind: PacketKind = WHOLE;
    for (let i = 0; ; i++) {
      this.protocol = next;
      this.transport = at;
      const known =
        next === HOP_BY_HOP ||
        next === ROUTING ||
        next === FRAGMENT ||
        next === AUTHENTICATION ||
        next === DESTINATION_OPTIONS ||
        next === MOBILITY;
      if (!known) return kind;
      if (i === MAX_EXTENSION_HEADERS || at + 8 > end) return MALFORMED;
      if (next === FRAGMENT) {
        const fragment = u16(buf, at + 2);
        // RFC 6946: one without another is a packet like any other.
        if ((fragment & 0xfff9) !== 0) kind = this.readFragment(word(buf, at + 4), fragment >>> 3);
        if (kind === LATER_FRAGMENT || kind === MALFORMED) {
          this.protocol = buf[at];
          return kind;
        }
      }
      next = buf[at];
      // RFC 4302 section 2.2 counts in another way.
      at +=
        this.protocol === FRAGMENT ? 8 : this.protocol === AUTHENTICATION ? 8 + buf[at + 1] * 4 : 8 + buf[at + 1] * 8;
    }
  }

  /** @param offset in units of 8 bytes */
  private readFragment(identification: number, offset: number): PacketKind {
    const { key, fragmentKey } = this;
    for (let i = 0; i < PORTS; i++) fragmentKey[i] = key[i];
    fragmentKey[PORTS] = identification;
    fragmentKey[PROTOCOL] = (this.family << 8) | FRAGMENT;
    if (offset === 0) return FIRST_FRAGMENT;
    key[PORTS] = identification;
    // RFC 1858 section 4.2: one that could write over the flags that were looked at.
    return offset === 1 && this.protocol === PROTO_TCP ? MALFORMED : LATER_FRAGMENT;
  }

  private readTransport(buf: Uint8Array, quoted: boolean): void {
    const { key, transport, end, protocol } = this;
    if (protocol === PROTO_TCP || protocol === PROTO_UDP) {
      const tcp = protocol === PROTO_TCP;
      if (transport + (tcp && !quoted ? 20 : 8) > end) {
        this.kind = MALFORMED;
        return;
      }
      key[PORTS] = word(buf, transport);
      if (tcp && transport + 14 <= end) this.flags = buf[transport + 13];
      if (tcp && !quoted && (buf[transport + 12] >>> 4 < 5 || transport + (buf[transport + 12] >>> 4) * 4 > end))
        this.kind = MALFORMED;
      return;
    }
    key[PORTS] = 0;
    if (protocol !== (this.family === 4 ? PROTO_ICMP : PROTO_ICMPV6)) return;
    this.protocol = PROTO_ICMP;
    if (transport + 8 > end) {
      this.kind = MALFORMED;
      return;
    }
    const type = buf[transport];
    if (this.family === 4) {
      if (type === 8) this.flags = ECHO_REQUEST;
      else if (type === 0) this.flags = ECHO_REPLY;
      else if (type === 3 || type === 4 || type === 5 || type === 11 || type === 12) this.kind = ICMP_ERROR;
    } else if (type === 128) this.flags = ECHO_REQUEST;
    else if (type === 129) this.flags = ECHO_REPLY;
    else if (type < 128) this.kind = ICMP_ERROR;
    if (this.flags !== 0) {
      const id = u16(buf, transport + 4);
      key[PORTS] = (id << 16) | id;
    }
  }
}

function word(buf: Uint8Array, off: number): number {
  return (buf[off] << 24) | (buf[off + 1] << 16) | (buf[off + 2] << 8) | buf[off + 3];
}
