import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import * as http from "node:http";
import * as stream from "node:stream";
import { pipeline } from "node:stream/promises";
import { seededRandom } from "../../test/support/programs/random";
import { StackRunner } from "./runner";
import { type ConnectionRequest, onConnectionRequest, TcpServer, TcpStream, UdpSocket } from "./streams";
import { Memory } from "./tcp/memory";
import { MemoryPipe } from "./testing/pipes";

const A = { 4: "10.0.0.1", 6: "fd00::1" } as const;
const B = { 4: "10.0.0.2", 6: "fd00::2" } as const;

describe("streams over two stacks", () => {
  let a: StackRunner;
  let b: StackRunner;
  let pipes: [MemoryPipe, MemoryPipe];

  beforeEach(() => {
    pipes = MemoryPipe.pair();
    a = new StackRunner({ pipe: pipes[0], addresses: [A[4], A[6]], mtu: 1420, ref: true });
    b = new StackRunner({ pipe: pipes[1], addresses: [B[4], B[6]], mtu: 1420, transparent: true, ref: true });
  });

  afterEach(() => {
    a.close();
    b.close();
  });

  const serve = (port: number, onConnection: (stream: TcpStream) => void, allowHalfOpen = false): TcpServer =>
    new TcpServer(b.stack, { allowHalfOpen }, onConnection).listen({ port });
  const dial = (port: number, address: string = B[4]): TcpStream => TcpStream.connect(a.stack, { address, port });

  it.each([4, 6] as const)(
    "IPv%s: an echo has every byte, with addresses and ports as Node tells them",
    async (family) => {
      let seen: TcpStream | undefined;
      serve(7, (peer) => {
        seen = peer;
        peer.pipe(peer);
      });
      const data = randomBytes(3 << 20);
      const socket = dial(7, B[family]);
      expect(socket.connecting).toBe(true);
      const echoed = createHash("sha256");
      socket.on("data", (chunk) => echoed.update(chunk));
      socket.end(data);
      await once(socket, "end");
      expect(echoed.digest("hex")).toBe(createHash("sha256").update(data).digest("hex"));
      expect([socket.bytesRead, socket.bytesWritten]).toEqual([data.length, data.length]);
      expect([socket.remoteAddress, socket.remotePort, socket.localAddress]).toEqual([B[family], 7, A[family]]);
      expect([seen?.remoteAddress, seen?.remotePort, seen?.localPort]).toEqual([A[family], socket.localPort, 7]);
    },
  );

  it("refuses at once where nobody listens", async () => {
    const [error] = await once(dial(81), "error");
    expect(error).toMatchObject({ code: "ECONNREFUSED", syscall: "connect", address: B[4], port: 81 });
  });

  it("tells of what is known at once as an event, too", async () => {
    b.stack.setAddresses([B[4]]);
    const [error] = await once(TcpStream.connect(b.stack, { address: A[6], port: 1 }), "error");
    expect(error).toMatchObject({ code: "EHOSTUNREACH" });
    expect(() => dial(0)).toThrow("port: 0 is no port");
    expect(() => dial(1, "server.internal")).toThrow("resolve names first");
    serve(80, () => {});
    const [taken] = await once(
      serve(80, () => {}),
      "error",
    );
    expect(taken).toMatchObject({ code: "EADDRINUSE" });
  });

  it("a stack that is closed takes nothing more, and says so", async () => {
    a.close();
    const socket = TcpStream.connect(a.stack, { address: B[4], port: 80 });
    socket.write("x");
    const [error] = await once(socket, "error");
    expect(error).toMatchObject({ code: "ECONNABORTED", syscall: "connect" });
    const [refused] = await once(new TcpServer(a.stack).listen({ port: 80 }), "error");
    expect(refused).toMatchObject({ code: "ECONNABORTED" });
  });

  it("what a stack sends to itself without end leaves others their turns", async () => {
    serve(12, (peer) => peer.resume());
    const socket = TcpStream.connect(b.stack, { address: B[4], port: 12 });
    await once(socket, "connect");
    const chunk = Buffer.alloc(65536);
    const more = () => {
      while (socket.write(chunk));
      socket.once("drain", more);
    };
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    more();
    await new Promise((resolve) => setTimeout(resolve, 100));
    clearInterval(timer);
    socket.destroy();
    expect(turns).toBeGreaterThan(5);
    expect(socket.bytesWritten).toBeGreaterThan(1 << 20);
  });

  it("half-closes: what comes after our end still comes", async () => {
    serve(
      9,
      (peer) => {
        peer.resume();
        peer.on("end", () => peer.end("after the end"));
      },
      true,
    );
    const socket = TcpStream.connect(a.stack, { address: B[4], port: 9, allowHalfOpen: true });
    socket.end("before");
    const chunks: Buffer[] = [];
    for await (const chunk of socket) chunks.push(chunk);
    expect(Buffer.concat(chunks).toString()).toBe("after the end");
  });

  it("a reset of the peer is ECONNRESET", async () => {
    serve(10, (peer) => peer.once("data", () => peer.resetAndDestroy()));
    const socket = dial(10);
    socket.write("x");
    const [error] = await once(socket, "error");
    expect(error).toMatchObject({ code: "ECONNRESET", syscall: "read" });
  });

  it("a reader that stops reading stops the writer, with bounded memory on both sides", async () => {
    const connections: TcpStream[] = [];
    serve(11, (peer) => connections.push(peer.pause()));
    const socket = dial(11);
    let written = 0;
    const source = new stream.Readable({
      read() {
        written += 65536;
        this.push(written > 256 << 20 ? null : Buffer.alloc(65536));
      },
    });
    source.pipe(socket);
    await new Promise((resolve) => setTimeout(resolve, 300));
    const stopped = written;
    expect(stopped).toBeLessThan(16 << 20);
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(written).toBe(stopped);
    let read = 0;
    connections[0].on("data", (chunk) => {
      read += chunk.length;
    });
    connections[0].resume();
    while (read < stopped + (8 << 20)) await new Promise(setImmediate);
    socket.destroy();
  });

  it("a buffer may be used again as soon as its write is done, unless it was promised otherwise", async () => {
    const received: Buffer[] = [];
    serve(12, (peer) => peer.on("data", (chunk) => received.push(Buffer.from(chunk))));
    const socket = dial(12);
    const chunk = Buffer.alloc(40000);
    for (let i = 0; i < 8; i++) {
      chunk.fill(i);
      await new Promise((resolve) => socket.write(chunk, resolve));
    }
    socket.end();
    await once(socket.resume(), "close");
    const all = Buffer.concat(received);
    for (let i = 0; i < 8; i++) expect(all[40000 * i + 39999]).toBe(i);
  });

  it("carries Node's HTTP client and server, kept alive", async () => {
    const web = http.createServer((request, response) => {
      request.pipe(response);
    });
    serve(80, (peer) => web.emit("connection", peer));
    const agent = new http.Agent({ keepAlive: true });
    agent.createConnection = ((options: { host: string; port: number }) =>
      TcpStream.connect(a.stack, { address: options.host, port: Number(options.port) })) as never;
    const ask = async (body: Buffer): Promise<Buffer> => {
      const request = http.request({ host: B[4], port: 80, method: "POST", agent });
      request.end(body);
      const [response] = (await once(request, "response")) as [http.IncomingMessage];
      const chunks: Buffer[] = [];
      for await (const chunk of response) chunks.push(chunk);
      return Buffer.concat(chunks);
    };
    for (const size of [0, 10, 1 << 20]) {
      const body = randomBytes(size);
      expect((await ask(body)).equals(body)).toBe(true);
    }
    expect(b.stack.tcp.stats().accepted).toBe(1);
    agent.destroy();
    web.close();
  });

  it("carries the Fetch API by undici's dispatcher", async () => {
    const web = http.createServer((request, response) => response.end(`you asked for ${request.url}`));
    serve(80, (peer) => web.emit("connection", peer));
    const { Agent, request } = await import("undici");
    const dispatcher = new Agent({
      connect: ({ hostname, port }, callback) => {
        const socket = TcpStream.connect(a.stack, { address: hostname, port: Number(port || 80) });
        const failed = (error: Error): void => callback(error, null);
        socket.once("error", failed).once("connect", () => {
          socket.off("error", failed);
          callback(null, socket as never);
        });
      },
    });
    for (const path of ["/one", "/two"]) {
      const { body } = await request(`http://${B[4]}${path}`, { dispatcher });
      expect(await body.text()).toBe(`you asked for ${path}`);
    }
    await expect(request(`http://${B[4]}:81/`, { dispatcher })).rejects.toMatchObject({ code: "ECONNREFUSED" });
    await dispatcher.close();
    web.close();
  });

  it("asks before a connection to any address is taken, and answers as it is told", async () => {
    const asked: ConnectionRequest[] = [];
    onConnectionRequest(b.stack, (request) => {
      asked.push(request);
      if (request.to.port === 1) request.accept()?.end("hello");
      else if (request.to.port === 2) request.refuse();
      else request.unreachable("host");
    });
    const socket = dial(1, "192.0.2.7");
    const [chunk] = await once(socket, "data");
    expect(chunk.toString()).toBe("hello");
    expect(asked[0].to).toEqual({ address: "192.0.2.7", port: 1 });
    expect(asked[0].from).toEqual({ address: A[4], port: socket.localPort });
    socket.destroy();
    expect((await once(dial(2, "192.0.2.7"), "error"))[0]).toMatchObject({ code: "ECONNREFUSED" });
    for (const address of ["192.0.2.7", "2001:db8::7"])
      expect((await once(dial(3, address), "error"))[0]).toMatchObject({ code: "EHOSTUNREACH" });
  });

  it("a stack talks to itself", async () => {
    serve(13, (peer) => peer.pipe(peer));
    const socket = TcpStream.connect(b.stack, { address: B[4], port: 13 });
    const data = randomBytes(1 << 20);
    const got: Buffer[] = [];
    await pipeline(stream.Readable.from([data]), socket, async (source) => {
      for await (const chunk of source) got.push(chunk as Buffer);
    });
    expect(Buffer.concat(got).equals(data)).toBe(true);
  });

  it("a connection whose address goes ends on this side", async () => {
    serve(17, (peer) => peer.on("error", () => {}).pipe(peer));
    const socket = dial(17, B[6]);
    const other = dial(17, B[4]);
    await Promise.all([once(socket, "connect"), once(other, "connect")]);
    const failed = once(socket, "error");
    a.stack.setAddresses([A[4]]);
    expect((await failed)[0]).toMatchObject({ code: "EADDRNOTAVAIL" });
    other.write("x");
    expect((await once(other, "data"))[0].toString()).toBe("x");
    other.destroy();
  });

  it("setTimeout tells of silence and leaves the connection as it is", async () => {
    serve(14, (peer) => peer.pipe(peer));
    const socket = dial(14);
    await once(socket, "connect");
    socket.setTimeout(20);
    await once(socket, "timeout");
    socket.write("x");
    expect((await once(socket, "data"))[0].toString()).toBe("x");
    socket.destroy();
  });

  it("sleeps when there is nothing to do", async () => {
    serve(16, (peer) => peer.pipe(peer));
    const socket = dial(16);
    socket.write("x");
    await once(socket, "data");
    await new Promise((resolve) => setTimeout(resolve, 100));
    const timers = jest.spyOn(globalThis, "setTimeout");
    const before = [a.stack.counters.rx, b.stack.counters.rx];
    await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setTimeout(resolve, 500));
    // The one above; a timer of either stack may have run out once.
    expect(timers.mock.calls.length).toBeLessThanOrEqual(5);
    timers.mockRestore();
    expect([a.stack.counters.rx, b.stack.counters.rx]).toEqual(before);
    socket.destroy();
  });

  it("UDP sockets talk, and hear of ports that nobody has", async () => {
    const server = new UdpSocket(b.stack, { port: 53 });
    server.on("message", (data, from) => server.send(data, from));
    const client = new UdpSocket(a.stack);
    client.connect({ address: B[6], port: 53 });
    client.send("question");
    const [data, from] = await once(client, "message");
    expect([data.toString(), from]).toEqual(["question", { address: B[6], port: 53 }]);
    server.close();
    client.send("again");
    expect((await once(client, "error"))[0]).toMatchObject({ code: "ECONNREFUSED" });
    client.close();
    await once(client, "close");
    expect(() => client.send("x")).toThrow("EADDRNOTAVAIL");
  });

  it("readers that stall on several stacks hold no more together than the whole may, and lose nothing", async () => {
    const memory = new Memory(1 << 20);
    const wires = Array.from({ length: 4 }, () => MemoryPipe.pair());
    const near = wires.map(([pipe]) => new StackRunner({ pipe, addresses: [A[4]], mtu: 1420, ref: true }));
    const far = wires.map(([, pipe]) => new StackRunner({ pipe, addresses: [B[4]], mtu: 1420, ref: true, memory }));
    const accepted: TcpStream[] = [];
    for (const { stack } of far) new TcpServer(stack, {}, (peer) => accepted.push(peer)).listen({ port: 16 });
    const each = 10;
    const bytes = randomBytes(256 << 10);
    for (const { stack } of near)
      for (let i = 0; i < each; i++) TcpStream.connect(stack, { address: B[4], port: 16 }).end(bytes);
    const all = each * near.length;
    // Until nothing has changed for a while.
    for (let still = 0, before = -1; still < 20; before = memory.used) {
      await new Promise((resolve) => setTimeout(resolve, 10));
      still = memory.used === before && accepted.length === all ? still + 1 : 0;
    }
    const dropped = far.reduce((sum, { stack }) => sum + stack.tcp.stats().drops.memory, 0);
    expect(dropped).toBeGreaterThan(0);
    expect(memory.used).toBeGreaterThan(1 << 20);
    expect(memory.used).toBeLessThan((3 << 19) + all * 4096);
    const read = async (peer: TcpStream): Promise<boolean> => {
      const got: Buffer[] = [];
      for await (const chunk of peer) got.push(chunk);
      return Buffer.concat(got).equals(bytes);
    };
    expect(await Promise.all(accepted.map(read))).toEqual(new Array(all).fill(true));
    for (const runner of [...near, ...far]) runner.close();
    expect(memory.used).toBe(0);
  }, 60_000);

  it("many connections leave nothing behind", async () => {
    serve(15, (peer) => peer.on("error", () => {}).pipe(peer));
    const random = seededRandom(5);
    const one = async (): Promise<void> => {
      const socket = dial(15);
      const kind = random();
      if (kind < 0.2) socket.destroy();
      else if (kind < 0.4) {
        socket.write("x");
        await once(socket, "data");
        socket.resetAndDestroy();
      } else {
        socket.end("x");
        socket.resume();
        await once(socket, "close");
      }
    };
    for (let i = 0; i < 20; i++) await Promise.all(Array.from({ length: 50 }, one));
    while (b.stack.tcp.stats().connections > 0 || a.stack.tcp.stats().connections > 0)
      await new Promise((resolve) => setTimeout(resolve, 5));
    for (const { stack } of [a, b]) {
      const { memory, halfOpen, pendingSyns } = stack.tcp.stats();
      expect({ memory, halfOpen, pendingSyns }).toEqual({ memory: 0, halfOpen: 0, pendingSyns: 0 });
    }
  });
});
