/** How far the hosts of a network are from one of them: by measured round trips between their gateways. */
import type { Desired, DesiredNetwork } from "../control/interface/desired";
import type { DataPlaneApi } from "../dataplane/api";

/** Lower is nearer: milliseconds where that was measured. */
export type Distance = (hostId: string) => number;

/** Round trip in milliseconds from a gateway (`NETWORK_ID/HOST_ID`) to the gateway with a public key; undefined: not measured. */
export type RoundTrip = (gateway: string, publicKey: string) => number | undefined;

/** What handshakes have shown since the data plane began. */
export function measureRoundTrips(dataplane: Pick<DataPlaneApi, "onEvent">): RoundTrip {
  const measured = new Map<string, number>();
  dataplane.onEvent((event) => {
    if (event.type === "handshake") measured.set(`${event.gateway} ${event.publicKey}`, event.roundTrip);
  });
  return (gateway, publicKey) => measured.get(`${gateway} ${publicKey}`);
}

/** Beyond every measured round trip. */
const UNKNOWN = 1e6;
/** What is less than this apart is equally far: milliseconds. */
const STEP = 1;

/**
 * The host itself, then by round trip; equally far ones of the same region before others, and those that were not measured last.
 */
export function distanceFrom(
  hostId: string,
  network: DesiredNetwork,
  hosts: Desired["hosts"],
  roundTrip: RoundTrip,
): Distance {
  const regionOf = (id: string) => hosts.find((host) => host.id === id)?.region;
  const region = regionOf(hostId);
  return (host) => {
    if (host === hostId) return 0;
    const gateway = network.gateways.find((candidate) => candidate.hostId === host);
    const measured = gateway && roundTrip(`${network.id}/${hostId}`, gateway.publicKey);
    const steps = measured === undefined ? UNKNOWN : Math.round(measured / STEP) * STEP;
    // Never as near as the host itself.
    return steps + (regionOf(host) === region ? STEP / 4 : STEP / 2);
  };
}
