/** UAPI sockets: where `wg` looks for them, how one is opened, and who is answered on it. */
import * as fs from "node:fs";
import * as net from "node:net";
import * as path from "node:path";
import { WarrenError } from "../errors";
import { formatStatus } from "./answer";
import { Conversation, type Request } from "./conversation";
import { type Failure, UapiErrno } from "./failure";
import type { SetOperation } from "./operations";

export const UAPI_FOLDER = "/var/run/wireguard";

export function socketPath(name: string): string {
  return path.join(UAPI_FOLDER, `${name}.sock`);
}

export interface UapiHandler {
  /** The answer to get, without its status. */
  get(): Promise<string>;
  set(operations: readonly SetOperation[]): Promise<Failure | undefined>;
  /** A request that failed; never with a key in it. */
  failed(failure: Failure): void;
}

export class UapiSocket {
  private readonly server: net.Server;
  private readonly connections = new Set<net.Socket>();
  /** The file that was made here, by inode and birth: numbers are used again. */
  private made: string | undefined;

  private constructor(
    private readonly file: string,
    private readonly handler: UapiHandler,
  ) {
    this.server = net.createServer({ allowHalfOpen: true }, (connection) => this.serve(connection));
  }

  /**
   * Listens at a path that only its owner can reach; a file that a dead program left there is replaced.
   * @throws WarrenError WARREN_NAME_TAKEN where a living program listens there, WARREN_PERMISSION
   */
  static async open(file: string, handler: UapiHandler): Promise<UapiSocket> {
    const socket = new UapiSocket(file, handler);
    try {
      fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
      if (fs.existsSync(file)) {
        if (await answers(file))
          throw new WarrenError(
            "WARREN_NAME_TAKEN",
            `Another program listens on ${file}: stop it, or choose another name.`,
          );
        fs.rmSync(file);
      }
      await socket.listen({ path: file });
    } catch (cause) {
      if (WarrenError.is(cause)) throw cause;
      throw new WarrenError("WARREN_PERMISSION", `The socket ${file} cannot be made (${(cause as Error).message}).`, {
        cause,
      });
    }
    socket.made = identity(file);
    return socket;
  }

  /** Takes over a listening socket. @param file where it lies, if that is known */
  static async adopt(fd: number, file: string, handler: UapiHandler): Promise<UapiSocket> {
    const socket = new UapiSocket(file, handler);
    await socket.listen({ fd });
    socket.made = identity(file);
    return socket;
  }

  /** Whether its file still lies where it was made: to remove it is to ask for the end. */
  get reachable(): boolean {
    return identity(this.file) === this.made;
  }

  /** Ends all connections and removes the file. */
  close(): void {
    if (this.made !== undefined && this.reachable) fs.rmSync(this.file, { force: true });
    for (const connection of this.connections) connection.destroy();
    this.server.close();
  }

  private listen(where: net.ListenOptions | { fd: number }): Promise<void> {
    return new Promise((resolve, reject) => {
      this.server.once("error", reject);
      const before = process.umask(0o177);
      try {
        // Bound in this very call, so that the mask falls on nothing else.
        this.server.listen(where, () => {
          this.server.off("error", reject).on("error", () => undefined);
          resolve();
        });
      } finally {
        process.umask(before);
      }
    });
  }

  private serve(connection: net.Socket): void {
    const conversation = new Conversation();
    this.connections.add(connection);
    connection.on("close", () => this.connections.delete(connection));
    // Whoever goes away without its answer misses nothing that we would have to know.
    connection.on("error", () => connection.destroy());
    let pending: Promise<void> = Promise.resolve();
    const take = (requests: readonly Request[]) => {
      if (requests.length === 0) return;
      connection.pause();
      pending = pending.then(async () => {
        for (const request of requests) await this.handle(request, connection);
        connection.resume();
      });
    };
    connection.on("data", (bytes: Buffer) => take(conversation.feed(bytes)));
    connection.on("end", () => take(conversation.end()));
  }

  private async handle(request: Request, connection: net.Socket): Promise<void> {
    if (connection.destroyed) return;
    if (request.kind === "close") {
      connection.end();
      return;
    }
    let failed = request.kind === "get" ? undefined : request.failure;
    let text = "";
    try {
      if (request.kind === "get") text = await this.handler.get();
      else if (request.kind === "set") failed = (await this.handler.set(request.operations)) ?? request.failure;
    } catch (error) {
      failed = { errno: UapiErrno.io, message: (error as Error).message };
    }
    if (failed !== undefined) this.handler.failed(failed);
    connection.write(text + formatStatus(failed?.errno ?? 0));
    if (request.kind === "refuse" || (request.kind === "set" && request.failure !== undefined)) connection.end();
  }
}

function identity(file: string): string | undefined {
  const stat = fs.lstatSync(file, { throwIfNoEntry: false, bigint: true });
  return stat && `${stat.ino} ${stat.birthtimeNs}`;
}

/** Whether somebody accepts connections there. */
export function answers(file: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = net.connect(file);
    probe.once("connect", () => {
      probe.destroy();
      resolve(true);
    });
    probe.once("error", (error: NodeJS.ErrnoException) => {
      // A full queue is a sign of life too.
      resolve(error.code === "EAGAIN");
    });
  });
}
