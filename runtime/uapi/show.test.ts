/** The text of `wg show`, and what gateways answer to it. */
import type { DataPlaneStatus } from "../dataplane/config";
import { gatewayAnswer, gatewayInterface } from "./gateway-sockets";
import { formatShow } from "./show";

const NOW = Date.UTC(2026, 0, 1);
const peer = { publicKey: "P=", allowedIps: ["10.0.0.2/32"], rx: 0, tx: 0, persistentKeepalive: 0 };
const shown = { name: "wr-1", network: "net, host local", publicKey: "K=", listenPort: 7, peers: [peer] };

test("an interface and its peers, who spoke last first", () => {
  const peers = [
    peer,
    {
      ...peer,
      publicKey: "Q=",
      endpoint: "192.0.2.1:9",
      latestHandshake: NOW - 3_723_000,
      rx: 1536,
      tx: 5 * 1024 ** 3,
      persistentKeepalive: 25,
    },
    { ...peer, publicKey: "R=", allowedIps: [], latestHandshake: NOW, rx: 1, tx: 0 },
  ];
  expect(formatShow([{ ...shown, peers }], NOW)).toBe(`interface: wr-1
  network: net, host local
  public key: K=
  private key: (hidden)
  listening port: 7

peer: R=
  allowed ips: (none)
  latest handshake: Now
  transfer: 1 B received, 0 B sent

peer: Q=
  endpoint: 192.0.2.1:9
  allowed ips: 10.0.0.2/32
  latest handshake: 1 hour, 2 minutes, 3 seconds ago
  transfer: 1.50 KiB received, 5.00 GiB sent
  persistent keepalive: every 25 seconds

peer: P=
  allowed ips: 10.0.0.2/32`);
});

test("a clock that went back is said", () => {
  const peers = [{ ...peer, latestHandshake: NOW + 5000 }];
  expect(formatShow([{ ...shown, peers }], NOW)).toContain("System clock wound backward");
});

test("interface names are stable, fit a kernel's, and differ by state folder, network and host", () => {
  expect(gatewayInterface("/root/.warren", "net_1", "local")).toBe("wr-7e5d47f27074");
  const names = [
    gatewayInterface("/a", "n", "h"),
    gatewayInterface("/b", "n", "h"),
    gatewayInterface("/a", "m", "h"),
    gatewayInterface("/a", "n", "i"),
  ];
  expect(new Set(names).size).toBe(4);
  for (const name of names) expect(name).toHaveLength(15);
});

test("a gateway tells its own peers and no key but public ones", () => {
  const key = Buffer.alloc(32, 1).toString("base64");
  const status: DataPlaneStatus = {
    aead: "none",
    links: [],
    ports: [],
    gateways: [
      { id: "n/h", publicKey: key, port: "h", listenPort: 5, dropped: {} },
      { id: "n/i", publicKey: key, port: "i", listenPort: 6, dropped: {} },
    ],
    peers: [
      { gateway: "n/h", publicKey: key, rx: 1, tx: 2, allowedIps: ["10.0.0.0/8"], persistentKeepalive: 3 },
      { gateway: "n/i", publicKey: key, rx: 3, tx: 4, allowedIps: [] },
    ],
  };
  expect(gatewayAnswer(status, "n/h").split("\n")).toEqual([
    "listen_port=5",
    `public_key=${"01".repeat(32)}`,
    `preshared_key=${"0".repeat(64)}`,
    "protocol_version=1",
    "last_handshake_time_sec=0",
    "last_handshake_time_nsec=0",
    "tx_bytes=2",
    "rx_bytes=1",
    "persistent_keepalive_interval=3",
    "allowed_ip=10.0.0.0/8",
    "",
  ]);
});
