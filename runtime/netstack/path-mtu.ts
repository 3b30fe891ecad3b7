/** Path MTUs that routers told (RFC 1191, 8201): bounded in number, forgotten after a while. */
import { addressKey } from "./address";

/** Lowest that is believed: Linux' min_pmtu for IPv4, the least that IPv6 allows. */
const LOWEST = { 4: 552, 6: 1280 } as const;
/** RFC 1191 section 6.3: another try after ten minutes. */
const LIFE = 600_000;
/** RFC 1191 section 7.1, for routers that tell no size. */
const PLATEAUS = [65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508] as const;

interface Path {
  readonly address: Uint8Array;
  readonly mtu: number;
  readonly expires: number;
}

export class PathMtus {
  private readonly paths = new Map<string, Path>();

  constructor(
    public linkMtu: number,
    private readonly limit: number,
  ) {}

  get(address: Uint8Array): number {
    if (this.paths.size === 0) return this.linkMtu;
    return this.paths.get(keyOf(address))?.mtu ?? this.linkMtu;
  }

  get size(): number {
    return this.paths.size;
  }

  /**
   * A router on the way there takes no more than `mtu`.
   * @param mtu 0: it did not say
   * @param sent bytes of the packet that was too long
   * @returns whether that is less than was known
   */
  lower(address: Uint8Array, mtu: number, sent: number, now: number): boolean {
    const told = mtu === 0 ? (PLATEAUS.find((size) => size < sent) ?? 0) : mtu;
    const value = Math.max(told, LOWEST[address.length === 4 ? 4 : 6]);
    if (value >= this.get(address)) return false;
    const key = keyOf(address);
    this.paths.delete(key);
    if (this.paths.size >= this.limit) for (const oldest of this.paths.keys()) if (this.paths.delete(oldest)) break;
    this.paths.set(key, { address: address.slice(), mtu: value, expires: now + LIFE });
    return true;
  }

  nextTimer(): number {
    for (const path of this.paths.values()) return path.expires;
    return Number.POSITIVE_INFINITY;
  }

  /** @param forgotten gets each address whose path is tried in full length again */
  tick(now: number, forgotten: (address: Uint8Array) => void): void {
    for (const [key, path] of this.paths) {
      if (path.expires > now) return;
      this.paths.delete(key);
      forgotten(path.address);
    }
  }
}

function keyOf(address: Uint8Array): string {
  return addressKey(address, 0, address.length === 4 ? 4 : 6);
}
