/** The last step of a packet: into a link or the tunnel, or what is told to its sender where it fits into neither. */
import type { SendResult } from "../wireguard/types";
import type { Drops } from "./drops";
import type { Offload, SwitchLink, Tunnel } from "./gateway-types";
import { decrementTtl, mustNotFragment } from "./inet";
import type { OwnPackets } from "./own-packets";

/** Packets of the wire that a packet is or comes to. */
export function countOf(offload: Offload | undefined): number {
  return offload === undefined ? 1 : offload.count;
}

export class Delivery<P> {
  /** @param drops of packets from peers */
  constructor(
    private readonly tunnel: Tunnel<P>,
    private readonly mtu: number,
    private readonly drops: Drops,
    private readonly own: OwnPackets,
  ) {}

  toLink(target: SwitchLink, buf: Uint8Array, off: number, len: number, offload: Offload | undefined): boolean {
    const count = countOf(offload);
    const taken = target.deliver(buf, off, len, offload);
    if (taken) target.tx += count;
    else target.drops["link-down"] += count;
    return taken;
  }

  /** As `toLink`, of a packet that stays where it is until the end of the round. */
  lastingToLink(target: SwitchLink, buf: Uint8Array, off: number, len: number): void {
    if (target.deliverLasting(buf, off, len)) target.tx++;
    else target.drops["link-down"]++;
  }

  /** Whether a packet of a link is too big for the network; then it is counted and its sender told. */
  tooBig(
    drops: Drops,
    buf: Uint8Array,
    off: number,
    len: number,
    family: 4 | 6,
    offload: Offload | undefined,
  ): boolean {
    const longest = offload === undefined ? len : offload.largest;
    if (longest <= this.mtu || !mustNotFragment(buf, off, family)) return false;
    drops["too-big"] += countOf(offload);
    this.own.error("too-big", buf, off, len, family);
    return true;
  }

  /** As `tooBig`, from a peer: another host's gateway is told nothing. */
  tooBigFrom(fromGateway: boolean, buf: Uint8Array, off: number, len: number, family: 4 | 6): boolean {
    if (len <= this.mtu || !mustNotFragment(buf, off, family)) return false;
    this.drops["too-big"]++;
    if (!fromGateway) this.own.error("too-big", buf, off, len, family);
    return true;
  }

  /** Sends a packet of a link to a peer. */
  intoTunnel(
    peer: P,
    link: SwitchLink,
    buf: Uint8Array,
    off: number,
    len: number,
    family: 4 | 6,
    offload: Offload | undefined,
  ): void {
    const { tunnel } = this;
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
    if (result !== "malformed") this.own.error("host-unreachable", buf, off, len, family);
  }

  /** Sends a packet of one peer to another. */
  onward(next: P, fromGateway: boolean, buf: Uint8Array, off: number, len: number, family: 4 | 6): void {
    if (!decrementTtl(buf, off, family)) {
      this.drops.ttl++;
      if (!fromGateway) this.own.error("time-exceeded", buf, off, len, family);
      return;
    }
    const result = this.tunnel.sendTo(next, buf, off, len);
    if (result === "sent" || result === "staged") return;
    this.drops[result]++;
    if (!fromGateway && result !== "malformed") this.own.error("host-unreachable", buf, off, len, family);
  }

  /** Sends a packet of the gateway's own to whoever has its destination. @returns whether it left */
  intoTunnelOwn(buf: Uint8Array, off: number, len: number): boolean {
    const result = this.tunnel.send(buf, off, len);
    if (result === "sent" || result === "staged") return true;
    this.drops[result]++;
    return false;
  }
}
