/** What a network's names are made of: plain values, so that they can go to another thread. */

export interface ZoneInstance {
  /** What its health is known by. */
  readonly id: string;
  /** What it is called in names: one label, as `FLY_MACHINE_ID` has it. */
  readonly machine: string;
  readonly region: string;
  readonly hostId: string;
  /** IPv4 and IPv6. */
  readonly addresses: readonly string[];
}

export interface ZoneApp {
  /** A lower-case DNS label. */
  readonly name: string;
  /** 0: it listens on none. */
  readonly port: number;
  /** In the order in which equals are named. */
  readonly instances: readonly ZoneInstance[];
  /** The address spread over its healthy instances, one per family; empty: it has none. */
  readonly service: readonly string[];
  readonly tags: Readonly<Record<string, string>>;
}

export interface ZonePeer {
  readonly name: string;
  readonly addresses: readonly string[];
}

/** What the gateways of a region speak with themselves. */
export interface ZoneGateway {
  readonly region: string;
  readonly addresses: readonly string[];
}

export interface ZoneView {
  /** Changes with every change of the names. */
  readonly serial: number;
  /** `internal` */
  readonly domain: string;
  /** Where apps may be, beside where they are. */
  readonly regions: readonly string[];
  /** CIDR ranges, for the names of addresses. */
  readonly ranges: readonly string[];
  /** `.1`, on every host. */
  readonly gatewayIps: readonly string[];
  readonly gateways: readonly ZoneGateway[];
  readonly dnsIps: readonly string[];
  readonly apps: readonly ZoneApp[];
  readonly peers: readonly ZonePeer[];
}
