/** In the place of TCP while that is being written: takes no segment and says so when asked for a connection. */
import { WarrenError } from "../errors";
import type { TcpLimits } from "./tcp/limits";
import type { TcpEnvironment, TcpLayer } from "./tcp/types";

const missing = (): never => {
  throw new WarrenError("WARREN_UNSUPPORTED", "TCP of the network stack is under construction today.");
};

export function createTcp(_environment: TcpEnvironment, _limits?: Partial<TcpLimits>): TcpLayer {
  const nothing = (): void => {};
  return {
    connect: missing,
    listen: missing,
    onSyn: undefined,
    input: nothing,
    icmpError: () => false,
    pathMtuChanged: nothing,
    flush: nothing,
    drained: nothing,
    nextTimer: () => Number.POSITIVE_INFINITY,
    tick: nothing,
    close: nothing,
    stats: missing,
  };
}
