export { type Asker, answer, type Outcome } from "./answer";
export { Forwarder, type ForwarderOptions } from "./forwarder";
export { dnsHandler, type GatewayNames, largestReply } from "./handler";
export { type Distance, Names } from "./names";
export { ResolvConf } from "./resolv-conf";
export { type StreamOptions, serveDnsStream } from "./stream";
export type { ZoneApp, ZoneGateway, ZoneInstance, ZonePeer, ZoneView } from "./zone";
