export { WarrenError, type WarrenErrorCode } from "../runtime/errors";
export { App, type AppArgs, type HealthArgs } from "./app";
export { Host, type HostArgs } from "./host";
export {
  type GetMembersArgs,
  type GetNetworkArgs,
  type GetNetworkResult,
  getMembers,
  getNetwork,
  type MemberResult,
  type ResolveArgs,
  resolve,
} from "./lookup";
export type { MemberAddress } from "./member";
export { type DialOptions, dial, dispatcher, type JoinOptions, join, listen, type Membership } from "./net";
export { Network, type NetworkArgs, type NetworkSpace } from "./network";
export { Peer, type PeerArgs } from "./peer";
export type { AllowRule, AllowRuleArgs, PolicyRule, PolicyRuleArgs } from "./rules";
