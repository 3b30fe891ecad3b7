/**
 * The configuration of a stand-alone interface as UAPI transactions change it, and what of it the data plane has not heard yet. Pure.
 * Addresses that peers roam to, counters and handshakes are the data plane's.
 */
import { clamp } from "../wireguard/keys";
import { KeyPair } from "../wireguard/x25519";
import { type Failure, failure, UapiErrno } from "./failure";
import type { SetOperation } from "./operations";

/** [wireguard-go MaxPeers] */
const MAX_PEERS = 65_536;

/** Keys are 64 hexadecimal digits. */
export interface PeerState {
  readonly publicKey: string;
  presharedKey: string | undefined;
  endpoint: string | undefined;
  /** Seconds; 0: off. */
  persistentKeepalive: number;
  /** In the order in which they came. */
  readonly allowedIps: Set<string>;
}

export interface Changes {
  /** Private key, port or mark: more than peers. */
  readonly device: boolean;
  readonly removed: readonly string[];
  readonly peers: readonly {
    readonly peer: PeerState;
    /** Its endpoint was given, so that it is there now, wherever it roamed to. */
    readonly moved: boolean;
  }[];
}

export class InterfaceState {
  /** undefined: no identity yet, and so no handshake. */
  privateKey: string | undefined;
  /** 0: any. */
  listenPort = 0;
  /** 0: none. */
  fwmark = 0;
  readonly peers = new Map<string, PeerState>();
  private publicKey: string | undefined;
  /** Whose each range is: a range leads to one peer. */
  private readonly owners = new Map<string, PeerState>();
  /** The peer that the lines are about; undefined: one that is not there, whose lines mean nothing. */
  private current: PeerState | undefined;
  private currentIsNew = false;
  private deviceChanged = false;
  private readonly removed = new Set<string>();
  private readonly changed = new Map<string, { moved: boolean }>();

  /** Does what one line says. */
  perform(operation: SetOperation): Failure | undefined {
    if (operation.kind === "private-key") this.setPrivateKey(operation.key);
    else if (operation.kind === "listen-port") {
      this.listenPort = operation.port;
      this.deviceChanged = true;
    } else if (operation.kind === "fwmark") {
      this.deviceChanged ||= this.fwmark !== operation.mark;
      this.fwmark = operation.mark;
    } else if (operation.kind === "replace-peers") for (const peer of [...this.peers.values()]) this.remove(peer);
    else if (operation.kind === "peer") return this.select(operation.publicKey);
    else if (this.current !== undefined) this.performOn(this.current, operation);
    return undefined;
  }

  /** What has changed since this was asked last. */
  takeChanges(): Changes {
    const changes: Changes = {
      device: this.deviceChanged,
      removed: [...this.removed],
      peers: [...this.changed].map(([publicKey, { moved }]) => ({ peer: this.peers.get(publicKey)!, moved })),
    };
    this.deviceChanged = false;
    this.removed.clear();
    this.changed.clear();
    return changes;
  }

  /** A transaction is over: the next one names its peers anew. */
  endTransaction(): void {
    this.current = undefined;
  }

  private setPrivateKey(hex: string | undefined): void {
    const clamped = hex === undefined ? undefined : clamp(Buffer.from(hex, "hex"));
    const next = clamped && Buffer.from(clamped).toString("hex");
    if (next === this.privateKey) return;
    this.privateKey = next;
    this.publicKey = clamped && Buffer.from(new KeyPair(clamped).publicKey).toString("hex");
    this.deviceChanged = true;
    const self = this.publicKey === undefined ? undefined : this.peers.get(this.publicKey);
    if (self !== undefined) this.remove(self);
  }

  private select(publicKey: string): Failure | undefined {
    this.current = undefined;
    this.currentIsNew = false;
    // wg-quick files shared by all members name this device too: its own entry means nothing.
    if (publicKey === this.publicKey) return undefined;
    const known = this.peers.get(publicKey);
    if (known !== undefined) {
      this.current = known;
      return undefined;
    }
    if (this.peers.size >= MAX_PEERS) return failure(UapiErrno.invalid, `there are ${MAX_PEERS} peers already`);
    this.current = {
      publicKey,
      presharedKey: undefined,
      endpoint: undefined,
      persistentKeepalive: 0,
      allowedIps: new Set(),
    };
    this.currentIsNew = true;
    this.peers.set(publicKey, this.current);
    this.touch(this.current);
    return undefined;
  }

  private performOn(peer: PeerState, operation: SetOperation): void {
    switch (operation.kind) {
      case "update-only":
        if (this.currentIsNew) this.remove(peer);
        return;
      case "remove":
        this.remove(peer);
        return;
      case "preshared-key":
        peer.presharedKey = operation.key;
        this.touch(peer);
        return;
      case "endpoint":
        peer.endpoint = operation.endpoint;
        this.touch(peer).moved = true;
        return;
      case "keepalive":
        peer.persistentKeepalive = operation.seconds;
        this.touch(peer);
        return;
      case "replace-allowed-ips":
        for (const range of peer.allowedIps) this.owners.delete(range);
        peer.allowedIps.clear();
        this.touch(peer);
        return;
      case "allowed-ip":
        if (operation.add) this.allow(peer, operation.range);
        else if (peer.allowedIps.delete(operation.range)) {
          this.owners.delete(operation.range);
          this.touch(peer);
        }
    }
  }

  private allow(peer: PeerState, range: string): void {
    const owner = this.owners.get(range);
    if (owner === peer) return;
    if (owner !== undefined) {
      owner.allowedIps.delete(range);
      this.touch(owner);
    }
    peer.allowedIps.add(range);
    this.owners.set(range, peer);
    this.touch(peer);
  }

  private remove(peer: PeerState): void {
    this.peers.delete(peer.publicKey);
    for (const range of peer.allowedIps) this.owners.delete(range);
    this.changed.delete(peer.publicKey);
    this.removed.add(peer.publicKey);
    if (this.current === peer) this.current = undefined;
  }

  private touch(peer: PeerState): { moved: boolean } {
    let change = this.changed.get(peer.publicKey);
    if (change === undefined) {
      change = { moved: false };
      this.changed.set(peer.publicKey, change);
    }
    return change;
  }
}
