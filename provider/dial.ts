/** A connection into a network through this machine's daemon. */
import * as http from "node:http";
import type { Socket } from "node:net";
import { json } from "node:stream/consumers";
import { WarrenError, type WarrenErrorCode } from "../runtime/errors";

export interface DialTarget {
  /** Id or name. */
  readonly network: string;
  /** `NAME:PORT`, `10.1.2.5:80`, `[fd00::4]:80`. */
  readonly to: string;
  /** `udp`: the connection carries datagrams, each behind its length in two bytes (big-endian). @default tcp */
  readonly protocol?: "tcp" | "udp";
  readonly signal?: AbortSignal;
}

/**
 * @param socketPath `Home.controlSocket`.
 * @returns a half-open connection.
 * @throws WarrenError; its `errno` is the system's word where the other side did not take it (ECONNREFUSED, ENOTFOUND…).
 */
export function dialControl(socketPath: string, { network, to, protocol, signal }: DialTarget): Promise<Socket> {
  const query = new URLSearchParams({ to, ...(protocol === "udp" ? { protocol } : {}) });
  return new Promise((resolve, reject) => {
    const request = http.request({
      socketPath,
      path: `/v1/networks/${encodeURIComponent(network)}/dial?${query}`,
      headers: { Connection: "Upgrade", Upgrade: "warren-stream" },
      ...(signal ? { signal } : {}),
    });
    request.on("upgrade", (_response, socket, head) => {
      socket.allowHalfOpen = true;
      if (head.length > 0) socket.unshift(head);
      resolve(socket as Socket);
    });
    request.on("response", (response) => {
      const errno = response.headers["warren-errno"];
      json(response).then((body) => {
        const { error } = body as { error: { code: WarrenErrorCode; message: string; path?: string } };
        const refusal = new WarrenError(
          error.code,
          error.message,
          error.path === undefined ? {} : { path: error.path },
        );
        reject(Object.assign(refusal, errno === undefined ? {} : { errno: String(errno) }));
      }, reject);
    });
    request.on("error", (cause) =>
      reject(
        new WarrenError("WARREN_CONTROL_UNREACHABLE", `No daemon answers at ${socketPath} (${cause.message}).`, {
          cause,
        }),
      ),
    );
    request.end();
  });
}
