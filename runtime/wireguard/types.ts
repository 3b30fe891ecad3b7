/** What a device is given and what it gives back: swapped in tests and by the data plane. */
import type { Peer } from "./peer";

/** A UDP address. Compared by identity first, then by value; whoever reads the socket should intern them. */
export interface Endpoint {
  readonly family: 4 | 6;
  /** 4 or 16 bytes, network order. */
  readonly address: Uint8Array;
  readonly port: number;
  /** The device, or its number, by which an address is reached that other links have too: `eth0` of `fe80::1%eth0`. */
  readonly zone?: string;
  /** `1.2.3.4:51820` or `[::1]:51820`. */
  readonly text: string;
}

export interface Clock {
  /**
   * Monotonic milliseconds, may be fractional. Read once per packet:
   * a caller that handles packets in batches should return one value for the whole batch.
   */
  now(): number;
  /** Time since 1970, for handshake timestamps. */
  wall(): { seconds: number; nanos: number };
}

/** ChaCha20-Poly1305 without additional data, as transport messages use it. */
export interface Aead {
  /** Shown in status output. */
  readonly name: string;
  /** @param key 32 bytes; the caller wipes it afterwards, so an implementation that needs it later copies it. */
  open(key: Uint8Array): AeadKey;
}

export interface AeadKey {
  /**
   * Encrypts `buf[off, off+len)` in place and writes the 16-byte tag at `off+len`.
   * The nonce is 4 zero bytes and the counter as 64 bits little-endian, given as two unsigned 32-bit halves.
   */
  seal(buf: Uint8Array, off: number, len: number, counterLo: number, counterHi: number): void;
  /**
   * `buf[off, off+len)` is ciphertext and tag; decrypts in place.
   * @returns false when the tag is wrong; then nothing of the plaintext may be in the buffer.
   */
  unseal(buf: Uint8Array, off: number, len: number, counterLo: number, counterHi: number): boolean;
  /** Wipes the key. */
  close(): void;
}

/** Why something was dropped; keys of the drop counters. */
export type DropReason =
  | "malformed-message" // wrong length, type or reserved bytes
  | "mac1" // not addressed to this device's key
  | "cookie-required" // under load without a valid MAC2; a cookie reply was sent
  | "rate-limited" // under load, more than 20 handshakes a second from one address
  | "bad-handshake" // does not decrypt, unknown key, wrong pre-shared key, no matching state
  | "handshake-replay" // timestamp not newer than the last
  | "handshake-flood" // second initiation within 20 ms
  | "unknown-index"
  | "expired-keypair"
  | "bad-tag"
  | "replay"
  | "malformed-packet" // the inner packet is no IP packet or longer than its container
  | "source" // inner source address outside the peer's allowed IPs
  | "staging-full" // the oldest staged packet made room
  | "no-handshake"; // staged packets given up because no handshake came about

/** What happened beyond data packets: for logs, counters and persistence. */
export type DeviceEvent =
  | { readonly type: "handshake-initiated"; readonly peer: Peer; readonly attempt: number }
  | { readonly type: "handshake-completed"; readonly peer: Peer; readonly role: "initiator" | "responder" }
  /** No answer for 90 s; `dropped` staged packets were let go. */
  | { readonly type: "handshake-gave-up"; readonly peer: Peer; readonly dropped: number }
  /** An authenticated packet came from another address than before. */
  | {
      readonly type: "endpoint-roamed";
      readonly peer: Peer;
      readonly from: Endpoint | undefined;
      readonly to: Endpoint;
    }
  /** No new keys for 540 s: all were wiped. */
  | { readonly type: "keys-expired"; readonly peer: Peer }
  | { readonly type: "cookie-sent"; readonly to: Endpoint }
  | { readonly type: "cookie-received"; readonly peer: Peer }
  /** The device's new private key is that of this peer. */
  | { readonly type: "peer-removed"; readonly peer: Peer; readonly reason: "own-key" };

/**
 * Where a device's output goes. Buffers are valid only during the call.
 * `packet` may call `send` and `sendTo` of any device, also with the same buffer (to forward); `datagram` and `event`
 * must not call into the device.
 */
export interface DeviceSink {
  datagram(buf: Uint8Array, off: number, len: number, to: Endpoint): void;
  /**
   * An authenticated inner packet whose source lies in the peer's allowed IPs, trimmed to its inner length.
   * `buf` is the one given to `receive`: 16 bytes before `off` and at least 16 after `off+len` are free to use.
   */
  packet(buf: Uint8Array, off: number, len: number, peer: Peer): void;
  event(event: DeviceEvent): void;
}

/**
 * `sent`: encrypted and given to the sink. `staged`: kept until a handshake completes.
 * `no-peer`: no allowed IP covers the destination. `no-endpoint`: the peer's address is not known yet.
 * `malformed`: not an IP packet.
 */
export type SendResult = "sent" | "staged" | "no-peer" | "no-endpoint" | "malformed";

export interface PeerOptions {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** 32 bytes. */
  readonly presharedKey?: Uint8Array;
  readonly endpoint?: Endpoint;
  /** CIDR ranges; host bits are masked off. A range that another peer has moves here. */
  readonly allowedIps: readonly string[];
  /** Seconds from 0 to 65535; 0: off. */
  readonly persistentKeepalive: number;
}

/** What is absent stays as it is. */
export interface PeerUpdate {
  /** null: none. Takes effect with the next handshake. */
  readonly presharedKey?: Uint8Array | null;
  readonly endpoint?: Endpoint;
  /** Replaces the present ones. */
  readonly allowedIps?: readonly string[];
  readonly persistentKeepalive?: number;
}
