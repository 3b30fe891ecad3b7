/**
 * The switch of one network on one host: links of apps, the gateway's own addresses and stack, and the WireGuard device.
 * Pure: packets come in by call and leave through links and the tunnel that it was given.
 *
 * Buffers carry at least 64 bytes before and 64 after a packet that may be written to: the tunnel encrypts in place.
 */
import { AddressTable } from "./address-table";
import type { PolicyConfig, ServiceConfig } from "./config";
import { countOf, Delivery } from "./delivery";
import { isDnsOverTcp } from "./dns-packet";
import { type Drops, newDrops } from "./drops";
import type { DnsQuestion, GatewayOptions, Offload, SwitchLink } from "./gateway-types";
import { destinationOffset, familyOf, isUnicast, packetLength, sourceOffset } from "./inet";
import { Outside } from "./outside";
import { type OwnAddress, OwnPackets } from "./own-packets";
import { ServiceAddress } from "./service";
import { Steering } from "./steering";
import type { Switch } from "./switch";

export { countedDrops, type DropReason, type Drops, newDrops } from "./drops";
export type { DnsQuestion, GatewayOptions, Offload, SwitchLink, Tunnel } from "./gateway-types";

type Target = SwitchLink | ServiceAddress | OwnAddress;

/** Backends that one packet is tried at, at once. */
const MAX_RETRIES = 8;

export class Gateway<P> implements Switch<P> {
  readonly id: string;
  /** Of packets that came from peers or were made here. */
  readonly drops = newDrops();
  private links: readonly SwitchLink[] = [];
  private stack: SwitchLink | undefined;
  private outside = new Outside([]);
  private table: AddressTable<Target>;
  private readonly steering: Steering;
  private readonly own: OwnPackets;
  private readonly delivery: Delivery<P>;
  private retries = 0;

  constructor(private readonly options: GatewayOptions<P>) {
    this.id = options.id;
    this.own = new OwnPackets(options, this.drops, (buf, off, len, family) => this.emit(buf, off, len, family));
    this.delivery = new Delivery(options.tunnel, options.mtu, this.drops, this.own);
    this.steering = new Steering(options.seed ?? 0, options.now);
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
    this.steering.setPolicy(policy);
  }

  /**
   * The services from now on; running flows keep their backends. Flows to their addresses from this host's links, attached peers
   * and the own stack are spread here; what the policy judges is the backend. @throws WarrenError WARREN_INVALID_RANGE
   */
  setServices(services: readonly ServiceConfig[]): void {
    this.steering.setServices(services);
    this.table = this.buildTable();
  }

  private buildTable(): AddressTable<Target> {
    const entries: [Uint8Array, Target][] = this.steering.services.map((service) => [service.address, service]);
    for (const link of this.links) for (const address of link.addresses) entries.push([address, link]);
    for (const address of this.stack?.addresses ?? []) entries.push([address, this.stack!]);
    for (const ip of this.options.gatewayIps) entries.push([ip, "gateway"]);
    for (const ip of this.options.dnsIps) entries.push([ip, "dns"]);
    return new AddressTable(entries);
  }

  /** A packet that an app, or the own stack, sent. @param offload where it is unfinished */
  fromLink(link: SwitchLink, buf: Uint8Array, off: number, available: number, offload?: Offload): void {
    const count = countOf(offload);
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
    if (this.delivery.tooBig(link.drops, buf, off, len, family, offload)) return;
    if (target instanceof ServiceAddress) {
      this.toService(target, link, undefined, buf, off, len, family, offload);
      return;
    }
    const peer = target === undefined ? this.options.tunnel.destinationOf(buf, off) : undefined;
    if (target === undefined && peer === undefined) {
      this.nowhere(link, buf, off, len, family, offload);
      return;
    }
    if (this.steering.active) {
      // What the machine's administrator does through the own stack is for other hosts to judge, by the gateway's address.
      const judge = link !== this.stack && (target === undefined || target !== this.stack);
      if (!this.steered(judge, true, link.drops, buf, off, len, family, offload)) return;
    }
    if (target !== undefined) this.delivery.toLink(target, buf, off, len, offload);
    else this.delivery.intoTunnel(peer!, link, buf, off, len, family, offload);
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
    const app =
      typeof target === "object" && target !== stack && !(target instanceof ServiceAddress) ? target : undefined;
    const peer = source === "dns" && target === undefined ? tunnel.destinationOf(buf, off) : undefined;
    const attached = peer !== undefined && !tunnel.isGateway(peer);
    const foreign =
      source === undefined &&
      app?.egress === true &&
      this.outside.has(buf, sourceOffset(off, family), family) &&
      tunnel.sourceOf(buf, off) === undefined;
    if (!foreign && (source !== "dns" || (app === undefined && !attached))) {
      stack.drops.source += countOf(offload);
      return;
    }
    if (this.delivery.tooBig(stack.drops, buf, off, len, family, offload)) return;
    if (app !== undefined) this.delivery.toLink(app, buf, off, len, offload);
    else this.delivery.intoTunnel(peer!, stack, buf, off, len, family, offload);
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
      this.delivery.toLink(stack, buf, off, len, offload);
      return;
    }
    const closed = outside && stack !== undefined && stack !== link;
    link.drops[closed ? "egress" : "no-peer"] += countOf(offload);
    this.own.error(closed ? "prohibited" : "host-unreachable", buf, off, len, family);
  }

  private fromLinkToOwn(
    which: OwnAddress,
    link: SwitchLink,
    buf: Uint8Array,
    off: number,
    len: number,
    family: 4 | 6,
    offload: Offload | undefined,
  ): void {
    if (this.dnsToStack(which, link, buf, off, len, family, offload)) return;
    if (offload === undefined) {
      this.own.answer(which, link.drops, buf, off, len, family);
      return;
    }
    const { tunnel } = this.options;
    for (let at = tunnel.place(), n = offload.next(at); n > 0; at = tunnel.place(), n = offload.next(at))
      this.own.answer(which, link.drops, buf, at, n, family);
  }

  /** DNS over TCP. @returns false where it is something else, or nobody is there to take it */
  private dnsToStack(
    which: OwnAddress,
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
    this.delivery.toLink(stack, buf, off, len, offload);
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
        this.own.answer(target, this.drops, buf, off, len, family);
      return;
    }
    if (this.delivery.tooBigFrom(fromGateway, buf, off, len, family)) return;
    if (target instanceof ServiceAddress) {
      // It is for the gateway of the client to say which backend gets it.
      if (fromGateway) this.drops["gateway-address"]++;
      else this.toService(target, undefined, peer, buf, off, len, family, undefined);
      return;
    }
    if (this.steering.active) {
      const judge = target !== this.stack;
      if (!this.steered(judge, !fromGateway, this.drops, buf, off, len, family, undefined)) return;
    }
    this.delivery.lastingToLink(target, buf, off, len);
  }

  /** From one peer to another: an attached peer reaches all, another host's gateway reaches the attached ones. */
  private forward(peer: P, buf: Uint8Array, off: number, len: number, family: 4 | 6): void {
    const { tunnel } = this.options;
    const next = tunnel.destinationOf(buf, off);
    const fromGateway = tunnel.isGateway(peer);
    if (next === undefined) {
      this.drops["no-route"]++;
      if (!fromGateway) this.own.error("host-unreachable", buf, off, len, family);
      return;
    }
    if (next === peer || (fromGateway && tunnel.isGateway(next))) {
      this.drops.loop++;
      return;
    }
    if (this.delivery.tooBigFrom(fromGateway, buf, off, len, family)) return;
    if (this.steering.active && !this.steered(true, !fromGateway, this.drops, buf, off, len, family, undefined)) return;
    this.delivery.onward(next, fromGateway, buf, off, len, family);
  }

  /**
   * The policy, and the answers of services, on a packet that has somewhere to go.
   * @param judge whether the policy is asked.
   * @param refuse whether the sender is told.
   * @returns whether it goes on
   */
  private steered(
    judge: boolean,
    refuse: boolean,
    drops: Drops,
    buf: Uint8Array,
    off: number,
    len: number,
    family: 4 | 6,
    offload: Offload | undefined,
  ): boolean {
    const { steering } = this;
    const outcome = steering.pass(judge, buf, off, len, offload !== undefined);
    if (outcome === "pass") return true;
    if (outcome === "retry") this.retry();
    else {
      drops[outcome] += countOf(offload);
      if (refuse && outcome === "policy") this.own.refuse(steering.headers, "prohibited", buf, off, len, family);
    }
    return false;
  }

  /**
   * A packet to a service address, from a link or an attached peer.
   * @param link undefined: from `peer`
   */
  private toService(
    service: ServiceAddress,
    link: SwitchLink | undefined,
    peer: P | undefined,
    buf: Uint8Array,
    off: number,
    len: number,
    family: 4 | 6,
    offload: Offload | undefined,
  ): void {
    const { steering } = this;
    const drops = link?.drops ?? this.drops;
    const count = countOf(offload);
    const judge = link === undefined || link !== this.stack;
    const outcome = steering.toBackend(service, judge, buf, off, len, offload !== undefined);
    if (outcome === "retry") {
      this.retry();
      return;
    }
    if (outcome !== "pass") {
      drops[outcome] += count;
      // A packet that is tried again lies where a refusal would be made; its sender asks again.
      if (this.retries > 0) return;
      if (outcome === "policy") this.own.refuse(steering.headers, "prohibited", buf, off, len, family);
      if (outcome === "no-backend") this.own.refuse(steering.headers, "port-unreachable", buf, off, len, family);
      return;
    }
    const target = this.table.get(buf, destinationOffset(off, family), family);
    if (typeof target === "string" || target instanceof ServiceAddress) drops.loop += count;
    else if (target !== undefined) this.delivery.toLink(target, buf, off, len, offload);
    else {
      const next = this.options.tunnel.destinationOf(buf, off);
      if (next === undefined || next === peer) {
        drops["no-peer"] += count;
        this.own.error("host-unreachable", buf, off, len, family);
      } else if (link !== undefined) this.delivery.intoTunnel(next, link, buf, off, len, family, offload);
      else this.delivery.onward(next, false, buf, off, len, family);
    }
  }

  /** Sends the first packet of a flow, whose backend refused it, to the next one. */
  private retry(): void {
    const { scratch, scratchOffset: off, tunnel } = this.options;
    const len = this.steering.takeRetry(scratch, off);
    if (len === 0 || this.retries >= MAX_RETRIES) return;
    const family = familyOf(scratch, off);
    const service = this.table.get(scratch, destinationOffset(off, family), family);
    const source = this.table.get(scratch, sourceOffset(off, family), family);
    if (!(service instanceof ServiceAddress) || typeof source === "string" || source instanceof ServiceAddress) return;
    this.retries++;
    try {
      const peer = source === undefined ? tunnel.sourceOf(scratch, off) : undefined;
      if (source !== undefined || peer !== undefined)
        this.toService(service, source, peer, scratch, off, len, family, undefined);
    } finally {
      this.retries--;
    }
  }

  /** Sends the answer to a question. @returns false where it is too long for the network or cannot be sent. */
  answerDns(question: DnsQuestion, message: Uint8Array): boolean {
    return this.own.answerDns(question, message);
  }

  /** Sends a packet of the gateway's own. */
  private emit(buf: Uint8Array, off: number, len: number, family: 4 | 6): boolean {
    if (this.steering.active && this.steering.passOwn(buf, off, len) === "retry") {
      this.retry();
      return true;
    }
    const target = this.table.get(buf, destinationOffset(off, family), family);
    if (typeof target === "string" || target instanceof ServiceAddress) return false;
    return target === undefined
      ? this.delivery.intoTunnelOwn(buf, off, len)
      : this.delivery.toLink(target, buf, off, len, undefined);
  }
}
