/** Listening on a stack: servers on a port, and connections that nobody listens for. */
import { EventEmitter } from "node:events";
import { addressText, checkPort, familyOfBytes } from "./address";
import type { RejectReason } from "./icmp";
import { NetworkError } from "./network-error";
import type { Endpoint } from "./options";
import type { Stack } from "./stack";
import { type TcpConnectionOptions, TcpError, type TcpListener } from "./tcp";
import { TcpStream, type TcpStreamOptions } from "./tcp-stream";

export interface TcpServerOptions extends TcpStreamOptions {
  readonly connection?: TcpConnectionOptions;
  /** Handshakes under way at once. */
  readonly backlog?: number;
}

/** Emits `listening`, `connection` (a TcpStream), `error`, `close`. */
export class TcpServer extends EventEmitter {
  private listener: TcpListener | undefined;
  private at: Endpoint | undefined;

  constructor(
    readonly stack: Stack,
    private readonly options: TcpServerOptions = {},
    onConnection?: (stream: TcpStream) => void,
  ) {
    super();
    if (onConnection !== undefined) this.on("connection", onConnection);
  }

  get listening(): boolean {
    return this.listener !== undefined;
  }

  /**
   * @param local.address default, `0.0.0.0` and `::`: all addresses
   * @param local.port 0: any. A port that is taken is an `error` event (EADDRINUSE).
   * @throws WarrenError WARREN_INVALID_INPUT
   */
  listen(local: { port: number; address?: string }): this {
    const port = checkPort(local.port, "port", 0);
    const { address: text = "0.0.0.0" } = local;
    const address = text === "0.0.0.0" || text === "::" ? undefined : this.stack.parse(text, "address");
    const { options } = this;
    try {
      this.listener = this.stack.tcp.listen({
        address,
        port,
        backlog: options.backlog,
        connection: options.connection,
        onConnection: (connection) => {
          this.emit("connection", new TcpStream(connection, options));
        },
      });
    } catch (error) {
      if (!(error instanceof TcpError)) throw error;
      const about = { address: text, port };
      process.nextTick(() => this.emit("error", new NetworkError(error.code, "listen", about, { cause: error })));
      return this;
    }
    this.at = { address: text, port: this.listener.port };
    process.nextTick(() => {
      if (this.listening) this.emit("listening");
    });
    return this;
  }

  address(): (Endpoint & { family: string }) | undefined {
    return this.at && { ...this.at, family: this.at.address.includes(":") ? "IPv6" : "IPv4" };
  }

  /** No more connections; those that exist stay. `close` follows. */
  close(callback?: () => void): this {
    if (callback !== undefined) this.once("close", callback);
    this.listener?.close();
    this.listener = undefined;
    this.at = undefined;
    process.nextTick(() => this.emit("close"));
    return this;
  }
}

/** A connection that somebody wants where no TcpServer listens: through a transparent stack, to any address. */
export interface ConnectionRequest {
  readonly from: Endpoint;
  /** Where to. */
  readonly to: Endpoint;
  /** Undefined where it was given up meanwhile. */
  accept(options?: TcpServerOptions): TcpStream | undefined;
  /** RST: "connection refused". */
  refuse(): void;
  /** ICMP unreachable. */
  unreachable(reason: Exclude<RejectReason, "port">): void;
  /** Called when it was given up, or nobody answered it in time. */
  onGone: (() => void) | undefined;
}

/** Takes the connections that no TcpServer takes, and answers each at once or later; undefined: they are refused. */
export function onConnectionRequest(stack: Stack, handler: ((request: ConnectionRequest) => void) | undefined): void {
  if (handler === undefined) {
    stack.tcp.onSyn = undefined;
    return;
  }
  stack.tcp.onSyn = (syn) => {
    const request: ConnectionRequest = {
      from: { address: addressText(syn.remote, 0, familyOfBytes(syn.remote)), port: syn.remotePort },
      to: { address: addressText(syn.local, 0, familyOfBytes(syn.local)), port: syn.localPort },
      accept: (options = {}) => {
        const connection = syn.accept(options.connection);
        return connection && new TcpStream(connection, options);
      },
      refuse: () => syn.refuse(),
      unreachable: (reason) => stack.rejectSyn(syn, reason),
      onGone: undefined,
    };
    syn.onGone = () => request.onGone?.();
    handler(request);
  };
}
