import { once } from "node:events";
import * as path from "node:path";
import { describeNeeding } from "../../test/support/needs";
import { answer, type ExchangeMode, exchange } from "../../test/support/programs/tcp-exchange";
import { PROGRAMS } from "../../test/support/repo";
import { type Scratch, useScratch } from "../../test/support/scratch";
import { waitFor } from "../../test/support/wait";
import { TcpServer, TcpStream } from "./streams";
import { KERNEL, type KernelOptions, KernelPeer, OURS } from "./testing/kernel";
import { impaired, narrowed } from "./testing/pipes";

const PROGRAM = path.join(PROGRAMS, "tcp-exchange.js");

/** A kernel with a server of its own on port 7, and our server on port 7. */
async function meet(scratch: Scratch, label: string, options: KernelOptions = {}): Promise<KernelPeer> {
  const peer = await KernelPeer.create(scratch, label, options);
  const server = await peer.namespace.start([process.execPath, PROGRAM, "serve", "::", "7"]);
  await waitFor("the kernel's server", () => server.stdout.includes("ready"));
  new TcpServer(peer.stack, { allowHalfOpen: true }, (stream) => void answer(stream.on("error", () => {}))).listen({
    port: 7,
  });
  return peer;
}

async function kernelClient(
  peer: KernelPeer,
  family: 4 | 6,
  mode: ExchangeMode,
  bytes: number,
  port = 7,
): Promise<string> {
  const argv = [process.execPath, PROGRAM, "run", OURS[family], String(port), mode, String(bytes)];
  return (await peer.namespace.run(argv)).stdout.trim();
}

async function ourClient(
  peer: KernelPeer,
  family: 4 | 6,
  mode: ExchangeMode,
  bytes: number,
  port = 7,
): Promise<string> {
  const stream = TcpStream.connect(peer.stack, { address: KERNEL[family], port, allowHalfOpen: true });
  try {
    await exchange(stream, mode, bytes);
    return "ok";
  } catch (error) {
    return (error as { code?: string }).code ?? (error as Error).message;
  }
}

/** No connection, no byte of buffers, is left; TIME-WAIT may be. */
async function nothingLeft(peer: KernelPeer): Promise<void> {
  await waitFor("the end of all connections", () => {
    const { connections, halfOpen, memory } = peer.stack.tcp.stats();
    return connections === 0 && halfOpen === 0 && memory === 0;
  });
}

const NEEDS = ["linux", "root", "tun", "ip"] as const;
// The machine may have a lot else to do.
jest.setTimeout(60_000);

describeNeeding(NEEDS, "TCP with the kernel through a TUN device", () => {
  const scratch = useScratch();

  it.each([
    ["with super-segments", true],
    ["packet by packet", false],
  ] as const)("bulk both ways in both roles, %s", async (_name, vnetHeader) => {
    const peer = await meet(scratch, vnetHeader ? "v" : "p", { vnetHeader });
    for (const [family, mode] of [
      [4, "up"],
      [4, "down"],
      [6, "both"],
    ] as const) {
      expect([family, mode, await kernelClient(peer, family, mode, 4_000_000)]).toEqual([family, mode, "ok"]);
      expect([family, mode, await ourClient(peer, family, mode, 4_000_000)]).toEqual([family, mode, "ok"]);
    }
    const { drops } = peer.stack.counters;
    expect([drops.checksum, drops.malformed]).toEqual([0, 0]);
    await nothingLeft(peer);
  });

  it.each([
    ["5 % loss", { loss: 0.05 }, 1420],
    ["delay and another order", { delay: 5, reorder: 0.1 }, 1420],
    ["duplicates", { duplicates: 0.1 }, 1420],
    ["all of it, MTU 1280", { loss: 0.03, delay: 3, reorder: 0.05, duplicates: 0.03 }, 1280],
    ["all of it, MTU 576", { loss: 0.03, delay: 3, reorder: 0.05, duplicates: 0.03 }, 576],
  ] as const)("every byte arrives in spite of %s", async (name, impairment, mtu) => {
    const between: KernelOptions["between"] = (pipe) => impaired(pipe, impairment);
    const peer = await meet(scratch, `i${name.length}`, { mtu, between });
    const family = mtu >= 1280 ? 6 : 4;
    expect(await kernelClient(peer, family, "both", 200_000)).toBe("ok");
    expect(await ourClient(peer, family, "both", 200_000)).toBe("ok");
    expect(peer.stack.counters.drops.checksum).toBe(0);
  });

  it("a router that takes less than both ends think is heeded, both ways", async () => {
    const routers = { 4: "10.77.0.254", 6: "fd77::fe" };
    const peer = await meet(scratch, "n", { mtu: 1420, between: (pipe) => narrowed(pipe, 1300, routers) });
    for (const family of [4, 6] as const)
      for (const mode of ["up", "down"] as const)
        expect([family, mode, await ourClient(peer, family, mode, 300_000)]).toEqual([family, mode, "ok"]);
    expect(peer.stack.usage.paths).toBe(2);
  });

  it("a port without a server answers at once, both ways", async () => {
    const peer = await meet(scratch, "d");
    const started = Date.now();
    for (const family of [4, 6] as const) {
      expect(await kernelClient(peer, family, "up", 1, 9)).toBe("ECONNREFUSED");
      expect(await ourClient(peer, family, "up", 1, 9)).toBe("ECONNREFUSED");
    }
    expect(Date.now() - started).toBeLessThan(5000);
    await nothingLeft(peer);
  });

  it("resets arrive, both ways", async () => {
    const peer = await meet(scratch, "r");
    new TcpServer(peer.stack, {}, (stream) => {
      stream.on("error", () => {}).once("data", () => stream.resetAndDestroy());
    }).listen({ port: 8 });
    const script = `
      const net = require("node:net");
      const socket = net.connect(8, "${OURS[4]}", () => socket.write("x"));
      socket.on("error", (error) => console.log(error.code));`;
    expect((await peer.namespace.run([process.execPath, "-e", script])).stdout.trim()).toBe("ECONNRESET");

    const server = await peer.namespace.start([
      process.execPath,
      "-e",
      `require("node:net").createServer((s) => s.once("data", () => s.resetAndDestroy())).listen(8, "::", () => console.log("ready"))`,
    ]);
    await waitFor("the server", () => server.stdout.includes("ready"));
    const stream = TcpStream.connect(peer.stack, { address: KERNEL[6], port: 8 });
    stream.write("x");
    expect((await once(stream, "error"))[0]).toMatchObject({ code: "ECONNRESET" });
    await nothingLeft(peer);
  });

  it("a peer that vanishes in the middle is given up after the user timeout", async () => {
    const peer = await meet(scratch, "g");
    const connection = { userTimeout: 1500 };
    const stream = TcpStream.connect(peer.stack, { address: KERNEL[4], port: 7, ...connection });
    stream.write("down 900000000".padEnd(32));
    await once(stream, "data");
    const failed = once(stream, "error");
    await peer.namespace.ip("address", "flush", "dev", "tun0");
    // Something has to be under way for its silence to be noticed.
    stream.resume().write("more");
    expect((await failed)[0]).toMatchObject({ code: "ETIMEDOUT" });
    await nothingLeft(peer);
  });

  it("a slow reader stops the sender, both ways", async () => {
    const peer = await meet(scratch, "s");
    const stream = TcpStream.connect(peer.stack, { address: KERNEL[4], port: 7 });
    stream.write("down 200000000".padEnd(32));
    await once(stream, "readable");
    const settled = async (): Promise<number> => {
      let before = -1;
      for (let now = 0; now !== before; before = now, now = peer.stack.counters.rx)
        await new Promise((resolve) => setTimeout(resolve, 200));
      return peer.stack.tcp.stats().memory;
    };
    expect(await settled()).toBeLessThan(8 << 20);
    // It goes on where it stopped.
    const { connection } = stream;
    const received = connection?.stats().bytesReceived ?? 0;
    let read = 0;
    for await (const chunk of stream) {
      read += (chunk as Buffer).length;
      if (read > received + 10_000_000) break;
    }

    const server = await peer.namespace.start([
      process.execPath,
      "-e",
      `require("node:net").createServer((s) => { s.pause(); setTimeout(() => { let n = 0; s.on("data", (d) => { n += d.length; }); s.resume(); s.on("end", () => console.log("got", n)); }, 1500); }).listen(8, "::", () => console.log("ready"))`,
    ]);
    await waitFor("the server", () => server.stdout.includes("ready"));
    const upload = TcpStream.connect(peer.stack, { address: KERNEL[6], port: 8 });
    let written = 0;
    const chunk = Buffer.alloc(65536);
    while (written < 30_000_000) {
      written += chunk.length;
      if (!upload.write(chunk)) await once(upload, "drain");
      expect(peer.stack.tcp.stats().memory).toBeLessThan(8 << 20);
    }
    upload.end();
    await waitFor("all of it", () => server.stdout.includes(`got ${written}`), { timeout: 10_000 });
  });

  it("thousands of connections leave nothing behind", async () => {
    const peer = await meet(scratch, "m");
    new TcpServer(peer.stack, {}, (stream) => void stream.on("error", () => {}).pipe(stream)).listen({ port: 8 });
    const script = `
      const net = require("node:net");
      let left = 1000, failed = 0;
      const one = () => {
        if (left-- <= 0) return;
        const kind = left % 4;
        const socket = net.connect(8, "${OURS[4]}", () => kind === 0 ? socket.resetAndDestroy() : kind === 1 ? socket.end("x") : socket.write("x"));
        socket.on("data", () => kind === 3 ? socket.resetAndDestroy() : socket.end());
        socket.on("error", () => failed++).on("close", one);
      };
      for (let i = 0; i < 50; i++) one();
      process.on("exit", () => console.log("failed", failed));`;
    const { stdout } = await peer.namespace.run([process.execPath, "-e", script]);
    expect(stdout.trim()).toBe("failed 0");
    await nothingLeft(peer);
    expect(peer.stack.tcp.stats().accepted).toBe(1000);
  });
});
