/** Which addresses lie outside the network and can be a single far end there. */
import { AllowedIps, parsePrefix } from "../wireguard/allowedips";

export class Outside {
  private readonly inside = new AllowedIps<true>();

  /** @param ranges the network's own, in CIDR notation. @throws WarrenError WARREN_INVALID_RANGE */
  constructor(ranges: readonly string[]) {
    for (const range of ranges) this.inside.insert(parsePrefix(range, "ranges"), true);
  }

  /** Whether the address at `buf[at]` is one. Private ranges are: what of them is open is for the stack to say. */
  has(buf: Uint8Array, at: number, family: 4 | 6): boolean {
    if (family === 4) {
      const first = buf[at];
      // RFC 1122 section 3.2.1.3 (0/8, 127/8), RFC 5771 and RFC 1112 section 4 (224/4, 240/4).
      return first !== 0 && first !== 127 && first < 224 && this.inside.lookup4(buf, at) === undefined;
    }
    // RFC 4291 sections 2.5.2, 2.5.3, 2.5.5, 2.5.6 and 2.7: unspecified, loopback, with IPv4 inside; link-local; multicast.
    if (buf[at] === 0xff || (buf[at] === 0xfe && (buf[at + 1] & 0xc0) === 0x80)) return false;
    let zeros = 0;
    while (zeros < 8 && buf[at + zeros] === 0) zeros++;
    return zeros < 8 && this.inside.lookup6(buf, at) === undefined;
  }
}
