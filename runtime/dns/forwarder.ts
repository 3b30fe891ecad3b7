/** Asks the host's resolvers what no network of ours knows. */
import { randomInt } from "node:crypto";
import * as dgram from "node:dgram";
import * as net from "node:net";
import { HEADER_BYTES, isReplyTo, isTruncated, type Query, RCODE, readQuery, writeError } from "./message";
import { ResolvConf } from "./resolv-conf";

export interface ForwarderOptions {
  /** Who can be asked, in order: numeric addresses, also `address#port`. @default the host's /etc/resolv.conf */
  readonly servers?: () => readonly string[];
  /** Milliseconds for each server's answer. @default 1500 */
  readonly timeout?: number;
  /** Questions on their way at once; more are refused with SERVFAIL. @default 256 */
  readonly maxInFlight?: number;
  /** Milliseconds, monotonic. */
  readonly now?: () => number;
}

const DNS_PORT = 53;
/** Milliseconds for which a server that did not answer is asked last. */
const PENALTY = 30_000;

export class Forwarder {
  private readonly servers: () => readonly string[];
  private readonly timeout: number;
  private readonly maxInFlight: number;
  private readonly now: () => number;
  private readonly open = new Set<() => void>();
  /** Questions on their way. One that comes back to us, because a resolver of the host asks us, meets itself here. */
  private readonly inFlight = new Map<string, Promise<Uint8Array | undefined>>();
  private readonly silentUntil = new Map<string, number>();
  private closed = false;

  constructor(options: ForwarderOptions = {}) {
    const resolvConf = new ResolvConf();
    this.servers = options.servers ?? (() => resolvConf.current());
    this.timeout = options.timeout ?? 1500;
    this.maxInFlight = options.maxInFlight ?? 256;
    this.now = options.now ?? (() => performance.now());
  }

  /** The reply to a well-formed query, under its own id; SERVFAIL where no server gives one in time. */
  async resolve(query: Uint8Array): Promise<Uint8Array> {
    const reading = readQuery(query);
    const reply = reading.kind === "query" ? await this.shared(query, reading.query) : undefined;
    if (reply === undefined) return writeError(query, RCODE.SERVFAIL);
    const own = Buffer.from(reply);
    own.set(query.subarray(0, 2));
    // The question as this asker wrote it; a reply may come without one.
    if (reading.kind === "query" && reply[5] === 1)
      own.set(query.subarray(HEADER_BYTES, reading.query.end), HEADER_BYTES);
    return own;
  }

  close(): void {
    this.closed = true;
    for (const abort of this.open) abort();
  }

  private shared(message: Uint8Array, query: Query): Promise<Uint8Array | undefined> {
    const { key, type, class: of, flags, edns } = query;
    const question = `${key} ${type} ${of} ${flags} ${edns === undefined ? "" : `${edns.dnssec} ${query.limit}`}`;
    const underway = this.inFlight.get(question);
    if (underway) return underway;
    if (this.closed || this.inFlight.size >= this.maxInFlight) return Promise.resolve(undefined);
    const asked = this.ask(message).finally(() => this.inFlight.delete(question));
    this.inFlight.set(question, asked);
    return asked;
  }

  private async ask(query: Uint8Array): Promise<Uint8Array | undefined> {
    // Another id and another source port each time: a forged answer must guess both.
    const asked = Buffer.from(query);
    for (const server of this.inOrder()) {
      if (this.closed) return undefined;
      asked.writeUInt16BE(randomInt(0x10000), 0);
      let reply = await this.overUdp(server, asked);
      if (reply === undefined) this.silentUntil.set(server, this.now() + PENALTY);
      else this.silentUntil.delete(server);
      if (reply !== undefined && isTruncated(reply)) reply = (await this.overTcp(server, asked)) ?? reply;
      if (reply === undefined) continue;
      const rcode = reply[3]! & 15;
      if (rcode === RCODE.SERVFAIL || rcode === RCODE.REFUSED || rcode === RCODE.NOTIMP) continue;
      return reply;
    }
    return undefined;
  }

  private inOrder(): readonly string[] {
    const servers = this.servers();
    const now = this.now();
    const isSilent = (server: string) => (this.silentUntil.get(server) ?? Number.NEGATIVE_INFINITY) > now;
    for (const server of this.silentUntil.keys()) if (!servers.includes(server)) this.silentUntil.delete(server);
    return [...servers.filter((server) => !isSilent(server)), ...servers.filter(isSilent)];
  }

  private overUdp(server: string, query: Uint8Array): Promise<Buffer | undefined> {
    const { host, port } = parseServer(server);
    return new Promise((resolve) => {
      const socket = dgram.createSocket(net.isIPv6(host.split("%")[0]!) ? "udp6" : "udp4");
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
      const got: Buffer[] = [];
      let bytes = 0;
      let end = Number.POSITIVE_INFINITY;
      socket.on("error", () => done(undefined));
      socket.on("close", () => done(undefined));
      socket.on("connect", () => {
        const length = Buffer.alloc(2);
        length.writeUInt16BE(query.length);
        socket.write(Buffer.concat([length, query]));
      });
      socket.on("data", (chunk) => {
        got.push(chunk);
        bytes += chunk.length;
        if (end === Number.POSITIVE_INFINITY && bytes >= 2) end = 2 + Buffer.concat(got).readUInt16BE(0);
        if (bytes < end) return;
        const reply = Buffer.concat(got).subarray(2, end);
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
