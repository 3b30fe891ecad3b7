/** Where a connection goes to, as people write it. Pure. */
import { WarrenError } from "../runtime/errors";
import { isAddress } from "./wg-config";

export interface Target {
  /** A name or a numeric address. */
  readonly host: string;
  readonly port: number;
}

/** Reads `name:port`, `10.1.2.5:8080` or `[fd00::5]:8080`. @throws WarrenError WARREN_INVALID_INPUT */
export function parseTarget(text: string, path = "target"): Target {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\.?):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port < 1 || port > 65_535 || (match![1] !== undefined && !isAddress(host)))
    throw new WarrenError(
      "WARREN_INVALID_INPUT",
      `${path} is ${JSON.stringify(text)}: write a name or an address and a port from 1 to 65535, such as api.internal:8080.`,
      { path },
    );
  return { host, port };
}
