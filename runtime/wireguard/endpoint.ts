import ipaddr from "ipaddr.js";
import { WarrenError } from "../errors";
import { equalBytes } from "./bytes";
import type { Endpoint } from "./types";

/** @param address 4 or 16 bytes; copied. */
export function endpointOf(address: Uint8Array, port: number, zone?: string): Endpoint {
  const copy = Uint8Array.from(address);
  const family = copy.length === 4 ? 4 : 6;
  const host = ipaddr.fromByteArray(Array.from(copy)).toString();
  if (family === 4) return { family, address: copy, port, text: `${host}:${port}` };
  if (zone === undefined) return { family, address: copy, port, text: `[${host}]:${port}` };
  return { family, address: copy, port, zone, text: `[${host}%${zone}]:${port}` };
}

/**
 * Reads `1.2.3.4:51820`, `[::1]:51820` or `[fe80::1%eth0]:51820`; only numeric addresses. Port 0, to which nothing can be sent, is taken
 * as wireguard-go takes it.
 * @param path the input's name for the error.
 * @throws WarrenError WARREN_INVALID_INPUT
 */
export function parseEndpoint(text: string, path = "endpoint"): Endpoint {
  const match = /^(?:\[([0-9a-fA-F:.]+)(?:%([^\]\s]+))?\]|([0-9.]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[3];
  const port = Number(match?.[4]);
  const valid =
    match !== null &&
    port <= 65535 &&
    (match[1] !== undefined ? ipaddr.IPv6.isValid(host!) : ipaddr.IPv4.isValidFourPartDecimal(host!));
  if (!valid)
    throw new WarrenError(
      "WARREN_INVALID_INPUT",
      `${path} is ${JSON.stringify(text)}: write a numeric address and a port up to 65535, such as 192.0.2.1:51820 or [2001:db8::1]:51820.`,
      { path },
    );
  return endpointOf(Uint8Array.from(ipaddr.parse(host!).toByteArray()), port, match[2]);
}

export function sameEndpoint(a: Endpoint | undefined, b: Endpoint | undefined): boolean {
  if (a === b) return true;
  if (a === undefined || b === undefined) return false;
  return a.port === b.port && equalBytes(a.address, b.address) && a.zone === b.zone;
}

/** Address and port as they enter a cookie. [paper 5.4.7] */
export function endpointBytes(endpoint: Endpoint): Uint8Array {
  const out = new Uint8Array(endpoint.address.length + 2);
  out.set(endpoint.address);
  out[out.length - 2] = endpoint.port >>> 8;
  out[out.length - 1] = endpoint.port & 0xff;
  return out;
}
