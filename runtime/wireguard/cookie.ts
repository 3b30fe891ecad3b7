/** MAC1, MAC2 and cookies: what makes a handshake cheap to refuse. [paper 5.4.4, 5.4.7] */
import { xchacha20poly1305 } from "@noble/ciphers/chacha.js";
import { equalBytes } from "./bytes";
import {
  COOKIE_LATENCY,
  COOKIE_NONCE_BYTES,
  COOKIE_SECRET_TIME,
  KEY_BYTES,
  LABEL_COOKIE,
  LABEL_MAC1,
  MAC_BYTES,
} from "./constants";
import { endpointBytes } from "./endpoint";
import { hash, mac } from "./kdf";
import { KeyedBlake2s } from "./keyed-blake2s";
import { type CookieReply, formatCookieReply, mac1Offset } from "./messages";
import type { Endpoint } from "./types";

/** The receiving side, one per device. */
export class CookieChecker {
  private readonly mac1: KeyedBlake2s;
  private readonly replyKey: Uint8Array;
  private secret = new Uint8Array(KEY_BYTES);
  private secretSince = Number.NEGATIVE_INFINITY;

  constructor(
    publicKey: Uint8Array,
    private readonly random: (bytes: number) => Uint8Array,
  ) {
    this.mac1 = new KeyedBlake2s(hash(Buffer.from(LABEL_MAC1), publicKey));
    this.replyKey = hash(Buffer.from(LABEL_COOKIE), publicKey);
  }

  /** Does the sender of this initiation or response know our public key? */
  checkMac1(message: Uint8Array): boolean {
    const at = mac1Offset(message.length);
    return this.mac1.verifies(message, at, at);
  }

  /** Does the sender receive what is sent to the address it gives? */
  checkMac2(message: Uint8Array, from: Endpoint, now: number): boolean {
    if (now - this.secretSince > COOKIE_SECRET_TIME) return false;
    const at = message.length - MAC_BYTES;
    return equalBytes(mac(this.cookieFor(from), message.subarray(0, at)), message.subarray(at));
  }

  /** The cookie reply for an initiation or response with a valid MAC1. */
  createReply(message: Uint8Array, receiver: number, to: Endpoint, now: number): Uint8Array {
    if (now - this.secretSince > COOKIE_SECRET_TIME) {
      this.secret.set(this.random(KEY_BYTES));
      this.secretSince = now;
    }
    const nonce = Uint8Array.from(this.random(COOKIE_NONCE_BYTES));
    const at = mac1Offset(message.length);
    const mac1 = message.subarray(at, at + MAC_BYTES);
    const cookie = xchacha20poly1305(this.replyKey, nonce, mac1).encrypt(this.cookieFor(to));
    return formatCookieReply({ receiver, nonce, cookie });
  }

  private cookieFor(endpoint: Endpoint): Uint8Array {
    return mac(this.secret, endpointBytes(endpoint));
  }
}

/** The sending side, one per peer. */
export class CookieJar {
  private readonly mac1Key: Uint8Array;
  private readonly replyKey: Uint8Array;
  private lastMac1: Uint8Array | undefined;
  private cookie: Uint8Array | undefined;
  private cookieSince = 0;

  constructor(remotePublicKey: Uint8Array) {
    this.mac1Key = hash(Buffer.from(LABEL_MAC1), remotePublicKey);
    this.replyKey = hash(Buffer.from(LABEL_COOKIE), remotePublicKey);
  }

  /** Fills in MAC1, and MAC2 where a cookie is at hand. */
  addMacs(message: Uint8Array, now: number): void {
    const at = mac1Offset(message.length);
    this.lastMac1 = mac(this.mac1Key, message.subarray(0, at));
    message.set(this.lastMac1, at);
    if (this.cookie === undefined || now - this.cookieSince > COOKIE_SECRET_TIME - COOKIE_LATENCY) return;
    message.set(mac(this.cookie, message.subarray(0, at + MAC_BYTES)), at + MAC_BYTES);
  }

  /** @returns false when the reply does not answer our last message. */
  consumeReply(reply: CookieReply, now: number): boolean {
    if (this.lastMac1 === undefined) return false;
    try {
      this.cookie = xchacha20poly1305(this.replyKey, reply.nonce, this.lastMac1).decrypt(reply.cookie);
    } catch {
      return false; // the tag is wrong: not for this message, or forged
    }
    this.cookieSince = now;
    this.lastMac1 = undefined;
    return true;
  }
}
