import { EventEmitter, once } from "node:events";
import * as http from "node:http";
import * as net from "node:net";
import type { Duplex } from "node:stream";
import { serveDial } from "./dial";

describe("a dial over its socket", () => {
  let server: http.Server;
  /** Connections that the network is asked for: each emits `gone` when its asker has gone, and opens by `open`. */
  let asked: EventEmitter;

  beforeEach(async () => {
    asked = new EventEmitter();
    const connect = (_id: string, _host: string, _port: number, signal: AbortSignal) =>
      new Promise<Duplex>((resolve, reject) => {
        signal.addEventListener("abort", () => {
          reject(Object.assign(new Error("gone"), { code: "ECONNABORTED" }));
          asked.emit("gone");
        });
        asked.emit("connect", resolve, reject);
      });
    server = http.createServer().on("upgrade", (request, socket: net.Socket, head) => {
      void serveDial(request, socket, head, { networkId: (name) => name, dial: () => ({ connect }) as never });
    });
    await once(server.listen(0, "127.0.0.1"), "listening");
  });
  afterEach(() => server.close());

  const at = () => (server.address() as net.AddressInfo).port;
  /** @param early what follows the request before there is an answer */
  function ask(early = "", network = "net"): net.Socket {
    const socket = net.connect({ port: at(), host: "127.0.0.1", allowHalfOpen: true });
    const head = "Host: control\r\nConnection: Upgrade\r\nUpgrade: warren-stream";
    socket.write(`GET /v1/networks/${network}/dial?to=web.internal:80 HTTP/1.1\r\n${head}\r\n\r\n${early}`);
    return socket;
  }
  const text = async (socket: net.Socket) => {
    let all = "";
    for await (const chunk of socket) all += chunk;
    return all;
  };
  /** A connection of the network's, and what its other end says first. */
  async function echo(): Promise<{ stream: net.Socket; close: () => void }> {
    const other = net.createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket)).listen(0, "127.0.0.1");
    await once(other, "listening");
    const { port } = other.address() as net.AddressInfo;
    const stream = net.connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    await once(stream, "connect");
    return { stream, close: () => other.close() };
  }

  test.each([
    ["goes away", "", (socket: net.Socket) => socket.destroy()],
    ["ends", "", (socket: net.Socket) => socket.end()],
    ["has sent bytes and goes away", "early", (socket: net.Socket) => socket.end()],
  ])("ends when its client %s while the network connects", async (_name, early, leave) => {
    const connecting = once(asked, "connect");
    const gone = once(asked, "gone");
    const socket = ask(early).resume();
    await connecting;
    leave(socket);
    await gone;
    if (!socket.destroyed) await once(socket, "close");
  });

  test.each([1, 20_000, 1_000_000])("loses none of %d bytes that come before the answer", async (size) => {
    const { stream, close } = await echo();
    const connecting = once(asked, "connect");
    const sent = Buffer.from(Array.from({ length: size }, (_, i) => 97 + (i % 26))).toString();
    const socket = ask(sent.slice(0, size / 2));
    const [open] = await connecting;
    socket.write(sent.slice(size / 2));
    await new Promise((resolve) => setTimeout(resolve, 50));
    open(stream);
    const [answer] = (await once(socket, "data")) as [Buffer];
    socket.pause();
    socket.unshift(answer);
    socket.end();
    const [head, ...body] = (await text(socket)).split("\r\n\r\n");
    expect(head).toMatch(/^HTTP\/1\.1 101 /);
    expect(body.join("") === sent).toBe(true);
    close();
  });

  test("is closed after a refusal, whatever came early", async () => {
    asked.on("connect", (_open, refuse) =>
      setTimeout(refuse, 50, Object.assign(new Error("refused"), { code: "ECONNREFUSED" })),
    );
    const connection = once(server, "connection");
    const socket = ask("x".repeat(200_000));
    const [served] = (await connection) as [net.Socket];
    expect(await text(socket)).toMatch(/^HTTP\/1\.1 502 .*warren-errno: ECONNREFUSED/s);
    socket.end();
    if (!served.destroyed) await once(served, "close");
  });

  test("into a network whose name is no percent-encoding is not found", async () => {
    expect(await text(ask("", "%E0%A4%A"))).toMatch(/^HTTP\/1\.1 404 /);
  });
});
