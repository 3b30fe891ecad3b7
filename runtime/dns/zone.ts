/** The names of one network, as an answer needs them. */
export interface ZoneAddress {
  /** IPv4 or IPv6. */
  readonly address: string;
  readonly healthy: boolean;
}

export interface ZoneView {
  /** `internal` */
  readonly domain: string;
  /** By name in lower case: the addresses of the app's instances, for `APP.internal`. */
  readonly apps: ReadonlyMap<string, readonly ZoneAddress[]>;
  /** By name in lower case, for `PEER._peer.internal`. */
  readonly peers: ReadonlyMap<string, readonly string[]>;
}

/** What a name in the zone has; undefined: there is no such name. An empty list: it exists, for names below it. */
export function lookUp(zone: ZoneView, name: string): readonly string[] | undefined {
  const domain = zone.domain.toLowerCase();
  if (name === domain) return [];
  const inner = name.slice(0, -(domain.length + 1));
  if (inner === "_peer") return zone.peers.size > 0 ? [] : undefined;
  if (inner.endsWith("._peer")) return zone.peers.get(inner.slice(0, -"._peer".length));
  const instances = zone.apps.get(inner);
  if (instances === undefined) return undefined;
  const healthy = instances.filter((instance) => instance.healthy);
  return (healthy.length > 0 ? healthy : instances).map((instance) => instance.address);
}

export function inZone(zone: ZoneView, name: string): boolean {
  const domain = zone.domain.toLowerCase();
  return name === domain || name.endsWith(`.${domain}`);
}
