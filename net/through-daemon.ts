/** Connections into a network through this machine's daemon, which brings itself up where it should run. */
import type { Socket } from "node:net";
import { controlPlace } from "../provider/client";
import { peekDaemon } from "../provider/daemon";
import { dialControl } from "../provider/dial";
import { WarrenError } from "../runtime/errors";
import type { DialOptions } from "./membership";
import { parseTarget } from "./target";

/** Milliseconds. */
const PATIENCE = 10_000;

export async function dialThroughDaemon(network: string, target: string, options: DialOptions = {}): Promise<Socket> {
  parseTarget(target);
  const place = controlPlace(undefined);
  if ("home" in place) {
    const client = await peekDaemon(place.home);
    if (!client)
      throw new WarrenError(
        "WARREN_NOT_FOUND",
        `There is no Warren registry in ${place.home.dir}: declare a Network and run "pulumi up" or "warren up DIR", or set WARREN_HOME.`,
        { path: "network" },
      );
    await client.close();
  }
  const patience = AbortSignal.timeout(options.timeout ?? PATIENCE);
  const socket = await dialControl("home" in place ? place.home.controlSocket : place.socketPath, {
    network,
    to: target,
    signal: options.signal ? AbortSignal.any([options.signal, patience]) : patience,
  });
  socket.allowHalfOpen = options.allowHalfOpen ?? false;
  return socket;
}
