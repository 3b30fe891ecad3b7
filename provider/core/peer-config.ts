/** The wg-quick text of a peer. It says nothing of apps, so it stays the same, byte for byte, while they come and go. */

export interface PeerConfig {
  /** base64; undefined: the user holds it, and a comment marks its place. */
  readonly privateKey?: string;
  /** With the network's prefix length, `10.1.2.3/24`; IPv4 first. */
  readonly addresses: readonly string[];
  /** Bytes. */
  readonly mtu: number;
  readonly dns: "off" | "split" | "all";
  readonly dnsIps: readonly string[];
  readonly domain: string;
  readonly gatewayPublicKey: string;
  readonly presharedKey?: string;
  readonly allowedIps: readonly string[];
  /** `host:port` */
  readonly endpoint: string;
  /** Seconds; 0 turns them off. */
  readonly persistentKeepalive: number;
}

/** wg-quick(8): a DNS entry that is no address is a search domain; resolvconf then asks our server for that domain only. */
function dnsLine(config: PeerConfig): string[] {
  if (config.dns === "off") return [];
  const entries =
    config.dns === "split" ? [...config.dnsIps, `~${config.domain}`, config.domain] : [...config.dnsIps, config.domain];
  return [`DNS = ${entries.join(", ")}`];
}

export function peerConfigText(config: PeerConfig): string {
  const lines = [
    "[Interface]",
    config.privateKey === undefined
      ? "# PrivateKey = (the private key that belongs to this peer's public key)"
      : `PrivateKey = ${config.privateKey}`,
    `Address = ${config.addresses.join(", ")}`,
    `MTU = ${config.mtu}`,
    ...dnsLine(config),
    "",
    "[Peer]",
    `PublicKey = ${config.gatewayPublicKey}`,
    ...(config.presharedKey === undefined ? [] : [`PresharedKey = ${config.presharedKey}`]),
    `AllowedIPs = ${config.allowedIps.join(", ")}`,
    `Endpoint = ${config.endpoint}`,
    ...(config.persistentKeepalive === 0 ? [] : [`PersistentKeepalive = ${config.persistentKeepalive}`]),
  ];
  return `${lines.join("\n")}\n`;
}
