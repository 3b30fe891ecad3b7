import {
  REJECT_AFTER_MESSAGES_HI,
  REJECT_AFTER_MESSAGES_LO,
  REJECT_AFTER_TIME,
  REKEY_AFTER_MESSAGES_HI,
} from "./constants";
import type { TransportKeys } from "./noise";
import { isPastLimit, ReplayWindow } from "./replay";
import type { Aead, AeadKey } from "./types";

export type Role = "initiator" | "responder";

/** One session's two keys, its counters and its indices. */
export class Keypair {
  readonly sending: AeadKey;
  readonly receiving: AeadKey;
  readonly replay = new ReplayWindow();
  /** The next counter to send with: lower and upper half. */
  readonly counter = new Uint32Array(2);

  /**
   * @param keys are wiped.
   * @param created milliseconds on the device's clock.
   */
  constructor(
    aead: Aead,
    keys: TransportKeys,
    readonly role: Role,
    readonly localIndex: number,
    readonly remoteIndex: number,
    readonly created: number,
  ) {
    this.sending = aead.open(keys.send);
    this.receiving = aead.open(keys.receive);
    keys.send.fill(0);
    keys.receive.fill(0);
  }

  canSend(now: number): boolean {
    return now - this.created < REJECT_AFTER_TIME && !isPastLimit(this.counter[0], this.counter[1]);
  }

  canReceive(now: number): boolean {
    return now - this.created < REJECT_AFTER_TIME;
  }

  /** Past 2^60 messages. */
  wantsRekeyByCount(): boolean {
    return this.counter[1] >= REKEY_AFTER_MESSAGES_HI;
  }

  advanceCounter(): void {
    const counter = this.counter;
    counter[0]++; // wraps at 2^32
    if (counter[0] === 0) counter[1]++;
  }

  /** Sends nothing any more; what is under way can still be received. */
  stopSending(): void {
    this.counter[0] = REJECT_AFTER_MESSAGES_LO;
    this.counter[1] = REJECT_AFTER_MESSAGES_HI;
  }

  close(): void {
    this.sending.close();
    this.receiving.close();
  }
}

/**
 * The three sessions of a peer. `current` is sent with. `previous` still decrypts what is under way. `next` is one that we
 * answered: it is not sent with until the initiator has proven, by a first message, that it has the keys. [paper 6.3; Linux noise.c]
 */
export class KeypairSlots {
  current: Keypair | undefined;
  previous: Keypair | undefined;
  next: Keypair | undefined;

  /** @param discard is called with each keypair that falls out. */
  constructor(private readonly discard: (keypair: Keypair) => void) {}

  addInitiated(keypair: Keypair): void {
    const { current, previous, next } = this;
    this.current = keypair;
    this.next = undefined;
    // Both sides initiated at once: the other may send with the one that waits here.
    this.previous = next ?? current;
    if (next !== undefined && current !== undefined) this.discard(current);
    if (previous !== undefined) this.discard(previous);
  }

  addResponded(keypair: Keypair): void {
    const { previous, next } = this;
    this.next = keypair;
    this.previous = undefined;
    if (next !== undefined) this.discard(next);
    if (previous !== undefined) this.discard(previous);
  }

  /** @returns true when a message on this keypair confirmed the waiting one. */
  received(keypair: Keypair): boolean {
    if (this.next !== keypair) return false;
    const old = this.previous;
    this.previous = this.current;
    this.current = keypair;
    this.next = undefined;
    if (old !== undefined) this.discard(old);
    return true;
  }

  /** No keypair sends any more; receiving goes on until new ones come. */
  stopSending(): void {
    this.current?.stopSending();
    this.next?.stopSending();
  }

  clear(): void {
    const { current, previous, next } = this;
    this.current = undefined;
    this.previous = undefined;
    this.next = undefined;
    for (const keypair of [current, previous, next]) if (keypair !== undefined) this.discard(keypair);
  }
}
