/** The DNS part of a daemon with a network of many apps, and one link: `dns-daemon NETNS DEVICE APPS ASKER_ADDRESS`. */
import { Changes } from "../../runtime/agent/changes";
import { serveNames } from "../../runtime/agent/names";
import type { Desired, DesiredApp, DesiredSource } from "../../runtime/control/interface/desired";
import { startDataPlane } from "../../runtime/dataplane/api";
import { generatePrivateKey, publicKeyOf } from "../../runtime/wireguard/keys";
import { addressOf, DNS_IP, GATEWAY_IP, nameOf } from "../lib/dns-zone";

async function main(netns: string, device: string, count: number, asker: string): Promise<void> {
  const key = generatePrivateKey();
  const privateKey = Buffer.from(key).toString("base64");
  const publicKey = Buffer.from(publicKeyOf(key)).toString("base64");
  const app = (i: number): DesiredApp => ({
    kind: "app",
    id: `mem_${i}`,
    name: nameOf(i),
    spec: {
      regions: ["ord"],
      instances: 1,
      port: 8080,
      cwd: "/",
      env: {},
      triggers: [],
      health: { type: "tcp", interval: 5, timeout: 2, threshold: 3 },
      restart: "always",
      tags: {},
    },
    instances: [
      {
        id: `mem_${i}.0`,
        slot: "ord/0",
        region: "ord",
        hostId: "host",
        address: { slot: "ord/0", ipv4: addressOf(i) },
      },
    ],
  });
  const desired: Desired = {
    revision: 1,
    registryId: "reg",
    hosts: [{ id: "host", region: "ord", port: 0, listen: "loopback", local: true }],
    networks: [
      {
        id: "net",
        name: "net",
        cidr: "10.1.0.0/16",
        domain: "internal",
        mtu: 1420,
        gatewayIps: [GATEWAY_IP],
        dnsIps: [DNS_IP],
        gateways: [{ hostId: "host", privateKey, publicKey }],
        members: Array.from({ length: count }, (_, i) => app(i)),
      },
    ],
  };
  const source: DesiredSource = { current: () => desired, watch: () => () => undefined, reportPort: () => undefined };
  const dataplane = await startDataPlane({ log: (message) => console.error(message) });
  const healthy = { healthState: "healthy" } as never;
  serveNames(dataplane, source, { changes: new Changes(), instance: () => healthy }, () => undefined);
  const { problems } = await dataplane.apply({
    ports: [{ id: "host", listen: ["127.0.0.1"], port: 0 }],
    gateways: [
      {
        id: "net/host",
        port: "host",
        privateKey,
        mtu: 1420,
        gatewayIps: [GATEWAY_IP],
        dnsIps: [DNS_IP],
        links: [{ id: "asker", source: { kind: "open", name: device, netns }, addresses: [asker] }],
        peers: [],
      },
    ],
  });
  if (problems.length > 0) throw new Error(problems.map(({ message }) => message).join("; "));
  console.log("ready");
  setInterval(() => undefined, 1 << 30);
}

const [netns, device, count, asker] = process.argv.slice(2) as [string, string, string, string];
void main(netns, device, Number(count), asker);
