/** The five timers of a peer. [paper 6; Linux timers.c] */
import {
  DEAD_PEER_TIME,
  KEEPALIVE_TIMEOUT,
  REKEY_ATTEMPT_TIME,
  REKEY_TIMEOUT,
  REKEY_TIMEOUT_JITTER,
  ZERO_KEYS_TIME,
} from "./constants";

/** Slots of the deadlines. */
const RETRANSMIT = 0;
const KEEPALIVE = 1;
const NEW_HANDSHAKE = 2;
const ZERO_KEYS = 3;
const PERSISTENT = 4;
const TIMERS = 5;

const NEVER = Number.POSITIVE_INFINITY;

export interface TimerActions {
  /** A number from 0 to below 1. */
  jitter(): number;
  /** Some deadline is now this early: the device must not sleep longer. */
  wakeAt(deadline: number): void;
  /** @param retry false: begin a series of attempts anew. */
  initiate(now: number, retry: boolean): void;
  sendKeepalive(now: number): void;
  giveUpHandshake(now: number): void;
  expireKeys(now: number): void;
}

/** Deadlines in milliseconds on the device's clock; the methods say what happened, as the paper's section 6 words it. */
export class PeerTimers {
  /** Seconds; 0: off. */
  persistentKeepalive = 0;
  private readonly deadlines = new Float64Array(TIMERS).fill(NEVER);
  /** Data came while a keepalive was already due: another one follows it. */
  private needAnotherKeepalive = false;
  private attemptsSince = 0;
  private attempts = 0;

  constructor(private readonly actions: TimerActions) {}

  /** The earliest deadline. */
  next(): number {
    const d = this.deadlines;
    return Math.min(d[RETRANSMIT], d[KEEPALIVE], d[NEW_HANDSHAKE], d[ZERO_KEYS], d[PERSISTENT]);
  }

  /** Non-empty data was sent: an answer is due. */
  dataSent(now: number): void {
    if (this.deadlines[NEW_HANDSHAKE] === NEVER)
      this.set(NEW_HANDSHAKE, now + DEAD_PEER_TIME + this.actions.jitter() * REKEY_TIMEOUT_JITTER);
  }

  /** Non-empty data was received: the other side must hear of us within ten seconds. */
  dataReceived(now: number): void {
    if (this.deadlines[KEEPALIVE] === NEVER) this.set(KEEPALIVE, now + KEEPALIVE_TIMEOUT);
    else this.needAnotherKeepalive = true;
  }

  /** Data, keepalive or handshake message was sent. */
  authenticatedSent(now: number): void {
    this.deadlines[KEEPALIVE] = NEVER;
    this.authenticatedTraversal(now);
  }

  /** Data, keepalive or handshake message was received. */
  authenticatedReceived(now: number): void {
    this.deadlines[NEW_HANDSHAKE] = NEVER;
    this.authenticatedTraversal(now);
  }

  /** @returns which attempt of its series this is, from 1. */
  handshakeInitiated(now: number, retry: boolean): number {
    if (!retry) this.restartAttempts(now);
    this.set(RETRANSMIT, now + REKEY_TIMEOUT + this.actions.jitter() * REKEY_TIMEOUT_JITTER);
    return ++this.attempts;
  }

  /**
   * A handshake was wanted too soon after the last handshake message to send one: should nothing come of that message, one
   * is sent as soon as it may.
   */
  handshakePostponed(now: number, lastSent: number, retry: boolean): void {
    if (!retry) this.restartAttempts(now);
    if (this.deadlines[RETRANSMIT] === NEVER)
      this.set(RETRANSMIT, lastSent + REKEY_TIMEOUT + this.actions.jitter() * REKEY_TIMEOUT_JITTER);
  }

  /** Both sides are known to have the keys. */
  handshakeCompleted(): void {
    this.deadlines[RETRANSMIT] = NEVER;
    this.attempts = 0;
  }

  sessionDerived(now: number): void {
    this.set(ZERO_KEYS, now + ZERO_KEYS_TIME);
  }

  tick(now: number): void {
    const d = this.deadlines;
    if (d[RETRANSMIT] <= now) {
      d[RETRANSMIT] = NEVER;
      this.retransmitDue(now);
    }
    if (d[KEEPALIVE] <= now) {
      d[KEEPALIVE] = NEVER;
      this.keepaliveDue(now);
    }
    if (d[NEW_HANDSHAKE] <= now) {
      d[NEW_HANDSHAKE] = NEVER;
      this.actions.initiate(now, false);
    }
    if (d[ZERO_KEYS] <= now) {
      d[ZERO_KEYS] = NEVER;
      this.actions.expireKeys(now);
    }
    if (d[PERSISTENT] <= now) {
      // Set before sending: where nothing can be sent, the interval goes on all the same.
      this.set(PERSISTENT, now + this.persistentKeepalive * 1000);
      this.actions.sendKeepalive(now);
    }
  }

  /** @param seconds from 0 to 65535. */
  setPersistentKeepalive(seconds: number, now: number): void {
    this.persistentKeepalive = seconds;
    this.deadlines[PERSISTENT] = NEVER;
    if (seconds > 0) this.set(PERSISTENT, now + seconds * 1000);
  }

  /** A keepalive is due, or the handshake for it. */
  keepaliveNext(now: number): void {
    this.set(KEEPALIVE, now);
  }

  stop(): void {
    this.deadlines.fill(NEVER);
    this.needAnotherKeepalive = false;
  }

  private authenticatedTraversal(now: number): void {
    if (this.persistentKeepalive > 0) this.set(PERSISTENT, now + this.persistentKeepalive * 1000);
  }

  private restartAttempts(now: number): void {
    this.attemptsSince = now;
    this.attempts = 0;
  }

  private retransmitDue(now: number): void {
    if (now - this.attemptsSince < REKEY_ATTEMPT_TIME) {
      this.actions.initiate(now, true);
      return;
    }
    this.deadlines[KEEPALIVE] = NEVER;
    if (this.deadlines[ZERO_KEYS] === NEVER) this.set(ZERO_KEYS, now + ZERO_KEYS_TIME);
    this.actions.giveUpHandshake(now);
  }

  private keepaliveDue(now: number): void {
    this.actions.sendKeepalive(now);
    if (!this.needAnotherKeepalive) return;
    this.needAnotherKeepalive = false;
    this.set(KEEPALIVE, now + KEEPALIVE_TIMEOUT);
  }

  private set(timer: number, deadline: number): void {
    this.deadlines[timer] = deadline;
    this.actions.wakeAt(deadline);
  }
}
