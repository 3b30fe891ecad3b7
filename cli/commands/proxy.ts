/** `warren proxy`: ports of this machine that lead into a network, for a browser or a database client that is no member. */
import * as dgram from "node:dgram";
import { once } from "node:events";
import * as net from "node:net";
import { controlPlace } from "../../provider/client";
import { dialControl } from "../../provider/dial";
import { WarrenError } from "../../runtime/errors";
import { splice } from "../../runtime/userspace/splice";
import { type Context, pickNetwork, print, printJson, withControl } from "../context";
import { type Forward, parseForward } from "../forward";

export interface ProxyOptions extends Context {
  readonly network?: string;
}

/** Clients of a UDP port at one time, and milliseconds without a datagram after which one is forgotten. */
const SESSIONS = 256;
const SESSION_LIFE = 60_000;
const LENGTH_BYTES = 2;

type Dial = (forward: Forward) => Promise<net.Socket>;

/** Forwards until it is told to end. @throws WarrenError for ports that are taken, networks that do not exist */
export async function proxy(texts: readonly string[], options: ProxyOptions): Promise<void> {
  const forwards = texts.map(parseForward);
  const network = await withControl(async (client) => pickNetwork(await client.status(), options.network));
  const place = controlPlace(undefined);
  const socketPath = "home" in place ? place.home.controlSocket : place.socketPath;
  const dial: Dial = ({ to, protocol }) => dialControl(socketPath, { network: network.id, to, protocol });
  const say = (forward: Forward, error: Error) => process.stderr.write(`warren: ${forward.to}: ${error.message}\n`);
  const listening = [];
  for (const forward of forwards) {
    const at = await (forward.protocol === "tcp" ? listenTcp : listenUdp)(forward, dial, (error) =>
      say(forward, error),
    );
    const local = `${at.address.includes(":") ? `[${at.address}]` : at.address}:${at.port}`;
    listening.push({ protocol: forward.protocol, local, to: forward.to });
  }
  if (options.json) printJson({ network: network.spec.name, forwards: listening });
  else for (const { protocol, local, to } of listening) print(`${local} -> ${to} (${protocol}, ${network.spec.name})`);
}

async function listenTcp(forward: Forward, dial: Dial, say: (error: Error) => void): Promise<net.AddressInfo> {
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (client) => {
    // Until it is joined to the other side, which then hears of it.
    const forget = () => undefined;
    client.on("error", forget);
    dial(forward).then(
      (stream) => splice(client, stream),
      (error) => {
        say(error);
        client.resetAndDestroy();
      },
    );
  });
  const { address, port } = forward.local;
  await bound(forward, server.listen(port, address));
  return server.address() as net.AddressInfo;
}

async function listenUdp(forward: Forward, dial: Dial, say: (error: Error) => void): Promise<net.AddressInfo> {
  const { address, port } = forward.local;
  const server = dgram.createSocket(address.includes(":") ? "udp6" : "udp4");
  const sessions = new Map<string, UdpSession>();
  server.on("message", (message, from) => {
    const key = `${from.address} ${from.port}`;
    let session = sessions.get(key);
    if (session === undefined) {
      if (sessions.size >= SESSIONS) return;
      session = new UdpSession(
        dial(forward),
        (data) => server.send(data, from.port, from.address),
        (error) => {
          sessions.delete(key);
          if (error) say(error);
        },
      );
      sessions.set(key, session);
    }
    session.send(message);
  });
  server.bind(port, address);
  await bound(forward, server);
  return server.address();
}

async function bound(forward: Forward, server: net.Server | dgram.Socket): Promise<void> {
  const { address, port } = forward.local;
  try {
    await once(server, "listening");
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code === "EADDRINUSE" ? "is in use" : `(${(cause as Error).message})`;
    throw new WarrenError(
      "WARREN_INVALID_INPUT",
      `Port ${port} of ${address} cannot be listened on ${why}: choose another one, or 0 for any that is free.`,
      { cause },
    );
  }
  // What goes wrong with one client later is not the end of the others.
  server.on("error", (error) => process.stderr.write(`warren: ${error.message}\n`));
}

/** Datagrams of one client, on a stream that carries each behind its length. */
class UdpSession {
  private stream: net.Socket | undefined;
  private waiting: Buffer[] = [];
  private got: Buffer = Buffer.alloc(0);
  private readonly timer: NodeJS.Timeout;

  constructor(
    opening: Promise<net.Socket>,
    private readonly onDatagram: (data: Buffer) => void,
    private readonly onEnd: (error?: Error) => void,
  ) {
    this.timer = setTimeout(() => this.end(), SESSION_LIFE);
    opening.then(
      (stream) => this.opened(stream),
      (error) => this.end(error),
    );
  }

  send(message: Buffer): void {
    this.timer.refresh();
    const length = Buffer.alloc(LENGTH_BYTES);
    length.writeUInt16BE(message.length);
    const frame = Buffer.concat([length, message]);
    if (this.stream === undefined) {
      if (this.waiting.length < SESSIONS) this.waiting.push(frame);
    } else if (!this.stream.writableNeedDrain) this.stream.write(frame);
  }

  private opened(stream: net.Socket): void {
    this.stream = stream;
    stream.on("error", () => undefined);
    stream.on("close", () => this.end());
    stream.on("data", (part: Buffer) => this.take(part));
    for (const frame of this.waiting) stream.write(frame);
    this.waiting = [];
  }

  private take(part: Buffer): void {
    this.timer.refresh();
    this.got = this.got.length === 0 ? part : Buffer.concat([this.got, part]);
    while (this.got.length >= LENGTH_BYTES) {
      const end = LENGTH_BYTES + this.got.readUInt16BE(0);
      if (this.got.length < end) return;
      this.onDatagram(this.got.subarray(LENGTH_BYTES, end));
      this.got = this.got.subarray(end);
    }
  }

  private end(error?: Error): void {
    clearTimeout(this.timer);
    this.stream?.destroy();
    this.onEnd(error);
  }
}
