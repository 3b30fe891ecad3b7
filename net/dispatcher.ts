/** HTTP through a membership: a dispatcher for `fetch` and every other user of undici. */
import { Agent, buildConnector } from "undici";
import type { Membership } from "./membership";

/**
 * `fetch(url, { dispatcher: dispatcher(membership) })` goes through the network, names included. HTTPS is spoken end to end, with the
 * host's usual trust.
 */
export function dispatcher(network: Pick<Membership, "dial">): Agent {
  const secure = buildConnector({});
  return new Agent({
    connect: (options, callback) => {
      const { hostname, protocol, port } = options;
      const host = hostname.includes(":") && !hostname.startsWith("[") ? `[${hostname}]` : hostname;
      network.dial(`${host}:${port || (protocol === "https:" ? 443 : 80)}`).then(
        (stream) => {
          if (protocol !== "https:") callback(null, stream as never);
          // undici speaks TLS over a socket that it is given.
          else secure({ ...options, httpSocket: stream as never }, callback);
        },
        (error: Error) => callback(error, null),
      );
    },
  });
}
