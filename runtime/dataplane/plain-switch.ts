/**
 * A stand-alone interface (`warren-wg`): whatever its device sends goes to the peer that has the destination, and whatever comes
 * from a peer goes to the device, where the kernel routes it. No addresses of its own, no look at sources, no way from peer to peer.
 */
import type { SendResult } from "../wireguard/types";
import { ErrorBudget } from "./error-budget";
import { type DnsQuestion, newDrops, type Offload, type SwitchLink, type Tunnel } from "./gateway";
import { icmpError } from "./icmp";
import { destinationOffset, familyOf, packetLength } from "./inet";
import type { Switch } from "./switch";

export interface PlainSwitchOptions<P> {
  readonly tunnel: Tunnel<P>;
  /** Where own packets are made: 64 bytes of room on either side of MAX_ICMP_ERROR bytes at `scratchOffset`. */
  readonly scratch: Uint8Array;
  readonly scratchOffset: number;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
}

export class PlainSwitch<P> implements Switch<P> {
  readonly drops = newDrops();
  private link: SwitchLink | undefined;
  private readonly errors = new ErrorBudget();

  constructor(private readonly options: PlainSwitchOptions<P>) {}

  setLinks(links: readonly SwitchLink[]): void {
    this.link = links[0];
  }

  fromLink(link: SwitchLink, buf: Uint8Array, off: number, available: number, offload?: Offload): void {
    const count = offload === undefined ? 1 : offload.count;
    link.rx += count;
    const len = packetLength(buf, off, available);
    if (len < 0) {
      link.drops.malformed += count;
      return;
    }
    const { tunnel } = this.options;
    let result: SendResult = "no-peer";
    let left = count;
    if (offload === undefined) result = tunnel.send(buf, off, len);
    else {
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
    if (result !== "malformed") this.unreachable(link, buf, off, len);
  }

  fromPeer(_peer: P, buf: Uint8Array, off: number, available: number): void {
    const { link } = this;
    const len = packetLength(buf, off, available);
    if (len < 0) this.drops.malformed++;
    else if (link === undefined) this.drops["no-route"]++;
    else if (link.deliverLasting(buf, off, len)) link.tx++;
    else link.drops["link-down"]++;
  }

  answerDns(_question: DnsQuestion, _message: Uint8Array): boolean {
    return false;
  }

  /**
   * Tells the sender at once, as Linux's own WireGuard does. In the name of the address that cannot be reached: a packet from one of
   * the machine's own addresses would be refused where it comes in, and so would one whose way back does not lead to this device.
   */
  private unreachable(link: SwitchLink, buf: Uint8Array, off: number, len: number): void {
    if (!this.errors.allows(this.options.now())) return;
    const family = familyOf(buf, off);
    const to = destinationOffset(off, family);
    const from = buf.subarray(to, to + (family === 4 ? 4 : 16));
    const { scratch, scratchOffset } = this.options;
    const made = icmpError("host-unreachable", buf, off, len, family, from, scratch, scratchOffset);
    if (made === 0) return;
    this.errors.spend();
    if (link.deliver(scratch, scratchOffset, made)) link.tx++;
    else link.drops["link-down"]++;
  }
}
