/**
 * Numbers of WireGuard. Sources: [P] the paper "WireGuard: Next Generation Kernel Network Tunnel" with its section,
 * [K] Linux drivers/net/wireguard (messages.h, ratelimiter.c, peer.h).
 */

// ---- the specification -------------------------------------------------------------------------------------------

/** Bytes of X25519 keys, chaining keys, BLAKE2s hashes and pre-shared keys. [P 5.4] */
export const KEY_BYTES = 32;
/** Bytes of a Poly1305 tag. [P 5.4] */
export const TAG_BYTES = 16;
/** Bytes of MAC1, MAC2 and a cookie. [P 5.4.4] */
export const MAC_BYTES = 16;
/** Bytes of an XChaCha20-Poly1305 nonce. [P 5.4.7] */
export const COOKIE_NONCE_BYTES = 24;
/** Bytes of a TAI64N timestamp. [P 5.4.2] */
export const TIMESTAMP_BYTES = 12;

export const NOISE_CONSTRUCTION = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"; // [P 5.4]
export const NOISE_IDENTIFIER = "WireGuard v1 zx2c4 Jason@zx2c4.com"; // [P 5.4]
export const LABEL_MAC1 = "mac1----"; // [P 5.4]
export const LABEL_COOKIE = "cookie--"; // [P 5.4]

export const TYPE_INITIATION = 1; // [P 5.4.2]
export const TYPE_RESPONSE = 2; // [P 5.4.3]
export const TYPE_COOKIE_REPLY = 3; // [P 5.4.7]
export const TYPE_TRANSPORT = 4; // [P 5.4.6]

/** Bytes. [P 5.4.2] */
export const INITIATION_BYTES = 148;
/** Bytes. [P 5.4.3] */
export const RESPONSE_BYTES = 92;
/** Bytes. [P 5.4.7] */
export const COOKIE_REPLY_BYTES = 64;
/** Bytes before the ciphertext of a transport message. [P 5.4.6] */
export const TRANSPORT_HEADER_BYTES = 16;
/** Bytes of the smallest transport message, a keepalive. [P 5.4.6] */
export const KEEPALIVE_BYTES = TRANSPORT_HEADER_BYTES + TAG_BYTES;
/** Inner packets are padded to a multiple of this, in bytes. [P 5.4.6] */
export const PADDING_MULTIPLE = 16;

/** Upper 32 bits of 2^60: from there on a sender asks for new keys. [P 6.1] */
export const REKEY_AFTER_MESSAGES_HI = 2 ** 28;
/** 2^64 - 2^13 - 1 in two halves: counters from there on are never used. [P 6.1] */
export const REJECT_AFTER_MESSAGES_HI = 0xffffffff;
export const REJECT_AFTER_MESSAGES_LO = 0xffffdfff;
/** Milliseconds. [P 6.1] */
export const REKEY_AFTER_TIME = 120_000;
/** Milliseconds. [P 6.1] */
export const REJECT_AFTER_TIME = 180_000;
/** Milliseconds without an answer before another initiation. [P 6.1] */
export const REKEY_TIMEOUT = 5_000;
/** Milliseconds after which initiating is given up. [P 6.1] */
export const REKEY_ATTEMPT_TIME = 90_000;
/** Milliseconds after received data without anything sent. [P 6.1] */
export const KEEPALIVE_TIMEOUT = 10_000;
/** Milliseconds at most added to REKEY_TIMEOUT. [P 6.4; K REKEY_TIMEOUT_JITTER_MAX_JIFFIES] */
export const REKEY_TIMEOUT_JITTER = 333;
/** Milliseconds of a session's age at which its initiator renews it on receiving. [P 6.2] */
export const REKEY_ON_RECEIVE_TIME = REJECT_AFTER_TIME - KEEPALIVE_TIMEOUT - REKEY_TIMEOUT;
/** Milliseconds without new keys after which all are wiped. [P 6.3] */
export const ZERO_KEYS_TIME = 3 * REJECT_AFTER_TIME;
/** Milliseconds of silence after sending that start a new handshake. [P 6.5] */
export const DEAD_PEER_TIME = KEEPALIVE_TIMEOUT + REKEY_TIMEOUT;
/** Milliseconds that a cookie secret, and so a cookie, lives. [P 5.3, 5.4.7] */
export const COOKIE_SECRET_TIME = 120_000;

// ---- choices that implementations are free to make; where one of ours differs from Linux, it says so ---------------

/** Counters behind the newest that are still accepted. [K COUNTER_WINDOW_SIZE] */
export const REPLAY_WINDOW = 8128;
/** Milliseconds before its end at which an initiator stops to use a cookie. [K COOKIE_SECRET_LATENCY] */
export const COOKIE_LATENCY = 5_000;
/** Timestamps are rounded down to this many nanoseconds, a power of two, not to give the time of day away. [K] */
export const TIMESTAMP_GRAIN = 2 ** 24;
/** Milliseconds within which a second initiation of a peer is ignored. [K INITIATIONS_PER_SECOND = 50] */
export const INITIATION_INTERVAL = 20;
/** Packets per peer that wait for a handshake. [K MAX_STAGED_PACKETS] */
export const MAX_STAGED_PACKETS = 128;
/** Bytes that all peers of a device may have waiting together, but for one packet each. Our own: thousands of peers may be away at once. */
export const MAX_STAGED_BYTES = 16 << 20;
/** Handshake messages a second from one address (IPv6: /64), under load. [K PACKETS_PER_SECOND] */
export const RATE_PER_SECOND = 20;
/** Handshake messages that may come at once from one address, under load. [K PACKETS_BURSTABLE] */
export const RATE_BURST = 5;
/** Addresses that the rate limiter remembers at most; more are refused until old ones are forgotten. */
export const RATE_TABLE_SIZE = 65_536;
/**
 * Handshake messages with a valid MAC1 in one second that count as load. Linux looks at a queue (512 waiting); here messages
 * are handled as they come and none waits, so the rate stands for it: 256 handshakes are about an eighth of one core.
 */
export const LOAD_HANDSHAKES_PER_SECOND = 256;
/** Initiations that one tick of a device sends; what else is due follows with the next, after the packets that came meanwhile. Our own. */
export const INITIATIONS_PER_TICK = 8;
/** Milliseconds for which load, once seen, goes on. [wireguard-go UnderLoadAfterTime] */
export const LOAD_LINGER = 1_000;
/** Bytes of the largest inner packet. */
export const MAX_INNER_BYTES = 65_535;
/** Bytes of an inner packet when nothing is said: an IPv6 path of 1500 less 40 + 8 + 32. */
export const DEFAULT_MTU = 1420;
