/** Inbound and egress on real stacks joined in memory, with real sockets on loopback. */
import * as dgram from "node:dgram";
import { once } from "node:events";
import * as net from "node:net";
import { waitFor } from "../../test/support/wait";
import { StackRunner } from "../netstack/runner";
import { onConnectionRequest, TcpStream, UdpSocket } from "../netstack/streams";
import type { TcpLimits } from "../netstack/tcp";
import { MemoryPipe } from "../netstack/testing/pipes";
import { Egress } from "./egress";
import { Inbound } from "./inbound";
import { LocalApp } from "./local-app";
import type { Outside } from "./outside";

const CLIENT = "10.1.2.3";
const APP = "10.1.2.4";
const options = { mtu: 1420, transparent: true };

async function listening(server: net.Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as net.AddressInfo).port;
}

/** By events: an iterator would destroy the whole connection at the end of one way. */
async function text(stream: NodeJS.ReadableStream): Promise<string> {
  let all = "";
  stream.on("data", (chunk) => {
    all += chunk;
  });
  await once(stream, "end");
  return all;
}

/** A client's stack and the app's, whose app listens on a port of loopback. */
async function world(server: net.Server, tcp: Partial<TcpLimits> = {}) {
  const [left, right] = MemoryPipe.pair();
  const client = new StackRunner({ pipe: left, addresses: [CLIENT], ...options });
  const far = new StackRunner({ pipe: right, addresses: [APP], ...options, tcp });
  const loopbackPort = await listening(server);
  const app = new LocalApp({ port: 8080, loopbackPort }, () => ({ mark: "none", pid: 0 }));
  const inbound = new Inbound(far.stack, app);
  const end = () => {
    inbound.close();
    client.close();
    far.close();
    server.close();
  };
  const vanish = () => {
    left.connected = false;
  };
  return { client, inbound, loopbackPort, vanish, end };
}

describe("connections to an app's address", () => {
  it("reach its port on loopback, and the end of one way leaves the other open", async () => {
    const server = net.createServer({ allowHalfOpen: true }, (socket) => {
      void text(socket).then((said) => socket.end(`you said ${said}`));
    });
    const { client, inbound, end } = await world(server);
    const stream = TcpStream.connect(client.stack, { address: APP, port: 8080, allowHalfOpen: true });
    stream.end("hello");
    expect(await text(stream)).toBe("you said hello");
    await waitFor("its end", () => inbound.connections === 0);
    end();
  });

  it("are refused where the app refuses: the SYN is answered by a reset, at once", async () => {
    const server = net.createServer();
    const { client, end } = await world(server);
    server.close();
    await once(server, "close");
    for (const port of [8080, 22]) {
      const stream = TcpStream.connect(client.stack, { address: APP, port });
      const [error] = await once(stream, "error");
      expect(error).toMatchObject({ code: "ECONNREFUSED" });
    }
    end();
  });

  it("are reset on both sides when one side resets", async () => {
    const server = net.createServer((socket) => socket.once("data", () => socket.resetAndDestroy()));
    const { client, end } = await world(server);
    const stream = TcpStream.connect(client.stack, { address: APP, port: 8080 });
    stream.write("x");
    const [error] = await once(stream, "error");
    expect(error).toMatchObject({ code: "ECONNRESET" });
    const [accepted, mine] = await Promise.all([
      once(server, "connection") as Promise<[net.Socket]>,
      Promise.resolve(TcpStream.connect(client.stack, { address: APP, port: 8080 })),
    ]);
    const gone = once(accepted[0], "error");
    await (mine.connecting ? once(mine, "connect") : undefined);
    mine.resetAndDestroy();
    expect((await gone)[0]).toMatchObject({ code: "ECONNRESET" });
    end();
  });

  it("end, idle as they are, when the client has vanished without a word: its place is free again", async () => {
    const server = net.createServer();
    const { client, inbound, vanish, end } = await world(server, { keepAlive: 50 });
    const stream = TcpStream.connect(client.stack, { address: APP, port: 8080 });
    stream.on("error", () => undefined);
    const [[app]] = (await Promise.all([once(server, "connection"), once(stream, "connect")])) as [
      [net.Socket],
      unknown,
    ];
    vanish();
    const [error] = await once(app, "error");
    expect(error).toMatchObject({ code: "ECONNRESET" });
    await waitFor("its place", () => inbound.connections === 0);
    stream.destroy();
    end();
  });

  it("wait for a slow reader: what is on the way stays bounded", async () => {
    const server = net.createServer((socket) => socket.pause());
    const { client, end } = await world(server);
    const stream = TcpStream.connect(client.stack, { address: APP, port: 8080 });
    await once(stream, "connect");
    const chunk = Buffer.alloc(65_536);
    let sent = 0;
    // Until nothing moves for a while, or far more was taken than any buffer should hold.
    for (let still = 0; still < 20 && sent < 256 << 20; ) {
      if (!stream.writableNeedDrain) {
        stream.write(chunk);
        sent += chunk.length;
        still = 0;
      } else {
        still++;
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    }
    expect(sent).toBeLessThan(64 << 20);
    stream.destroy();
    end();
  });
});

describe("datagrams to an app's address", () => {
  it("reach its port and come back, of any size; a refusal comes back too", async () => {
    const server = net.createServer();
    const { client, loopbackPort, end } = await world(server);
    const echo = dgram.createSocket("udp4");
    echo.on("message", (data, { port, address }) => echo.send(data, port, address));
    echo.bind(loopbackPort, "127.0.0.1");
    await once(echo, "listening");
    const socket = new UdpSocket(client.stack);
    for (const size of [0, 1, 1500, 40_000]) {
      socket.send(Buffer.alloc(size, 7), { address: APP, port: 8080 });
      const [data] = await once(socket, "message");
      expect(data.length).toBe(size);
    }
    socket.connect({ address: APP, port: 9 });
    socket.send(Buffer.from("x"));
    const [error] = await once(socket, "error");
    expect(error).toMatchObject({ code: "ECONNREFUSED" });
    socket.close();
    echo.close();
    end();
  });
});

describe("a reply that is longer than IPv4 carries", () => {
  it("is lost, and those after it come: ::1 takes longer ones", async () => {
    const server = net.createServer();
    const { client, loopbackPort, end } = await world(server);
    const app = dgram.createSocket("udp6");
    app.on("message", (data, { port, address }) => app.send(Buffer.alloc(Number(data)), port, address));
    app.bind(loopbackPort, "::1");
    await once(app, "listening");
    const socket = new UdpSocket(client.stack);
    const sizes: number[] = [];
    socket.on("message", (data: Buffer) => sizes.push(data.length));
    for (const size of [10, 65_520, 65_527, 20]) {
      socket.send(String(size), { address: APP, port: 8080 });
      if (size < 100) await waitFor("its answer", () => sizes.includes(size));
    }
    expect(sizes).toEqual([10, 20]);
    socket.close();
    app.close();
    end();
  });
});

describe("egress", () => {
  /** Everything "outside" is this process's loopback, but for what is closed. */
  const outside = (port: () => number, closed: (address: string) => boolean) =>
    ({
      allows: (address: string) => !closed(address),
      connect: (_app: string, _address: string, wanted: number) => {
        const socket = net.connect({ host: "127.0.0.1", port: wanted === 80 ? port() : wanted, allowHalfOpen: true });
        return once(socket, "connect").then(() => socket);
      },
    }) as unknown as Outside;

  async function gateway(port: () => number, apps: Record<string, string>) {
    const [left, right] = MemoryPipe.pair();
    const app = new StackRunner({ pipe: left, addresses: [CLIENT], ...options });
    const far = new StackRunner({ pipe: right, addresses: [], ...options });
    const egress = new Egress(far.stack, {
      outside: outside(port, (address) => address.startsWith("169.254.")),
      appOf: (address) => apps[address],
      echo: undefined,
    });
    onConnectionRequest(far.stack, (request) => void egress.connect(request));
    far.stack.onDatagram = egress.datagram;
    far.stack.onEcho = egress.echo;
    const end = () => {
      egress.close();
      app.close();
      far.close();
    };
    return { app, end };
  }

  it("opens a real connection for a destination anywhere, and closes what is closed", async () => {
    const server = net.createServer((socket) => socket.end("the world"));
    const port = await listening(server);
    const { app, end } = await gateway(() => port, { [CLIENT]: "mem_app.0" });
    expect(await text(TcpStream.connect(app.stack, { address: "93.184.216.34", port: 80 }))).toBe("the world");
    const refused = TcpStream.connect(app.stack, { address: "93.184.216.34", port: 1 });
    expect((await once(refused, "error"))[0]).toMatchObject({ code: "ECONNREFUSED" });
    const closed = TcpStream.connect(app.stack, { address: "169.254.169.254", port: 80 });
    expect((await once(closed, "error"))[0].code).toMatch(/EHOSTUNREACH|ECONNREFUSED|EACCES/);
    end();
    server.close();
  });

  it("is for apps that have it: from any other address nothing goes out", async () => {
    const server = net.createServer((socket) => socket.end("the world"));
    const port = await listening(server);
    const { app, end } = await gateway(() => port, {});
    const stream = TcpStream.connect(app.stack, { address: "93.184.216.34", port: 80 });
    expect((await once(stream, "error"))[0].code).toMatch(/EHOSTUNREACH|ECONNREFUSED|EACCES/);
    end();
    server.close();
  });
});
