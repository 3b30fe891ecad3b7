/** What stands between links and the WireGuard device: a network's gateway, or nothing but a wire. */
import type { DnsQuestion, Drops, Offload, SwitchLink } from "./gateway";

/** P identifies a peer. */
export interface Switch<P> {
  /** Of packets that came from peers or were made here. */
  readonly drops: Drops;
  /** The links from now on. @param stack the gateway's own, which none of them is; its packets come through `fromLink` too */
  setLinks(links: readonly SwitchLink[], stack?: SwitchLink): void;
  /** A packet that an app sent. @param offload where it is unfinished */
  fromLink(link: SwitchLink, buf: Uint8Array, off: number, available: number, offload?: Offload): void;
  /** A packet from a peer, authenticated and with a source that is the peer's. */
  fromPeer(peer: P, buf: Uint8Array, off: number, available: number): void;
  /** Sends the answer to a question. @returns false where it cannot be sent. */
  answerDns(question: DnsQuestion, message: Uint8Array): boolean;
}
