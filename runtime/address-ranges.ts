/** Which addresses lie in some ranges: read once, asked often. */
import ipaddr from "ipaddr.js";

export class AddressRanges {
  private readonly ranges: readonly (readonly [ipaddr.IPv4 | ipaddr.IPv6, number])[];

  /** @param ranges in CIDR notation. @throws Error where one is none */
  constructor(ranges: readonly string[]) {
    this.ranges = ranges.map((range) => ipaddr.parseCIDR(range));
  }

  /** @param address IPv4 or IPv6, as text or read; IPv4 in the clothes of IPv6 is IPv6. @throws Error where it is none */
  has(address: string | ipaddr.IPv4 | ipaddr.IPv6): boolean {
    const wanted = typeof address === "string" ? ipaddr.parse(address) : address;
    return this.ranges.some(([network, length]) => network.kind() === wanted.kind() && wanted.match(network, length));
  }
}
