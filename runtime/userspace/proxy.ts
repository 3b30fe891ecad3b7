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
/** Milliseconds until the first byte. */
const FIRST_BYTE = 30_000;

export function credentialsOf(secret: string): Credentials {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  const wanted = digest(secret);
  return { matches: (user, password) => timingSafeEqual(digest(password), wanted) && user === PROXY_USER };
}

export class AppProxy {
  private readonly open = new Set<net.Socket>();
  private readonly server: net.Server;

  private constructor(way: Way, secret: string) {
    const credentials = credentialsOf(secret);
    const http = httpProxy(way, credentials);
    this.server = net.createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: false }, (socket) => {
      this.open.add(socket);
      socket.on("close", () => this.open.delete(socket));
      socket.on("error", () => socket.destroy());
      socket.setTimeout(FIRST_BYTE, () => socket.destroy());
      socket.once("data", (first: Buffer) => {
        socket.setTimeout(0);
        socket.removeAllListeners("timeout");
        socket.pause();
        socket.unshift(first);
        if (first[0] === VERSION) void serveSocks(socket, way, credentials);
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
  static async listen(port: number, secret: string, way: Way): Promise<AppProxy> {
    const proxy = new AppProxy(way, secret);
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

  close(): void {
    this.server.close();
    for (const socket of this.open) socket.destroy();
  }
}
