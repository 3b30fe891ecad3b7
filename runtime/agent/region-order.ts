/** In which order a host's services try regions: all hosts of one are as far as its nearest, and share what goes there. */
import type { Desired, DesiredNetwork } from "../control/interface/desired";
import { type Distance, distanceFrom, type RoundTrip } from "./distance";

export function regionDistanceFrom(
  hostId: string,
  network: DesiredNetwork,
  hosts: Desired["hosts"],
  roundTrip: RoundTrip,
): Distance {
  const nearest = regionDistances(hostId, network, hosts, roundTrip);
  return (id) => nearest.get(regionOf(id, hosts)) ?? Number.POSITIVE_INFINITY;
}

/** Notices when what was planned no longer is the order. */
export class RegionOrders {
  private desired: Desired | undefined;
  /** By gateway, `NETWORK_ID/HOST_ID`; those of networks without services have none. */
  private readonly planned = new Map<string, string>();

  constructor(private readonly roundTrip: RoundTrip) {}

  /** A plan is made now. */
  remember(desired: Desired): void {
    this.desired = desired;
    this.planned.clear();
    for (const network of desired.networks)
      if (network.members.some((member) => member.kind === "app" && member.service))
        for (const { hostId } of network.gateways)
          if (desired.hosts.some((host) => host.id === hostId && host.local))
            this.planned.set(`${network.id}/${hostId}`, this.order(network, hostId, desired));
  }

  /** Whether a plan that were made now would have another one for this gateway. */
  differs(gateway: string): boolean {
    const { desired } = this;
    const planned = this.planned.get(gateway);
    if (desired === undefined || planned === undefined) return false;
    const [networkId, hostId] = gateway.split("/") as [string, string];
    const network = desired.networks.find(({ id }) => id === networkId);
    return network !== undefined && this.order(network, hostId, desired) !== planned;
  }

  /** `ord < fra = iad`. */
  private order(network: DesiredNetwork, hostId: string, { hosts }: Desired): string {
    const far = [...regionDistances(hostId, network, hosts, this.roundTrip)];
    far.sort(([a, x], [b, y]) => x - y || (a < b ? -1 : 1));
    return far.map(([region, x], i) => (i === 0 ? region : `${x === far[i - 1]?.[1] ? "=" : "<"} ${region}`)).join(" ");
  }
}

function regionDistances(
  hostId: string,
  network: DesiredNetwork,
  hosts: Desired["hosts"],
  roundTrip: RoundTrip,
): Map<string, number> {
  const distance = distanceFrom(hostId, network, hosts, roundTrip);
  const nearest = new Map<string, number>();
  for (const gateway of network.gateways) {
    const region = regionOf(gateway.hostId, hosts);
    nearest.set(region, Math.min(nearest.get(region) ?? Number.POSITIVE_INFINITY, distance(gateway.hostId)));
  }
  return nearest;
}

/** A host that nobody knows is a region of its own. */
function regionOf(hostId: string, hosts: Desired["hosts"]): string {
  return hosts.find(({ id }) => id === hostId)?.region ?? hostId;
}
