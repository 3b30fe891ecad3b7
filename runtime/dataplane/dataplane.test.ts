/** The data plane on real devices: two gateways with a real tunnel over loopback, apps in network namespaces. */
import * as dgram from "node:dgram";
import * as dnsPacket from "dns-packet";
import { type KeyPair, newKeyPair, newPresharedKey } from "../../test/support/keys";
import { Namespace } from "../../test/support/namespace";
import { describeNeeding } from "../../test/support/needs";
import { Scratch } from "../../test/support/scratch";
import { waitFor } from "../../test/support/wait";
import type { DataPlaneConfig, DataPlaneEvent, GatewayConfig, LinkConfig, PeerConfig } from "./config";
import { DataPlane } from "./dataplane";

interface App {
  readonly namespace: Namespace;
  readonly link: LinkConfig;
}

describeNeeding(["linux", "root", "tun", "ip", "ping", "curl"], "data plane", () => {
  let scratch: Scratch;
  let plane: DataPlane;
  let east: App;
  let west: App;
  let third: App;
  let ports: Readonly<Record<string, number>> = {};
  const events: DataPlaneEvent[] = [];
  const logged: string[] = [];
  const eastKeys = newKeyPair();
  const westKeys = newKeyPair();
  const psk = newPresharedKey();

  async function app(label: string, last: number): Promise<App> {
    const namespace = await Namespace.create(scratch, label);
    return {
      namespace,
      link: {
        id: label,
        source: { kind: "open", name: "warren0", netns: `/run/netns/${namespace.name}` },
        addresses: [`10.77.0.${last}`, `fd77::${last}`],
      },
    };
  }

  async function configure(one: App): Promise<void> {
    for (const [i, address] of one.link.addresses.entries())
      await one.namespace.addAddress("warren0", `${address}/${i === 0 ? 32 : 128}`);
    await one.namespace.ip("link", "set", "warren0", "mtu", "1420", "up");
    await one.namespace.ip("route", "add", "10.77.0.0/24", "dev", "warren0");
    await one.namespace.ip("-6", "route", "add", "fd77::/64", "dev", "warren0");
  }

  const toward = (keys: KeyPair, last: readonly number[], port: number | undefined): PeerConfig => ({
    publicKey: keys.publicKey,
    presharedKey: psk,
    allowedIps: last.flatMap((n) => [`10.77.0.${n}/32`, `fd77::${n}/128`]),
    persistentKeepalive: 0,
    initiate: true,
    gateway: true,
    ...(port === undefined ? {} : { endpoint: `127.0.0.1:${port}` }),
  });

  const gateway = (
    id: string,
    port: string,
    keys: KeyPair,
    links: LinkConfig[],
    peers: PeerConfig[],
  ): GatewayConfig => ({
    id,
    port,
    privateKey: keys.privateKey,
    mtu: 1420,
    gatewayIps: ["10.77.0.1", "fd77::1"],
    dnsIps: ["10.77.0.2", "fd77::2"],
    links,
    peers,
  });

  /** `ord` has east and third, `iad` has west. */
  const config = (): DataPlaneConfig => ({
    ports: [
      { id: "ord", listen: ["127.0.0.1"], port: 0 },
      { id: "iad", listen: ["127.0.0.1"], port: 0 },
    ],
    gateways: [
      gateway("net/ord", "ord", eastKeys, [east.link, third.link], [toward(westKeys, [4], ports.iad)]),
      gateway("net/iad", "iad", westKeys, [west.link], [toward(eastKeys, [3, 5], ports.ord)]),
    ],
  });

  async function ping(from: App, to: string, more: readonly string[] = []): Promise<string> {
    const result = await from.namespace.run(["ping", "-n", "-c", "1", "-W", "2", ...more, to], { mayFail: true });
    return result.stdout;
  }

  beforeAll(async () => {
    scratch = new Scratch();
    east = await app("e", 3);
    west = await app("w", 4);
    third = await app("t", 5);
    plane = await DataPlane.start({ log: (message) => logged.push(message) });
    plane.onEvent((event) => events.push(event));
    const first = await plane.apply(config());
    expect(first.problems).toEqual([]);
    ports = first.ports;
    const second = await plane.apply(config());
    expect(second).toEqual({ ports, problems: [] });
    for (const one of [east, west, third]) await configure(one);
  }, 30_000);

  afterAll(async () => {
    await plane?.stop();
    await scratch?.dispose();
    expect(logged).toEqual([]);
  });

  test("two apps on two hosts ping each other through the tunnel, IPv4 and IPv6", async () => {
    expect(await ping(east, "10.77.0.4")).toMatch(/1 received/);
    expect(await ping(west, "fd77::3")).toMatch(/1 received/);
    const status = await plane.status();
    expect(status.peers.map((peer) => peer.latestHandshake !== undefined && peer.rx > 0 && peer.tx > 0)).toEqual([
      true,
      true,
    ]);
  });
});
