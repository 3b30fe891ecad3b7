/** Asks the host's resolvers what no network of ours knows. */
import { randomInt } from "node:crypto";
import * as dgram from "node:dgram";
import * as net from "node:net";
import { isTruncated, questionEnd, RCODE, writeError } from "./message";
import { ResolvConf } from "./resolv-conf";

export interface ForwarderOptions {
  /** Who can be asked, in order: numeric addresses, also `address#port`. @default the host's /etc/resolv.conf */
  readonly servers?: () => readonly string[];
  /** Milliseconds for each server's answer. @default 1500 */
  readonly timeout?: number;
  /** Questions on their way at once; more are refused with SERVFAIL. @default 256 */
  readonly maxInFlight?: number;
}

const DNS_PORT = 53;

export class Forwarder {
  private readonly servers: () => readonly string[];
  private readonly timeout: number;
  private readonly maxInFlight: number;
  private readonly open = new Set<() => void>();
  private inFlight = 0;
  private closed = false;

  constructor(options: ForwarderOptions = {}) {
    const resolvConf = new ResolvConf();
    this.servers = options.servers ?? (() => resolvConf.current());
    this.timeout = options.timeout ?? 1500;
    this.maxInFlight = options.maxInFlight ?? 256;
  }

  /** The reply to a well-formed query, under its own id; SERVFAIL where no server gives one in time. */
  async resolve(query: Uint8Array): Promise<Uint8Array> {
    const failed = writeError(query, RCODE.SERVFAIL);
    if (this.closed || this.inFlight >= this.maxInFlight) return failed;
    this.inFlight++;
    try {
      // Another id and another source port each time: a forged answer must guess both.
      const asked = Buffer.from(query);
      for (const server of this.servers()) {
        asked.writeUInt16BE(randomInt(0x10000), 0);
        let reply = await this.overUdp(server, asked);
        if (reply !== undefined && isTruncated(reply)) reply = (await this.overTcp(server, asked)) ?? reply;
        if (reply === undefined) continue;
        const rcode = reply[3] & 15;
        if (rcode === RCODE.SERVFAIL || rcode === RCODE.REFUSED || rcode === RCODE.NOTIMP) continue;
        reply.set(query.subarray(0, 2));
        return reply;
      }
      return failed;
    } finally {
      this.inFlight--;
    }
  }

  close(): void {
    this.closed = true;
    for (const abort of this.open) abort();
  }

  private overUdp(server: string, query: Uint8Array): Promise<Buffer | undefined> {
    const { host, port } = parseServer(server);
    return new Promise((resolve) => {
      const socket = dgram.createSocket(net.isIPv6(host.split("%")[0]) ? "udp6" : "udp4");
      const done = this.bounded((reply) => {
        socket.close();
        resolve(reply);
      });
      socket.on("error", () => done(undefined));
      socket.on("message", (reply) => {
        if (isReplyTo(reply, query)) done(reply);
      });
      // A connected socket hears its server only, and hears at once that nobody listens there.
      socket.connect(port, host, () => socket.send(query));
    });
  }

  private overTcp(server: string, query: Uint8Array): Promise<Buffer | undefined> {
    const { host, port } = parseServer(server);
    return new Promise((resolve) => {
      const socket = net.connect(port, host);
      const done = this.bounded((reply) => {
        socket.destroy();
        resolve(reply);
      });
      let got = Buffer.alloc(0);
      socket.on("error", () => done(undefined));
      socket.on("close", () => done(undefined));
      socket.on("connect", () => {
        const length = Buffer.alloc(2);
        length.writeUInt16BE(query.length);
        socket.write(Buffer.concat([length, query]));
      });
      socket.on("data", (chunk) => {
        got = Buffer.concat([got, chunk]);
        if (got.length < 2 || got.length < 2 + got.readUInt16BE(0)) return;
        const reply = Buffer.from(got.subarray(2, 2 + got.readUInt16BE(0)));
        done(isReplyTo(reply, query) ? reply : undefined);
      });
    });
  }

  /** Calls `finish` once: with what is given to the result, or with undefined when the time is over or all is closed. */
  private bounded(finish: (reply: Buffer | undefined) => void): (reply: Buffer | undefined) => void {
    let settled = false;
    const settle = (reply: Buffer | undefined): void => {
      if (settled) return;
      settled = true;
      clearTimeout(timer);
      this.open.delete(abort);
      finish(reply);
    };
    const abort = (): void => settle(undefined);
    const timer = setTimeout(abort, this.timeout);
    this.open.add(abort);
    return settle;
  }
}

function parseServer(server: string): { host: string; port: number } {
  const at = server.indexOf("#");
  return at < 0 ? { host: server, port: DNS_PORT } : { host: server.slice(0, at), port: Number(server.slice(at + 1)) };
}

/** Same id, a response, and the same question (letters of either case: some servers change them). */
function isReplyTo(reply: Uint8Array, query: Uint8Array): boolean {
  if (reply.length < 12 || reply[0] !== query[0] || reply[1] !== query[1] || (reply[2] & 0x80) === 0) return false;
  if (reply[4] === 0 && reply[5] === 0) return (reply[3] & 15) !== RCODE.NOERROR;
  const end = questionEnd(query);
  const text = (message: Uint8Array): string => Buffer.from(message.subarray(12, end)).toString("latin1").toLowerCase();
  return reply.length >= end && text(reply) === text(query);
}
