/** Names as an app in the network sees them: asked of the same DNS code that answers at `.2`. */
import { randomInt } from "node:crypto";
import * as net from "node:net";
import * as dnsPacket from "dns-packet";
import type { DnsHandler } from "../dataplane/config";

export interface Resolver {
  /** Numeric addresses, IPv4 first; none: there is no such name. */
  resolve(name: string): Promise<string[]>;
}

/** The families of these addresses, IPv4 first. */
export function families(addresses: readonly string[]): (4 | 6)[] {
  return ([4, 6] as const).filter((family) => addresses.some((address) => net.isIP(address) === family));
}

/** Aliases that are followed. */
const MAX_ALIASES = 8;

/**
 * @param handler what answers at `.2`.
 * @param asker the gateway that is asked, the address that asks, the families that it can reach, and the domain for bare names.
 */
export function networkResolver(
  handler: () => DnsHandler | undefined,
  asker: {
    readonly gateway: string;
    readonly from: string;
    readonly families: readonly (4 | 6)[];
    readonly domain: string;
  },
): Resolver {
  const ask = async (name: string, type: "A" | "AAAA"): Promise<string[]> => {
    const question = { type, name, class: "IN" } as const;
    const flags = dnsPacket.RECURSION_DESIRED;
    const message = dnsPacket.encode({ type: "query", id: randomInt(0x10000), flags, questions: [question] });
    const reply = await handler()?.({ gateway: asker.gateway, from: asker.from, message });
    if (reply === undefined) return [];
    return addressesIn(dnsPacket.decode(Buffer.from(reply)).answers ?? [], name, type);
  };
  return {
    async resolve(given) {
      const bare = given.replace(/\.$/, "");
      // resolv.conf(5): a name without a dot is looked for in the search domain first.
      const names = bare.includes(".") || given.endsWith(".") ? [bare] : [`${bare}.${asker.domain}`, bare];
      for (const name of names) {
        const found = await Promise.all(
          asker.families.map((family) => ask(name, family === 4 ? "A" : "AAAA").catch(() => [])),
        );
        if (found.flat().length > 0) return found.flat();
      }
      return [];
    },
  };
}

function addressesIn(answers: readonly dnsPacket.Answer[], name: string, type: "A" | "AAAA"): string[] {
  let at = name.toLowerCase();
  for (let hops = 0; hops < MAX_ALIASES; hops++) {
    const alias = answers.find((answer) => answer.type === "CNAME" && answer.name.toLowerCase() === at);
    if (alias === undefined) break;
    at = String((alias as dnsPacket.StringAnswer).data).toLowerCase();
  }
  return answers
    .filter((answer) => answer.type === type && answer.name.toLowerCase() === at)
    .map((answer) => String((answer as dnsPacket.StringAnswer).data))
    .filter((address) => net.isIP(address) !== 0);
}
