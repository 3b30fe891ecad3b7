/** The wg-quick text of a peer. It says nothing of apps, so it stays the same, byte for byte, while they come and go. */
import type { MemberRecord, NetworkRecord } from "../../runtime/control/interface/types";
import { WarrenError } from "../../runtime/errors";
import { parseHostPort } from "./inputs";

export interface PeerConfig {
  /** With its gateway. */
  readonly peer: MemberRecord;
  readonly network: NetworkRecord;
  /** Ranges behind peers of the network; those behind this one are left out. */
  readonly routes: readonly string[];
  /** base64. Undefined: the user holds it, and a comment marks its place. */
  readonly privateKey?: string;
  readonly presharedKey?: string;
  /** @default "off" */
  readonly dns?: "off" | "split" | "all";
  /** Where the peer reaches its gateway: `host`, or `host:port`. @default what the registry knows, else the gateway's own */
  readonly endpoint?: string;
  /** Seconds; 0 turns them off. @default 25, what wg(8) suggests for keeping a NAT's mapping */
  readonly persistentKeepalive?: number;
}

export const DEFAULT_KEEPALIVE = 25;

export function peerConfig(config: PeerConfig): string {
  const { peer, network } = config;
  const { cidr, ipv6Cidr, mtu } = network.spec;
  const ranges = [cidr, ipv6Cidr].filter((range) => range !== undefined);
  const own = peer.peer?.routes ?? [];
  const routes = [...new Set(config.routes)].filter((route) => !own.includes(route)).sort();
  const prefix = (v6: boolean) => ranges.find((range) => range.includes(":") === v6)!.split("/")[1];
  const { ipv4, ipv6 } = peer.addresses[0];
  const addresses = [
    ...(ipv4 === undefined ? [] : [`${ipv4}/${prefix(false)}`]),
    ...(ipv6 === undefined ? [] : [`${ipv6}/${prefix(true)}`]),
  ];
  const gateway = peer.gateway!;
  const keepalive = config.persistentKeepalive ?? DEFAULT_KEEPALIVE;
  const lines = [
    "[Interface]",
    config.privateKey === undefined
      ? "# PrivateKey = (the private key that belongs to this peer's public key)"
      : `PrivateKey = ${config.privateKey}`,
    `Address = ${addresses.join(", ")}`,
    `MTU = ${mtu}`,
    ...dnsLines(config),
    "",
    "[Peer]",
    `PublicKey = ${gateway.publicKey}`,
    ...(config.presharedKey === undefined ? [] : [`PresharedKey = ${config.presharedKey}`]),
    `AllowedIPs = ${[...ranges, ...routes].join(", ")}`,
    `Endpoint = ${endpointOf(config.endpoint ?? peer.peer?.endpoint, gateway.endpoint)}`,
    ...(keepalive === 0 ? [] : [`PersistentKeepalive = ${keepalive}`]),
  ];
  return `${lines.join("\n")}\n`;
}

/**
 * wg-quick(8) hands the DNS line to `resolvconf -x`, which sends every question to our server: openresolv by "exclusive",
 * systemd-resolved by the routing domain `~.`. For `split` systemd-resolved is then told to route our domains only. openresolv is
 * left as it is: not exclusive, our server may come behind another that knows no name of ours (and private, `-p`, is not asked at all
 * by the C library), while what is not ours finds its way through our server too.
 */
function dnsLines({ dns = "off", network }: PeerConfig): string[] {
  if (dns === "off") return [];
  const { domain } = network.spec;
  const line = `DNS = ${[...network.dnsIps, domain].join(", ")}`;
  if (dns === "all") return [line];
  return [line, `PostUp = resolvectl domain %i ${domain} '~${domain}' '~flycast' 2>/dev/null || :`];
}

/** The given place, with the gateway's port where it names none. */
function endpointOf(given: string | undefined, gateway: string): string {
  if (given === undefined) return gateway;
  const parsed = parseHostPort(given, { portOptional: true });
  if (!parsed)
    throw new WarrenError("WARREN_INVALID_INPUT", `warren:endpoint "${given}" is neither host nor host:port.`, {
      path: "warren:endpoint",
    });
  const port = parsed.port ?? gateway.slice(gateway.lastIndexOf(":") + 1);
  return parsed.host.includes(":") ? `[${parsed.host}]:${port}` : `${parsed.host}:${port}`;
}
