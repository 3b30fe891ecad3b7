export { type Asker, answer, type Outcome, TTL } from "./answer";
export { Forwarder, type ForwarderOptions } from "./forwarder";
export { dnsHandler } from "./handler";
export type { ZoneAddress, ZoneView } from "./zone";
