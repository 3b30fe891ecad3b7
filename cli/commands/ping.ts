/** `warren ping`: echo requests through the tunnels, from a gateway of this machine. */
import { setTimeout as pause } from "node:timers/promises";
import { WarrenError } from "../../runtime/errors";
import { type Context, hostOf, pickNetwork, print, printJson, withControl } from "../context";

export interface PingOptions extends Context {
  readonly network?: string;
  readonly count: number;
  /** Seconds from one request to the next, and for each reply. */
  readonly interval: number;
  readonly timeout: number;
}

/** Sets a non-zero exit where nothing came back. @throws WarrenError WARREN_NOT_FOUND for a name that nobody has */
export async function ping(name: string, options: PingOptions): Promise<void> {
  if (options.count < 1 || options.timeout <= 0 || options.timeout > 60)
    throw new WarrenError("WARREN_INVALID_INPUT", "-c takes a number from 1 on, -W seconds up to 60.");
  let stopped = false;
  process.once("SIGINT", () => {
    stopped = true;
  });
  await withControl(async (client) => {
    const status = await client.status();
    const network = pickNetwork(status, options.network);
    const host = hostOf(status, network, name);
    const times: number[] = [];
    let sent = 0;
    let address: string | undefined;
    for (; sent < options.count && !stopped; sent++) {
      if (sent > 0) await pause(options.interval * 1000);
      try {
        const reply = await client.ping(network.id, host, Math.ceil(options.timeout * 1000));
        times.push(reply.milliseconds);
        address = reply.address;
        if (!options.json) print(`reply of ${address}: ${sent + 1}, ${reply.milliseconds.toFixed(2)} ms`);
      } catch (error) {
        if (!WarrenError.is(error) || error.code !== "WARREN_UNREACHABLE") throw error;
        if (!options.json) print(`${sent + 1}: ${error.message}`);
      }
    }
    const lost = sent - times.length;
    const [min, max] = [Math.min(...times), Math.max(...times)];
    const mean = times.reduce((sum, time) => sum + time, 0) / times.length;
    if (options.json) {
      const milliseconds = times.length === 0 ? {} : { milliseconds: { min, mean, max } };
      printJson({
        network: network.spec.name,
        name,
        address: address ?? null,
        sent,
        received: times.length,
        ...milliseconds,
      });
    } else {
      const summary =
        times.length === 0 ? "" : `, ${[min, mean, max].map((ms) => ms.toFixed(2)).join("/")} ms (min/mean/max)`;
      print(`${sent} sent, ${times.length} received, ${Math.round((100 * lost) / sent)} % lost${summary}`);
    }
    if (times.length === 0) process.exitCode = 1;
  });
}
