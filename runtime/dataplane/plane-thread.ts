/** One thread that moves packets, as the main thread sees it: told what should be and asked how it is. */
import * as fs from "node:fs";
import * as path from "node:path";
import { Worker } from "node:worker_threads";
import { WarrenError } from "../errors";
import { Errno } from "../native/errno";
import { PacketIo } from "../native/packet-io";
import type { DataPlaneOptions } from "./api";
import { Bells } from "./bells";
import type { ApplyResult, DataPlaneConfig, DataPlaneStatus, PeerChanges } from "./config";
import type { FromWorker, ToWorker, WorkerStart } from "./messages";
import type { PacketPipe } from "./pipe";
import type { PlaneListeners } from "./plane-listeners";
import { parseAeadName } from "./select-aead";
import { StackPipes } from "./stack-pipe";

interface Pending {
  readonly resolve: (value: never) => void;
  readonly reject: (error: Error) => void;
}

/** The compiled thread; from sources (under the test runner) that of the build. */
function workerFile(): string {
  const beside = path.join(__dirname, "worker.js");
  return fs.existsSync(beside) ? beside : path.join(__dirname, "../../dist/runtime/dataplane/worker.js");
}

function firstMessage(worker: Worker): Promise<FromWorker> {
  return new Promise((resolve, reject) => {
    const settled = (): void => {
      worker.off("message", onMessage).off("error", onError).off("exit", onExit);
    };
    const onMessage = (message: FromWorker): void => {
      settled();
      resolve(message);
    };
    const onError = (error: Error): void => {
      settled();
      reject(error);
    };
    const onExit = (code: number): void => {
      settled();
      reject(new Error(`its thread ended with code ${code}`));
    };
    worker.on("message", onMessage).on("error", onError).on("exit", onExit);
  });
}

/**
 * The main thread's native calls, tried out.
 * @throws WarrenError WARREN_LINK_UNAVAILABLE where they cannot be had, or do not do what they should.
 */
function nativeCalls(): { io: PacketIo; wakeFd: number } {
  let io: PacketIo;
  let wakeFd: number;
  try {
    io = new PacketIo(2);
    wakeFd = io.eventfd();
    const works =
      wakeFd >= 0 && io.signal(wakeFd) === 8 && io.drain(wakeFd) === 8 && io.drain(wakeFd) === -Errno.EAGAIN;
    if (!works) throw new Error(`an eventfd did not work (${wakeFd})`);
  } catch (cause) {
    if (WarrenError.is(cause)) throw cause;
    throw new WarrenError(
      "WARREN_LINK_UNAVAILABLE",
      `Native calls through koffi do not work here: ${(cause as Error).message}`,
      { cause },
    );
  }
  return { io, wakeFd };
}

export class PlaneThread {
  private readonly pipes: StackPipes;
  private readonly forgetNames: () => void;
  private readonly pending = new Map<number, Pending>();
  private nextId = 1;
  private ended = false;
  private stopping = false;
  private readonly onExit = (): void => this.signalStop();
  private readonly exited: Promise<void>;

  private constructor(
    private readonly worker: Worker,
    private readonly io: PacketIo,
    private readonly wakeFd: number,
    private readonly stopFlag: Int32Array,
    /** Name of the AEAD in use. */
    readonly aead: string,
    /** What the log should say of how it started; the same for each thread. */
    readonly notes: readonly string[],
    private readonly log: (message: string) => void,
    private readonly listeners: PlaneListeners,
    /** Called once where it ends without being told to. */
    private readonly onFailed: (reason: string) => void,
    bells: SharedArrayBuffer,
  ) {
    this.forgetNames = listeners.onGeneration((generation) => this.send({ type: "dns-generation", generation }));
    this.pipes = new StackPipes(bells, () => this.signal(), log);
    worker.on("message", (message: FromWorker) => this.receive(message));
    worker.on("error", (error) => this.end(error.message));
    this.exited = new Promise((resolve) => {
      worker.on("exit", (code) => {
        this.end(`its thread ended with code ${code}`);
        this.io.close(this.wakeFd);
        resolve();
      });
    });
    // Runs on process.exit, after an uncaught exception, and when nothing is left to do: the thread must be out of its
    // poll before Node joins it.
    process.on("exit", this.onExit);
  }

  /**
   * Starts the thread. It does not keep the process alive.
   * @throws WarrenError WARREN_LINK_UNAVAILABLE where this machine or installation cannot run it, WARREN_INVALID_INPUT for
   *   an unknown AEAD.
   */
  static async start(
    options: DataPlaneOptions,
    listeners: PlaneListeners,
    onFailed: (reason: string) => void,
  ): Promise<PlaneThread> {
    const aead = options.aead ?? process.env.WARREN_AEAD;
    if (aead) parseAeadName(aead);
    const { io, wakeFd } = nativeCalls();
    const stop = new SharedArrayBuffer(4);
    const bells = Bells.create();
    const workerData: WorkerStart = {
      wakeFd,
      stop,
      bells,
      ...(options.keeperSocket === undefined ? {} : { keeperSocket: options.keeperSocket }),
      ...(aead ? { aead } : {}),
    };
    const worker = new Worker(workerFile(), { workerData, name: "dataplane" });
    const first = await firstMessage(worker).catch((cause) => {
      io.close(wakeFd);
      throw new WarrenError("WARREN_INTERNAL", `The data plane did not start: ${(cause as Error).message}`, { cause });
    });
    if (first.type !== "ready") {
      io.close(wakeFd);
      const refused = first as Extract<FromWorker, { type: "refused" }>;
      throw new WarrenError(refused.code, refused.message, refused.path === undefined ? {} : { path: refused.path });
    }
    worker.unref();
    const { log } = options;
    const { aead: name, notes } = first;
    return new PlaneThread(worker, io, wakeFd, new Int32Array(stop), name, notes, log, listeners, onFailed, bells);
  }

  apply(config: DataPlaneConfig): Promise<ApplyResult> {
    return this.ask((id) => ({ type: "apply", id, config }));
  }

  /** @returns problems as sentences; the rest is done. */
  changePeers(changes: PeerChanges): Promise<readonly string[]> {
    return this.ask((id) => ({ type: "peers", id, changes }));
  }

  status(): Promise<DataPlaneStatus> {
    return this.ask((id) => ({ type: "status", id }));
  }

  pipe(linkId: string): PacketPipe | undefined {
    return this.pipes.get(linkId);
  }

  /** Ends the thread and closes its sockets and devices. */
  async stop(): Promise<void> {
    this.stopping = true;
    this.signalStop();
    this.worker.ref();
    await this.exited;
  }

  private signalStop(): void {
    if (this.ended) return;
    Atomics.store(this.stopFlag, 0, 1);
    this.io.signal(this.wakeFd);
  }

  private send(message: ToWorker): void {
    if (this.ended) return;
    this.worker.postMessage(message);
    this.signal();
  }

  private signal(): void {
    if (!this.ended) this.io.signal(this.wakeFd);
  }

  private ask<T>(make: (id: number) => ToWorker): Promise<T> {
    if (this.ended || this.stopping)
      return Promise.reject(new WarrenError("WARREN_INTERNAL", "The data plane has ended: restart the daemon."));
    const id = this.nextId++;
    return new Promise<T>((resolve, reject) => {
      // While someone waits for an answer the process must not end.
      if (this.pending.size === 0) this.worker.ref();
      this.pending.set(id, { resolve: resolve as (value: never) => void, reject });
      this.send(make(id));
    });
  }

  private settle(id: number): Pending | undefined {
    const pending = this.pending.get(id);
    this.pending.delete(id);
    if (this.pending.size === 0 && !this.stopping) this.worker.unref();
    return pending;
  }

  private receive(message: FromWorker): void {
    if (message.type === "wake") this.pipes.look();
    else if (message.type === "applied") this.settle(message.id)?.resolve(message.result as never);
    else if (message.type === "peers-changed") this.settle(message.id)?.resolve(message.problems as never);
    else if (message.type === "status") this.settle(message.id)?.resolve(message.status as never);
    else if (message.type === "failed")
      this.settle(message.id)?.reject(new WarrenError("WARREN_INTERNAL", `The data plane failed: ${message.message}`));
    else if (message.type === "pipe") this.pipes.add(message.rings);
    else if (message.type === "pipe-closed") this.pipes.remove(message.link);
    else if (message.type === "event") this.listeners.emit(message.event);
    else if (message.type === "log") this.log(message.message);
    else if (message.type === "dns") void this.answer(message);
  }

  private async answer({ id, type: _type, ...query }: Extract<FromWorker, { type: "dns" }>): Promise<void> {
    this.send({ type: "dns-answer", id, ...(await this.listeners.answer(query)) });
  }

  private end(reason: string): void {
    if (this.ended) return;
    this.ended = true;
    process.off("exit", this.onExit);
    this.forgetNames();
    this.pipes.close();
    for (const pending of this.pending.values())
      pending.reject(new WarrenError("WARREN_INTERNAL", `The data plane ended: ${reason}.`));
    this.pending.clear();
    if (!this.stopping) this.onFailed(reason);
  }
}
