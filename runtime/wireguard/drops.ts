import type { DropReason } from "./types";

export type DropCounters = Record<DropReason, number>;

export function newDropCounters(): DropCounters {
  return {
    "malformed-message": 0,
    mac1: 0,
    "cookie-required": 0,
    "rate-limited": 0,
    "bad-handshake": 0,
    "handshake-replay": 0,
    "handshake-flood": 0,
    "unknown-index": 0,
    "expired-keypair": 0,
    "bad-tag": 0,
    replay: 0,
    "malformed-packet": 0,
    source: 0,
    "staging-full": 0,
    "no-handshake": 0,
  };
}
