/** WireGuard as a pure state machine: bytes and a clock in, bytes and events out. */
export { nodeAead } from "./aead-node";
export { AllowedIps, formatPrefix, type Prefix, parsePrefix, prefixOf } from "./allowedips";
export { Device, type DeviceOptions, SCRATCH_BYTES } from "./device";
export { DevicePort } from "./device-port";
export type { DropCounters } from "./drops";
export { endpointOf, parseEndpoint, sameEndpoint } from "./endpoint";
export { IndexTable } from "./index-table";
export { hasIpHeader, innerLength } from "./inner-packet";
export {
  clamp,
  formatKey,
  generatePresharedKey,
  generatePrivateKey,
  isLowOrder,
  parseKey,
  parsePublicKey,
  publicKeyOf,
} from "./keys";
export { LoadMeter } from "./load";
export type { Peer } from "./peer";
export type {
  Aead,
  AeadKey,
  Clock,
  DeviceEvent,
  DeviceSink,
  DropReason,
  Endpoint,
  PeerOptions,
  PeerUpdate,
  SendResult,
} from "./types";
