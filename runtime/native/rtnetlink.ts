/**
 * rtnetlink requests as bytes (rtnetlink(7)): pure. They go out on a netlink socket made inside a network namespace, so that the keeper
 * configures the namespace without entering it and without a process: `ip` run through nsenter has no capabilities in a user
 * namespace whose user is not root.
 */
import * as ipaddr from "ipaddr.js";

const NLMSG_ERROR = 2;
const NLM_F_REQUEST = 1;
const NLM_F_ACK = 4;
const NLM_F_REPLACE = 0x100;
const NLM_F_CREATE = 0x400;
const RTM_NEWLINK = 16;
const RTM_NEWADDR = 20;
const RTM_DELADDR = 21;
const RTM_NEWROUTE = 24;
const RTM_DELROUTE = 25;
const AF_INET = 2;
const AF_INET6 = 10;
const IFF_UP = 1;
const IFLA_MTU = 4;
const IFLA_AF_SPEC = 26;
const IFLA_INET6_ADDR_GEN_MODE = 8;
const IN6_ADDR_GEN_MODE_NONE = 1;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
/** No duplicate address detection: nobody else is on the device, and the address works at once. */
const IFA_F_NODAD = 2;
const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_PREFSRC = 7;
const RT_TABLE_MAIN = 254;
const RTPROT_STATIC = 4;
const RT_SCOPE_UNIVERSE = 0;
const RT_SCOPE_LINK = 253;
const RTN_UNICAST = 1;

function attribute(type: number, value: Uint8Array): Buffer {
  const out = Buffer.alloc(4 + ((value.length + 3) & ~3));
  out.writeUInt16LE(4 + value.length, 0);
  out.writeUInt16LE(type, 2);
  out.set(value, 4);
  return out;
}

function uint32(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32LE(value);
  return out;
}

function request(type: number, flags: number, sequence: number, ...parts: readonly Buffer[]): Buffer {
  const header = Buffer.alloc(16);
  header.writeUInt32LE(16 + parts.reduce((sum, part) => sum + part.length, 0), 0);
  header.writeUInt16LE(type, 4);
  header.writeUInt16LE(NLM_F_REQUEST | NLM_F_ACK | flags, 6);
  header.writeUInt32LE(sequence, 8);
  return Buffer.concat([header, ...parts]);
}

/** A request as a function of its sequence number. */
export type Request = (sequence: number) => Buffer;

/** Brings a device up; `mtu` in bytes, undefined: left as it is. */
export function linkUp(index: number, mtu?: number): Request {
  const info = Buffer.alloc(16);
  info.writeInt32LE(index, 4);
  info.writeUInt32LE(IFF_UP, 8);
  info.writeUInt32LE(IFF_UP, 12);
  return (sequence) =>
    request(RTM_NEWLINK, 0, sequence, info, ...(mtu === undefined ? [] : [attribute(IFLA_MTU, uint32(mtu))]));
}

/** No link-local address, and so no router solicitations into the device. */
export function noLinkLocal(index: number): Request {
  const info = Buffer.alloc(16);
  info.writeInt32LE(index, 4);
  const mode = attribute(IFLA_INET6_ADDR_GEN_MODE, Uint8Array.of(IN6_ADDR_GEN_MODE_NONE));
  return (sequence) => request(RTM_NEWLINK, 0, sequence, info, attribute(IFLA_AF_SPEC, attribute(AF_INET6, mode)));
}

/** Adds (again) or removes an address with full prefix length. */
export function address(action: "add" | "remove", index: number, ip: string): Request {
  const bytes = Uint8Array.from(ipaddr.parse(ip).toByteArray());
  const info = Buffer.alloc(8);
  info.writeUInt8(bytes.length === 4 ? AF_INET : AF_INET6, 0);
  info.writeUInt8(bytes.length * 8, 1);
  info.writeUInt8(bytes.length === 4 ? 0 : IFA_F_NODAD, 2);
  info.writeUInt32LE(index, 4);
  return (sequence) =>
    request(
      action === "add" ? RTM_NEWADDR : RTM_DELADDR,
      action === "add" ? NLM_F_CREATE | NLM_F_REPLACE : 0,
      sequence,
      info,
      attribute(IFA_LOCAL, bytes),
      attribute(IFA_ADDRESS, bytes),
    );
}

/** Adds (again) or removes the route of a range into a device. @param source the address that packets get, of the range's family. */
export function route(action: "add" | "remove", index: number, range: string, source?: string): Request {
  const [given, prefix] = ipaddr.parseCIDR(range);
  // The kernel refuses bits beyond the prefix.
  const network = (given.kind() === "ipv4" ? ipaddr.IPv4 : ipaddr.IPv6).networkAddressFromCIDR(range);
  const bytes = Uint8Array.from(network.toByteArray());
  const v4 = bytes.length === 4;
  const info = Buffer.alloc(12);
  info.writeUInt8(v4 ? AF_INET : AF_INET6, 0);
  info.writeUInt8(prefix, 1);
  info.writeUInt8(RT_TABLE_MAIN, 4);
  info.writeUInt8(RTPROT_STATIC, 5);
  info.writeUInt8(v4 ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE, 6);
  info.writeUInt8(RTN_UNICAST, 7);
  const parts = [info, attribute(RTA_DST, bytes), attribute(RTA_OIF, uint32(index))];
  if (source !== undefined) parts.push(attribute(RTA_PREFSRC, Uint8Array.from(ipaddr.parse(source).toByteArray())));
  return (sequence) =>
    request(
      action === "add" ? RTM_NEWROUTE : RTM_DELROUTE,
      action === "add" ? NLM_F_CREATE | NLM_F_REPLACE : 0,
      sequence,
      ...parts,
    );
}

/**
 * Reads the acknowledgement of a request.
 * @returns the errno (0: done), or undefined where the bytes are no acknowledgement of this sequence number.
 */
export function acknowledgement(bytes: Buffer, sequence: number): number | undefined {
  for (let at = 0; at + 20 <= bytes.length; ) {
    const length = bytes.readUInt32LE(at);
    if (length < 16 || at + length > bytes.length) return undefined;
    if (bytes.readUInt16LE(at + 4) === NLMSG_ERROR && bytes.readUInt32LE(at + 8) === sequence && length >= 20)
      return -bytes.readInt32LE(at + 16);
    at += (length + 3) & ~3;
  }
  return undefined;
}
