/** Connections of a stack handed to real sockets on loopback. */
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import * as net from "node:net";
import { waitFor } from "../../test/support/wait";
import { StackRunner } from "./runner";
import { TcpServer, TcpStream } from "./streams";
import { Memory } from "./tcp/memory";
import { MemoryPipe } from "./testing/pipes";

const A = "10.0.0.1";
const B = "10.0.0.2";
const PORT = 7;

/** A peer behind the stack, which sends, and a reader on loopback, which gets what the peer's connection is relayed to. */
class World {
  readonly memory = new Memory(1 << 30);
  private readonly pipes = MemoryPipe.pair();
  private readonly near = new StackRunner({
    pipe: this.pipes[0],
    addresses: [A],
    mtu: 1420,
    ref: true,
    memory: this.memory,
  });
  private readonly far = new StackRunner({ pipe: this.pipes[1], addresses: [B], mtu: 1420, ref: true });
  private readonly ends: net.Socket[] = [];
  private readonly machine = net.createServer({ allowHalfOpen: true, pauseOnConnect: true });

  async open(): Promise<{ peer: TcpStream; stream: TcpStream; socket: net.Socket; reader: net.Socket }> {
    const peers = new TcpServer(this.far.stack, { allowHalfOpen: true }).listen({ port: PORT });
    const peer = once(peers, "connection");
    const stream = TcpStream.connect(this.near.stack, { address: B, port: PORT, allowHalfOpen: true });
    await once(stream, "connect");
    this.machine.listen(0, "127.0.0.1");
    await once(this.machine, "listening");
    const reader = once(this.machine, "connection");
    const { port } = this.machine.address() as net.AddressInfo;
    const socket = net.connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    await once(socket, "connect");
    const ends = { peer: (await peer)[0], stream, socket, reader: (await reader)[0] };
    this.ends.push(socket, ends.reader);
    return ends;
  }

  /** Connections of the stack that relays. */
  get connections(): number {
    return this.near.stack.tcp.stats().connections;
  }

  close(): void {
    this.near.close();
    this.far.close();
    for (const end of this.ends) end.destroy();
    this.machine.close();
  }
}

let world: World;
beforeEach(() => {
  world = new World();
});
afterEach(() => world.close());

it("every byte arrives once and in order, then the end; the memory is given back", async () => {
  const { peer, stream, socket, reader } = await world.open();
  const data = randomBytes(24 << 20);
  peer.end(data);
  stream.relayTo(socket);
  const got = createHash("sha256");
  reader.on("data", (chunk) => got.update(chunk));
  reader.resume();
  await once(reader, "end");
  expect(got.digest("hex")).toBe(createHash("sha256").update(data).digest("hex"));
  await waitFor("the end of both streams", () => stream.readableEnded && socket.writableFinished);
  expect(stream.bytesRead).toBe(data.length);
  // What was lent is back: no more is counted than the block that is being filled.
  expect(world.memory.used).toBeLessThanOrEqual(1 << 16);
  // The other way is open still.
  expect([stream.destroyed, socket.destroyed, reader.writable]).toEqual([false, false, true]);
  for (const one of [stream, socket, reader]) one.destroy();
  await waitFor("no memory in use", () => world.memory.used === 0);
});

it("a reader that does not read stops the peer, with bounded memory; it goes on where it was", async () => {
  const { peer, stream, socket, reader } = await world.open();
  const data = randomBytes(64 << 20);
  peer.end(data);
  stream.relayTo(socket);
  let before = -1;
  await waitFor("the standstill", () => {
    const { bytesRead } = stream;
    const still = bytesRead > 0 && bytesRead === before;
    before = bytesRead;
    return still;
  });
  // The kernel's buffers, ours, and the window.
  expect(stream.bytesRead).toBeLessThan(data.length / 2);
  expect(socket.writableLength).toBeLessThan(512 << 10);
  expect(world.memory.used).toBeLessThan(16 << 20);
  const got = createHash("sha256");
  reader.on("data", (chunk) => got.update(chunk));
  reader.resume();
  await once(reader, "end");
  expect(got.digest("hex")).toBe(createHash("sha256").update(data).digest("hex"));
});

it("a socket that goes in the middle leaves nothing behind", async () => {
  const { peer, stream, socket, reader } = await world.open();
  peer.on("error", () => undefined);
  peer.write(randomBytes(32 << 20));
  stream.relayTo(socket);
  await waitFor("the first bytes", () => stream.bytesRead > 1 << 20);
  socket.destroy();
  stream.destroy();
  reader.destroy();
  await waitFor("the end of the connection", () => world.connections === 0 && peer.destroyed);
  expect(world.memory.used).toBe(0);
});

it("what was read before comes first where the rest is relayed", async () => {
  const { peer, stream, socket, reader } = await world.open();
  peer.write("head");
  const [head] = await once(stream, "data");
  stream.pause();
  socket.write(head);
  stream.relayTo(socket);
  peer.end(" and body");
  let text = "";
  reader.on("data", (chunk) => {
    text += chunk;
  });
  reader.resume();
  await once(reader, "end");
  expect(text).toBe("head and body");
});
