import { KEY_BYTES, REKEY_TIMEOUT, TIMESTAMP_BYTES } from "./constants";
import { CookieJar } from "./cookie";
import type { Queued } from "./deadline-queue";
import type { Device } from "./device";
import { sameEndpoint } from "./endpoint";
import { type Keypair, KeypairSlots, type Role } from "./keypair";
import { formatKey } from "./keys";
import type { InitiatorState } from "./noise";
import { Staging } from "./staging";
import { PeerTimers } from "./timers";
import type { Endpoint } from "./types";
import { PublicKey } from "./x25519";

const RX = 0;
const TX = 1;
/** Weight of a new round trip; more than TCP's 1/8 (RFC 6298), since handshakes are two minutes apart. */
const ROUND_TRIP_GAIN = 1 / 4;

/**
 * The other side of one tunnel. What callers may read comes first; the rest is the state that the device's parts work on.
 */
export class Peer implements Queued {
  readonly publicKey: Uint8Array;
  /** The public key as text. */
  readonly name: string;
  /** Where it was last heard from, or was told to be. */
  endpoint: Endpoint | undefined;
  /** Milliseconds since 1970; undefined: no handshake yet. */
  latestHandshake: number | undefined;
  /** Milliseconds from a handshake message to what answers it, smoothed; undefined: not measured yet. */
  roundTrip: number | undefined;
  removed = false;

  readonly remote: PublicKey;
  /** 32 bytes; zeros where there is none. */
  readonly presharedKey = new Uint8Array(KEY_BYTES);
  readonly keypairs: KeypairSlots;
  readonly staging: Staging;
  readonly cookies: CookieJar;
  readonly timers: PeerTimers;
  /** Our initiation that waits for its response. */
  initiation: InitiatorState | undefined;
  /** When that was sent. */
  initiationSent = Number.NEGATIVE_INFINITY;
  /** The newest timestamp that an initiation of this peer had. */
  lastTimestamp: Uint8Array = new Uint8Array(TIMESTAMP_BYTES);
  /** When that initiation came. */
  lastInitiationReceived = Number.NEGATIVE_INFINITY;
  /** When we last sent an initiation or a response. */
  lastHandshakeSent = Number.NEGATIVE_INFINITY;
  /** For this session a rekey on receiving was asked for. */
  sentLastMinuteHandshake = false;
  /** Of the device's queue of timers. */
  queueSlot = -1;
  /** X25519 of both static keys; null: not needed yet. */
  private shared: Uint8Array | undefined | null = null;
  /** Doubles kept out of the object, so that counting allocates nothing. */
  private readonly bytes = new Float64Array(2);

  constructor(
    readonly device: Device,
    publicKey: Uint8Array,
  ) {
    this.remote = new PublicKey(publicKey);
    this.publicKey = this.remote.bytes;
    this.name = formatKey(this.publicKey);
    this.cookies = new CookieJar(this.publicKey);
    this.staging = new Staging(device.staged);
    this.keypairs = new KeypairSlots((keypair) => this.discard(keypair));
    this.timers = new PeerTimers({
      jitter: () => device.jitter(),
      wakeAt: (deadline) => device.wakeAt(this, deadline),
      initiate: (now, retry) => device.handshaker.initiate(this, now, retry),
      sendKeepalive: (now) => device.transport.sendKeepalive(this, now),
      giveUpHandshake: () => this.giveUpHandshake(),
      expireKeys: () => this.expireKeys(),
    });
  }

  /** Bytes of all authenticated datagrams received, UDP payload with headers and padding, as `wg` counts them. */
  get rxBytes(): number {
    return this.bytes[RX];
  }

  /** Bytes of all datagrams sent, counted likewise. */
  get txBytes(): number {
    return this.bytes[TX];
  }

  /** Seconds; 0: off. */
  get persistentKeepalive(): number {
    return this.timers.persistentKeepalive;
  }

  /** CIDR ranges. */
  get allowedIps(): string[] {
    return this.device.allowedIpsOf(this);
  }

  /**
   * X25519 of both static keys; undefined: they give no secret, and nothing is ever sent. Computed when it is first needed: for
   * thousands of peers at once it would hold up the packets of everyone.
   */
  get staticShared(): Uint8Array | undefined {
    if (this.shared === null) this.shared = this.removed ? undefined : this.device.keyPair.shared(this.remote);
    return this.shared;
  }

  /** The device's key is another. */
  forgetStaticShared(): void {
    this.shared?.fill(0);
    this.shared = null;
  }

  hasPresharedKey(): boolean {
    return this.presharedKey.some((byte) => byte !== 0);
  }

  countReceived(bytes: number): void {
    this.bytes[RX] += bytes;
  }

  countSent(bytes: number): void {
    this.bytes[TX] += bytes;
  }

  /** An authenticated, fresh message came from here: answers go there from now on. [paper 2.1] */
  heardFrom(from: Endpoint): void {
    const known = this.endpoint;
    if (known === from) return;
    this.endpoint = from;
    if (!sameEndpoint(known, from))
      this.device.sink.event({ type: "endpoint-roamed", peer: this, from: known, to: from });
  }

  /**
   * Both sides are known to have the keys of a new session.
   * @param roundTrip milliseconds that the other side's answer took: its response, or what confirmed ours
   */
  handshakeCompleted(role: Role, roundTrip: number): void {
    this.roundTrip =
      this.roundTrip === undefined ? roundTrip : this.roundTrip + (roundTrip - this.roundTrip) * ROUND_TRIP_GAIN;
    const { seconds, nanos } = this.device.clock.wall();
    this.latestHandshake = seconds * 1000 + Math.floor(nanos / 1e6);
    this.sentLastMinuteHandshake = false;
    this.timers.handshakeCompleted();
    this.device.sink.event({ type: "handshake-completed", peer: this, role });
  }

  /** Forgets our initiation: its response, should one come, is refused. */
  dropInitiation(): void {
    if (this.initiation === undefined) return;
    this.device.indices.release(this.initiation.localIndex);
    this.initiation.transcript.wipe();
    this.initiation = undefined;
  }

  /** The device's key or this peer's changed: nothing more is sent with the present sessions. */
  requireNewHandshake(): void {
    this.dropInitiation();
    this.keypairs.stopSending();
    this.lastHandshakeSent = Number.NEGATIVE_INFINITY;
  }

  /** The device stops: no timer runs, and the next packet begins a handshake at once. */
  forgetSessions(): void {
    this.timers.stop();
    this.requireNewHandshake();
    this.keypairs.clear();
    this.staging.clear();
  }

  /** May a handshake message be sent again? */
  mayInitiate(now: number): boolean {
    return now - this.lastHandshakeSent >= REKEY_TIMEOUT;
  }

  /** Wipes all keys and drops all that waits. */
  close(): void {
    this.removed = true;
    this.timers.stop();
    this.dropInitiation();
    this.keypairs.clear();
    this.staging.clear();
    this.presharedKey.fill(0);
    this.forgetStaticShared();
  }

  private discard(keypair: Keypair): void {
    this.device.indices.release(keypair.localIndex);
    keypair.close();
  }

  private giveUpHandshake(): void {
    const dropped = this.staging.clear();
    this.device.drops["no-handshake"] += dropped;
    this.device.sink.event({ type: "handshake-gave-up", peer: this, dropped });
  }

  private expireKeys(): void {
    this.dropInitiation();
    this.keypairs.clear();
    this.device.drops["no-handshake"] += this.staging.clear();
    this.device.sink.event({ type: "keys-expired", peer: this });
  }
}
