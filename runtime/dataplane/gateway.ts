/**
 * The switch of one network on one host: links of apps, the gateway's own addresses and stack, and the WireGuard device.
 * Pure: packets come in by call and leave through links and the tunnel that it was given.
 *
 * Buffers carry at least 64 bytes before and 64 after a packet that may be written to: the tunnel encrypts in place.
 */
import type { SendResult } from "../wireguard/types";
import { AddressTable } from "./address-table";
import type { PolicyConfig } from "./config";
import { dnsAnswerLength, dnsQuestion, isDnsOverTcp, writeDnsAnswer } from "./dns-packet";
import { type Drops, newDrops } from "./drops";
import { ErrorBudget } from "./error-budget";
import type { DnsQuestion, GatewayOptions, Offload, SwitchLink } from "./gateway-types";
import { Headers } from "./headers";
import { echoReply, type IcmpError, icmpError, MAX_ICMP_ERROR } from "./icmp";
import {
  decrementTtl,
  destinationOffset,
  familyOf,
  isUnicast,
  mustNotFragment,
  PROTO_TCP,
  packetLength,
  sourceOffset,
} from "./inet";
import { Outside } from "./outside";
import { Policy } from "./policy";
import { PolicyFilter } from "./policy-filter";
import type { Switch } from "./switch";
import { tcpReset } from "./tcp-reset";

export { countedDrops, type DropReason, type Drops, newDrops } from "./drops";
export type { DnsQuestion, GatewayOptions, Offload, SwitchLink, Tunnel } from "./gateway-types";

type Own = "gateway" | "dns";
type Target = SwitchLink | Own;

export class Gateway<P> implements Switch<P> {
  readonly id: string;
  /** Of packets that came from peers or were made here. */
  readonly drops = newDrops();
  private links: readonly SwitchLink[] = [];
  private stack: SwitchLink | undefined;
  private outside = new Outside([]);
  private table: AddressTable<Target>;
  private filter: PolicyFilter | undefined;
  private readonly headers = new Headers();
  private readonly errors = new ErrorBudget();

  constructor(private readonly options: GatewayOptions<P>) {
    this.id = options.id;
    this.table = this.buildTable();
  }

  /**
   * The links from now on.
   * @param stack the gateway's own. It gets what is for its addresses; TCP port 53 of the DNS addresses, from this host's links and
   *   attached peers; and what links with `egress` send outside the network.
   */
  setLinks(links: readonly SwitchLink[], stack?: SwitchLink): void {
    this.links = links;
    this.stack = stack;
    this.table = this.buildTable();
  }

  /** The network's own ranges from now on, in CIDR notation. @throws WarrenError WARREN_INVALID_RANGE */
  setRanges(ranges: readonly string[]): void {
    this.outside = new Outside(ranges);
  }

  /**
   * The policy from now on; flows that it does not allow any more are cut. It judges what members of this host send, and what is for
   * them, by their own addresses. It does not judge what concerns the gateway and DNS addresses, the own stack (which is the
   * machine's administrator: what stacks of other hosts start here must be allowed by rules from their addresses), or the world
   * outside the network.
   * @throws WarrenError WARREN_INVALID_RANGE
   */
  setPolicy(policy: PolicyConfig | undefined): void {
    if (policy === undefined) this.filter = undefined;
    else if (this.filter === undefined)
      this.filter = new PolicyFilter(new Policy(policy), { seed: this.options.seed ?? 0 });
    else this.filter.setPolicy(new Policy(policy));
  }

  private buildTable(): AddressTable<Target> {
    const entries: [Uint8Array, Target][] = [];
    for (const link of this.links) for (const address of link.addresses) entries.push([address, link]);
    for (const address of this.stack?.addresses ?? []) entries.push([address, this.stack!]);
    for (const ip of this.options.gatewayIps) entries.push([ip, "gateway"]);
    for (const ip of this.options.dnsIps) entries.push([ip, "dns"]);
    return new AddressTable(entries);
  }

  /** A packet that an app, or the own stack, sent. @param offload where it is unfinished */
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
    const source = this.table.get(buf, sourceOffset(off, family), family);
    if (source !== link) {
      if (link === this.stack) this.fromStackAs(source, link, buf, off, len, family, offload);
      else link.drops.source += count;
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
    if (this.tooBig(link.drops, buf, off, len, family, offload)) return;
    const peer = target === undefined ? this.options.tunnel.destinationOf(buf, off) : undefined;
    if (target === undefined && peer === undefined) {
      this.nowhere(link, buf, off, len, family, offload);
      return;
    }
    // What the machine's administrator does through the own stack is for other hosts to judge, by the gateway's address.
    if (this.filter !== undefined && link !== this.stack && (target === undefined || target !== this.stack))
      if (!this.judged(link.drops, count, true, buf, off, len, family)) return;
    if (target !== undefined) this.toLink(target, buf, off, len, offload);
    else this.intoTunnel(peer!, link, buf, off, len, family, offload);
  }

  /** From the stack with a source that is not its own: it answers for the DNS addresses, and for the world outside. */
  private fromStackAs(
    source: Target | undefined,
    stack: SwitchLink,
    buf: Uint8Array,
    off: number,
    len: number,
    family: 4 | 6,
    offload: Offload | undefined,
  ): void {
    const { tunnel } = this.options;
    const target = this.table.get(buf, destinationOffset(off, family), family);
    const toApp = typeof target === "object" && target !== stack;
    if (source === "dns") {
      if (toApp) {
        if (!this.tooBig(stack.drops, buf, off, len, family, offload)) this.toLink(target, buf, off, len, offload);
        return;
      }
      const peer = target === undefined ? tunnel.destinationOf(buf, off) : undefined;
      if (peer !== undefined && !tunnel.isGateway(peer)) {
        if (!this.tooBig(stack.drops, buf, off, len, family, offload))
          this.intoTunnel(peer, stack, buf, off, len, family, offload);
        return;
      }
    } else if (source === undefined && toApp && target.egress) {
      const foreign =
        this.outside.has(buf, sourceOffset(off, family), family) && tunnel.sourceOf(buf, off) === undefined;
      if (foreign) {
        if (!this.tooBig(stack.drops, buf, off, len, family, offload)) this.toLink(target, buf, off, len, offload);
        return;
      }
    }
    stack.drops.source += offload === undefined ? 1 : offload.count;
  }

  private toLink(target: SwitchLink, buf: Uint8Array, off: number, len: number, offload: Offload | undefined): void {
    const count = offload === undefined ? 1 : offload.count;
    if (target.deliver(buf, off, len, offload)) target.tx += count;
    else target.drops["link-down"] += count;
  }

  /** Counts and tells the sender of a packet that no link of this network takes. */
  private tooBig(
    drops: Drops,
    buf: Uint8Array,
    off: number,
    len: number,
    family: 4 | 6,
    offload: Offload | undefined,
  ): boolean {
    const longest = offload === undefined ? len : offload.largest;
    if (longest <= this.options.mtu || !mustNotFragment(buf, off, family)) return false;
    drops["too-big"] += offload === undefined ? 1 : offload.count;
    this.error("too-big", buf, off, len, family);
    return true;
  }

  private intoTunnel(
    peer: P,
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
    if (offload === undefined) result = tunnel.sendTo(peer, buf, off, len);
    else {
      left = offload.count;
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

  /** To an address that no link or peer has. */
  private nowhere(
    link: SwitchLink,
    buf: Uint8Array,
    off: number,
    len: number,
    family: 4 | 6,
    offload: Offload | undefined,
  ): void {
    const { stack } = this;
    const outside = this.outside.has(buf, destinationOffset(off, family), family);
    if (outside && link.egress && stack !== undefined && stack !== link) {
      this.toLink(stack, buf, off, len, offload);
      return;
    }
    const closed = outside && stack !== undefined && stack !== link;
    link.drops[closed ? "egress" : "no-peer"] += offload === undefined ? 1 : offload.count;
    this.error(closed ? "prohibited" : "host-unreachable", buf, off, len, family);
  }

  private fromLinkToOwn(
    which: Own,
    link: SwitchLink,
    buf: Uint8Array,
    off: number,
    len: number,
    family: 4 | 6,
    offload: Offload | undefined,
  ): void {
    if (this.dnsToStack(which, link, buf, off, len, family, offload)) return;
    if (offload === undefined) {
      this.ownAddress(which, link.drops, buf, off, len, family);
      return;
    }
    const { tunnel } = this.options;
    for (let at = tunnel.place(), n = offload.next(at); n > 0; at = tunnel.place(), n = offload.next(at))
      this.ownAddress(which, link.drops, buf, at, n, family);
  }

  /** DNS over TCP. @returns false where it is something else, or nobody is there to take it */
  private dnsToStack(
    which: Own,
    from: SwitchLink | undefined,
    buf: Uint8Array,
    off: number,
    len: number,
    family: 4 | 6,
    offload: Offload | undefined,
  ): boolean {
    const { stack } = this;
    if (which !== "dns" || stack === undefined || stack === from) return false;
    if (!isDnsOverTcp(buf, off, len, family)) return false;
    this.toLink(stack, buf, off, len, offload);
    return true;
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
      else if (!this.dnsToStack(target, undefined, buf, off, len, family, undefined))
        this.ownAddress(target, this.drops, buf, off, len, family);
      return;
    }
    if (this.tooBigFrom(fromGateway, buf, off, len, family)) return;
    if (this.filter !== undefined && target !== this.stack)
      if (!this.judged(this.drops, 1, !fromGateway, buf, off, len, family)) return;
    if (target.deliverLasting(buf, off, len)) target.tx++;
    else target.drops["link-down"]++;
  }

  /** As `tooBig`, from a peer: another host's gateway is told nothing. */
  private tooBigFrom(fromGateway: boolean, buf: Uint8Array, off: number, len: number, family: 4 | 6): boolean {
    if (len <= this.options.mtu || !mustNotFragment(buf, off, family)) return false;
    this.drops["too-big"]++;
    if (!fromGateway) this.error("too-big", buf, off, len, family);
    return true;
  }

  /** From one peer to another: an attached peer reaches all, another host's gateway reaches the attached ones. */
  private forward(peer: P, buf: Uint8Array, off: number, len: number, family: 4 | 6): void {
    const { tunnel } = this.options;
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
    if (this.tooBigFrom(fromGateway, buf, off, len, family)) return;
    if (this.filter !== undefined && !this.judged(this.drops, 1, !fromGateway, buf, off, len, family)) return;
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

  /**
   * Whether the policy lets a packet pass; else it is counted.
   * @param refuse true: its sender is told.
   */
  private judged(
    drops: Drops,
    count: number,
    refuse: boolean,
    buf: Uint8Array,
    off: number,
    len: number,
    family: 4 | 6,
  ): boolean {
    const { headers } = this;
    headers.read(buf, off, len);
    const verdict = this.filter!.judge(headers, buf, this.options.now());
    if (verdict === "pass") return true;
    drops[verdict] += count;
    if (refuse && verdict === "policy") this.refuse(buf, off, len, family);
    return false;
  }

  /** Tells the sender of the packet that was read last that it may not: TCP in TCP's own way, so that it gives up at once. */
  private refuse(buf: Uint8Array, off: number, len: number, family: 4 | 6): void {
    const { headers } = this;
    if (headers.protocol !== PROTO_TCP) {
      this.error("prohibited", buf, off, len, family);
      return;
    }
    const { scratch, scratchOffset, now } = this.options;
    if (!this.errors.allows(now())) return;
    const made = tcpReset(headers, buf, off, scratch, scratchOffset);
    if (made === 0) return;
    this.errors.spend();
    this.emit(scratch, scratchOffset, made, family);
  }

  /** A packet to `.1` or `.2` from an app or an attached peer. */
  private ownAddress(which: Own, drops: Drops, buf: Uint8Array, off: number, len: number, family: 4 | 6): void {
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
    const { scratch, scratchOffset, mtu, scratchSize } = this.options;
    const len = dnsAnswerLength(question, message.length);
    if (len > mtu || len > scratchSize) {
      this.drops["too-big"]++;
      return false;
    }
    writeDnsAnswer(scratch, scratchOffset, question, message);
    return this.emit(scratch, scratchOffset, len, question.from.length === 4 ? 4 : 6);
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
    if (!this.errors.allows(this.options.now())) return;
    const { scratch, scratchOffset, mtu } = this.options;
    const made = icmpError(kind, buf, off, len, family, from, scratch, scratchOffset, mtu);
    if (made === 0) return;
    this.errors.spend();
    this.emit(scratch, scratchOffset, made, family);
  }
}
