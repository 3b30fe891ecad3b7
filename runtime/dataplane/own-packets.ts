/** What a gateway says itself: echo replies and DNS answers of its addresses, errors, refusals. At a bounded rate where nobody asked. */
import { dnsAnswerLength, dnsQuestion, writeDnsAnswer } from "./dns-packet";
import type { Drops } from "./drops";
import { ErrorBudget } from "./error-budget";
import type { DnsQuestion, GatewayOptions } from "./gateway-types";
import type { Headers } from "./headers";
import { echoReply, type IcmpError, icmpError, MAX_ICMP_ERROR } from "./icmp";
import { PROTO_TCP } from "./inet";
import { tcpReset } from "./tcp-reset";

export type OwnAddress = "gateway" | "dns";

export type OwnPacketsOptions = Pick<
  GatewayOptions<unknown>,
  "mtu" | "gatewayIps" | "scratch" | "scratchOffset" | "scratchSize" | "now" | "onDns"
>;

export class OwnPackets {
  private readonly errors = new ErrorBudget();

  /** @param emit sends a packet. @returns whether it left */
  constructor(
    private readonly options: OwnPacketsOptions,
    private readonly drops: Drops,
    private readonly emit: (buf: Uint8Array, off: number, len: number, family: 4 | 6) => boolean,
  ) {}

  /** Answers a packet to `.1` or `.2` from an app or an attached peer. @param drops of whoever sent it */
  answer(which: OwnAddress, drops: Drops, buf: Uint8Array, off: number, len: number, family: 4 | 6): void {
    if (echoReply(buf, off, len, family)) {
      this.emit(buf, off, len, family);
      return;
    }
    if (which === "dns") {
      const question = dnsQuestion(buf, off, len, family);
      if (question === "damaged") {
        drops.malformed++;
        return;
      }
      if (question !== undefined) {
        if (!this.options.onDns(question)) drops["dns-queue"]++;
        return;
      }
    }
    drops["gateway-address"]++;
    this.error("port-unreachable", buf, off, len, family);
  }

  /** Sends the answer to a question. @returns false where it is too long for the network or cannot be sent. */
  answerDns(question: DnsQuestion, message: Uint8Array): boolean {
    const { scratch, scratchOffset, mtu, scratchSize } = this.options;
    const len = dnsAnswerLength(question, message.length);
    if (len > mtu || len > scratchSize) {
      this.drops["too-big"]++;
      return false;
    }
    writeDnsAnswer(scratch, scratchOffset, question, message);
    return this.emit(scratch, scratchOffset, len, question.from.length === 4 ? 4 : 6);
  }

  /** Tells the sender of a packet what became of it. */
  error(kind: IcmpError, buf: Uint8Array, off: number, len: number, family: 4 | 6): void {
    const size = family === 4 ? 4 : 16;
    const from = this.options.gatewayIps.find((ip) => ip.length === size);
    if (from === undefined || this.options.scratchSize < MAX_ICMP_ERROR) return;
    if (!this.errors.allows(this.options.now())) return;
    const { scratch, scratchOffset, mtu } = this.options;
    const made = icmpError(kind, buf, off, len, family, from, scratch, scratchOffset, mtu);
    if (made === 0) return;
    this.errors.spend();
    this.emit(scratch, scratchOffset, made, family);
  }

  /** Tells the sender of a packet that nobody takes it: TCP in TCP's own way, so that a connection ends at once, others with `kind`. */
  refuse(headers: Headers, kind: IcmpError, buf: Uint8Array, off: number, len: number, family: 4 | 6): void {
    if (headers.protocol !== PROTO_TCP) {
      this.error(kind, buf, off, len, family);
      return;
    }
    const { scratch, scratchOffset, now } = this.options;
    if (!this.errors.allows(now())) return;
    const made = tcpReset(headers, buf, off, scratch, scratchOffset);
    if (made === 0) return;
    this.errors.spend();
    this.emit(scratch, scratchOffset, made, family);
  }
}
