/** What the stacks of this process shall be: pure. */
import type { Desired } from "../control/interface/desired";
import type { AppLink, GatewayStack, UserspacePlan } from "../userspace";
import { addressesOf, apps, hasEgress, ownAddresses, reachedRanges, stackId } from "./members";
import type { InstancePlan } from "./plan";
import { splitHostPort } from "./upstream";

/** The stacks of this process: one for each gateway of this machine, one for each instance on the link `userspace`. */
export function planUserspace(
  desired: Desired,
  plans: readonly InstancePlan[],
  ready: ReadonlySet<string>,
): UserspacePlan {
  const local = new Set(desired.hosts.filter((host) => host.local).map((host) => host.id));
  const gateways = desired.networks.flatMap((network) =>
    network.gateways
      .filter(({ hostId }) => local.has(hostId))
      .map((gateway): GatewayStack => {
        const id = `${network.id}/${gateway.hostId}`;
        return {
          id: stackId(id),
          gateway: id,
          networkId: network.id,
          hostId: gateway.hostId,
          domain: network.domain,
          addresses: ownAddresses(gateway),
          dnsIps: network.dnsIps,
          mtu: network.mtu,
          ranges: reachedRanges(network),
          egress: apps(network)
            .filter(hasEgress)
            .flatMap((app) => app.instances.filter(({ hostId }) => hostId === gateway.hostId))
            .flatMap(({ id, address }) => addressesOf(address).map((ip) => [ip, id] as const)),
        };
      }),
  );
  const links = plans.flatMap(({ network, app, instance, plug }): AppLink[] => {
    if (plug.link !== "userspace" || !ready.has(instance.id)) return [];
    const { port, upstream } = app.spec;
    const { loopback } = plug;
    return [
      {
        id: instance.id,
        gateway: `${network.id}/${instance.hostId}`,
        domain: network.domain,
        addresses: addressesOf(instance.address),
        mtu: network.mtu,
        ranges: reachedRanges(network),
        target: {
          port,
          loopbackPort: loopback.port,
          ...(upstream === undefined ? {} : { upstream: splitHostPort(upstream) }),
        },
        proxy: { port: loopback.proxy, secret: loopback.secret },
        egress: hasEgress(app),
      },
    ];
  });
  return { gateways, apps: links };
}
