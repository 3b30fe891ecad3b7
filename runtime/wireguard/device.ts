import { WarrenError } from "../errors";
import { AllowedIps, formatPrefix, type Prefix, parsePrefix } from "./allowedips";
import { equalBytes, readU32 } from "./bytes";
import { DEFAULT_MTU, INITIATIONS_PER_TICK, KEY_BYTES, MAX_INNER_BYTES } from "./constants";
import { CookieChecker } from "./cookie";
import { DeadlineQueue } from "./deadline-queue";
import { type DropCounters, newDropCounters } from "./drops";
import { Handshaker } from "./handshaker";
import { type IndexEntry, IndexTable } from "./index-table";
import { hasIpHeader } from "./inner-packet";
import { Jitter } from "./jitter";
import { formatKey, requireUsablePublicKey } from "./keys";
import { LoadMeter } from "./load";
import { messageType } from "./messages";
import { Peer } from "./peer";
import { RateLimiter } from "./ratelimiter";
import type { StagedTotal } from "./staging";
import { TimestampSource } from "./tai64n";
import { Transport } from "./transport";
import type { Aead, Clock, DeviceSink, Endpoint, PeerOptions, PeerUpdate, SendResult } from "./types";
import { KeyPair } from "./x25519";

export interface DeviceOptions {
  /** 32 bytes; not kept. */
  readonly privateKey: Uint8Array;
  readonly clock: Clock;
  /** Cryptographically strong. */
  random(bytes: number): Uint8Array;
  readonly aead: Aead;
  readonly sink: DeviceSink;
  /** Bytes of the largest inner packet. @default 1420 */
  readonly mtu?: number;
  /** Shared by the devices of one UDP port: that of its DevicePort. */
  readonly indices?: IndexTable;
  /** Likewise. */
  readonly load?: LoadMeter;
  /**
   * Where the device builds its own datagrams (handshakes, keepalives, staged packets): memory that the AEAD likes best.
   * @default a buffer of its own
   */
  readonly scratch?: Uint8Array;
}

/** Bytes that scratch memory must have: the largest packet with header, padding and tag. */
export const SCRATCH_BYTES = MAX_INNER_BYTES + 64;

/**
 * One WireGuard interface as a state machine: packets, datagrams and a clock in, packets, datagrams and events out.
 * It knows no socket, timer or file: the caller reads `nextTimer` and calls `tick`.
 */
export class Device {
  readonly clock: Clock;
  readonly aead: Aead;
  readonly sink: DeviceSink;
  readonly indices: IndexTable;
  readonly load: LoadMeter;
  readonly allowedIps = new AllowedIps<Peer>();
  /** How much was dropped, by reason. */
  readonly drops: DropCounters = newDropCounters();
  /** Bytes. */
  mtu: number;
  /** False after `stop`: packets wait for `start`, a bounded number for each peer, and nothing is sent. */
  running = true;

  // What the device's parts share.
  readonly handshaker: Handshaker;
  readonly transport: Transport;
  readonly limiter = new RateLimiter();
  readonly staged: StagedTotal = { bytes: 0 };
  readonly timestamps: TimestampSource;
  readonly scratch: Uint8Array;
  readonly random: (bytes: number) => Uint8Array;
  keyPair: KeyPair;
  cookies: CookieChecker;

  private readonly byName = new Map<string, Peer>();
  private readonly jitterSource: Jitter;
  /** The peers that have timers; a deadline may lie too early, never too late: most timers are put off by each packet. */
  private readonly due = new DeadlineQueue<Peer>();

  constructor(options: DeviceOptions) {
    this.clock = options.clock;
    this.aead = options.aead;
    this.sink = options.sink;
    this.random = (bytes) => options.random(bytes);
    this.indices = options.indices ?? new IndexTable(this.random);
    this.load = options.load ?? new LoadMeter();
    this.mtu = options.mtu ?? DEFAULT_MTU;
    this.scratch = options.scratch ?? new Uint8Array(SCRATCH_BYTES);
    if (this.scratch.length < SCRATCH_BYTES)
      throw new WarrenError("WARREN_INVALID_INPUT", `scratch must have at least ${SCRATCH_BYTES} bytes.`, {
        path: "scratch",
      });
    requireKeyLength(options.privateKey, "privateKey");
    this.keyPair = new KeyPair(options.privateKey);
    this.cookies = new CookieChecker(this.keyPair.publicKey, this.random);
    this.timestamps = new TimestampSource(this.clock);
    this.jitterSource = new Jitter(readU32(this.random(4), 0));
    this.handshaker = new Handshaker(this);
    this.transport = new Transport(this);
  }

  get publicKey(): Uint8Array {
    return this.keyPair.publicKey;
  }

  get peers(): Iterable<Peer> {
    return this.byName.values();
  }

  get peerCount(): number {
    return this.byName.size;
  }

  peer(publicKey: Uint8Array): Peer | undefined {
    return this.byName.get(formatKey(publicKey));
  }

  peerByName(name: string): Peer | undefined {
    return this.byName.get(name);
  }

  /** New identity: present sessions are sent with no more; a peer that has this very key is removed, with an event. */
  setPrivateKey(privateKey: Uint8Array): void {
    requireKeyLength(privateKey, "privateKey");
    const next = new KeyPair(privateKey);
    if (equalBytes(next.publicKey, this.publicKey)) return;
    this.keyPair = next;
    this.cookies = new CookieChecker(next.publicKey, this.random);
    const own = this.peer(next.publicKey);
    if (own !== undefined) {
      this.removePeer(own.publicKey);
      this.sink.event({ type: "peer-removed", peer: own, reason: "own-key" });
    }
    for (const peer of this.byName.values()) {
      peer.forgetStaticShared();
      peer.requireNewHandshake();
    }
  }

  /**
   * With a persistent keepalive and an endpoint the handshake begins with the next tick, which is due at once.
   * @throws WarrenError WARREN_INVALID_INPUT for a key that is present already, our own, or of low order; WARREN_INVALID_RANGE.
   */
  addPeer(options: PeerOptions): Peer {
    const { publicKey } = options;
    requireKeyLength(publicKey, "publicKey");
    requireUsablePublicKey(publicKey, "publicKey");
    const refuse = (why: string): never => {
      throw new WarrenError("WARREN_INVALID_INPUT", `publicKey ${formatKey(publicKey)} ${why}`, { path: "publicKey" });
    };
    if (equalBytes(publicKey, this.publicKey)) refuse("is this device's own: give the other side's public key.");
    if (this.peer(publicKey) !== undefined) refuse("is that of a present peer: update that peer instead.");
    const settings = checkSettings(options);
    const peer = new Peer(this, publicKey);
    this.byName.set(peer.name, peer);
    this.apply(peer, settings);
    return peer;
  }

  /** @throws WarrenError WARREN_NOT_FOUND, WARREN_INVALID_INPUT, WARREN_INVALID_RANGE; then nothing was changed. */
  updatePeer(publicKey: Uint8Array, update: PeerUpdate): Peer {
    const peer = this.peer(publicKey);
    if (peer === undefined)
      throw new WarrenError("WARREN_NOT_FOUND", `There is no peer ${formatKey(publicKey)}: add it first.`, {
        path: "publicKey",
      });
    this.apply(peer, checkSettings(update));
    return peer;
  }

  /** Its keys are wiped. @returns whether there was one. */
  removePeer(publicKey: Uint8Array): boolean {
    const peer = this.peer(publicKey);
    if (peer === undefined) return false;
    this.byName.delete(peer.name);
    this.allowedIps.removeAll(peer);
    peer.close();
    this.due.remove(peer);
    return true;
  }

  /** CIDR ranges that lead to the peer. */
  allowedIpsOf(peer: Peer): string[] {
    return this.allowedIps.rangesOf(peer).map(formatPrefix);
  }

  /**
   * Sends the inner packet at `buf[off, off+len)` to the peer that its destination belongs to, encrypting it in place.
   * 16 bytes before it and 31 after it are overwritten.
   */
  send(buf: Uint8Array, off: number, len: number): SendResult {
    if (!hasIpHeader(buf, off, len)) return "malformed";
    const peer = this.allowedIps.destinationOf(buf, off);
    return peer === undefined ? "no-peer" : this.transport.send(peer, buf, off, len, this.clock.now());
  }

  /** As `send`, to a peer that the caller has looked up. */
  sendTo(peer: Peer, buf: Uint8Array, off: number, len: number): SendResult {
    if (!hasIpHeader(buf, off, len)) return "malformed";
    if (peer.removed) return "no-peer";
    return this.transport.send(peer, buf, off, len, this.clock.now());
  }

  /** Takes a datagram, decrypting it in place. What is not authentic gets no answer. */
  receive(buf: Uint8Array, off: number, len: number, from: Endpoint): void {
    const type = messageType(buf, off, len);
    if (type === undefined) {
      this.drops["malformed-message"]++;
      return;
    }
    if (type === "initiation") {
      const message = buf.subarray(off, off + len);
      if (this.checkMac1(message)) this.handshaker.receiveInitiation(message, from, this.clock.now());
      else this.drops.mac1++;
      return;
    }
    const entry = this.indices.lookup(readU32(buf, off + (type === "response" ? 8 : 4)));
    if (entry === undefined || entry.peer.device !== this) this.drops["unknown-index"]++;
    else this.receiveFor(entry, type, buf, off, len, from);
  }

  /** A message for one of this device's receiver indices. */
  receiveFor(
    entry: IndexEntry,
    type: "response" | "cookie-reply" | "transport",
    buf: Uint8Array,
    off: number,
    len: number,
    from: Endpoint,
  ): void {
    const now = this.clock.now();
    if (type === "transport") this.transport.receive(entry, buf, off, len, from, now);
    else if (type === "response") this.handshaker.receiveResponse(entry, buf.subarray(off, off + len), from, now);
    else this.handshaker.receiveCookieReply(entry, buf.subarray(off, off + len), now);
  }

  /** Is this initiation or response meant for this device's key? */
  checkMac1(message: Uint8Array): boolean {
    return this.cookies.checkMac1(message);
  }

  /** Starts a handshake now, unless one was under way in the last five seconds. */
  initiate(peer: Peer): void {
    if (!peer.removed) this.handshaker.initiate(peer, this.clock.now(), false);
  }

  /** When to call `tick`, in milliseconds on the clock; Infinity: no need. May be too early, then the tick does nothing. */
  nextTimer(): number {
    return this.due.next();
  }

  tick(): void {
    const now = this.clock.now();
    const until = this.handshaker.initiated + INITIATIONS_PER_TICK;
    // Bounded: a timer that its own work set to this very moment waits for the next call, and so does what is due of thousands of peers.
    for (let i = this.due.size; i > 0 && this.due.next() <= now && this.handshaker.initiated < until; i--) {
      const peer = this.due.first()!;
      peer.timers.tick(now);
      this.due.put(peer, peer.timers.next());
    }
  }

  /** Forgets all sessions and what waits; peers with their endpoints and counters stay. [wireguard-go Peer.Stop] */
  stop(): void {
    if (!this.running) return;
    this.running = false;
    for (const peer of this.byName.values()) peer.forgetSessions();
    this.due.clear();
  }

  /** Goes on after `stop`: sends what came meanwhile, and keepalives where they are due. [wireguard-go Device.upLocked] */
  start(): void {
    if (this.running) return;
    this.running = true;
    const now = this.clock.now();
    for (const peer of this.byName.values()) {
      const keepalive = peer.persistentKeepalive;
      peer.timers.setPersistentKeepalive(keepalive, now);
      if (keepalive > 0 || peer.staging.length > 0) this.keepaliveNext(peer, now);
    }
  }

  /** Removes all peers and wipes their keys. */
  close(): void {
    for (const peer of [...this.byName.values()]) this.removePeer(peer.publicKey);
  }

  wakeAt(peer: Peer, deadline: number): void {
    this.due.bring(peer, deadline);
  }

  jitter(): number {
    return this.jitterSource.next();
  }

  /** Sends a handshake message from the scratch memory. */
  emit(message: Uint8Array, to: Endpoint): void {
    this.scratch.set(message);
    this.sink.datagram(this.scratch, 0, message.length, to);
  }

  private apply(peer: Peer, settings: CheckedSettings): void {
    if (settings.presharedKey === null) peer.presharedKey.fill(0);
    else if (settings.presharedKey !== undefined) peer.presharedKey.set(settings.presharedKey);
    if (settings.endpoint !== undefined) peer.endpoint = settings.endpoint;
    if (settings.prefixes !== undefined) {
      this.allowedIps.removeAll(peer);
      for (const prefix of settings.prefixes) this.allowedIps.insert(prefix, peer);
    }
    const keepalive = settings.persistentKeepalive;
    if (keepalive === undefined || keepalive === peer.persistentKeepalive) return;
    const now = this.clock.now();
    peer.timers.setPersistentKeepalive(keepalive, now);
    if (keepalive > 0) this.keepaliveNext(peer, now);
  }

  /** With the next tick: so the handshakes of many peers that come at once, each 0.3 ms of a core, let packets pass between them. */
  private keepaliveNext(peer: Peer, now: number): void {
    if (peer.endpoint !== undefined && this.running) peer.timers.keepaliveNext(now);
  }
}

interface CheckedSettings extends PeerUpdate {
  readonly prefixes?: readonly Prefix[];
}

function checkSettings(update: PeerUpdate): CheckedSettings {
  const { presharedKey, persistentKeepalive: seconds } = update;
  if (presharedKey !== undefined && presharedKey !== null) requireKeyLength(presharedKey, "presharedKey");
  if (seconds !== undefined && !(Number.isInteger(seconds) && seconds >= 0 && seconds <= 65535))
    throw new WarrenError(
      "WARREN_INVALID_INPUT",
      `persistentKeepalive is ${seconds}: give whole seconds from 0 (off) to 65535.`,
      { path: "persistentKeepalive" },
    );
  const prefixes = update.allowedIps?.map((text, i) => parsePrefix(text, `allowedIps[${i}]`));
  return { ...update, prefixes };
}

function requireKeyLength(key: Uint8Array, path: string): void {
  if (key.length !== KEY_BYTES)
    throw new WarrenError(
      "WARREN_INVALID_INPUT",
      `${path} has ${key.length} bytes: a WireGuard key has ${KEY_BYTES}.`,
      {
        path,
      },
    );
}
