/**
 * The switch of one network on one host: links of apps, the gateway's own addresses, and the WireGuard device.
 * Pure: packets come in by call and leave through links and the tunnel that it was given.
 *
 * Buffers carry at least 64 bytes before and 64 after a packet that may be written to: the tunnel encrypts in place.
 */
import type { SendResult } from "../wireguard/types";
import { AddressTable } from "./address-table";
import { echoReply, type IcmpError, icmpError, MAX_ICMP_ERROR } from "./icmp";
import {
  addSum,
  checksum,
  decrementTtl,
  destinationOffset,
  familyOf,
  headerLength,
  isFragment,
  isUnicast,
  mustNotFragment,
  PROTO_UDP,
  packetLength,
  protocolOf,
  pseudoSum,
  putU16,
  sourceOffset,
  u16,
  writeHeader,
} from "./inet";

export type DropReason =
  | "malformed" // no whole IP packet
  | "source" // from a link, with an address that is not the link's
  | "multicast" // to no single member
  | "no-route" // from a peer, to an address that no link or peer has
  | "no-peer" // no peer has this address
  | "no-endpoint" // a peer has it and cannot be reached yet
  | "gateway-address" // to the gateway or DNS address, and nothing there takes it
  | "too-big"
  | "ttl"
  | "loop" // would go back where it came from
  | "dns-queue" // too many questions wait for an answer
  | "link-down"; // the app's device does not take packets

const REASONS: readonly DropReason[] = [
  "malformed",
  "source",
  "multicast",
  "no-route",
  "no-peer",
  "no-endpoint",
  "gateway-address",
  "too-big",
  "ttl",
  "loop",
  "dns-queue",
  "link-down",
];

export type Drops = Record<DropReason, number>;

export function newDrops(): Drops {
  return Object.fromEntries(REASONS.map((reason) => [reason, 0])) as Drops;
}

/** The counters that are not 0. */
export function countedDrops(drops: Drops): Record<string, number> {
  return Object.fromEntries(Object.entries(drops).filter(([, count]) => count > 0));
}

/** A packet that its sender's kernel left unfinished: the packets that come of it. */
export interface Offload {
  /** How many, and the bytes of the longest. */
  readonly count: number;
  readonly largest: number;
  /** Writes the next one at `at`. @returns its length; 0: there is none */
  next(at: number): number;
}

/** An app's link as the switch sees it. */
export interface SwitchLink {
  readonly id: string;
  /** Of 4 or 16 bytes each. */
  readonly addresses: readonly Uint8Array[];
  /** Packets from the app and to it. */
  rx: number;
  tx: number;
  readonly drops: Drops;
  /**
   * Gives the app a packet.
   * @param offload where it is unfinished; its virtio header lies before it.
   * @returns false where its device does not take it.
   */
  deliver(buf: Uint8Array, off: number, len: number, offload?: Offload): boolean;
  /** As `deliver`, of a packet that stays where it is until the end of the round, and may be joined with those after it. */
  deliverLasting(buf: Uint8Array, off: number, len: number): boolean;
}

/** The WireGuard device as the switch sees it. P identifies a peer. */
export interface Tunnel<P> {
  /** Where, in the memory that packets of links lie in, to make a packet that shall be sent next without a copy. */
  place(): number;
  /** Encrypts and sends to the peer that has the destination. */
  send(buf: Uint8Array, off: number, len: number): SendResult;
  /** As `send`, to a peer that was looked up. */
  sendTo(peer: P, buf: Uint8Array, off: number, len: number): SendResult;
  /** The peer that has the destination of the packet at `buf[off]`. */
  destinationOf(buf: Uint8Array, off: number): P | undefined;
  /** True for another host's gateway, false for a peer that is attached to this one. */
  isGateway(peer: P): boolean;
}

/** A question that came to the DNS address over UDP. */
export interface DnsQuestion {
  /** 4 or 16 bytes: the asker's, and the DNS address that was asked. */
  readonly from: Uint8Array;
  readonly fromPort: number;
  readonly to: Uint8Array;
  readonly message: Uint8Array;
}

export interface GatewayOptions<P> {
  readonly id: string;
  readonly mtu: number;
  readonly gatewayIps: readonly Uint8Array[];
  readonly dnsIps: readonly Uint8Array[];
  readonly tunnel: Tunnel<P>;
  /** Where own packets are made: 64 bytes of room on either side of `scratchSize` bytes at `scratchOffset`. */
  readonly scratch: Uint8Array;
  readonly scratchOffset: number;
  readonly scratchSize: number;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  /** @returns false where it cannot be taken now. */
  readonly onDns: (question: DnsQuestion) => boolean;
}

type Target = SwitchLink | "gateway" | "dns";

/** Error packets a gateway sends at most, in a burst and then a second (RFC 1812 section 4.3.2.8). */
const ERROR_BURST = 50;
const ERRORS_PER_SECOND = 100;

export class Gateway<P> {
  readonly id: string;
  /** Of packets that came from peers or were made here. */
  readonly drops = newDrops();
  private links: readonly SwitchLink[] = [];
  private table: AddressTable<Target>;
  private errorTokens = ERROR_BURST;
  private errorTokensAt = 0;

  constructor(private readonly options: GatewayOptions<P>) {
    this.id = options.id;
    this.table = this.buildTable();
  }

  /** The links from now on. */
  setLinks(links: readonly SwitchLink[]): void {
    this.links = links;
    this.table = this.buildTable();
  }

  private buildTable(): AddressTable<Target> {
    const entries: [Uint8Array, Target][] = [];
    for (const link of this.links) for (const address of link.addresses) entries.push([address, link]);
    for (const ip of this.options.gatewayIps) entries.push([ip, "gateway"]);
    for (const ip of this.options.dnsIps) entries.push([ip, "dns"]);
    return new AddressTable(entries);
  }

  /** A packet that an app sent. @param offload where it is unfinished */
  fromLink(link: SwitchLink, buf: Uint8Array, off: number, available: number, offload?: Offload): void {
    const count = offload === undefined ? 1 : offload.count;
    link.rx += count;
    const len = packetLength(buf, off, available);
    if (len < 0) {
      link.drops.malformed += count;
      return;
    }
    const family = familyOf(buf, off);
    const to = destinationOffset(off, family);
    if (!isUnicast(buf, to, family)) {
      link.drops.multicast += count;
      return;
    }
    if (this.table.get(buf, sourceOffset(off, family), family) !== link) {
      link.drops.source += count;
      return;
    }
    const target = this.table.get(buf, to, family);
    if (typeof target === "string") {
      this.fromLinkToOwn(target, link, buf, off, len, family, offload);
      return;
    }
    if (target === link) {
      link.drops.loop += count;
      return;
    }
    const longest = offload === undefined ? len : offload.largest;
    if (longest > this.options.mtu && mustNotFragment(buf, off, family)) {
      link.drops["too-big"] += count;
      this.error("too-big", buf, off, len, family);
      return;
    }
    if (target === undefined) this.intoTunnel(link, buf, off, len, family, offload);
    else if (target.deliver(buf, off, len, offload)) target.tx += count;
    else target.drops["link-down"] += count;
  }

  private intoTunnel(
    link: SwitchLink,
    buf: Uint8Array,
    off: number,
    len: number,
    family: 4 | 6,
    offload: Offload | undefined,
  ): void {
    const { tunnel } = this.options;
    let result: SendResult = "no-peer";
    let left = 1;
    if (offload === undefined) result = tunnel.send(buf, off, len);
    else {
      left = offload.count;
      const peer = tunnel.destinationOf(buf, off);
      if (peer !== undefined)
        for (let at = tunnel.place(), n = offload.next(at); n > 0; at = tunnel.place(), n = offload.next(at)) {
          result = tunnel.sendTo(peer, buf, at, n);
          if (result !== "sent" && result !== "staged") break;
          left--;
        }
    }
    if (result === "sent" || result === "staged") return;
    link.drops[result] += left;
    if (result !== "malformed") this.error("host-unreachable", buf, off, len, family);
  }

  private fromLinkToOwn(
    which: "gateway" | "dns",
    link: SwitchLink,
    buf: Uint8Array,
    off: number,
    len: number,
    family: 4 | 6,
    offload: Offload | undefined,
  ): void {
    if (offload === undefined) {
      this.ownAddress(which, link.drops, buf, off, len, family);
      return;
    }
    const { tunnel } = this.options;
    for (let at = tunnel.place(), n = offload.next(at); n > 0; at = tunnel.place(), n = offload.next(at))
      this.ownAddress(which, link.drops, buf, at, n, family);
  }

  /** A packet from a peer, authenticated and with a source that is the peer's. */
  fromPeer(peer: P, buf: Uint8Array, off: number, available: number): void {
    const len = packetLength(buf, off, available);
    if (len < 0) {
      this.drops.malformed++;
      return;
    }
    const family = familyOf(buf, off);
    const to = destinationOffset(off, family);
    if (!isUnicast(buf, to, family)) {
      this.drops.multicast++;
      return;
    }
    const target = this.table.get(buf, to, family);
    if (target === undefined) {
      this.forward(peer, buf, off, len, family);
      return;
    }
    const fromGateway = this.options.tunnel.isGateway(peer);
    if (typeof target === "string") {
      // These addresses exist on every host: another host's apps have their own.
      if (fromGateway) this.drops["gateway-address"]++;
      else this.ownAddress(target, this.drops, buf, off, len, family);
      return;
    }
    if (len > this.options.mtu && mustNotFragment(buf, off, family)) {
      this.drops["too-big"]++;
      if (!fromGateway) this.error("too-big", buf, off, len, family);
      return;
    }
    if (target.deliverLasting(buf, off, len)) target.tx++;
    else target.drops["link-down"]++;
  }

  /** From one peer to another: an attached peer reaches all, another host's gateway reaches the attached ones. */
  private forward(peer: P, buf: Uint8Array, off: number, len: number, family: 4 | 6): void {
    const { tunnel, mtu } = this.options;
    const next = tunnel.destinationOf(buf, off);
    const fromGateway = tunnel.isGateway(peer);
    if (next === undefined) {
      this.drops["no-route"]++;
      if (!fromGateway) this.error("host-unreachable", buf, off, len, family);
      return;
    }
    if (next === peer || (fromGateway && tunnel.isGateway(next))) {
      this.drops.loop++;
      return;
    }
    if (len > mtu && mustNotFragment(buf, off, family)) {
      this.drops["too-big"]++;
      if (!fromGateway) this.error("too-big", buf, off, len, family);
      return;
    }
    if (!decrementTtl(buf, off, family)) {
      this.drops.ttl++;
      if (!fromGateway) this.error("time-exceeded", buf, off, len, family);
      return;
    }
    const result = tunnel.sendTo(next, buf, off, len);
    if (result === "sent" || result === "staged") return;
    this.drops[result]++;
    if (!fromGateway && result !== "malformed") this.error("host-unreachable", buf, off, len, family);
  }

  /** A packet to `.1` or `.2` from an app or an attached peer. */
  private ownAddress(
    which: "gateway" | "dns",
    drops: Drops,
    buf: Uint8Array,
    off: number,
    len: number,
    family: 4 | 6,
  ): void {
    if (echoReply(buf, off, len, family)) {
      this.emit(buf, off, len, family);
      return;
    }
    if (which === "dns") {
      const question = dnsQuestion(buf, off, len, family);
      if (question === "damaged") {
        drops.malformed++;
        return;
      }
      if (question !== undefined) {
        if (!this.options.onDns(question)) drops["dns-queue"]++;
        return;
      }
    }
    drops["gateway-address"]++;
    this.error("port-unreachable", buf, off, len, family);
  }

  /** Sends the answer to a question. @returns false where it is too long for the network or cannot be sent. */
  answerDns(question: DnsQuestion, message: Uint8Array): boolean {
    const { scratch, scratchOffset: off, mtu, scratchSize } = this.options;
    const family = question.from.length === 4 ? 4 : 6;
    const header = family === 4 ? 20 : 40;
    const len = header + 8 + message.length;
    if (len > mtu || len > scratchSize) {
      this.drops["too-big"]++;
      return false;
    }
    writeHeader(scratch, off, question.to, question.from, PROTO_UDP, 8 + message.length);
    const udp = off + header;
    putU16(scratch, udp, 53);
    putU16(scratch, udp + 2, question.fromPort);
    putU16(scratch, udp + 4, 8 + message.length);
    putU16(scratch, udp + 6, 0);
    scratch.set(message, udp + 8);
    const sum = addSum(
      pseudoSum(scratch, off, family, PROTO_UDP, 8 + message.length),
      scratch,
      udp,
      8 + message.length,
    );
    putU16(scratch, udp + 6, checksum(sum) || 0xffff);
    return this.emit(scratch, off, len, family);
  }

  /** Sends a packet of the gateway's own. */
  private emit(buf: Uint8Array, off: number, len: number, family: 4 | 6): boolean {
    const target = this.table.get(buf, destinationOffset(off, family), family);
    if (typeof target === "string") return false;
    if (target === undefined) {
      const result = this.options.tunnel.send(buf, off, len);
      if (result === "sent" || result === "staged") return true;
      this.drops[result]++;
      return false;
    }
    if (target.deliver(buf, off, len)) {
      target.tx++;
      return true;
    }
    target.drops["link-down"]++;
    return false;
  }

  /** Tells the sender of a packet what became of it, at a bounded rate. */
  private error(kind: IcmpError, buf: Uint8Array, off: number, len: number, family: 4 | 6): void {
    const size = family === 4 ? 4 : 16;
    const from = this.options.gatewayIps.find((ip) => ip.length === size);
    if (from === undefined || this.options.scratchSize < MAX_ICMP_ERROR) return;
    const now = this.options.now();
    this.errorTokens = Math.min(
      ERROR_BURST,
      this.errorTokens + ((now - this.errorTokensAt) * ERRORS_PER_SECOND) / 1000,
    );
    this.errorTokensAt = now;
    if (this.errorTokens < 1) return;
    const { scratch, scratchOffset, mtu } = this.options;
    const made = icmpError(kind, buf, off, len, family, from, scratch, scratchOffset, mtu);
    if (made === 0) return;
    this.errorTokens--;
    this.emit(scratch, scratchOffset, made, family);
  }
}

/** The UDP message to port 53; undefined: something else; `damaged`: not to be answered. */
function dnsQuestion(buf: Uint8Array, off: number, len: number, family: 4 | 6): DnsQuestion | "damaged" | undefined {
  if (protocolOf(buf, off, family) !== PROTO_UDP || isFragment(buf, off, family)) return undefined;
  const udp = off + headerLength(buf, off, family);
  const end = off + len;
  if (udp + 8 > end) return "damaged";
  if (u16(buf, udp + 2) !== 53) return undefined;
  const length = u16(buf, udp + 4);
  if (length < 8 || udp + length > end) return "damaged";
  // Over IPv4 a checksum of 0 says that there is none (RFC 768); IPv6 always has one.
  if (family === 6 || u16(buf, udp + 6) !== 0)
    if (checksum(addSum(pseudoSum(buf, off, family, PROTO_UDP, length), buf, udp, length)) !== 0) return "damaged";
  const size = family === 4 ? 4 : 16;
  const source = sourceOffset(off, family);
  const destination = destinationOffset(off, family);
  return {
    from: buf.slice(source, source + size),
    fromPort: u16(buf, udp),
    to: buf.slice(destination, destination + size),
    message: buf.slice(udp + 8, udp + length),
  };
}
