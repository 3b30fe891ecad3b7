/** An asynchronous client of the keeper, for the daemon and the CLI. */
import * as net from "node:net";
import { WarrenError, type WarrenErrorCode } from "../errors";
import { lineReader } from "./lines";
import type { KeeperMethods, ProcessState } from "./protocol";

export interface KeeperClientOptions {
  /** `{event: "process"}`, after `subscribe` or `supervise`. */
  readonly onProcess?: (sandbox: string, state: ProcessState) => void;
  /** The connection ended other than by `close()`; make a new client through `ensureKeeper`. */
  readonly onLost?: () => void;
}

interface Waiting {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

type Answer = {
  id?: number;
  result?: unknown;
  error?: { code: WarrenErrorCode; message: string; path?: string };
  event?: string;
  sandbox?: string;
  state?: ProcessState;
};

/** One connection. Requests in flight when it ends are rejected with WARREN_CONTROL_UNREACHABLE. */
export class KeeperClient {
  private next = 1;
  private readonly waiting = new Map<number, Waiting>();
  private closed = false;

  private constructor(
    private readonly socket: net.Socket,
    private readonly path: string,
    private readonly options: KeeperClientOptions,
  ) {
    const read = lineReader((line) => this.take(JSON.parse(line) as Answer));
    socket.on("data", (chunk: Buffer) => {
      try {
        read(chunk);
      } catch (error) {
        socket.destroy(error as Error);
      }
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      const lost = !this.closed;
      this.closed = true;
      for (const { reject } of this.waiting.values()) reject(this.gone());
      this.waiting.clear();
      if (lost) options.onLost?.();
    });
  }

  /** @throws WarrenError WARREN_CONTROL_UNREACHABLE where no keeper listens, WARREN_PERMISSION where it is another user's. */
  static connect(path: string, options: KeeperClientOptions = {}): Promise<KeeperClient> {
    return new Promise((resolve, reject) => {
      const socket = net.connect(path);
      socket.once("connect", () => {
        socket.removeAllListeners("error");
        resolve(new KeeperClient(socket, path, options));
      });
      socket.once("error", (cause: NodeJS.ErrnoException) => {
        reject(
          cause.code === "EACCES"
            ? new WarrenError(
                "WARREN_PERMISSION",
                `The keeper at ${path} belongs to another user: run as that user, or set WARREN_HOME.`,
                { cause, path: "WARREN_HOME" },
              )
            : new WarrenError("WARREN_CONTROL_UNREACHABLE", `No keeper listens at ${path} (${cause.code}).`, { cause }),
        );
      });
    });
  }

  /** Calls a method. @throws WarrenError with the keeper's code. */
  call<M extends keyof KeeperMethods>(
    method: M,
    params: Parameters<KeeperMethods[M]>[0],
  ): Promise<ReturnType<KeeperMethods[M]>> {
    if (this.closed) return Promise.reject(this.gone());
    return new Promise((resolve, reject) => {
      const id = this.next++;
      this.waiting.set(id, { resolve: resolve as (value: unknown) => void, reject });
      this.socket.write(`${JSON.stringify({ id, method, params })}\n`);
    });
  }

  close(): void {
    this.closed = true;
    this.socket.destroy();
  }

  private take(answer: Answer): void {
    if (answer.event !== undefined) {
      if (answer.event === "process") this.options.onProcess?.(answer.sandbox!, answer.state!);
      return;
    }
    const waiting = this.waiting.get(answer.id!);
    if (waiting === undefined) return;
    this.waiting.delete(answer.id!);
    if (answer.error) {
      const { code, message, path } = answer.error;
      waiting.reject(new WarrenError(code, message, path === undefined ? {} : { path }));
    } else {
      waiting.resolve(answer.result);
    }
  }

  private gone(): WarrenError {
    return new WarrenError("WARREN_CONTROL_UNREACHABLE", `The keeper at ${this.path} is gone.`);
  }
}
