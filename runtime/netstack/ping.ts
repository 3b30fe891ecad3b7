/** Echo requests under way. */
import { u16 } from "../dataplane/inet";
import { familyOfBytes, sameBytes } from "./address";
import type { Host } from "./host";
import { Icmp } from "./icmp";
import { NetworkError } from "./network-error";
import type { NetworkErrorCode } from "./options";
import type { IpPacket } from "./packet";

/** Random bytes at the beginning of the payload that the reply has to bring back. */
const TOKEN = 8;

export interface PingOptions {
  /** Milliseconds. @default 5000 */
  readonly timeout?: number;
  /** Bytes, 8 to 65487. @default 56 */
  readonly payload?: number;
  /** One of our addresses. @default the first of the family */
  readonly from?: string;
}

export interface PingHandler {
  /** @param time milliseconds from request to reply */
  onReply(time: number): void;
  onError(code: NetworkErrorCode): void;
}

export interface PingHandle {
  /** Neither handler is called any more. */
  cancel(): void;
}

interface Ping {
  readonly to: Uint8Array;
  readonly token: Uint8Array;
  readonly sentAt: number;
  readonly expires: number;
  readonly handler: PingHandler;
}

export class Pings {
  /** By identifier and sequence number. */
  private readonly pings = new Map<number, Ping>();
  private earliest = Number.POSITIVE_INFINITY;

  constructor(private readonly host: Host) {}

  get size(): number {
    return this.pings.size;
  }

  /** @throws NetworkError ENOBUFS, EHOSTUNREACH; WarrenError WARREN_INVALID_INPUT */
  send(icmp: Icmp, target: string, handler: PingHandler, options: PingOptions): PingHandle {
    const { host } = this;
    const to = host.texts.bytes(target, "to");
    const from = options.from === undefined ? host.sourceFor(to) : host.texts.bytes(options.from, "from");
    const about = { address: target, port: 0 };
    if (from === undefined || from.length !== to.length) throw new NetworkError("EHOSTUNREACH", "ping", about);
    if (this.pings.size >= host.limits.pings) throw new NetworkError("ENOBUFS", "ping", about);
    const data = new Uint8Array(Math.min(Math.max(options.payload ?? 56, TOKEN), 65535 - 48));
    const token = host.random(TOKEN);
    data.set(token);
    const now = host.now();
    const key = this.freeKey();
    const expires = now + (options.timeout ?? 5000);
    this.pings.set(key, { to, token, sentAt: now, expires, handler });
    this.earliest = Math.min(this.earliest, expires);
    icmp.sendEcho(Icmp.requestType(familyOfBytes(to)), from, to, key >>> 16, key & 0xffff, data);
    return { cancel: () => this.pings.delete(key) };
  }

  /** @returns whether it answers one of ours */
  reply(packet: IpPacket): boolean {
    const { buf, transport, payload, source, family } = packet;
    const key = keyAt(buf, transport);
    const ping = this.pings.get(key);
    if (ping === undefined || familyOfBytes(ping.to) !== family || payload < 8 + TOKEN) return false;
    if (!sameBytes(ping.to, 0, buf, source, ping.to.length) || !sameBytes(ping.token, 0, buf, transport + 8, TOKEN))
      return false;
    this.pings.delete(key);
    ping.handler.onReply(this.host.now() - ping.sentAt);
    return true;
  }

  /** @param quoted the request that an error is about */
  failed(quoted: IpPacket, code: NetworkErrorCode): boolean {
    const { buf, transport, destination, family } = quoted;
    const key = keyAt(buf, transport);
    const ping = this.pings.get(key);
    if (ping === undefined || buf[transport] !== Icmp.requestType(family)) return false;
    if (familyOfBytes(ping.to) !== family || !sameBytes(ping.to, 0, buf, destination, ping.to.length)) return false;
    this.pings.delete(key);
    ping.handler.onError(code);
    return true;
  }

  nextTimer(): number {
    return this.pings.size === 0 ? Number.POSITIVE_INFINITY : this.earliest;
  }

  tick(now: number): void {
    if (now < this.earliest) return;
    let earliest = Number.POSITIVE_INFINITY;
    const over: Ping[] = [];
    for (const [key, ping] of this.pings)
      if (ping.expires <= now) {
        this.pings.delete(key);
        over.push(ping);
      } else earliest = Math.min(earliest, ping.expires);
    this.earliest = earliest;
    for (const { handler } of over) handler.onError("ETIMEDOUT");
  }

  close(): void {
    const all = [...this.pings.values()];
    this.pings.clear();
    for (const { handler } of all) handler.onError("ECONNABORTED");
  }

  private freeKey(): number {
    for (;;) {
      const bytes = this.host.random(4);
      const key = ((bytes[0] << 24) | (bytes[1] << 16) | (bytes[2] << 8) | bytes[3]) >>> 0;
      if (!this.pings.has(key)) return key;
    }
  }
}

function keyAt(buf: Uint8Array, transport: number): number {
  return ((u16(buf, transport + 4) << 16) | u16(buf, transport + 6)) >>> 0;
}
