/** How long flows are remembered, by what was seen of them. */
import type { FlowTable } from "./flow-table";
import { TCP_FIN, TCP_RST } from "./headers";
import { PROTO_ICMP } from "./inet";

/** Milliseconds: RFC 5382 REQ-5 (TCP, established and not), RFC 4787 REQ-5 (UDP), RFC 5508 REQ-1 (ICMP). */
export const ESTABLISHED = 7_440_000;
export const TRANSITORY = 240_000;
const DATAGRAMS = 300_000;
const ECHO = 60_000;
/** As Linux keeps fragments at most, halved: they are not kept here, only told apart. */
export const FRAGMENTS = 15_000;

/** Bits of a flow's state. */
export const ANSWERED = 1;
const FIN_FORTH = 2;
const FIN_BACK = 4;
const RESET = 8;
/** The first bit that is the user's. */
export const OWN_STATE = 16;

/** Of a flow of datagrams. */
export function datagramLife(protocol: number): number {
  return protocol === PROTO_ICMP ? ECHO : DATAGRAMS;
}

/** Whether a TCP connection has begun to end. */
export function isClosing(state: number): boolean {
  return (state & (FIN_FORTH | FIN_BACK | RESET)) !== 0;
}

/** Whether it has ended. */
export function isOver(state: number): boolean {
  return (state & RESET) !== 0 || (state & (FIN_FORTH | FIN_BACK)) === (FIN_FORTH | FIN_BACK);
}

/** A segment of a flow passed. @param back from the end that did not begin */
export function followTcp(flows: FlowTable, slot: number, back: boolean, flags: number, now: number): void {
  let state = flows.state[slot];
  if ((flags & (TCP_FIN | TCP_RST)) !== 0 || (back && (state & ANSWERED) === 0)) {
    if (back) state |= ANSWERED;
    if ((flags & TCP_RST) !== 0) state |= RESET;
    if ((flags & TCP_FIN) !== 0) state |= back ? FIN_BACK : FIN_FORTH;
    flows.state[slot] = state;
    flows.firm[slot] = isClosing(state) ? 0 : 1;
  }
  flows.seen[slot] = now;
  flows.until[slot] = now + ((state & ANSWERED) === 0 || isOver(state) ? TRANSITORY : ESTABLISHED);
}

/** A datagram of a flow passed. */
export function followDatagram(flows: FlowTable, slot: number, back: boolean, protocol: number, now: number): void {
  if (back) {
    flows.firm[slot] = 1;
    flows.state[slot] |= ANSWERED;
  }
  flows.seen[slot] = now;
  flows.until[slot] = now + datagramLife(protocol);
}
