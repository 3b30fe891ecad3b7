export { Tcp } from "./layer";
export { DEFAULT_LIMITS, type TcpLimits } from "./limits";
export * from "./types";
