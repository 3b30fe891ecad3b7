/** `warren ping`: echo requests through the tunnels, from a gateway of this machine. */
import { WarrenError } from "../../runtime/errors";
import { type Context, hostOf, pickNetwork, print, printJson, withControl } from "../context";
import { echo, summarize } from "../echo";
import { addressesOf } from "./dig";

export interface PingOptions extends Context {
  readonly network?: string;
  readonly count: number;
  /** Seconds from one request to the next, and for each reply. */
  readonly interval: number;
  readonly timeout: number;
}

/** Sets a non-zero exit where nothing came back. @throws WarrenError WARREN_NOT_FOUND for a name that nobody has */
export async function ping(name: string, options: PingOptions): Promise<void> {
  const { count, interval, timeout, json } = options;
  if (count < 1 || timeout <= 0 || timeout > 60)
    throw new WarrenError("WARREN_INVALID_INPUT", "-c takes a number from 1 on, -W seconds up to 60.");
  const interrupt = new AbortController();
  process.once("SIGINT", () => interrupt.abort());
  await withControl(async (client) => {
    const status = await client.status();
    const network = pickNetwork(status, options.network);
    // One address for all requests: a name of several instances has another one first each time.
    const [address] = await addressesOf(client, network, undefined, hostOf(status, network, name));
    if (address === undefined) throw new WarrenError("WARREN_NOT_FOUND", `${name} is no name in this network.`);
    const ask = async () => (await client.ping(network.id, address, Math.ceil(timeout * 1000))).milliseconds;
    const times = await echo(ask, isLoss, {
      count,
      interval: interval * 1000,
      signal: interrupt.signal,
      onOutcome: (request, outcome) => {
        if (json) return;
        if (typeof outcome === "number") print(`reply of ${address}: ${request}, ${outcome.toFixed(2)} ms`);
        else print(`${request}: ${outcome.message}`);
      },
    });
    const { sent, received, milliseconds } = summarize(times);
    if (json)
      printJson({
        network: network.spec.name,
        name,
        address,
        sent,
        received,
        times: times.map((time) => time ?? null),
        ...(milliseconds ? { milliseconds } : {}),
      });
    else {
      const lost = sent === 0 ? 0 : Math.round((100 * (sent - received)) / sent);
      const shown = milliseconds && [milliseconds.min, milliseconds.mean, milliseconds.max].map((ms) => ms.toFixed(2));
      print(
        `${sent} sent, ${received} received, ${lost} % lost${shown ? `, ${shown.join("/")} ms (min/mean/max)` : ""}`,
      );
    }
    if (received === 0) process.exitCode = 1;
    // A request may still be on its way; nobody waits for it.
    if (interrupt.signal.aborted) process.exit();
  });
}

function isLoss(error: unknown): error is WarrenError {
  return WarrenError.is(error) && error.code === "WARREN_UNREACHABLE";
}
