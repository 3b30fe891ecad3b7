/**
 * A Node program as a member of a network, as tsnet does it for Go: `join` with a peer's config, then `dial`, `listen`, `fetch`.
 * With the name of a network instead of a membership, `dial` goes through this machine's daemon.
 */
import type { Duplex } from "node:stream";
import type { Agent } from "undici";
import { WarrenError } from "../runtime/errors";
import type { TcpServer, TcpStream } from "../runtime/netstack/streams";
import { dispatcherOf } from "./dispatcher";
import { type DialOptions, type JoinOptions, join, Membership } from "./membership";
import { dialThroughDaemon } from "./through-daemon";

export { type DialOptions, type JoinOptions, join, Membership, type TcpServer, type TcpStream, WarrenError };

/**
 * Connects to `name:port` or `address:port` of a network.
 * @param network a membership, or the name or id of a network of this machine's daemon, which then speaks with the address of the
 *   network's gateway
 * @throws WarrenError; errors of the connection as Node has them
 */
export async function dial(network: Membership | string, target: string, options?: DialOptions): Promise<Duplex> {
  checkNetwork(network);
  return typeof network === "string" ? dialThroughDaemon(network, target, options) : network.dial(target, options);
}

/** Takes connections to a port of a membership's own addresses; 0: any free one, which `address()` tells. */
export async function listen(
  network: Membership,
  port: number,
  onConnection?: (stream: TcpStream) => void,
): Promise<TcpServer> {
  checkNetwork(network);
  if (typeof network === "string")
    throw new WarrenError(
      "WARREN_INVALID_INPUT",
      `network is the name ${JSON.stringify(network)}: only a membership has addresses to listen on; join with a peer's config.`,
      { path: "network" },
    );
  return network.listen(port, onConnection);
}

/**
 * For `fetch(url, { dispatcher: dispatcher(network) })`: HTTP goes through the network, names included. HTTPS is spoken end to end, with
 * the host's usual trust. Close it when it is no longer needed.
 * @param network as `dial` has it
 */
export function dispatcher(network: Membership | string): Agent {
  checkNetwork(network);
  return dispatcherOf((target) => dial(network, target));
}

/** What a program without types may have given. @throws WarrenError WARREN_INVALID_INPUT */
function checkNetwork(network: unknown): void {
  if (typeof network === "string" || network instanceof Membership) return;
  const resource = typeof network === "object" && network !== null && "__pulumiResource" in network;
  throw new WarrenError(
    "WARREN_INVALID_INPUT",
    resource
      ? "network is a resource, whose values are not known while its program runs: give the network's name as a text, or join with a peer's config."
      : "network is neither a membership, which join gives, nor the name or id of a network of this machine as a text.",
    { path: "network" },
  );
}
