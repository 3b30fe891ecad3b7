/**
 * Noise_IKpsk2 as WireGuard uses it, both roles: keys and messages in, messages and keys out. [paper 5.4.2, 5.4.3, 5.4.5]
 * A responder's state lives only between an initiation and its response; an initiator's is kept until the response.
 */
import { openField, sealField } from "./aead-handshake";
import { NOISE_CONSTRUCTION, NOISE_IDENTIFIER, TIMESTAMP_BYTES } from "./constants";
import { hash, kdf1, kdf2, kdf3 } from "./kdf";
import { formatInitiation, formatResponse, type Initiation, type Response } from "./messages";
import { type KeyPair, PublicKey } from "./x25519";

const NOTHING = new Uint8Array(0);

export const INITIAL_CHAIN_KEY: Uint8Array = hash(Buffer.from(NOISE_CONSTRUCTION));
export const INITIAL_HASH: Uint8Array = hash(INITIAL_CHAIN_KEY, Buffer.from(NOISE_IDENTIFIER));

/** The running chaining key and hash. */
export class Transcript {
  chainKey: Uint8Array = Uint8Array.from(INITIAL_CHAIN_KEY);
  hash: Uint8Array;

  /** @param responderStatic the responder's public key, which both sides know beforehand. */
  constructor(responderStatic: Uint8Array) {
    this.hash = hash(INITIAL_HASH, responderStatic);
  }

  mixHash(data: Uint8Array): void {
    this.hash = hash(this.hash, data);
  }

  mixKey(input: Uint8Array): void {
    const next = kdf1(this.chainKey, input);
    this.chainKey.fill(0);
    this.chainKey = next;
  }

  /** Mixes and gives a key for one sealed field. */
  mixKeyAndDerive(input: Uint8Array): Uint8Array {
    const [next, key] = kdf2(this.chainKey, input);
    this.chainKey.fill(0);
    this.chainKey = next;
    return key;
  }

  /** Mixes the pre-shared key into both and gives the key of the empty field. */
  mixPresharedKey(presharedKey: Uint8Array): Uint8Array {
    const [next, tau, key] = kdf3(this.chainKey, presharedKey);
    this.chainKey.fill(0);
    this.chainKey = next;
    this.mixHash(tau);
    return key;
  }

  /** A copy to work on: a forged response must leave the original untouched. */
  fork(): Transcript {
    const copy = Object.create(Transcript.prototype) as Transcript;
    copy.chainKey = Uint8Array.from(this.chainKey);
    copy.hash = this.hash;
    return copy;
  }

  wipe(): void {
    this.chainKey.fill(0);
    this.hash.fill(0);
  }
}

/** The two keys of a session, as this side uses them. The receiver wipes them. */
export interface TransportKeys {
  readonly send: Uint8Array;
  readonly receive: Uint8Array;
}

/** What an initiator remembers until the response comes. */
export interface InitiatorState {
  readonly transcript: Transcript;
  readonly ephemeral: KeyPair;
  readonly localIndex: number;
}

/** @param staticShared X25519 of both static keys. @returns undefined when the responder's key is of low order. */
export function createInitiation(input: {
  local: KeyPair;
  remote: PublicKey;
  staticShared: Uint8Array;
  ephemeral: KeyPair;
  timestamp: Uint8Array;
  localIndex: number;
}): { message: Uint8Array; state: InitiatorState } | undefined {
  const { local, remote, ephemeral, localIndex } = input;
  const transcript = new Transcript(remote.bytes);
  transcript.mixKey(ephemeral.publicKey);
  transcript.mixHash(ephemeral.publicKey);
  const shared = ephemeral.shared(remote);
  if (shared === undefined) return undefined;
  const staticKey = transcript.mixKeyAndDerive(shared);
  const sealedStatic = sealField(staticKey, local.publicKey, transcript.hash);
  transcript.mixHash(sealedStatic);
  const timestampKey = transcript.mixKeyAndDerive(input.staticShared);
  const sealedTimestamp = sealField(timestampKey, input.timestamp, transcript.hash);
  transcript.mixHash(sealedTimestamp);
  shared.fill(0);
  staticKey.fill(0);
  timestampKey.fill(0);
  const message = formatInitiation({
    sender: localIndex,
    ephemeral: ephemeral.publicKey,
    static: sealedStatic,
    timestamp: sealedTimestamp,
  });
  return { message, state: { transcript, ephemeral, localIndex } };
}

/** An initiation whose sender is named but not yet proven. */
export interface OpenedInitiation {
  readonly transcript: Transcript;
  readonly remoteStatic: Uint8Array;
  readonly remoteEphemeral: PublicKey;
  readonly remoteIndex: number;
  readonly sealedTimestamp: Uint8Array;
}

/** First half of an initiation: who says to send it? @returns undefined when it was not made for this key. */
export function openInitiation(local: KeyPair, message: Initiation): OpenedInitiation | undefined {
  const remoteEphemeral = new PublicKey(message.ephemeral);
  const transcript = new Transcript(local.publicKey);
  transcript.mixKey(remoteEphemeral.bytes);
  transcript.mixHash(remoteEphemeral.bytes);
  const shared = local.shared(remoteEphemeral);
  if (shared === undefined) return undefined;
  const key = transcript.mixKeyAndDerive(shared);
  const remoteStatic = openField(key, message.static, transcript.hash);
  shared.fill(0);
  key.fill(0);
  if (remoteStatic === undefined) return undefined;
  transcript.mixHash(message.static);
  return {
    transcript,
    remoteStatic,
    remoteEphemeral,
    remoteIndex: message.sender,
    sealedTimestamp: message.timestamp,
  };
}

/** Second half: proves the sender. @returns the 12-byte timestamp, or undefined when it is forged. */
export function authenticateInitiation(opened: OpenedInitiation, staticShared: Uint8Array): Uint8Array | undefined {
  const key = opened.transcript.mixKeyAndDerive(staticShared);
  const timestamp = openField(key, opened.sealedTimestamp, opened.transcript.hash);
  key.fill(0);
  if (timestamp === undefined || timestamp.length !== TIMESTAMP_BYTES) return undefined;
  opened.transcript.mixHash(opened.sealedTimestamp);
  return timestamp;
}

/** Answers an authenticated initiation; its transcript is used up. @returns undefined when a key is of low order. */
export function createResponse(input: {
  initiation: OpenedInitiation;
  remote: PublicKey;
  ephemeral: KeyPair;
  presharedKey: Uint8Array;
  localIndex: number;
}): { message: Uint8Array; keys: TransportKeys } | undefined {
  const { initiation, ephemeral, localIndex } = input;
  const { transcript } = initiation;
  transcript.mixHash(ephemeral.publicKey);
  transcript.mixKey(ephemeral.publicKey);
  const withEphemeral = ephemeral.shared(initiation.remoteEphemeral);
  const withStatic = ephemeral.shared(input.remote);
  if (withEphemeral === undefined || withStatic === undefined) return undefined;
  transcript.mixKey(withEphemeral);
  transcript.mixKey(withStatic);
  withEphemeral.fill(0);
  withStatic.fill(0);
  const key = transcript.mixPresharedKey(input.presharedKey);
  const empty = sealField(key, NOTHING, transcript.hash);
  key.fill(0);
  const [receive, send] = kdf2(transcript.chainKey, NOTHING);
  transcript.wipe();
  const message = formatResponse({
    sender: localIndex,
    receiver: initiation.remoteIndex,
    ephemeral: ephemeral.publicKey,
    empty,
  });
  return { message, keys: { send, receive } };
}

/** @returns undefined, with the state still good for the true response, when this one is forged or its pre-shared key differs. */
export function consumeResponse(input: {
  state: InitiatorState;
  local: KeyPair;
  presharedKey: Uint8Array;
  message: Response;
}): TransportKeys | undefined {
  const { state, message } = input;
  const remoteEphemeral = new PublicKey(message.ephemeral);
  const withEphemeral = state.ephemeral.shared(remoteEphemeral);
  const withStatic = input.local.shared(remoteEphemeral);
  if (withEphemeral === undefined || withStatic === undefined) return undefined;
  const transcript = state.transcript.fork();
  transcript.mixHash(remoteEphemeral.bytes);
  transcript.mixKey(remoteEphemeral.bytes);
  transcript.mixKey(withEphemeral);
  transcript.mixKey(withStatic);
  withEphemeral.fill(0);
  withStatic.fill(0);
  const key = transcript.mixPresharedKey(input.presharedKey);
  const opened = openField(key, message.empty, transcript.hash);
  key.fill(0);
  if (opened === undefined) {
    transcript.chainKey.fill(0);
    return undefined;
  }
  const [send, receive] = kdf2(transcript.chainKey, NOTHING);
  transcript.wipe();
  state.transcript.wipe();
  return { send, receive };
}
