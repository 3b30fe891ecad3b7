/** Joins the names of the networks and the host's resolvers into what answers at `.2`. */
import type { DnsHandler } from "../dataplane/config";
import { answer } from "./answer";
import type { Forwarder } from "./forwarder";
import { fitReply, OUR_UDP_BYTES, RCODE, readQuery, TCP_BYTES, writeError } from "./message";
import type { Distance, Names } from "./names";

/** What a gateway answers from. */
export interface GatewayNames {
  readonly names: Names;
  readonly distance: Distance;
  /** Bytes of the largest UDP message that fits the network's packets. */
  readonly maxReply: number;
}

/** Bytes of the largest UDP message on a network: what a packet carries beside the longer of the two IP headers and UDP's. */
export function largestReply(mtu: number): number {
  return Math.min(OUR_UDP_BYTES, mtu - 48);
}

/** @param namesOf by gateway id (`NETWORK_ID/HOST_ID`) */
export function dnsHandler(namesOf: (gateway: string) => GatewayNames | undefined, forwarder: Forwarder): DnsHandler {
  return async ({ gateway, message, stream = false }) => {
    const known = namesOf(gateway);
    // A network that is going away.
    if (known === undefined)
      return readQuery(message).kind === "ignore" ? undefined : writeError(message, RCODE.SERVFAIL);
    const maxReply = stream ? TCP_BYTES : known.maxReply;
    const outcome = answer(message, known.names, { maxReply, stream, distance: known.distance });
    if (outcome === undefined) return undefined;
    if ("reply" in outcome) return outcome.reply;
    const reading = readQuery(message);
    const limit = stream || reading.kind !== "query" ? maxReply : Math.min(reading.query.limit, maxReply);
    return fitReply(await forwarder.resolve(message), limit);
  };
}
