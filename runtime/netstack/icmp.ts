/** ICMP and ICMPv6 of a host (RFC 792, 1122, 4443). */
import type { Endpoint, NetworkErrorCode } from "./options";

export type RejectReason = "port" | "host" | "network" | "admin";

/** An echo request to an address that is not ours. */
export interface Echo {
  readonly from: string;
  readonly to: string;
  readonly id: number;
  readonly sequence: number;
  /** Valid during the call. */
  readonly data: Uint8Array;
}

/** @returns the means to answer are `reply` and `reject`, during the call or later; each once. */
export type EchoHandler = (
  echo: Echo,
  answer: { reply(data: Uint8Array): void; reject(reason: RejectReason): void },
) => void;

export interface PingHandler {
  /** @param time milliseconds from request to reply. */
  onReply(time: number): void;
  onError(code: NetworkErrorCode): void;
}

export interface PingHandle {
  cancel(): void;
}

export type { Endpoint };
