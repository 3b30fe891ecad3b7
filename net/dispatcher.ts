/** HTTP through a network: a dispatcher for `fetch` and every other user of undici. */
import type { Duplex } from "node:stream";
import { Agent, buildConnector } from "undici";

/** @param dial connects to `name:port` of the network. */
export function dispatcherOf(dial: (target: string) => Promise<Duplex>): Agent {
  const secure = buildConnector({});
  return new Agent({
    connect: (options, callback) => {
      const { hostname, protocol, port } = options;
      const host = hostname.includes(":") && !hostname.startsWith("[") ? `[${hostname}]` : hostname;
      dial(`${host}:${port || (protocol === "https:" ? 443 : 80)}`).then(
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
