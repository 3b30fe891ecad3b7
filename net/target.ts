/** Where a connection goes to, as people write it. Pure. */
import { WarrenError } from "../runtime/errors";
import { type HostPort, parseHostPort } from "../runtime/host-port";
import { isAddress } from "./wg-config";

const NAME = /^[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9])?$/;

/** Reads `name:port`, `10.1.2.5:8080` or `[fd00::5]:8080`. @throws WarrenError WARREN_INVALID_INPUT */
export function parseTarget(text: string, path = "target"): HostPort {
  const found = parseHostPort(text);
  const host = found?.host.replace(/\.$/, "") ?? "";
  if (found && (host.includes(":") ? isAddress(host) : NAME.test(host))) return { host, port: found.port };
  throw new WarrenError(
    "WARREN_INVALID_INPUT",
    `${path} is ${JSON.stringify(text)}: write a name or an address and a port from 1 to 65535, such as api.internal:8080.`,
    { path },
  );
}
