/** TCP connections of a stack as Node's streams: what `node:net` has, as far as HTTP clients and servers ask for it. */
import { EventEmitter } from "node:events";
import * as stream from "node:stream";
import { WarrenError } from "../errors";
import type { Endpoint } from "./options";
import type { Stack } from "./stack";
import type { TcpConnection, TcpConnectionOptions } from "./tcp/types";

function missing(): never {
  throw new WarrenError("WARREN_UNSUPPORTED", "This part of the network stack is under construction today.");
}

export interface ConnectOptions extends TcpConnectionOptions {
  /** A numeric address of the stack's network. */
  readonly address: string;
  readonly port: number;
  readonly localAddress?: string;
  readonly localPort?: number;
}

/**
 * A connection. Emits `connect` and `ready`, `timeout`, and what `stream.Duplex` emits; errors have Node's codes (ECONNREFUSED, ECONNRESET,
 * ETIMEDOUT, EHOSTUNREACH). `allowHalfOpen` as Node's sockets have it. Backpressure reaches the peer both ways.
 */
export class TcpStream extends stream.Duplex {
  /** @param connection its handlers are this stream's from now on */
  constructor(
    readonly connection: TcpConnection,
    options: { allowHalfOpen?: boolean } = {},
  ) {
    super({ allowHalfOpen: options.allowHalfOpen ?? false });
    missing();
  }

  /** Errors, also those that are known at once, come as `error` events. @throws WarrenError WARREN_INVALID_INPUT */
  static connect(_stack: Stack, _options: ConnectOptions & { allowHalfOpen?: boolean }): TcpStream {
    return missing();
  }

  readonly connecting: boolean = false;
  readonly remoteAddress: string = "";
  readonly remotePort: number = 0;
  readonly remoteFamily: "IPv4" | "IPv6" = "IPv4";
  readonly localAddress: string = "";
  readonly localPort: number = 0;
  readonly bytesRead: number = 0;
  readonly bytesWritten: number = 0;

  setNoDelay(_on?: boolean): this {
    return missing();
  }

  /** @param idle milliseconds */
  setKeepAlive(_on?: boolean, _idle?: number): this {
    return missing();
  }

  /** Emits `timeout` after so many milliseconds without a byte either way; 0: never. */
  setTimeout(_milliseconds: number, _callback?: () => void): this {
    return missing();
  }

  /** RST instead of FIN. */
  resetAndDestroy(): this {
    return missing();
  }

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }
}

/** Emits `listening`, `connection` (a TcpStream), `error`, `close`. */
export class TcpServer extends EventEmitter {
  constructor(
    readonly stack: Stack,
    _options: { allowHalfOpen?: boolean; connection?: TcpConnectionOptions; backlog?: number } = {},
    _onConnection?: (stream: TcpStream) => void,
  ) {
    super();
  }

  /** @param local.address default: all addresses. @param local.port 0: any. A port that is taken is an `error` event (EADDRINUSE). */
  listen(_local: { port: number; address?: string }): this {
    return missing();
  }

  address(): Endpoint | undefined {
    return missing();
  }

  /** No more connections; those that exist stay. `close` follows. */
  close(): this {
    return missing();
  }
}

/** A connection that somebody wants through a transparent stack (`Stack.onSyn`), or to a port without a listener. */
export interface ConnectionRequest {
  readonly from: Endpoint;
  /** Where to. */
  readonly to: Endpoint;
  /** Undefined where it was given up meanwhile. */
  accept(options?: { allowHalfOpen?: boolean; connection?: TcpConnectionOptions }): TcpStream | undefined;
  /** RST: "connection refused". */
  refuse(): void;
  /** ICMP unreachable. */
  unreachable(reason: "host" | "network" | "admin"): void;
  /** It was given up. */
  onGone: (() => void) | undefined;
}

/** Takes the connections that no TcpServer takes; undefined: they are refused. */
export function onConnectionRequest(_stack: Stack, _handler: ((request: ConnectionRequest) => void) | undefined): void {
  missing();
}

/** As `node:dgram` has it: emits `message` (Buffer, Endpoint), `error`, `close`. */
export class UdpSocket extends EventEmitter {
  constructor(
    readonly stack: Stack,
    _local: Partial<Endpoint> = {},
  ) {
    super();
  }

  address(): Endpoint {
    return missing();
  }

  connect(_remote: Endpoint): this {
    return missing();
  }

  /** @returns false where it was dropped for want of room */
  send(_data: Uint8Array, _to?: Endpoint): boolean {
    return missing();
  }

  close(): this {
    return missing();
  }
}
