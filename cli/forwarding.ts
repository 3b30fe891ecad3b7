/** Ports of this machine that lead into a network: how `warren proxy` listens. */
import * as dgram from "node:dgram";
import { once } from "node:events";
import * as net from "node:net";
import { FrameReader, frame } from "../runtime/control/interface/frames";
import { WarrenError } from "../runtime/errors";
import { splice } from "../runtime/userspace/splice";
import type { Forward } from "./forward";

/** Clients of a UDP port at one time, and milliseconds without a datagram after which one is forgotten. */
const SESSIONS = 256;
const SESSION_LIFE = 60_000;
/** Datagrams of a client that wait for its stream. */
const MAX_WAITING = 256;

export interface Listening {
  readonly address: string;
  readonly port: number;
  /** Takes no more clients. */
  close(): void;
}

/** Connects to the far end of a forward: half-open. */
export type Dial = (forward: Forward) => Promise<net.Socket>;

/** @throws WarrenError WARREN_INVALID_INPUT where the port cannot be had */
export async function listenTcp(forward: Forward, dial: Dial, say: (error: Error) => void): Promise<Listening> {
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
  return { ...(server.address() as net.AddressInfo), close: () => void server.close() };
}

/**
 * As `listenTcp`; each client has a stream of its own, with frames.
 * @param life milliseconds that a client may be silent
 * @throws WarrenError WARREN_INVALID_INPUT
 */
export async function listenUdp(
  forward: Forward,
  dial: Dial,
  say: (error: Error) => void,
  life = SESSION_LIFE,
): Promise<Listening> {
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
        life,
        (data) => server.send(data, from.port, from.address, () => undefined),
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
  const close = () => {
    server.close();
    for (const session of sessions.values()) session.end();
  };
  return { ...server.address(), close };
}

async function bound(forward: Forward, server: net.Server | dgram.Socket): Promise<void> {
  const { address, port } = forward.local;
  try {
    await once(server, "listening");
  } catch (cause) {
    const taken = (cause as NodeJS.ErrnoException).code === "EADDRINUSE";
    throw new WarrenError(
      "WARREN_INVALID_INPUT",
      `Port ${port} of ${address} ${taken ? "is in use" : `cannot be listened on (${(cause as Error).message})`}: choose another one, or 0 for any that is free.`,
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
  private ended = false;
  private readonly timer: NodeJS.Timeout;

  constructor(
    opening: Promise<net.Socket>,
    life: number,
    private readonly onDatagram: (data: Buffer) => void,
    /** Called once. */
    private readonly onEnd: (error?: Error) => void,
  ) {
    this.timer = setTimeout(() => this.end(), life);
    opening.then(
      (stream) => this.opened(stream),
      (error) => this.end(error),
    );
  }

  send(message: Buffer): void {
    this.timer.refresh();
    if (this.stream === undefined) {
      if (this.waiting.length < MAX_WAITING) this.waiting.push(frame(message));
    } else if (!this.stream.writableNeedDrain) this.stream.write(frame(message));
  }

  private opened(stream: net.Socket): void {
    stream.on("error", () => undefined);
    if (this.ended) {
      stream.destroy();
      return;
    }
    this.stream = stream;
    for (const last of ["end", "close"]) stream.on(last, () => this.end());
    const reader = new FrameReader(this.onDatagram);
    stream.on("data", (part: Buffer) => {
      this.timer.refresh();
      reader.push(part);
    });
    for (const waiting of this.waiting) stream.write(waiting);
    this.waiting = [];
  }

  /** A later one may have its place already: it ends once. */
  end(error?: Error): void {
    if (this.ended) return;
    this.ended = true;
    clearTimeout(this.timer);
    this.stream?.destroy();
    this.onEnd(error);
  }
}
