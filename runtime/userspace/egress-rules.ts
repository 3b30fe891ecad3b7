/** Where an app may go outside its network: a pure rule over addresses. */
import * as net from "node:net";
import * as ipaddr from "ipaddr.js";
import { AddressRanges } from "../address-ranges";
import { WarrenError } from "../errors";

/** What is never the internet, and what hands a machine's credentials to whoever asks. */
const CLOSED = new AddressRanges([
  "0.0.0.0/8",
  "127.0.0.0/8",
  "169.254.0.0/16", // link-local; the metadata service of most clouds is 169.254.169.254
  "224.0.0.0/3", // multicast, reserved, broadcast
  "100.100.100.200/32", // metadata of Alibaba Cloud
  "168.63.129.16/32", // Azure's platform service
  "192.0.0.0/24", // protocol assignments; metadata of Oracle Cloud is 192.0.0.192
  "::/96", // unspecified, loopback, and IPv4 addresses as RFC 4291 section 2.5.5.1 once had them
  "fe80::/10",
  "ff00::/8",
  "fd00:ec2::254/128", // metadata of AWS
  "fd20:ce::254/128", // metadata of Google Cloud
  // IPv4 addresses of any kind in forms that only this machine's surroundings can tell:
  "64:ff9b:1::/48", // local NAT64 (RFC 8215); where in it the address stands is theirs to choose
  "2002::/16", // 6to4 (RFC 3056, left by RFC 7526)
  "2001::/32", // Teredo (RFC 4380)
]);

/** Ranges that nobody routes in the internet; a machine's own network in one of them is private. */
const PRIVATE = new AddressRanges(["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"]);

/** NAT64 (RFC 6052): an IPv4 address in IPv6 form. */
const NAT64 = new AddressRanges(["64:ff9b::/96"]);

export const EGRESS_SETTING = "WARREN_EGRESS_ALLOW";

/** Ranges that a person opened, from the text of WARREN_EGRESS_ALLOW. @throws WarrenError WARREN_INVALID_INPUT */
export function parseEgressAllow(text = ""): string[] {
  const ranges = text
    .split(",")
    .map((part) => part.trim())
    .filter(Boolean);
  return ranges.map((range) => {
    const whole = range.includes("/") ? range : `${range}/${net.isIPv6(range) ? 128 : 32}`;
    if (net.isIP(whole.split("/")[0] as string) !== 0 && ipaddr.isValidCIDR(whole)) return whole;
    throw new WarrenError(
      "WARREN_INVALID_INPUT",
      `${EGRESS_SETTING} has "${range}", which is no address or range: write for example 192.168.1.0/24,10.0.0.7.`,
      { path: EGRESS_SETTING },
    );
  });
}

export interface HostAddress {
  readonly address: string;
  /** `ADDRESS/PREFIX`, as `os.networkInterfaces()` has it. */
  readonly cidr: string | null;
}

export class EgressRules {
  private readonly opened: AddressRanges;
  private readonly own: AddressRanges;

  /**
   * @param allowed CIDR ranges that are open whatever else says no.
   * @param host the machine's addresses: they, and those of their networks that are private, are closed.
   */
  constructor(allowed: readonly string[], host: readonly HostAddress[]) {
    this.opened = new AddressRanges(allowed);
    const own = host.flatMap(({ address, cidr }) => {
      const ip = ipaddr.parse(address.split("%")[0] as string);
      const itself = `${ip}/${ip.toByteArray().length * 8}`;
      return PRIVATE.has(ip) && cidr !== null ? [itself, cidr] : [itself];
    });
    this.own = new AddressRanges(own);
  }

  allows(address: string): boolean {
    const ip = unwrap(ipaddr.parse(address));
    return this.opened.has(ip) || !(CLOSED.has(ip) || this.own.has(ip));
  }
}

/** An IPv4 address that comes in the form of an IPv6 address means the same machine. */
function unwrap(ip: ipaddr.IPv4 | ipaddr.IPv6): ipaddr.IPv4 | ipaddr.IPv6 {
  if (ip instanceof ipaddr.IPv4) return ip;
  if (ip.isIPv4MappedAddress()) return ip.toIPv4Address();
  if (NAT64.has(ip)) return new ipaddr.IPv4(ip.toByteArray().slice(12));
  return ip;
}
