/** `wg show` as text, of gateways whose sockets only root may open: pure. [wireguard-tools src/show.c] */

export interface ShownPeer {
  /** base64. */
  readonly publicKey: string;
  readonly endpoint?: string;
  readonly allowedIps: readonly string[];
  /** Milliseconds since 1970. */
  readonly latestHandshake?: number;
  /** Bytes. */
  readonly rx: number;
  readonly tx: number;
  /** Seconds; 0: off. */
  readonly persistentKeepalive: number;
}

export interface ShownInterface {
  readonly name: string;
  /** What `wg` has no word for. */
  readonly network: string;
  readonly publicKey: string;
  /** 0: none. */
  readonly listenPort: number;
  readonly peers: readonly ShownPeer[];
}

/** @param now milliseconds since 1970 */
export function formatShow(interfaces: readonly ShownInterface[], now: number): string {
  return interfaces.map((shown) => formatInterface(shown, now)).join("\n\n");
}

function formatInterface(shown: ShownInterface, now: number): string {
  const lines = [
    `interface: ${shown.name}`,
    `  network: ${shown.network}`,
    `  public key: ${shown.publicKey}`,
    "  private key: (hidden)",
  ];
  if (shown.listenPort !== 0) lines.push(`  listening port: ${shown.listenPort}`);
  // As `wg` does: who spoke last comes first, and who never did comes last.
  const peers = [...shown.peers].sort((a, b) => (b.latestHandshake ?? 0) - (a.latestHandshake ?? 0));
  for (const peer of peers) {
    lines.push("", `peer: ${peer.publicKey}`);
    if (peer.endpoint !== undefined) lines.push(`  endpoint: ${peer.endpoint}`);
    lines.push(`  allowed ips: ${peer.allowedIps.join(", ") || "(none)"}`);
    if (peer.latestHandshake !== undefined) lines.push(`  latest handshake: ${ago(peer.latestHandshake, now)}`);
    if (peer.rx > 0 || peer.tx > 0) lines.push(`  transfer: ${bytes(peer.rx)} received, ${bytes(peer.tx)} sent`);
    if (peer.persistentKeepalive > 0) lines.push(`  persistent keepalive: every ${duration(peer.persistentKeepalive)}`);
  }
  return lines.join("\n");
}

function ago(then: number, now: number): string {
  const seconds = Math.floor(now / 1000) - Math.floor(then / 1000);
  if (seconds === 0) return "Now";
  return seconds < 0 ? "(System clock wound backward; connection problems may ensue.)" : `${duration(seconds)} ago`;
}

const UNITS: readonly (readonly [string, number])[] = [
  ["year", 365 * 24 * 60 * 60],
  ["day", 24 * 60 * 60],
  ["hour", 60 * 60],
  ["minute", 60],
  ["second", 1],
];

function duration(seconds: number): string {
  const parts: string[] = [];
  let left = seconds;
  for (const [unit, size] of UNITS) {
    const count = Math.floor(left / size);
    left %= size;
    if (count > 0) parts.push(`${count} ${unit}${count === 1 ? "" : "s"}`);
  }
  return parts.join(", ");
}

function bytes(count: number): string {
  if (count < 1024) return `${count} B`;
  const step = Math.min(4, Math.floor(Math.log2(count) / 10));
  return `${(count / 1024 ** step).toFixed(2)} ${["", "KiB", "MiB", "GiB", "TiB"][step]}`;
}
