/**
 * A Node program as a member of a network, as tsnet does it for Go: `join` with a peer's config, then `dial`, `listen`, `fetch`.
 * With the name of a network instead of a membership, `dial` goes through this machine's daemon.
 */
import type { Duplex } from "node:stream";
import type { Agent } from "undici";
import type { TcpServer, TcpStream } from "../runtime/netstack/streams";
import { dispatcherOf } from "./dispatcher";
import { type DialOptions, type JoinOptions, join, Membership } from "./membership";
import { dialThroughDaemon } from "./through-daemon";

export { WarrenError } from "../runtime/errors";
export { type DialOptions, type JoinOptions, join, Membership, type TcpServer, type TcpStream };

/**
 * Connects to `name:port` or `address:port` of a network.
 * @param network a membership, or the name or id of a network of this machine's daemon, which then speaks with the address of the
 *   network's gateway
 * @throws WarrenError; errors of the connection as Node has them
 */
export function dial(network: Membership | string, target: string, options?: DialOptions): Promise<Duplex> {
  return typeof network === "string" ? dialThroughDaemon(network, target, options) : network.dial(target, options);
}

/** Takes connections to a port of a membership's own addresses; 0: any free one, which `address()` tells. */
export function listen(
  network: Membership,
  port: number,
  onConnection?: (stream: TcpStream) => void,
): Promise<TcpServer> {
  return network.listen(port, onConnection);
}

/**
 * For `fetch(url, { dispatcher: dispatcher(network) })`: HTTP goes through the network, names included. HTTPS is spoken end to end, with
 * the host's usual trust. Close it when it is no longer needed.
 * @param network as `dial` has it
 */
export function dispatcher(network: Membership | string): Agent {
  return dispatcherOf((target) => dial(network, target));
}
