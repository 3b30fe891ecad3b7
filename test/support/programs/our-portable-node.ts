/**
 * The data plane without native code as a program of its own, whose one link (its id is `link`) ends in a TCP/IP stack: methods of
 * serve-lines.ts. `listen` makes the stack, which answers as traffic-server.ts does; the others are traffic that begins here.
 */
import * as http from "node:http";
import { startDataPlane } from "../../../runtime/dataplane/api";
import type { DataPlaneConfig } from "../../../runtime/dataplane/config";
import { PortableDataPlane } from "../../../runtime/dataplane/portable";
import { StackRunner } from "../../../runtime/netstack/runner";
import { TcpServer, TcpStream, UdpSocket } from "../../../runtime/netstack/streams";
import { answerRequest } from "./answer-request";
import { fixedBytes, sha256 } from "./fixed-bytes";
import { serveLines } from "./serve-lines";
import { type PingSettings, ping } from "./stack-ping";

interface File {
  readonly to: string;
  readonly size: number;
  /** Milliseconds. */
  readonly timeout: number;
}

let runner: StackRunner;
let port: number;

/** One request on a connection of its own. @returns the body */
function request(method: string, path: string, { to, timeout }: File, body?: Uint8Array): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const createConnection = () => TcpStream.connect(runner.stack, { address: to, port });
    const asked = http.request({ method, path, host: to, createConnection }, (response) => {
      const parts: Buffer[] = [];
      response.on("data", (part) => parts.push(part)).on("error", reject);
      response.on("end", () => {
        clearTimeout(timer);
        resolve(Buffer.concat(parts));
      });
    });
    const timer = setTimeout(
      () => asked.destroy(new Error(`${method} ${path}: not done within ${timeout} ms`)),
      timeout,
    );
    asked.on("error", reject);
    asked.end(body);
  });
}

async function download(file: File): Promise<void> {
  const got = await request("GET", `/bytes/${file.size}`, file);
  if (sha256(got) !== sha256(fixedBytes(file.size)))
    throw new Error(`${file.size} bytes from ${file.to} arrived changed`);
}

async function upload(file: File): Promise<void> {
  const bytes = fixedBytes(file.size);
  const said = (await request("PUT", "/", file, bytes)).toString();
  if (said !== sha256(bytes)) throw new Error(`${file.size} bytes to ${file.to} arrived changed: ${said}`);
}

function udpProbe({ to, datagrams }: { to: string; datagrams: readonly string[] }): Promise<readonly string[]> {
  return new Promise((resolve) => {
    const socket = new UdpSocket(runner.stack);
    const replies: string[] = [];
    const finish = () => {
      clearTimeout(timer);
      socket.close();
      resolve(replies);
    };
    const timer = setTimeout(finish, 5000);
    socket.on("message", (message: Buffer) => {
      if (replies.push(message.toString("hex")) === datagrams.length) finish();
    });
    for (const datagram of datagrams) socket.send(Buffer.from(datagram, "hex"), { address: to, port });
  });
}

async function main(): Promise<void> {
  process.env.WARREN_IO = "portable";
  const dataPlane = await startDataPlane({ log: (message) => console.error(message) });
  if (!(dataPlane instanceof PortableDataPlane)) throw new Error("WARREN_IO=portable gave another data plane");

  async function listen(wanted: { addresses: readonly string[]; mtu: number; port: number }): Promise<void> {
    runner = new StackRunner({ ...wanted, pipe: dataPlane.pipe("link")!, ref: true });
    port = wanted.port;
    const server = http.createServer(answerRequest);
    new TcpServer(runner.stack, { allowHalfOpen: true }, (stream) => server.emit("connection", stream)).listen({
      port,
    });
    const echo = new UdpSocket(runner.stack, { port });
    echo.on("message", (message, from) => echo.send(message, from));
  }

  serveLines(
    {
      apply: (config: DataPlaneConfig) => dataPlane.apply(config),
      status: () => dataPlane.status(),
      ...{ listen, download, upload, udpProbe },
      ping: ({ to, ...settings }: PingSettings & { to: string }) => ping(runner.stack, to, settings),
    },
    () => dataPlane.stop(),
  );
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
