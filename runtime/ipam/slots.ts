/**
 * The places that addresses are leased for. A member's own (`peer`, or `REGION/INDEX` of an app's instance) grow upwards; an app's
 * service address and the addresses that gateways speak with themselves grow from the top down.
 */

/** The slot of an app's service address. */
export const SERVICE_SLOT = "service";

/** No region and no member's name has a colon, so that this is also a holder's name of its own. */
const GATEWAY = "gateway:";

/** The slot of the gateway of a network in a region: all members there share it. */
export function gatewaySlot(region: string): string {
  return `${GATEWAY}${region}`;
}

export function isGatewaySlot(slot: string): boolean {
  return slot.startsWith(GATEWAY);
}

/** The region of `gateway:REGION`, or of `REGION/INDEX`. */
export function slotRegion(slot: string): string {
  return isGatewaySlot(slot) ? slot.slice(GATEWAY.length) : slot.slice(0, slot.lastIndexOf("/"));
}

/** True for what is leased from the top down. */
export function isTopSlot(slot: string): boolean {
  return slot === SERVICE_SLOT || isGatewaySlot(slot);
}

/**
 * All slots of a member: its own, those of the gateways that it needs, an app's service address.
 * @param own `peer`, or `REGION/INDEX` of each instance
 * @param regions whose gateways it needs
 */
export function withTopSlots(kind: "app" | "peer", own: readonly string[], regions: readonly string[]): string[] {
  const gateways = [...new Set(regions)].map(gatewaySlot);
  return kind === "app" ? [...own, ...gateways, SERVICE_SLOT] : [...own, ...gateways];
}

/** For error messages: whose address a slot's is. */
export function describeHolder(name: string, slot: string): string {
  if (isGatewaySlot(slot)) return `the gateway in ${slotRegion(slot)}`;
  return slot === SERVICE_SLOT ? `the service address of ${name}` : name;
}
