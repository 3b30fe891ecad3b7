/** The DNS answers of a network, as a function of the question and the names: authoritative for its domain, the rest forwarded. */

import type * as dnsPacket from "dns-packet";
import ipaddr from "ipaddr.js";
import { OUR_UDP_BYTES, type Query, RCODE, type ReplyParts, readQuery, writeError, writeReply } from "./message";
import { inZone, lookUp, type ZoneView } from "./zone";

/** Seconds that an answer, or the fact that there is none, may be kept: instances come, go and fail. */
export const TTL = 5;

export type Outcome = { readonly reply: Uint8Array } | { readonly forward: true };

export interface Asker {
  /** Bytes of the largest UDP message that reaches it. @default 1232 */
  readonly maxReply?: number;
}

/** @returns undefined where silence is right: what came is no query. */
export function answer(message: Uint8Array, zone: ZoneView, asker: Asker = {}): Outcome | undefined {
  const reading = readQuery(message);
  if (reading.kind === "ignore") return undefined;
  if (reading.kind === "bad") return { reply: writeError(message, reading.rcode) };
  const { query } = reading;
  const name = query.name.toLowerCase();
  const maxReply = asker.maxReply ?? OUR_UDP_BYTES;
  if (query.ednsVersion !== undefined && query.ednsVersion !== 0) {
    const badVersion: ReplyParts = {
      rcode: 0,
      extendedRcode: 1,
      authoritative: false,
      answers: [],
      authorities: [],
    };
    return { reply: writeReply(query, badVersion, maxReply) };
  }
  if (!inZone(zone, name)) return { forward: true };
  return { reply: writeReply(query, inside(query, name, zone), maxReply) };
}

function inside(query: Query, name: string, zone: ZoneView): ReplyParts {
  const soa = startOfAuthority(zone);
  if (query.class !== "IN" && query.class !== "ANY")
    return { rcode: RCODE.REFUSED, authoritative: false, answers: [], authorities: [] };
  const addresses = lookUp(zone, name);
  if (addresses === undefined) return { rcode: RCODE.NXDOMAIN, authoritative: true, answers: [], authorities: [soa] };
  if (name === zone.domain.toLowerCase() && (query.type === "SOA" || query.type === "ANY"))
    return { rcode: RCODE.NOERROR, authoritative: true, answers: [soa], authorities: [] };
  const records = addresses.flatMap((address): dnsPacket.Answer[] => {
    const type = ipaddr.parse(address).kind() === "ipv4" ? "A" : "AAAA";
    return query.type === type || query.type === "ANY"
      ? [{ type, name: query.name, ttl: TTL, class: "IN", data: address }]
      : [];
  });
  // Askers take the first: another one each time spreads them.
  const turn = records.length > 0 ? query.id % records.length : 0;
  const answers = [...records.slice(turn), ...records.slice(0, turn)];
  return { rcode: RCODE.NOERROR, authoritative: true, answers, authorities: answers.length > 0 ? [] : [soa] };
}

/** RFC 2308: its TTL and minimum say how long a "no" may be kept. */
function startOfAuthority(zone: ZoneView): dnsPacket.Answer {
  return {
    type: "SOA",
    name: zone.domain,
    ttl: TTL,
    class: "IN",
    data: {
      mname: `ns.${zone.domain}`,
      rname: `hostmaster.${zone.domain}`,
      serial: 1,
      refresh: 60,
      retry: 60,
      expire: 600,
      minimum: TTL,
    },
  };
}
