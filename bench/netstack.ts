/** Two stacks in one process, joined in memory: what TCP/IP itself costs, without cipher, switch or system calls. Both ends share one core. */
import { once } from "node:events";
import { StackRunner } from "../runtime/netstack/runner";
import { TcpServer, TcpStream } from "../runtime/netstack/streams";
import { MemoryPipe } from "../runtime/netstack/testing/pipes";
import { type Bench, ROUNDS } from "./lib/figure";

const BYTES = 400 << 20;
const CONNECTIONS = 2000;
const A = "10.0.0.1";
const B = "10.0.0.2";

interface Pair {
  readonly client: StackRunner;
  readonly server: StackRunner;
  close(): void;
}

function pair(segments: boolean): Pair {
  const [a, b] = MemoryPipe.pair(256);
  const client = new StackRunner({ pipe: a, addresses: [A], mtu: 1420, ref: true, segments });
  const server = new StackRunner({ pipe: b, addresses: [B], mtu: 1420, ref: true, segments });
  return {
    client,
    server,
    close: () => {
      client.close();
      server.close();
    },
  };
}

/** Gbit/s of processor time, of one connection. */
async function bulk(segments: boolean): Promise<number> {
  const { client, server, close } = pair(segments);
  let received = 0;
  new TcpServer(server.stack, {}, (stream) =>
    stream.on("data", (chunk: Buffer) => {
      received += chunk.length;
    }),
  ).listen({ port: 1 });
  const stream = TcpStream.connect(client.stack, { address: B, port: 1, chunksAreFinal: true });
  await once(stream, "connect");
  const chunk = Buffer.alloc(65536);
  const before = process.cpuUsage();
  for (let sent = 0; sent < BYTES; sent += chunk.length) if (!stream.write(chunk)) await once(stream, "drain");
  stream.end();
  await once(stream.resume(), "close");
  const { user, system } = process.cpuUsage(before);
  close();
  if (received !== BYTES) throw new Error(`${received} of ${BYTES} bytes arrived`);
  return (BYTES * 8) / 1e9 / ((user + system) / 1e6);
}

/** Connections a second of processor time: open, a byte each way, close. */
async function connections(): Promise<number> {
  const { client, server, close } = pair(true);
  new TcpServer(server.stack, {}, (stream) => stream.pipe(stream)).listen({ port: 1 });
  const before = process.cpuUsage();
  const one = async (): Promise<void> => {
    const stream = TcpStream.connect(client.stack, { address: B, port: 1 });
    stream.end("x");
    await once(stream.resume(), "close");
  };
  for (let done = 0; done < CONNECTIONS; done += 50) await Promise.all(Array.from({ length: 50 }, one));
  const { user, system } = process.cpuUsage(before);
  close();
  return CONNECTIONS / ((user + system) / 1e6);
}

async function rounds(measure: () => Promise<number>): Promise<number[]> {
  await measure();
  const values: number[] = [];
  for (let i = 0; i < ROUNDS; i++) values.push(await measure());
  return values;
}

export const bench: Bench = {
  unavailable: () => undefined,

  async run(log) {
    const note = "of processor time of both ends together";
    log("two stacks in memory");
    return [
      { what: "TCP, 64 KiB super-segments", unit: "Gbit/s", ours: await rounds(() => bulk(true)), note },
      { what: "TCP, packets of 1420 bytes", unit: "Gbit/s", ours: await rounds(() => bulk(false)), note },
      { what: "TCP connections, opened and closed", unit: "1/s", ours: await rounds(connections), note },
    ];
  },
};
