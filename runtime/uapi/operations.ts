/** The lines of a UAPI `set`, one by one: pure. Strictness and errno are those of wireguard-go. */
import * as ipaddr from "ipaddr.js";
import { formatPrefix, prefixOf } from "../wireguard/allowedips";
import { type Failure, failure, UapiErrno } from "./failure";

/** Keys are 64 lower-case hexadecimal digits. */
export type SetOperation =
  /** undefined: none from now on. */
  | { readonly kind: "private-key"; readonly key: string | undefined }
  | { readonly kind: "listen-port"; readonly port: number }
  | { readonly kind: "fwmark"; readonly mark: number }
  | { readonly kind: "replace-peers" }
  /** The peer that what follows is about; made where it is not there. */
  | { readonly kind: "peer"; readonly publicKey: string }
  | { readonly kind: "update-only" }
  | { readonly kind: "remove" }
  | { readonly kind: "preshared-key"; readonly key: string | undefined }
  /** `address:port`, `[address]:port` or `[address%zone]:port`. */
  | { readonly kind: "endpoint"; readonly endpoint: string }
  | { readonly kind: "keepalive"; readonly seconds: number }
  | { readonly kind: "replace-allowed-ips" }
  /** A CIDR range without host bits. */
  | { readonly kind: "allowed-ip"; readonly range: string; readonly add: boolean }
  /** `protocol_version=1`, which changes nothing. */
  | { readonly kind: "version" };

const NO_KEY = "0".repeat(64);

function key(text: string): string | undefined {
  return /^[0-9a-fA-F]{64}$/.test(text) ? text.toLowerCase() : undefined;
}

/** A decimal number as Go's ParseUint reads it. */
function unsigned(text: string, limit: number): number | undefined {
  if (!/^[0-9]{1,20}$/.test(text)) return undefined;
  const value = Number(text);
  return value <= limit ? value : undefined;
}

function bytesOf(address: string): Uint8Array | undefined {
  if (ipaddr.IPv4.isValidFourPartDecimal(address))
    // Go takes no leading zeros, which some read as octal.
    return /(^|\.)0[0-9]/.test(address) ? undefined : Uint8Array.from(ipaddr.IPv4.parse(address).toByteArray());
  if (!address.includes(":") || address.includes("%") || !ipaddr.IPv6.isValid(address)) return undefined;
  return Uint8Array.from(ipaddr.IPv6.parse(address).toByteArray());
}

function range(text: string): string | undefined {
  const match = /^([^/]+)\/(0|[1-9][0-9]{0,2})$/.exec(text);
  const address = match && bytesOf(match[1] as string);
  const bits = Number(match?.[2]);
  if (!address || bits > address.length * 8) return undefined;
  return formatPrefix(prefixOf(address, bits));
}

function endpoint(text: string): string | undefined {
  const match = /^(?:\[([^\]%]+)(?:%([^\]\s]+))?\]|([^:[\]]+)):([0-9]{1,5})$/.exec(text);
  const address = match && bytesOf((match[1] ?? match[3]) as string);
  const port = unsigned(match?.[4] ?? "", 65535);
  if (!address || port === undefined || (match[1] !== undefined) !== (address.length === 16)) return undefined;
  const host = ipaddr.fromByteArray(Array.from(address)).toString();
  if (address.length === 4) return `${host}:${port}`;
  return match[2] === undefined ? `[${host}]:${port}` : `[${host}%${match[2]}]:${port}`;
}

/** What the lines before a peer's `public_key` may be. */
const device: Record<string, (value: string) => SetOperation | undefined> = {
  private_key: (value) => {
    const parsed = key(value);
    return parsed === undefined ? undefined : { kind: "private-key", key: parsed === NO_KEY ? undefined : parsed };
  },
  listen_port: (value) => {
    const port = unsigned(value, 0xffff);
    return port === undefined ? undefined : { kind: "listen-port", port };
  },
  fwmark: (value) => {
    const mark = unsigned(value, 0xffffffff);
    return mark === undefined ? undefined : { kind: "fwmark", mark };
  },
  replace_peers: (value) => (value === "true" ? { kind: "replace-peers" } : undefined),
};

const peer: Record<string, (value: string) => SetOperation | undefined> = {
  update_only: (value) => (value === "true" ? { kind: "update-only" } : undefined),
  remove: (value) => (value === "true" ? { kind: "remove" } : undefined),
  preshared_key: (value) => {
    const parsed = key(value);
    return parsed === undefined ? undefined : { kind: "preshared-key", key: parsed === NO_KEY ? undefined : parsed };
  },
  endpoint: (value) => {
    const parsed = endpoint(value);
    return parsed === undefined ? undefined : { kind: "endpoint", endpoint: parsed };
  },
  persistent_keepalive_interval: (value) => {
    const seconds = unsigned(value, 0xffff);
    return seconds === undefined ? undefined : { kind: "keepalive", seconds };
  },
  replace_allowed_ips: (value) => (value === "true" ? { kind: "replace-allowed-ips" } : undefined),
  // Since 2025 a minus sign takes one range away and leaves the others.
  allowed_ip: (value) => {
    const add = !value.startsWith("-");
    const parsed = range(add ? value : value.slice(1));
    return parsed === undefined ? undefined : { kind: "allowed-ip", range: parsed, add };
  },
  protocol_version: (value) => (value === "1" ? { kind: "version" } : undefined),
};

/** Reads the lines of one transaction; they mean other things once a peer was named. */
export class SetReader {
  private inPeer = false;

  /** @param line without its end, not empty. */
  read(line: string): SetOperation | Failure {
    const at = line.indexOf("=");
    if (at < 0) return failure(UapiErrno.protocol, "a line of set has no =");
    const name = line.slice(0, at);
    const value = line.slice(at + 1);
    if (name === "public_key") {
      this.inPeer = true;
      const publicKey = key(value);
      return publicKey === undefined ? invalid(name) : { kind: "peer", publicKey };
    }
    const readers = this.inPeer ? peer : device;
    if (!Object.hasOwn(readers, name))
      return failure(
        UapiErrno.invalid,
        `${JSON.stringify(name.slice(0, 40))} is no key of ${this.inPeer ? "a peer" : "the device"}`,
      );
    return (readers[name] as (value: string) => SetOperation | undefined)(value) ?? invalid(name);
  }
}

function invalid(name: string): Failure {
  return failure(UapiErrno.invalid, `the value of ${name} cannot be used`);
}
