/** Streams of a stack and sockets of the machine, joined in each way that there is. */
import { once } from "node:events";
import * as fs from "node:fs";
import * as net from "node:net";
import * as os from "node:os";
import * as path from "node:path";
import { Duplex, PassThrough } from "node:stream";
import { waitFor } from "../../test/support/wait";
import { StackRunner } from "../netstack/runner";
import { TcpServer, TcpStream } from "../netstack/streams";
import { MemoryPipe } from "../netstack/testing/pipes";
import { reset, splice } from "./splice";

const HERE = "10.1.2.3";
const PEER = "10.1.2.4";
/** A fresh one for each connection. */
let port = 80;

let here: StackRunner;
let far: StackRunner;
let folder: string;
let listening: net.Server[];
beforeEach(() => {
  const [left, right] = MemoryPipe.pair();
  here = new StackRunner({ pipe: left, addresses: [HERE], mtu: 1420 });
  far = new StackRunner({ pipe: right, addresses: [PEER], mtu: 1420 });
  folder = fs.mkdtempSync(path.join(os.tmpdir(), `wt${process.pid}x`));
  listening = [];
});
afterEach(() => {
  here.close();
  far.close();
  for (const server of listening) server.close();
  fs.rmSync(folder, { recursive: true });
});

/** A connection of the stack, and its peer's end. */
async function connection() {
  const peers = new TcpServer(far.stack, { allowHalfOpen: true }).listen({ port: ++port });
  const [[peer], stream] = await Promise.all([
    once(peers, "connection") as Promise<[TcpStream]>,
    TcpStream.connect(here.stack, { address: PEER, port, allowHalfOpen: true }),
  ]);
  return { stream, peer };
}

/** A connected socket of the machine, and the client at its other end. */
async function socketOf(kind: "tcp" | "unix") {
  const server = net.createServer({ allowHalfOpen: true });
  listening.push(server);
  if (kind === "tcp") server.listen(0, "127.0.0.1");
  else server.listen(path.join(folder, "socket"));
  await once(server, "listening");
  const address = server.address() as net.AddressInfo | string;
  const client = typeof address === "string" ? net.connect(address) : net.connect(address.port, "127.0.0.1");
  const [[socket]] = await Promise.all([once(server, "connection") as Promise<[net.Socket]>, once(client, "connect")]);
  return { socket, client };
}

describe.each(["tcp", "unix"] as const)("a socket of the kind %s", (kind) => {
  test("gets what the peer sends by the way that allocates nothing, and answers it", async () => {
    const relay = jest.spyOn(TcpStream.prototype, "relayTo");
    const { stream, peer } = await connection();
    const { socket, client } = await socketOf(kind);
    const closed = new Promise<void>((resolve) => splice(socket, stream, resolve));
    expect(relay).toHaveBeenCalledTimes(1);
    peer.end("from the peer");
    client.end("from the client");
    const text = async (from: Duplex) => {
      let all = "";
      from.on("data", (chunk) => {
        all += chunk;
      });
      await once(from, "end");
      return all;
    };
    expect(await Promise.all([text(client), text(peer)])).toEqual(["from the peer", "from the client"]);
    await closed;
    relay.mockRestore();
  });

  test("ends when the peer resets the connection: by a reset where it can be one, and nothing is thrown", async () => {
    const { stream, peer } = await connection();
    const { socket, client } = await socketOf(kind);
    const errors: string[] = [];
    client.on("error", (error: NodeJS.ErrnoException) => errors.push(String(error.code)));
    const closed = new Promise<void>((resolve) => splice(socket, stream, resolve));
    peer.resetAndDestroy();
    await closed;
    client.resume();
    await new Promise((resolve) => client.once("close", resolve));
    expect(errors).toEqual(kind === "tcp" ? ["ECONNRESET"] : []);
  });

  test("resets the connection where it breaks itself", async () => {
    const { stream, peer } = await connection();
    const { socket, client } = await socketOf(kind);
    client.on("error", () => undefined);
    const broken = once(peer, "error");
    splice(socket, stream);
    socket.destroy(new Error("broken"));
    expect((await broken)[0]).toMatchObject({ code: "ECONNRESET" });
  });
});

test("a stream that is no socket is joined all the same, and so is what was read before", async () => {
  const { stream, peer } = await connection();
  peer.write("head, ");
  await waitFor("the head", () => stream.connection!.readableBytes > 0 || stream.readableLength > 0);
  // Looked at, and left there.
  await once(stream, "readable");
  expect(stream.readableLength).toBeGreaterThan(0);
  const { socket, client } = await socketOf("tcp");
  splice(socket, stream);
  peer.end("body");
  let text = "";
  client.on("data", (chunk) => {
    text += chunk;
  });
  await once(client, "end");
  expect(text).toBe("head, body");
  client.end();

  const other = await connection();
  const [near, out] = [new PassThrough(), new PassThrough()];
  splice(Duplex.from({ readable: near, writable: out }), other.stream);
  other.peer.end("no socket");
  expect(String((await once(out, "data"))[0])).toBe("no socket");
});

test("what is gone already resets the other one, once", async () => {
  const { stream, peer } = await connection();
  const broken = once(peer, "error");
  const { socket } = await socketOf("tcp");
  socket.destroy();
  const onClosed = jest.fn();
  splice(socket, stream, onClosed);
  expect((await broken)[0]).toMatchObject({ code: "ECONNRESET" });
  reset(stream);
  expect(onClosed).toHaveBeenCalledTimes(1);
});
