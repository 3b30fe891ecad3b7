import { createHash } from "node:crypto";
import type { TcpAddress } from "./types";

/** Ephemeral ports (RFC 6335 section 6). */
export const FIRST_EPHEMERAL = 49_152;
export const EPHEMERAL_PORTS = 65_536 - FIRST_EPHEMERAL;

/** What an outsider must not guess: initial sequence numbers, timestamp offsets, ports. */
export class Secrets {
  readonly #key: Uint8Array;

  constructor(private readonly random: (bytes: number) => Uint8Array) {
    this.#key = random(32);
  }

  #digest(purpose: number, ...parts: Uint8Array[]): Buffer {
    const hash = createHash("sha256").update(this.#key).update(Uint8Array.of(purpose));
    for (const part of parts) hash.update(part);
    return hash.digest();
  }

  /**
   * RFC 6528: a clock of 4 µs ticks plus a keyed hash of addresses and ports. So a new connection between the same ports begins beyond the
   * old one's numbers, and nobody else can tell where.
   * @param now milliseconds
   */
  sequence(local: TcpAddress, remote: TcpAddress, localPort: number, remotePort: number, now: number): number {
    const ports = Uint8Array.of(localPort >>> 8, localPort, remotePort >>> 8, remotePort);
    const hash = this.#digest(1, local, remote, ports).readUInt32LE(0);
    return (hash + Math.floor(now * 250)) % 2 ** 32;
  }

  /** Added to the clock (RFC 7323 section 5.4), and the same for all connections of a pair of addresses, so that TIME-WAIT can be reused (RFC 6191). */
  timestampOffset(local: TcpAddress, remote: TcpAddress): number {
    return this.#digest(2, local, remote).readUInt32LE(0);
  }

  /** Where the search for a free ephemeral port begins (RFC 6056 algorithm 1). */
  ephemeralPort(): number {
    const bytes = this.random(2);
    return FIRST_EPHEMERAL + (((bytes[0] << 8) | bytes[1]) % EPHEMERAL_PORTS);
  }
}
