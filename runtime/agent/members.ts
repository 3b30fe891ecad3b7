/** Values of a network's members that every plan needs. */
import type { DesiredApp, DesiredGateway, DesiredNetwork, DesiredPeer } from "../control/interface/desired";
import type { SlotAddress } from "../control/interface/types";

export function addressesOf(address: SlotAddress): string[] {
  return [address.ipv4, address.ipv6].filter((ip): ip is string => ip !== undefined);
}

/** May an app reach what lies outside its network? */
export function hasEgress(app: DesiredApp): boolean {
  return app.spec.egress ?? true;
}

/** The network's ranges, and what is behind its peers. */
export function reachedRanges(network: DesiredNetwork): string[] {
  return [...rangesOf(network), ...peers(network).flatMap((peer) => peer.routes)];
}

export function hostRange(ip: string): string {
  return ip.includes(":") ? `${ip}/128` : `${ip}/32`;
}

export function rangesOf(network: DesiredNetwork): string[] {
  return [network.cidr, network.ipv6Cidr].filter((range): range is string => range !== undefined);
}

export function apps(network: DesiredNetwork): DesiredApp[] {
  return network.members.filter((member): member is DesiredApp => member.kind === "app");
}

export function peers(network: DesiredNetwork): DesiredPeer[] {
  return network.members.filter((member): member is DesiredPeer => member.kind === "peer");
}

/** What a gateway speaks with itself. */
export function ownAddresses({ address }: DesiredGateway): string[] {
  return address ? addressesOf(address) : [];
}

export function stackId(gateway: string): string {
  return `${gateway}/stack`;
}
