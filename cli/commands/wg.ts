/** `warren wg show`: what `wg show` tells root, for everyone who may ask the daemon. */
import type { Status } from "../../runtime/control/interface/types";
import { WarrenError } from "../../runtime/errors";
import { gatewayInterface } from "../../runtime/uapi/gateway-sockets";
import { formatShow, type ShownInterface } from "../../runtime/uapi/show";
import { type Context, print, printJson, withControl } from "../context";

/** @param wanted a network's name, or the name by which `wg` knows one of its gateways */
export async function wgShow(wanted: string | undefined, { json }: Context): Promise<void> {
  const status = await withControl((client) => client.status());
  const all = shownInterfaces(status);
  const chosen = wanted === undefined ? all : all.filter((it) => it.name === wanted || it.networkName === wanted);
  if (wanted !== undefined && chosen.length === 0) {
    const known = [...new Set(all.map((it) => it.networkName))].join(", ") || "none yet";
    throw new WarrenError(
      "WARREN_NOT_FOUND",
      `No network "${wanted}" has a gateway here; networks that have one: ${known}.`,
    );
  }
  if (json) printJson(chosen);
  else if (chosen.length > 0) print(formatShow(chosen, Date.now()));
}

function shownInterfaces(status: Status): (ShownInterface & { networkName: string })[] {
  return status.gateways.map(({ networkId, hostId, publicKey, listenPort }) => {
    const networkName = status.networks.find(({ id }) => id === networkId)?.spec.name ?? networkId;
    const peers = status.tunnels
      .filter((tunnel) => tunnel.networkId === networkId && tunnel.hostId === hostId)
      .map((tunnel) => ({
        publicKey: tunnel.publicKey,
        ...(tunnel.endpoint === undefined ? {} : { endpoint: tunnel.endpoint }),
        allowedIps: tunnel.allowedIps ?? [],
        ...(tunnel.latestHandshake === undefined ? {} : { latestHandshake: Date.parse(tunnel.latestHandshake) }),
        rx: tunnel.rx,
        tx: tunnel.tx,
        persistentKeepalive: tunnel.persistentKeepalive ?? 0,
      }));
    const name = gatewayInterface(status.home, networkId, hostId);
    return { name, network: `${networkName}, host ${hostId}`, networkName, publicKey, listenPort, peers };
  });
}
