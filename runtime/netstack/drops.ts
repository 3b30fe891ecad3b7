/** Why a packet went no further. */
export type DropReason =
  | "malformed" // no IP packet, or lengths that contradict each other
  | "checksum"
  | "options" // source routing, or extension headers that a node may not ignore
  | "martian-source" // our own address, unspecified, multicast or loopback
  | "not-ours" // to an address of somebody else
  | "multicast"
  | "protocol" // neither TCP, UDP nor ICMP
  | "no-socket" // UDP to a port that nobody has
  | "fragment-overlap" // RFC 5722, RFC 8200 section 4.5: the whole datagram goes
  | "fragment-limit" // too many, or too many bytes, under reassembly
  | "fragment-timeout"
  | "fragment-invalid" // beyond 64 KiB, or too short to be one
  | "icmp-invalid" // an error that quotes nothing we sent, or a type that nobody waits for
  | "rate" // an answer that the rate limits forbid
  | "output-full"; // the link had no room

const REASONS: readonly DropReason[] = [
  "malformed",
  "checksum",
  "options",
  "martian-source",
  "not-ours",
  "multicast",
  "protocol",
  "no-socket",
  "fragment-overlap",
  "fragment-limit",
  "fragment-timeout",
  "fragment-invalid",
  "icmp-invalid",
  "rate",
  "output-full",
];

/** Packets by reason. TCP counts its own. */
export type Drops = Record<DropReason, number>;

export function newDrops(): Drops {
  return Object.fromEntries(REASONS.map((reason) => [reason, 0])) as Drops;
}
