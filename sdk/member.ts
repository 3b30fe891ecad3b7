/** How Peer and App say which network they are in. */
import * as pulumi from "@pulumi/pulumi";
import { Network } from "./network";
import { type OrderedMember, placeInOrder } from "./order";

/** An address of each family that a member has. `slot` is `peer`, or `REGION/INDEX` of an app's instance. */
export interface MemberAddress {
  readonly slot: string;
  readonly ipv4?: string;
  readonly ipv6?: string;
}

/** The inputs `network` (its name, or what the user wrote), `space` and `networkId`, and the place in the order. */
export function memberInputs(network: pulumi.Input<Network | string>, member: OrderedMember): pulumi.Inputs {
  return { ...networkInputs(network), ...order(network, member) };
}

function order(network: pulumi.Input<Network | string>, member: OrderedMember): pulumi.Inputs {
  const known = Network.isInstance(network) || typeof network === "string";
  const { before, unordered } = placeInOrder(known ? (network as object | string) : undefined, member);
  return { before, ...(unordered ? { unordered } : {}) };
}

function networkInputs(network: pulumi.Input<Network | string>): pulumi.Inputs {
  if (typeof network === "string" || network === undefined) return { network };
  if (Network.isInstance(network)) return { network: network.name, space: network.space, networkId: network.networkId };
  const settled = pulumi.output(network as pulumi.Input<unknown>) as pulumi.Output<unknown>;
  // Of an Output that holds a Network only the object itself is taken; of one that holds a name, the name.
  return {
    network: settled.apply((n) => (Network.isInstance(n) ? n.name : (n as string))) as pulumi.Output<string>,
    space: settled.apply((n) => (Network.isInstance(n) ? n.space : undefined)),
    networkId: settled.apply((n) => (Network.isInstance(n) ? n.networkId : undefined)),
  };
}
