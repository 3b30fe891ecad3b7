/** `keeper.sock`: the protocol's lines to the keeper's methods, events to subscribers, descriptors by SCM_RIGHTS. */
import * as fs from "node:fs";
import * as net from "node:net";
import { WarrenError } from "../errors";
import { libc } from "../native/libc";
import type { Keeper } from "./keeper";
import { lineReader } from "./lines";
import type { KeeperMethods, ProcessState, Supervise } from "./protocol";
import type { Supervisor } from "./supervisor";

interface Connection {
  readonly socket: net.Socket;
  subscribed: boolean;
}

export interface ServerOptions {
  readonly path: string;
  readonly keeper: Keeper;
  readonly supervisor: Supervisor;
  /** `goodbye {apps: "stop"}` is done. */
  readonly onEnd: () => void;
  readonly log: (message: string) => void;
}

export class KeeperServer {
  private readonly connections = new Set<Connection>();
  private daemon: Connection | undefined;
  private readonly server: net.Server;

  constructor(private readonly options: ServerOptions) {
    this.server = net.createServer((socket) => this.accept(socket));
  }

  /** Connections that sent `subscribe`: daemons. */
  get subscribers(): number {
    return [...this.connections].filter((connection) => connection.subscribed).length;
  }

  /** Takes the place of a socket that a dead keeper left; the caller holds the keeper's lock. */
  async listen(): Promise<void> {
    fs.rmSync(this.options.path, { force: true });
    // The socket is bound within listen(): it is never open to others, not even for a moment.
    const umask = process.umask(0o177);
    try {
      await new Promise<void>((resolve, reject) => {
        this.server.once("error", reject);
        this.server.listen(this.options.path, resolve);
      });
    } finally {
      process.umask(umask);
    }
  }

  close(): void {
    fs.rmSync(this.options.path, { force: true });
    this.server.close();
    for (const { socket } of this.connections) socket.destroySoon();
  }

  emitProcess(sandbox: string, state: ProcessState): void {
    for (const connection of this.connections)
      if (connection.subscribed) send(connection, { event: "process", sandbox, state });
  }

  private accept(socket: net.Socket): void {
    const connection: Connection = { socket, subscribed: false };
    this.connections.add(connection);
    const read = lineReader((line) => void this.handle(connection, line));
    socket.on("data", (chunk: Buffer) => {
      try {
        read(chunk);
      } catch {
        socket.destroy();
      }
    });
    // A client that went away is no concern; `close` follows.
    socket.on("error", () => {});
    socket.on("close", () => {
      this.connections.delete(connection);
      if (this.daemon === connection) {
        this.daemon = undefined;
        this.options.supervisor.lost();
      }
    });
  }

  private async handle(connection: Connection, line: string): Promise<void> {
    let id: unknown;
    try {
      const request = parse(line);
      if (typeof request.fd === "string") {
        this.handOver(connection.socket, request.fd);
        return;
      }
      id = request.id;
      const result = await this.call(connection, request.method as keyof KeeperMethods, request.params ?? {});
      send(connection, { id, result });
      if (request.method === "goodbye" && (request.params as { apps?: string }).apps === "stop") this.options.onEnd();
    } catch (error) {
      const code = WarrenError.is(error) ? error.code : "WARREN_INTERNAL";
      const { message } = error as Error;
      // Never the line itself: an app's environment may hold secrets.
      if (code === "WARREN_INTERNAL") this.options.log(`request ${String(id)}: ${(error as Error).stack}`);
      const path = WarrenError.is(error) ? error.path : undefined;
      send(connection, { id, error: { code, message, ...(path === undefined ? {} : { path }) } });
    }
  }

  private async call(connection: Connection, method: keyof KeeperMethods, params: unknown): Promise<unknown> {
    const { keeper, supervisor } = this.options;
    switch (method) {
      case "hello":
      case "list":
      case "ensureSandbox":
      case "removeSandbox":
      case "start":
      case "stop":
      case "probe":
        return keeper[method](params as never);
      case "subscribe":
        connection.subscribed = true;
        return {};
      case "supervise":
        connection.subscribed = true;
        this.daemon = connection;
        supervisor.watch(params as Supervise);
        return {};
      case "goodbye":
        if (this.daemon === connection || this.daemon === undefined) {
          this.daemon = undefined;
          supervisor.forget();
        }
        if ((params as { apps: string }).apps === "stop") await keeper.removeAll();
        return {};
      default:
        throw new WarrenError("WARREN_VERSION", `This keeper does not know the method ${String(method)}.`);
    }
  }

  /** One byte and the descriptor, or the end of the connection where there is no such sandbox. */
  private handOver(socket: net.Socket, sandbox: string): void {
    const descriptor = this.options.keeper.descriptor(sandbox);
    const handle = (socket as unknown as { _handle: { fd: number } | null })._handle;
    if (descriptor !== undefined && handle !== null && handle.fd >= 0)
      libc().sendDescriptors(handle.fd, Buffer.from("1"), [descriptor]);
    socket.end();
  }
}

interface Request {
  readonly id?: unknown;
  readonly method?: string;
  readonly params?: unknown;
  readonly fd?: string;
}

function parse(line: string): Request {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === "object" && value !== null) return value;
  } catch {
    // The parser's message quotes the line.
  }
  throw new WarrenError("WARREN_INVALID_INPUT", "A request to the keeper is one JSON object a line.");
}

function send({ socket }: Connection, value: unknown): void {
  if (!socket.destroyed) socket.write(`${JSON.stringify(value)}\n`);
}
