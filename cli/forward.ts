/** What `warren proxy` is asked for: `LOCAL:NAME:REMOTE`, as ssh -L has it. Pure. */
import { isAddress } from "../net/wg-config";
import { WarrenError } from "../runtime/errors";

export interface Forward {
  readonly protocol: "tcp" | "udp";
  /** Where to listen on this machine. */
  readonly local: { readonly address: string; readonly port: number };
  /** `name:port` or `[address]:port` in the network. */
  readonly to: string;
}

const SHAPE =
  /^(?:(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):)?(\d{1,5}):(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)):(\d{1,5})(?:\/(tcp|udp))?$/;

/** Reads `8080:api:80`, `127.0.0.2:8080:api.internal:80`, `5353:10.1.2.2:53/udp`. @throws WarrenError WARREN_INVALID_INPUT */
export function parseForward(text: string): Forward {
  const match = SHAPE.exec(text);
  const address = match?.[1] ?? match?.[2] ?? "127.0.0.1";
  const [port, remotePort] = [Number(match?.[3]), Number(match?.[6])];
  const host = match?.[4] === undefined ? match?.[5] : `[${match[4]}]`;
  const valid =
    match !== null &&
    isAddress(address) &&
    port <= 65_535 &&
    remotePort >= 1 &&
    remotePort <= 65_535 &&
    (match[4] === undefined || isAddress(match[4]));
  if (!valid)
    throw new WarrenError(
      "WARREN_INVALID_INPUT",
      `"${text}" is no LOCAL:NAME:REMOTE: write a local port, a name or an address, and its port, such as 8080:api:80 or 5353:api:53/udp.`,
    );
  const protocol = match[7] === "udp" ? "udp" : "tcp";
  return { protocol, local: { address, port }, to: `${host}:${remotePort}` };
}
