/** The counterpart of go-forwarder: TCP ports into a WireGuard network, by what a Node program joins a network with. */
import { once } from "node:events";
import * as net from "node:net";
import { join } from "../../net/membership";
import { splice } from "../../runtime/userspace/splice";

export interface ForwarderSettings {
  /** base64 */
  readonly privateKey: string;
  readonly peerPublicKey: string;
  /** address:port */
  readonly endpoint: string;
  readonly address: string;
  readonly mtu: number;
  /** address:port */
  readonly forwards: readonly { readonly listen: string; readonly to: string }[];
}

async function main(settings: ForwarderSettings): Promise<void> {
  const membership = await join(`[Interface]
PrivateKey = ${settings.privateKey}
Address = ${settings.address}
MTU = ${settings.mtu}
[Peer]
PublicKey = ${settings.peerPublicKey}
Endpoint = ${settings.endpoint}
AllowedIPs = 0.0.0.0/0
`);
  const listening = settings.forwards.map(({ listen, to }) => {
    const [host, port] = listen.split(":");
    const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (client) => {
      client.on("error", () => undefined);
      membership.dial(to, { allowHalfOpen: true }).then(
        (stream) => splice(client, stream),
        () => client.resetAndDestroy(),
      );
    });
    return once(server.listen(Number(port), host), "listening");
  });
  await Promise.all(listening);
  console.log("ready");
}

let text = "";
process.stdin.setEncoding("utf8").on("data", (part) => {
  text += part;
});
process.stdin.on("end", () => void main(JSON.parse(text)));
