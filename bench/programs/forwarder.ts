/**
 * The counterpart of go-forwarder: TCP ports into a WireGuard network, by what a Node program joins a network with; also the other way
 * round, ports of its own address to programs on loopback.
 */
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
  /** UDP. @default any */
  readonly listenPort?: number;
  readonly address: string;
  readonly mtu: number;
  /** address:port */
  readonly forwards: readonly { readonly listen: string; readonly to: string }[];
  /** Ports of its address in the network, and of loopback. */
  readonly accepts?: readonly { readonly port: number; readonly to: number }[];
}

async function main(settings: ForwarderSettings): Promise<void> {
  const membership = await join(`[Interface]
PrivateKey = ${settings.privateKey}
Address = ${settings.address}
MTU = ${settings.mtu}
ListenPort = ${settings.listenPort ?? 0}
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
  const accepting = (settings.accepts ?? []).map(({ port, to }) =>
    membership.listen(port, (stream) => {
      const app = net.connect({ port: to, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
      app.on("error", () => stream.destroy());
      app.once("connect", () => splice(app, stream));
    }),
  );
  await Promise.all([...listening, ...accepting]);
  console.log("ready");
}

let text = "";
process.stdin.setEncoding("utf8").on("data", (part) => {
  text += part;
});
process.stdin.on("end", () => void main(JSON.parse(text)));
