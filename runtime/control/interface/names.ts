/** Which names cannot be, because the network's DNS gives them a meaning of its own (runtime/dns/names.ts). Pure. */

/** What stands before an app's name in the names that DNS makes: a region of this name would hide them, or they it. */
const BEFORE_AN_APP = new Set(["all", "global", "nearest", "of", "process", "regions", "vm", "vms"]);

/** The domain of service addresses: `APP.flycast`. */
const SERVICES = "flycast";

/** What is wrong with a region's name, as the rest of a sentence; undefined where nothing is. */
export function regionFault(region: string): string | undefined {
  if (!BEFORE_AN_APP.has(region)) return undefined;
  return `cannot be a region, because ${region}.APP is a name of its own in the network's DNS: choose another code, such as "ord"`;
}

/** What is wrong with a member's name, as the rest of a sentence; undefined where nothing is. */
export function memberNameFault(name: string): string | undefined {
  if (name !== "localhost") return undefined;
  return "cannot be a member's name, because every machine calls itself that: choose another name";
}

/** What is wrong with a network's domain, as the rest of a sentence; undefined where nothing is. */
export function domainFault(domain: string): string | undefined {
  const last = domain.slice(domain.lastIndexOf(".") + 1);
  if (last === SERVICES)
    return `is the domain of service addresses (APP.${SERVICES}): choose another, such as "internal"`;
  if (last === "localhost") return 'is every machine\'s own (RFC 6761 section 6.3): choose another, such as "internal"';
  return undefined;
}

/**
 * Top-level domains that the public DNS keeps free: RFC 2606 and 6761, `internal` by ICANN's decision of 2024, `alt` (RFC 9476), those
 * that ICANN does not delegate since too many networks use them, and names of RFC 6762 appendix G.
 */
const PRIVATE = new Set(
  "internal test example invalid alt home corp mail lan intranet private localdomain domain".split(" "),
);

/** What a network's domain hides, in a sentence; undefined for one that is kept for private use. */
export function domainDoubt(domain: string): string | undefined {
  const last = domain.slice(domain.lastIndexOf(".") + 1);
  if (PRIVATE.has(last) || domain === "home.arpa" || domain.endsWith(".home.arpa")) return undefined;
  if (last === "local")
    return `The domain "${domain}" belongs to multicast DNS (RFC 6762): programs may ask the local link for its names, and not the network's DNS server; "internal" is kept for private use.`;
  return `The domain "${domain}" is not kept for private use: members do not reach public names under it, where there are any. "internal" is kept for that.`;
}
