/** Joins the names of the networks and the host's resolvers into what answers at `.2`. */
import type { DnsHandler } from "../dataplane/config";
import { answer } from "./answer";
import type { Forwarder } from "./forwarder";
import { fitReply, OUR_UDP_BYTES, readQuery } from "./message";
import type { ZoneView } from "./zone";

const NO_NAMES: ZoneView = { domain: "internal", apps: new Map(), peers: new Map() };

/** @param zoneOf the names of a gateway's network, by gateway id (`NETWORK_ID/HOST_ID`). */
export function dnsHandler(zoneOf: (gateway: string) => ZoneView | undefined, forwarder: Forwarder): DnsHandler {
  return async ({ gateway, message }) => {
    const outcome = answer(message, zoneOf(gateway) ?? NO_NAMES, { maxReply: OUR_UDP_BYTES });
    if (outcome === undefined) return undefined;
    if ("reply" in outcome) return outcome.reply;
    const reading = readQuery(message);
    const limit = reading.kind === "query" ? Math.min(reading.query.limit, OUR_UDP_BYTES) : OUR_UDP_BYTES;
    return fitReply(await forwarder.resolve(message), limit);
  };
}
