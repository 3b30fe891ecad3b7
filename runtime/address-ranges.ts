/** Which addresses lie in some ranges: read once, asked often. */
import * as net from "node:net";

export class AddressRanges {
  private readonly list = new net.BlockList();

  /** @param ranges in CIDR notation. @throws Error where one is none */
  constructor(ranges: readonly string[]) {
    for (const range of ranges) {
      const [address, length] = range.split("/");
      this.list.addSubnet(address, Number(length), familyOf(address));
    }
  }

  /** @param address IPv4 or IPv6, as text */
  has(address: string): boolean {
    return this.list.check(address, familyOf(address));
  }
}

const familyOf = (address: string): "ipv4" | "ipv6" => (address.includes(":") ? "ipv6" : "ipv4");
