/** A TCP connection as a Node stream: what `net.Socket` is, as far as HTTP clients and servers ask for it. */
import type * as net from "node:net";
import * as stream from "node:stream";
import { addressText, checkPort, familyOfBytes } from "./address";
import { NetworkError } from "./network-error";
import type { NetworkErrorCode } from "./options";
import type { Stack } from "./stack";
import { type TcpConnection, type TcpConnectionOptions, TcpError } from "./tcp";
import { TcpRelay } from "./tcp-relay";

export interface TcpStreamOptions {
  /** Our side stays open when the peer has ended its own. @default false */
  readonly allowHalfOpen?: boolean;
  /**
   * Chunks that are written are never altered afterwards, as it is with all that comes out of another stream: then they need not
   * be copied. @default false
   */
  readonly chunksAreFinal?: boolean;
}

export interface ConnectOptions extends TcpConnectionOptions, TcpStreamOptions {
  /** A numeric address of the stack's network. */
  readonly address: string;
  readonly port: number;
  readonly localAddress?: string;
  readonly localPort?: number;
}

type Callback = (error?: Error | null) => void;

/**
 * Emits `connect` and `ready`, `timeout`, and what `stream.Duplex` emits; errors are NetworkErrors (ECONNREFUSED, ECONNRESET,
 * ETIMEDOUT, EHOSTUNREACH, …). A reader that does not read stops the peer; a peer that does not read stops the writer.
 */
export class TcpStream extends stream.Duplex {
  /** The handshake is not complete yet. */
  connecting: boolean;
  bytesRead = 0;
  bytesWritten = 0;
  /** Milliseconds of `setTimeout`; undefined: none. */
  timeout: number | undefined;
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly remoteFamily: "IPv4" | "IPv6";
  readonly localAddress: string;
  readonly localPort: number;
  /** See TcpStreamOptions. @internal */
  chunksAreFinal: boolean;
  /** The reader wants more. */
  private wanted = false;
  private ended = false;
  /** Of the write that waits for room. */
  private blocked: Callback | undefined;
  private timer: NodeJS.Timeout | undefined;
  /** Takes all that arrives. */
  private relay: TcpRelay | undefined;

  /**
   * @param connection undefined where there could be none: an `error` follows
   * @param remote where to, where there is no connection to ask
   */
  constructor(
    readonly connection: TcpConnection | undefined,
    options: TcpStreamOptions = {},
    remote?: { address: string; port: number },
  ) {
    super({ allowHalfOpen: options.allowHalfOpen ?? false });
    this.chunksAreFinal = options.chunksAreFinal ?? false;
    const text = (bytes: Uint8Array | undefined): string =>
      bytes === undefined ? "" : addressText(bytes, 0, familyOfBytes(bytes));
    this.remoteAddress = remote?.address ?? text(connection?.remote);
    this.remotePort = remote?.port ?? connection?.remotePort ?? 0;
    this.remoteFamily = this.remoteAddress.includes(":") ? "IPv6" : "IPv4";
    this.localAddress = text(connection?.local);
    this.localPort = connection?.localPort ?? 0;
    const state = connection?.state;
    this.connecting = connection === undefined || state === "syn-sent" || state === "syn-received";
    if (connection === undefined) return;
    connection.owner = this;
    connection.handlers = {
      connected: () => this.onConnected(),
      readable: () => this.pump(),
      writable: () => this.onWritable(),
      error: (error) => this.fail(error),
    };
  }

  /** Whatever goes wrong with the network comes as an `error` event. @throws WarrenError WARREN_INVALID_INPUT */
  static connect(stack: Stack, options: ConnectOptions): TcpStream {
    const { address, port, localAddress, localPort } = options;
    const to = { address: stack.parse(address, "address"), port: checkPort(port, "port") };
    const local = {
      address: localAddress === undefined ? undefined : stack.parse(localAddress, "localAddress"),
      port: localPort === undefined ? undefined : checkPort(localPort, "localPort", 0),
    };
    try {
      return new TcpStream(stack.tcp.connect(to, local, options), options, { address, port });
    } catch (error) {
      if (!(error instanceof TcpError)) throw error;
      const failed = new TcpStream(undefined, options, { address, port });
      process.nextTick(() => failed.fail(error));
      return failed;
    }
  }

  get pending(): boolean {
    return this.connecting;
  }

  get readyState(): "opening" | "open" | "readOnly" | "writeOnly" | "closed" {
    if (this.connecting) return "opening";
    if (this.readable && this.writable) return "open";
    if (this.readable) return "readOnly";
    return this.writable ? "writeOnly" : "closed";
  }

  address(): { address: string; family: string; port: number } {
    return { address: this.localAddress, family: this.remoteFamily, port: this.localPort };
  }

  setNoDelay(on = true): this {
    this.connection?.setNoDelay(on);
    return this;
  }

  /** @param idle milliseconds before the first probe; 0: Linux' two hours */
  setKeepAlive(on = false, idle = 0): this {
    this.connection?.setKeepAlive(on ? idle || 7_200_000 : 0);
    return this;
  }

  /** Emits `timeout` after so many milliseconds without a byte either way; 0: never. The connection stays as it is. */
  setTimeout(milliseconds: number, callback?: () => void): this {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.timeout = milliseconds > 0 ? milliseconds : undefined;
    if (milliseconds > 0 && !this.destroyed) {
      this.timer = setTimeout(() => this.emit("timeout"), milliseconds);
      this.timer.unref();
    }
    if (callback === undefined) return this;
    if (milliseconds > 0) this.once("timeout", callback);
    else this.off("timeout", callback);
    return this;
  }

  /** Ends once everything that was written has left. */
  destroySoon(): void {
    if (this.writable) this.end();
    if (this.writableFinished) this.destroy();
    else this.once("finish", () => this.destroy());
  }

  /** RST instead of FIN. */
  resetAndDestroy(): this {
    this.connection?.abort();
    return this.destroy();
  }

  /** The stack is no handle of the event loop: there is nothing to hold. */
  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }

  /**
   * As `pipe`, to a socket that says of bytes that they are written when the kernel has them: no memory is allocated for them.
   * @throws Error where bytes wait in this stream already
   * @internal
   */
  relayTo(to: net.Socket): void {
    const { connection } = this;
    if (this.readableLength > 0) throw new Error("a stream that was read before cannot be relayed");
    if (this.readableEnded) to.end();
    else this.once("end", () => to.end());
    if (connection === undefined) return;
    this.relay = new TcpRelay(connection, to, () => this.pump());
    // Nothing but the end comes this way from now on.
    this.resume();
    this.pump();
  }

  override _read(): void {
    this.wanted = true;
    this.pump();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Callback): void {
    this.settle(this.send(chunk), done);
  }

  override _writev(chunks: { chunk: Buffer; encoding: BufferEncoding }[], done: Callback): void {
    let room = true;
    for (const { chunk } of chunks) room = this.send(chunk);
    this.settle(room, done);
  }

  override _final(done: Callback): void {
    this.connection?.end();
    done();
  }

  override _destroy(error: Error | null, done: Callback): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.connecting = false;
    if (this.connection !== undefined) {
      this.connection.handlers = {};
      this.connection.close();
    }
    const { blocked } = this;
    this.blocked = undefined;
    blocked?.(error ?? new NetworkError("ECONNABORTED", "write", this.remote));
    done(error);
  }

  private get remote(): { address: string; port: number } {
    return { address: this.remoteAddress, port: this.remotePort };
  }

  /** @returns whether there is room for more */
  private send(chunk: Buffer): boolean {
    this.timer?.refresh();
    this.bytesWritten += chunk.length;
    // Without a connection the error is on its way.
    return this.connection?.write(this.chunksAreFinal ? chunk : Buffer.from(chunk)) ?? false;
  }

  private settle(room: boolean, done: Callback): void {
    if (room) done();
    else this.blocked = done;
  }

  private onConnected(): void {
    // One that a server took was complete before.
    if (!this.connecting) return;
    this.connecting = false;
    this.emit("connect");
    this.emit("ready");
  }

  private onWritable(): void {
    const { blocked } = this;
    this.blocked = undefined;
    this.timer?.refresh();
    blocked?.();
  }

  private pump(): void {
    const { connection, relay } = this;
    if (connection === undefined || this.destroyed) return;
    if (relay !== undefined) this.arrived(relay.pump());
    while (relay === undefined && this.wanted) {
      const chunk = connection.read();
      if (chunk === undefined) break;
      this.arrived(chunk.length);
      this.wanted = this.push(chunk);
    }
    if ((relay !== undefined || this.wanted) && connection.readEnded && !this.ended) {
      this.ended = true;
      this.push(null);
    }
  }

  private arrived(bytes: number): void {
    if (bytes === 0) return;
    this.bytesRead += bytes;
    this.timer?.refresh();
  }

  private fail(error: TcpError): void {
    const code: NetworkErrorCode = error.code;
    if (code === "ECONNABORTED" && !this.connecting) {
      // The stack goes: whoever reads sees a premature close, and nobody has to listen for errors.
      this.destroy();
      return;
    }
    this.destroy(new NetworkError(code, this.connecting ? "connect" : "read", this.remote, { cause: error }));
  }
}
