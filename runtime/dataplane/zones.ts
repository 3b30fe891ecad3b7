/** Zones of IPv6 addresses: devices of this network namespace that have such an address, by name and by number. */
import * as os from "node:os";

/** @param zone a device's name or number. @returns its number; 0: there is none now. */
export function scopeOf(zone: string): number {
  if (/^\d{1,10}$/.test(zone)) return Number(zone) >>> 0;
  const scoped = os.networkInterfaces()[zone]?.find((address) => address.family === "IPv6" && address.scopeid > 0);
  return scoped?.family === "IPv6" ? scoped.scopeid : 0;
}

/** @returns the device's name, or its number where it has none now; undefined for 0. */
export function zoneOf(scope: number): string | undefined {
  if (scope === 0) return undefined;
  for (const [name, addresses] of Object.entries(os.networkInterfaces()))
    if (addresses?.some((address) => address.family === "IPv6" && address.scopeid === scope)) return name;
  return String(scope);
}
