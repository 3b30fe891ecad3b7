/** Why packets were dropped, and how many. */

const REASONS = [
  "malformed", // no whole IP packet, or no whole transport header where one is needed
  "source", // from a link, with an address that is not the link's
  "multicast", // to no single member
  "no-route", // from a peer, to an address that no link or peer has
  "no-peer", // no peer has this address
  "no-endpoint", // a peer has it and cannot be reached yet
  "gateway-address", // to the gateway or DNS address, or a service address from another host, and nothing there takes it
  "egress", // to an address outside the network, which the link may not reach
  "policy", // no rule allows it
  "fragment", // a fragment whose first one did not pass, or was not seen
  "no-backend", // to a service address behind which nothing is left to try
  "too-big",
  "ttl",
  "loop", // would go back where it came from
  "dns-queue", // too many questions wait for an answer
  "queue", // the link's far end does not keep up
  "link-down", // the app's device does not take packets
] as const;

export type DropReason = (typeof REASONS)[number];

export type Drops = Record<DropReason, number>;

export function newDrops(): Drops {
  return Object.fromEntries(REASONS.map((reason) => [reason, 0])) as Drops;
}

/** The counters that are not 0. */
export function countedDrops(drops: Drops): Record<string, number> {
  return Object.fromEntries(Object.entries(drops).filter(([, count]) => count > 0));
}
