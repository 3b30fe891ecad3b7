export type { AppLink } from "./app-end";
export { EGRESS_SETTING, parseEgressAllow } from "./egress-rules";
export type { GatewayStack } from "./gateway-end";
export type { AppProcess, LocalApp } from "./local-app";
export { proxyEnvironment } from "./proxy-environment";
export { splice } from "./splice";
export { Userspace, type UserspaceOptions, type UserspacePlan } from "./userspace";
export type { Datagrams, PingAnswer, Way } from "./way";
