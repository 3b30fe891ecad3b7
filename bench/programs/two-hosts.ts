/** Two hosts of one data plane, with an app's device each and a real tunnel between. Takes a TwoHosts as JSON; prints `ready`. */

import type { DataPlaneConfig } from "../../runtime/dataplane/config";
import { DataPlane } from "../../runtime/dataplane/dataplane";
import { newKeyPair } from "../../test/support/keys";

export interface TwoHosts {
  readonly threads: number;
  readonly mtu: number;
  readonly apps: readonly [App, App];
}

interface App {
  /** Path of the network namespace of its device. */
  readonly netns: string;
  readonly device: string;
  readonly address: string;
}

const FIRST_PORT = 51820;

async function main({ threads, mtu, apps }: TwoHosts): Promise<void> {
  const plane = await DataPlane.start({ threads, log: (line) => console.error(line) });
  const keys = apps.map(newKeyPair);
  const config: DataPlaneConfig = {
    ports: apps.map((_, i) => ({ id: `host${i}`, listen: ["127.0.0.1"], port: FIRST_PORT + i })),
    gateways: apps.map(({ netns, device, address }, i) => ({
      id: `network/host${i}`,
      port: `host${i}`,
      privateKey: keys[i]!.privateKey,
      mtu,
      gatewayIps: [],
      dnsIps: [],
      links: [{ id: device, source: { kind: "open", name: device, netns }, addresses: [address] }],
      peers: [
        {
          publicKey: keys[1 - i]!.publicKey,
          endpoint: `127.0.0.1:${FIRST_PORT + 1 - i}`,
          allowedIps: [`${apps[1 - i]!.address}/32`],
          persistentKeepalive: 0,
          initiate: true,
        },
      ],
    })),
  };
  const { problems } = await plane.apply(config);
  if (problems.length > 0) throw new Error(problems.map(({ message }) => message).join(" "));
  setInterval(() => undefined, 1 << 30);
  console.log("ready");
}

main(JSON.parse(process.argv[2]!)).catch((error) => {
  console.error(error);
  process.exit(1);
});
