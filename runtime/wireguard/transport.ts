/** Data messages, out and in. [paper 5.4.6, 6.2] Allocates nothing per packet: 0.2 µs there and back besides the AEAD. */
import { readU32, writeU32 } from "./bytes";
import {
  KEEPALIVE_BYTES,
  MAX_INNER_BYTES,
  PADDING_MULTIPLE,
  REKEY_AFTER_TIME,
  REKEY_ON_RECEIVE_TIME,
  TAG_BYTES,
  TRANSPORT_HEADER_BYTES,
  TYPE_TRANSPORT,
} from "./constants";
import type { Device } from "./device";
import type { IndexEntry } from "./index-table";
import { innerLength } from "./inner-packet";
import type { Keypair } from "./keypair";
import type { Peer } from "./peer";
import type { Endpoint, SendResult } from "./types";

export class Transport {
  constructor(private readonly device: Device) {}

  /** The packet's header was checked by the caller. */
  send(peer: Peer, buf: Uint8Array, off: number, len: number, now: number): SendResult {
    if (peer.endpoint === undefined) return "no-endpoint";
    const keypair = peer.keypairs.current;
    if (keypair !== undefined && peer.staging.length === 0 && keypair.canSend(now)) {
      this.emit(peer, keypair, buf, off, len, now);
      return "sent";
    }
    this.device.drops["staging-full"] += peer.staging.add(buf, off, len);
    this.flush(peer, now);
    return peer.staging.length === 0 ? "sent" : "staged";
  }

  /** Sends what waits, else a keepalive; without a session it begins a handshake, after which the same is sent. */
  sendKeepalive(peer: Peer, now: number): void {
    if (peer.endpoint === undefined || !this.device.running) return;
    if (peer.staging.length === 0) peer.staging.add(this.device.scratch, 0, 0);
    this.flush(peer, now);
  }

  /** Sends staged packets in order as far as there is a session to send with. */
  flush(peer: Peer, now: number): void {
    const { scratch } = this.device;
    while (peer.staging.length > 0) {
      const keypair = peer.keypairs.current;
      if (keypair === undefined || !keypair.canSend(now)) {
        this.device.handshaker.initiate(peer, now, false);
        return;
      }
      const packet = peer.staging.take()!;
      scratch.set(packet, TRANSPORT_HEADER_BYTES);
      this.emit(peer, keypair, scratch, TRANSPORT_HEADER_BYTES, packet.length, now);
    }
  }

  /** @param entry of the receiver index, one of this device's. */
  receive(entry: IndexEntry, buf: Uint8Array, off: number, len: number, from: Endpoint, now: number): void {
    const { drops } = this.device;
    const { keypair, peer } = entry;
    if (keypair === undefined) {
      drops["unknown-index"]++;
      return;
    }
    if (!keypair.canReceive(now)) {
      drops["expired-keypair"]++;
      return;
    }
    const lo = readU32(buf, off + 8);
    const hi = readU32(buf, off + 12);
    const inner = off + TRANSPORT_HEADER_BYTES;
    const sealed = len - TRANSPORT_HEADER_BYTES;
    if (!keypair.receiving.unseal(buf, inner, sealed, lo, hi)) {
      drops["bad-tag"]++;
      return;
    }
    if (!keypair.replay.accept(lo, hi)) {
      drops.replay++;
      return;
    }
    peer.heardFrom(from);
    peer.countReceived(len);
    if (peer.keypairs.received(keypair)) {
      peer.dropInitiation();
      // The initiator confirms the keys as soon as our response is there. [paper 5.4.4]
      peer.handshakeCompleted("responder", now - keypair.created);
      this.flush(peer, now);
    }
    peer.timers.authenticatedReceived(now);
    this.keepKeyFreshReceiving(peer, now);
    const contained = sealed - TAG_BYTES;
    if (contained === 0) return; // a keepalive
    peer.timers.dataReceived(now);
    const length = innerLength(buf, inner, contained);
    if (length === 0) {
      drops["malformed-packet"]++;
      return;
    }
    if (this.device.allowedIps.sourceOf(buf, inner) !== peer) {
      drops.source++;
      return;
    }
    this.device.sink.packet(buf, inner, length, peer); // last: it may send from the same buffer
  }

  private emit(peer: Peer, keypair: Keypair, buf: Uint8Array, off: number, len: number, now: number): void {
    const padded = paddedLength(len, this.device.mtu);
    // To call it for nothing costs as much as what it does.
    if (padded > len) buf.fill(0, off + len, off + padded);
    const start = off - TRANSPORT_HEADER_BYTES;
    const lo = keypair.counter[0];
    const hi = keypair.counter[1];
    keypair.advanceCounter();
    writeU32(buf, start, TYPE_TRANSPORT);
    writeU32(buf, start + 4, keypair.remoteIndex);
    writeU32(buf, start + 8, lo);
    writeU32(buf, start + 12, hi);
    keypair.sending.seal(buf, off, padded, lo, hi);
    const bytes = padded + KEEPALIVE_BYTES;
    peer.timers.authenticatedSent(now);
    if (len > 0) peer.timers.dataSent(now);
    peer.countSent(bytes);
    this.device.sink.datagram(buf, start, bytes, peer.endpoint!);
    const aged = keypair.role === "initiator" && now - keypair.created >= REKEY_AFTER_TIME;
    if (aged || keypair.wantsRekeyByCount()) this.device.handshaker.initiate(peer, now, false);
  }

  /** The initiator that only receives must renew the session before it ends. [paper 6.2] */
  private keepKeyFreshReceiving(peer: Peer, now: number): void {
    const keypair = peer.keypairs.current;
    if (peer.sentLastMinuteHandshake || keypair === undefined || keypair.role !== "initiator") return;
    if (now - keypair.created < REKEY_ON_RECEIVE_TIME) return;
    peer.sentLastMinuteHandshake = true;
    this.device.handshaker.initiate(peer, now, false);
  }
}

/** Bytes with padding: to a multiple of 16, but never above the MTU (of the last segment where there are more). */
export function paddedLength(len: number, mtu: number): number {
  const last = len > mtu ? len % mtu : len;
  const padded = Math.min(mtu, Math.ceil(last / PADDING_MULTIPLE) * PADDING_MULTIPLE);
  return Math.min(len + padded - last, MAX_INNER_BYTES);
}
