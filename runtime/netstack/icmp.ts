/** ICMP and ICMPv6 of a host (RFC 792, 1122 section 3.2.2, 4443): errors about what we sent and about what we got, and echo. */
import { type IcmpError, icmpError, MAX_ICMP_ERROR } from "../dataplane/icmp";
import {
  addSum,
  checksum,
  headerLength,
  PROTO_ICMP,
  PROTO_ICMPV6,
  PROTO_TCP,
  PROTO_UDP,
  putU16,
  u16,
  writeHeader,
} from "../dataplane/inet";
import { sameBytes } from "./address";
import { checksumHolds, type Host } from "./host";
import type { Endpoint, NetworkErrorCode } from "./options";
import { IpPacket, PROTO_FRAGMENT } from "./packet";
import type { Pings } from "./ping";
import { TokenBucket } from "./token-bucket";

export type RejectReason = "port" | "host" | "network" | "admin";

/** An echo request to an address that is not ours. */
export interface Echo {
  readonly from: string;
  readonly to: string;
  readonly id: number;
  readonly sequence: number;
  /** Valid during the call. */
  readonly data: Uint8Array;
}

/** One of the two, once, during the handler's call or later. */
export interface EchoAnswer {
  /** @param data what the request carried */
  reply(data: Uint8Array): void;
  reject(reason: RejectReason): void;
}

export type EchoHandler = (echo: Echo, answer: EchoAnswer) => void;

const ECHO = { 4: { request: 8, reply: 0 }, 6: { request: 128, reply: 129 } } as const;
const HEADER = 8;

/** What an error says about a packet of ours. */
export type Verdict = "too-big" | "unreachable" | "refused";

const REASONS: Readonly<Record<RejectReason, IcmpError>> = {
  port: "port-unreachable",
  host: "host-unreachable",
  network: "network-unreachable",
  admin: "prohibited",
};

/** Who is told about errors; true where the quoted packet was one of theirs. */
export interface ErrorTakers {
  tcp(verdict: Verdict, quoted: IpPacket): boolean;
  udp(code: NetworkErrorCode, quoted: IpPacket): boolean;
}

export class Icmp {
  onEcho: EchoHandler | undefined;
  private readonly errors: TokenBucket;
  private readonly replies: TokenBucket;
  private readonly quoted = new IpPacket();
  private readonly scratch = new Uint8Array(MAX_ICMP_ERROR);

  constructor(
    private readonly host: Host,
    private readonly pings: Pings,
    private readonly takers: ErrorTakers,
  ) {
    this.errors = new TokenBucket(host.limits.icmpErrorsPerSecond);
    this.replies = new TokenBucket(host.limits.echoRepliesPerSecond);
  }

  /** @param ours whether the packet is to one of our addresses */
  input(packet: IpPacket, ours: boolean): void {
    const { host } = this;
    const { buf, transport, payload, family } = packet;
    if (payload < HEADER) {
      host.drops.malformed++;
      return;
    }
    const right =
      family === 6
        ? checksumHolds(host, packet, PROTO_ICMPV6, payload)
        : checksum(host.sum(0, buf, transport, payload)) === 0;
    if (!right) {
      host.drops.checksum++;
      return;
    }
    const type = buf[transport];
    if (type === ECHO[family].request) this.echo(packet, ours);
    else if (type === ECHO[family].reply) {
      if (!this.pings.reply(packet)) host.drops["icmp-invalid"]++;
    } else this.error(packet);
  }

  private echo(packet: IpPacket, ours: boolean): void {
    const { host } = this;
    const { buf, transport, payload, family, source, destination } = packet;
    const size = family === 4 ? 4 : 16;
    if (!ours && this.onEcho === undefined) {
      host.drops["not-ours"]++;
      return;
    }
    if (!this.replies.take(host.now())) {
      host.drops.rate++;
      return;
    }
    const from = buf.slice(source, source + size);
    const to = buf.slice(destination, destination + size);
    const id = u16(buf, transport + 4);
    const sequence = u16(buf, transport + 6);
    const data = buf.subarray(transport + HEADER, transport + payload);
    if (ours) {
      this.sendEcho(ECHO[family].reply, to, from, id, sequence, data);
      return;
    }
    let answered = false;
    const once = (act: () => void): void => {
      if (answered) return;
      answered = true;
      act();
    };
    this.onEcho?.(
      { from: host.texts.of(from, 0, family), to: host.texts.of(to, 0, family), id, sequence, data },
      {
        reply: (bytes) => once(() => this.sendEcho(ECHO[family].reply, to, from, id, sequence, bytes)),
        reject: (reason) =>
          once(() => {
            const header = Uint8Array.of(
              ECHO[family].request,
              0,
              0,
              0,
              id >>> 8,
              id & 255,
              sequence >>> 8,
              sequence & 255,
            );
            this.reject(REASONS[reason], from, to, family === 4 ? PROTO_ICMP : PROTO_ICMPV6, header);
          }),
      },
    );
  }

  /** @returns false where the link was full */
  sendEcho(type: number, from: Uint8Array, to: Uint8Array, id: number, sequence: number, data: Uint8Array): boolean {
    const { transmitter, sum } = this.host;
    const { buf, off } = transmitter;
    const protocol = from.length === 4 ? PROTO_ICMP : PROTO_ICMPV6;
    const length = HEADER + Math.min(data.length, 65535 - 40 - HEADER);
    buf[off] = type;
    buf[off + 1] = 0;
    putU16(buf, off + 2, 0);
    putU16(buf, off + 4, id);
    putU16(buf, off + 6, sequence);
    buf.set(data.subarray(0, length - HEADER), off + HEADER);
    const pseudo =
      from.length === 4 ? 0 : addSum(addSum(PROTO_ICMPV6 + length, from, 0, from.length), to, 0, to.length);
    putU16(buf, off + 2, checksum(sum(pseudo, buf, off, length)));
    return transmitter.send(from, to, protocol, length);
  }

  /** The request type of this family, for whoever sends one. */
  static requestType(family: 4 | 6): number {
    return ECHO[family].request;
  }

  /** Somebody's error about a packet that quotes as one of ours. */
  private error(packet: IpPacket): void {
    const { host, quoted } = this;
    const { buf, transport, family } = packet;
    const verdict = verdictOf(family, buf[transport], buf[transport + 1]);
    if (verdict === undefined || !this.readQuoted(packet) || !this.believe(packet, verdict))
      host.drops["icmp-invalid"]++;
    quoted.buf = NOTHING;
  }

  private believe(packet: IpPacket, verdict: Verdict): boolean {
    const { host, quoted } = this;
    const { buf, transport, family } = packet;
    // It must have left us, and from an address that the error comes back to.
    if (!host.transparent && !host.owns(buf, quoted.source, family)) return false;
    if (!sameBytes(buf, quoted.source, buf, packet.destination, family === 4 ? 4 : 16)) return false;
    const code = CODES[verdict];
    let ours = false;
    if (quoted.protocol === PROTO_TCP) ours = this.takers.tcp(verdict, quoted);
    else if (quoted.protocol === PROTO_UDP) ours = this.takers.udp(code, quoted);
    else if (quoted.protocol === (family === 4 ? PROTO_ICMP : PROTO_ICMPV6)) ours = this.pings.failed(quoted, code);
    if (ours && verdict === "too-big") {
      const mtu =
        family === 4
          ? u16(buf, transport + 6)
          : Math.min(65535, u16(buf, transport + 4) * 65536 + u16(buf, transport + 6));
      this.onTooBig(buf.slice(quoted.destination, quoted.destination + (family === 4 ? 4 : 16)), mtu, quoted.length);
    }
    return ours;
  }

  /** A believed "too big": the path to `destination` takes `mtu` (0: not told); the packet had `sent` bytes. */
  onTooBig: (destination: Uint8Array, mtu: number, sent: number) => void = () => {};

  /** Reads the quoted packet as far as it is there: its addresses, and the first 8 bytes of its payload. */
  private readQuoted(packet: IpPacket): boolean {
    const { quoted } = this;
    const { buf, transport, payload, family } = packet;
    const at = transport + HEADER;
    const end = transport + payload;
    if (at + (family === 4 ? 20 : 40) > end || buf[at] >>> 4 !== family) return false;
    quoted.buf = buf;
    quoted.off = at;
    quoted.family = family;
    quoted.source = at + (family === 4 ? 12 : 8);
    quoted.destination = at + (family === 4 ? 16 : 24);
    if (family === 4) {
      quoted.length = u16(buf, at + 2);
      quoted.protocol = buf[at + 9];
      quoted.transport = at + headerLength(buf, at, 4);
      if (quoted.transport < at + 20 || (u16(buf, at + 6) & 0x1fff) !== 0) return false;
    } else {
      quoted.length = 40 + u16(buf, at + 4);
      quoted.protocol = buf[at + 6];
      quoted.transport = at + 40;
      // The only extension header that we send.
      if (quoted.protocol === PROTO_FRAGMENT) {
        if (quoted.transport + 8 > end || (u16(buf, at + 42) & 0xfff8) !== 0) return false;
        quoted.protocol = buf[at + 40];
        quoted.transport += 8;
      }
    }
    return quoted.transport + 8 <= end;
  }

  /** Answers a packet that came to nothing. */
  refuse(kind: IcmpError, packet: IpPacket, detail = 0): void {
    const { buf, destination, family } = packet;
    const size = family === 4 ? 4 : 16;
    this.sendError(kind, buf, packet.off, packet.length, family, buf.slice(destination, destination + size), detail);
  }

  /** Tells the sender of a packet that went `from` there `to` here, of which only its transport header is left. */
  reject(kind: IcmpError, from: Uint8Array, to: Uint8Array, protocol: number, transportHeader: Uint8Array): void {
    const quote = new Uint8Array(40 + transportHeader.length);
    const header = writeHeader(quote, 0, from, to, protocol, transportHeader.length);
    quote.set(transportHeader, header);
    this.sendError(kind, quote, 0, header + transportHeader.length, from.length === 4 ? 4 : 6, to, 0);
  }

  /** As `reject`, of a datagram. */
  rejectDatagram(reason: RejectReason, from: Endpoint, to: Endpoint): void {
    const { texts } = this.host;
    const header = new Uint8Array(8);
    putU16(header, 0, from.port);
    putU16(header, 2, to.port);
    putU16(header, 4, 8);
    const source = texts.bytes(from.address, "from.address");
    this.reject(REASONS[reason], source, texts.bytes(to.address, "to.address"), PROTO_UDP, header);
  }

  /** As `reject`, of a SYN. */
  rejectSyn(
    reason: RejectReason,
    syn: { local: Uint8Array; remote: Uint8Array; localPort: number; remotePort: number; sequence: number },
  ): void {
    const header = new Uint8Array(20);
    putU16(header, 0, syn.remotePort);
    putU16(header, 2, syn.localPort);
    putU16(header, 4, syn.sequence >>> 16);
    putU16(header, 6, syn.sequence & 0xffff);
    header[12] = 0x50;
    header[13] = 2;
    this.reject(REASONS[reason], syn.remote, syn.local, PROTO_TCP, header);
  }

  sendError(
    kind: IcmpError,
    buf: Uint8Array,
    off: number,
    len: number,
    family: 4 | 6,
    from: Uint8Array,
    detail: number,
  ): void {
    const { host, scratch } = this;
    const made = icmpError(kind, buf, off, len, family, from, scratch, 0, detail);
    if (made === 0) return;
    if (!this.errors.take(host.now())) {
      host.drops.rate++;
      return;
    }
    const { transmitter } = host;
    const header = family === 4 ? 20 : 40;
    transmitter.buf.set(scratch.subarray(header, made), transmitter.off);
    const to = scratch.slice(header - from.length, header);
    transmitter.send(from, to, family === 4 ? PROTO_ICMP : PROTO_ICMPV6, made - header);
  }
}

const NOTHING = new Uint8Array(0);

const CODES: Readonly<Record<Verdict, NetworkErrorCode>> = {
  "too-big": "EMSGSIZE",
  unreachable: "EHOSTUNREACH",
  refused: "ECONNREFUSED",
};

function verdictOf(family: 4 | 6, type: number, code: number): Verdict | undefined {
  if (family === 4) {
    if (type === 11) return "unreachable";
    if (type !== 3) return undefined;
    if (code === 4) return "too-big";
    return code === 2 || code === 3 || code === 9 || code === 10 || code === 13 ? "refused" : "unreachable";
  }
  if (type === 2) return "too-big";
  if (type === 3) return "unreachable";
  if (type === 1) return code === 1 || code === 4 || code === 5 || code === 6 ? "refused" : "unreachable";
  // Unrecognized next header: nobody there speaks this protocol.
  return type === 4 && code === 1 ? "refused" : undefined;
}
