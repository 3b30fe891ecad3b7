/** Handshake messages of one device, out and in: who may, when, and what follows. [paper 5.3, 5.4, 6] */
import { readU32 } from "./bytes";
import { INITIATION_INTERVAL, KEY_BYTES } from "./constants";
import type { Device } from "./device";
import type { IndexEntry } from "./index-table";
import { Keypair } from "./keypair";
import { formatKey } from "./keys";
import { parseCookieReply, parseInitiation, parseResponse } from "./messages";
import {
  authenticateInitiation,
  consumeResponse,
  createInitiation,
  createResponse,
  type OpenedInitiation,
  openInitiation,
} from "./noise";
import type { Peer } from "./peer";
import { isAfter } from "./tai64n";
import type { Endpoint } from "./types";
import { KeyPair } from "./x25519";

export class Handshaker {
  /** Initiations sent so far. */
  initiated = 0;

  constructor(private readonly device: Device) {}

  /**
   * Sends an initiation, unless a handshake message went to this peer in the last five seconds: then later.
   * @param retry part of a series of attempts that gives up after 90 s.
   */
  initiate(peer: Peer, now: number, retry: boolean): void {
    const { device } = this;
    if (peer.endpoint === undefined || peer.staticShared === undefined || !device.running) return;
    if (!peer.mayInitiate(now)) {
      peer.timers.handshakePostponed(now, peer.lastHandshakeSent, retry);
      return;
    }
    peer.dropInitiation();
    const entry = device.indices.allocate(peer);
    const created = createInitiation({
      local: device.keyPair,
      remote: peer.remote,
      staticShared: peer.staticShared,
      ephemeral: this.newEphemeral(),
      timestamp: device.timestamps.next(),
      localIndex: entry.index,
    });
    if (created === undefined) {
      device.indices.release(entry.index);
      return;
    }
    this.initiated++;
    peer.initiation = created.state;
    peer.initiationSent = now;
    peer.lastHandshakeSent = now;
    peer.cookies.addMacs(created.message, now);
    peer.timers.authenticatedSent(now);
    const attempt = peer.timers.handshakeInitiated(now, retry);
    peer.countSent(created.message.length);
    device.emit(created.message, peer.endpoint);
    device.sink.event({ type: "handshake-initiated", peer, attempt });
  }

  /** @param message whose MAC1 was found to be for this device. */
  receiveInitiation(message: Uint8Array, from: Endpoint, now: number): void {
    const { device } = this;
    if (!this.admit(message, from, now)) return;
    const parsed = parseInitiation(message)!; // its length and type were checked
    const opened = openInitiation(device.keyPair, parsed);
    const peer = opened && device.peerByName(formatKey(opened.remoteStatic));
    const refuse = (reason: "bad-handshake" | "handshake-replay" | "handshake-flood") => {
      device.drops[reason]++;
      opened?.transcript.wipe();
    };
    if (peer?.staticShared === undefined) {
      refuse("bad-handshake");
      return;
    }
    const timestamp = authenticateInitiation(opened!, peer.staticShared);
    if (timestamp === undefined) {
      refuse("bad-handshake");
      return;
    }
    if (!isAfter(timestamp, peer.lastTimestamp)) {
      refuse("handshake-replay");
      return;
    }
    if (now - peer.lastInitiationReceived <= INITIATION_INTERVAL) {
      refuse("handshake-flood");
      return;
    }
    peer.lastTimestamp = Uint8Array.from(timestamp);
    peer.lastInitiationReceived = now;
    peer.heardFrom(from);
    peer.countReceived(message.length);
    peer.timers.authenticatedReceived(now);
    this.respond(peer, opened!, from, now);
  }

  /** @param entry of the receiver index, one of this device's. */
  receiveResponse(entry: IndexEntry, message: Uint8Array, from: Endpoint, now: number): void {
    const { device } = this;
    if (!device.checkMac1(message)) {
      device.drops.mac1++;
      return;
    }
    if (!this.admit(message, from, now)) return;
    const { peer } = entry;
    const state = peer.initiation;
    const parsed = parseResponse(message)!; // its length and type were checked
    const { presharedKey } = peer;
    const keys =
      state?.localIndex === entry.index
        ? consumeResponse({ state, local: device.keyPair, presharedKey, message: parsed })
        : undefined;
    if (keys === undefined) {
      device.drops["bad-handshake"]++;
      return;
    }
    peer.initiation = undefined; // its index goes over to the session
    entry.keypair = new Keypair(device.aead, keys, "initiator", entry.index, parsed.sender, now);
    peer.keypairs.addInitiated(entry.keypair);
    peer.heardFrom(from);
    peer.countReceived(message.length);
    peer.timers.authenticatedReceived(now);
    peer.timers.sessionDerived(now);
    peer.handshakeCompleted("initiator", now - peer.initiationSent);
    device.transport.sendKeepalive(peer, now); // or staged data: either one confirms the keys
  }

  /** @param entry of the receiver index, one of this device's. */
  receiveCookieReply(entry: IndexEntry, message: Uint8Array, now: number): void {
    const reply = parseCookieReply(message)!; // its length and type were checked
    if (entry.peer.cookies.consumeReply(reply, now))
      this.device.sink.event({ type: "cookie-received", peer: entry.peer });
    else this.device.drops["bad-handshake"]++;
  }

  private respond(peer: Peer, initiation: OpenedInitiation, to: Endpoint, now: number): void {
    const { device } = this;
    const entry = device.indices.allocate(peer);
    const created = createResponse({
      initiation,
      remote: peer.remote,
      ephemeral: this.newEphemeral(),
      presharedKey: peer.presharedKey,
      localIndex: entry.index,
    });
    if (created === undefined) {
      device.indices.release(entry.index);
      device.drops["bad-handshake"]++;
      return;
    }
    entry.keypair = new Keypair(device.aead, created.keys, "responder", entry.index, initiation.remoteIndex, now);
    peer.keypairs.addResponded(entry.keypair);
    peer.lastHandshakeSent = now;
    peer.cookies.addMacs(created.message, now);
    peer.timers.sessionDerived(now);
    peer.timers.authenticatedSent(now);
    peer.countSent(created.message.length);
    device.emit(created.message, to);
  }

  /** Under load only senders that proved their address get to the costly part, and only so often. [paper 5.3] */
  private admit(message: Uint8Array, from: Endpoint, now: number): boolean {
    const { device } = this;
    if (!device.load.handshakeArrived(now)) return true;
    if (!device.cookies.checkMac2(message, from, now)) {
      device.drops["cookie-required"]++;
      device.emit(device.cookies.createReply(message, readU32(message, 4), from, now), from);
      device.sink.event({ type: "cookie-sent", to: from });
      return false;
    }
    if (!device.limiter.allow(from, now)) {
      device.drops["rate-limited"]++;
      return false;
    }
    return true;
  }

  private newEphemeral(): KeyPair {
    const secret = Uint8Array.from(this.device.random(KEY_BYTES));
    const pair = new KeyPair(secret);
    secret.fill(0);
    return pair;
  }
}
