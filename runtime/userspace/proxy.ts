/** An app's way out of its process: one port on loopback that speaks SOCKS5 and HTTP, for whoever has its password. */
import { createHash, timingSafeEqual } from "node:crypto";
import * as net from "node:net";
import { httpProxy } from "./http-proxy";
import { PROXY_USER } from "./proxy-environment";
import { type Credentials, serveSocks } from "./socks-session";
import { VERSION } from "./socks5";
import type { Way } from "./way";

/** Connections at once. */
const CONNECTIONS = 2048;
/** Those of them that have not shown the password yet: where there are more the oldest goes, so that no other account can take all. */
const STRANGERS = 256;
/** Milliseconds until a connection has shown the password and said what it wants. */
const GREETING = 30_000;

export interface ProxyBounds {
  /** @default 256 */
  readonly strangers?: number;
  /** Milliseconds. @default 30000 */
  readonly greeting?: number;
}

export function credentialsOf(secret: string): Credentials {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  const wanted = digest(secret);
  return { matches: (user, password) => timingSafeEqual(digest(password), wanted) && user === PROXY_USER };
}

export class AppProxy {
  private readonly open = new Set<net.Socket>();
  /** Those without the password, oldest first, each with what ends it. */
  private readonly strangers = new Map<net.Socket, NodeJS.Timeout>();
  private readonly server: net.Server;
  /** Strangers that gave way to newer ones. */
  private evicted = 0;

  private constructor(
    way: Way,
    secret: string,
    private readonly bounds: ProxyBounds,
  ) {
    const credentials = credentialsOf(secret);
    const http = httpProxy(way, credentials, (socket) => this.admit(socket));
    this.server = net.createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: false }, (socket) => {
      this.greet(socket);
      socket.once("data", (first: Buffer) => {
        socket.pause();
        socket.unshift(first);
        if (first[0] === VERSION) void serveSocks(socket, way, credentials, () => this.admit(socket));
        else http.emit("connection", socket);
        socket.resume();
      });
      socket.once("end", () => {
        if (socket.bytesRead === 0) socket.end();
      });
    });
    this.server.maxConnections = CONNECTIONS;
  }

  /** @throws the system's error where the port is taken. */
  static async listen(port: number, secret: string, way: Way, bounds: ProxyBounds = {}): Promise<AppProxy> {
    const proxy = new AppProxy(way, secret, bounds);
    await new Promise<void>((resolve, reject) => {
      proxy.server.once("error", reject);
      proxy.server.listen(port, "127.0.0.1", () => {
        proxy.server.removeListener("error", reject);
        proxy.server.on("error", () => undefined);
        resolve();
      });
    });
    proxy.server.unref();
    return proxy;
  }

  get port(): number {
    return (this.server.address() as net.AddressInfo).port;
  }

  /** By reason. */
  get lost(): Record<string, number> {
    return { "proxy strangers evicted": this.evicted };
  }

  close(): void {
    this.server.close();
    for (const socket of this.open) socket.destroy();
  }

  private greet(socket: net.Socket): void {
    const { strangers, bounds } = this;
    this.open.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      this.open.delete(socket);
      this.admit(socket);
    });
    const [oldest] = strangers.keys();
    if (oldest && strangers.size >= (bounds.strangers ?? STRANGERS)) {
      this.evicted++;
      oldest.destroy();
    }
    // However slowly it speaks: not a time of silence, which a byte now and then would draw out for ever.
    strangers.set(socket, setTimeout(() => socket.destroy(), bounds.greeting ?? GREETING).unref());
  }

  /** It is no stranger any more. */
  private admit(socket: net.Socket): void {
    clearTimeout(this.strangers.get(socket));
    this.strangers.delete(socket);
  }
}
