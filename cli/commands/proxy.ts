/** `warren proxy`: ports of this machine that lead into a network, for a browser or a database client that is no member. */
import { controlPlace } from "../../provider/client";
import { dialControl } from "../../provider/dial";
import { type Context, pickNetwork, print, printJson, withControl } from "../context";
import { type Forward, parseForward } from "../forward";
import { type Dial, listenTcp, listenUdp } from "../forwarding";

export interface ProxyOptions extends Context {
  readonly network?: string;
}

/** Forwards until it is told to end. @throws WarrenError for ports that are taken, networks that do not exist */
export async function proxy(texts: readonly string[], options: ProxyOptions): Promise<void> {
  const forwards = texts.map(parseForward);
  const network = await withControl(async (client) => pickNetwork(await client.status(), options.network));
  const place = controlPlace(undefined);
  const socketPath = "home" in place ? place.home.controlSocket : place.socketPath;
  const dial: Dial = ({ to, protocol }) => dialControl(socketPath, { network: network.id, to, protocol });
  const say = (forward: Forward, error: Error) => process.stderr.write(`warren: ${forward.to}: ${error.message}\n`);
  const listening = [];
  for (const forward of forwards) {
    const at = await (forward.protocol === "tcp" ? listenTcp : listenUdp)(forward, dial, (error) =>
      say(forward, error),
    );
    const local = `${at.address.includes(":") ? `[${at.address}]` : at.address}:${at.port}`;
    listening.push({ protocol: forward.protocol, local, to: forward.to });
  }
  if (options.json) printJson({ network: network.spec.name, forwards: listening });
  else for (const { protocol, local, to } of listening) print(`${local} -> ${to} (${protocol}, ${network.spec.name})`);
}
