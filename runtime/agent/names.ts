/** Joins the agent's knowledge of apps and their health with the DNS server at `.2`. */
import type { DesiredNetwork, DesiredSource } from "../control/interface/desired";
import type { DataPlane } from "../dataplane/dataplane";
import { dnsHandler, Forwarder, type ZoneAddress, type ZoneView } from "../dns";
import type { Agent } from "./agent";
import { addressesOf, apps, peers } from "./plan";

/** @returns the way to close the sockets of questions on their way to the host's resolvers. */
export function serveNames(dataplane: DataPlane, source: DesiredSource, agent: Agent): () => void {
  const forwarder = new Forwarder();
  const zoneOf = (gateway: string): ZoneView | undefined => {
    const network = source.current().networks.find((candidate) => candidate.id === gateway.split("/")[0]);
    return network && zone(network, agent);
  };
  dataplane.onDns(dnsHandler(zoneOf, forwarder));
  return () => forwarder.close();
}

function zone(network: DesiredNetwork, agent: Agent): ZoneView {
  const instancesOf = new Map<string, ZoneAddress[]>();
  for (const app of apps(network))
    instancesOf.set(
      app.name,
      app.instances.flatMap((instance) => {
        const healthy = agent.instance(instance.id)?.healthState === "healthy";
        return addressesOf(instance.address).map((address) => ({ address, healthy }));
      }),
    );
  return {
    domain: network.domain,
    apps: instancesOf,
    peers: new Map(peers(network).map((peer) => [peer.name, addressesOf(peer.address)])),
  };
}
