/** What a UAPI `get` answers, line by line in wireguard-go's order: pure. */

export interface PeerView {
  /** 64 hexadecimal digits, as all keys here. */
  readonly publicKey: string;
  readonly presharedKey?: string;
  readonly endpoint?: string;
  /** Milliseconds since 1970; absent: none yet. */
  readonly latestHandshake?: number;
  /** Bytes. */
  readonly tx: number;
  readonly rx: number;
  /** Seconds; 0: off. */
  readonly persistentKeepalive: number;
  /** CIDR ranges. */
  readonly allowedIps: Iterable<string>;
}

export interface InterfaceView {
  readonly privateKey?: string;
  /** 0: none. */
  readonly listenPort: number;
  readonly fwmark: number;
  readonly peers: Iterable<PeerView>;
}

const NO_KEY = "0".repeat(64);

/** Without the status that ends each answer. */
export function formatGet(view: InterfaceView): string {
  const parts: string[] = [];
  if (view.privateKey !== undefined) parts.push(`private_key=${view.privateKey}\n`);
  if (view.listenPort !== 0) parts.push(`listen_port=${view.listenPort}\n`);
  if (view.fwmark !== 0) parts.push(`fwmark=${view.fwmark}\n`);
  for (const peer of view.peers) {
    const handshake = peer.latestHandshake ?? 0;
    parts.push(
      `public_key=${peer.publicKey}\npreshared_key=${peer.presharedKey ?? NO_KEY}\nprotocol_version=1\n`,
      peer.endpoint === undefined ? "" : `endpoint=${peer.endpoint}\n`,
      `last_handshake_time_sec=${Math.floor(handshake / 1000)}\n`,
      `last_handshake_time_nsec=${Math.floor((handshake % 1000) * 1e6)}\n`,
      `tx_bytes=${peer.tx}\nrx_bytes=${peer.rx}\npersistent_keepalive_interval=${peer.persistentKeepalive}\n`,
    );
    for (const range of peer.allowedIps) parts.push(`allowed_ip=${range}\n`);
  }
  return parts.join("");
}

/** The end of every answer. @param errno 0: done. */
export function formatStatus(errno: number): string {
  return `errno=${errno}\n\n`;
}
