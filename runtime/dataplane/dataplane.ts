/** The data plane on native code: one thread for a host, more where there are more hosts and enough processor cores. */
import * as os from "node:os";
import { WarrenError } from "../errors";
import type { DataPlaneApi, DataPlaneOptions } from "./api";
import type {
  ApplyResult,
  DataPlaneConfig,
  DataPlaneEvent,
  DataPlaneStatus,
  DnsHandler,
  OwnNames,
  PeerChanges,
} from "./config";
import type { PacketPipe } from "./pipe";
import { PlaneListeners } from "./plane-listeners";
import { PlaneThread } from "./plane-thread";
import { assignPorts, keptOf, mergeResults, mergeStatus, shardOf } from "./shards";

/**
 * Threads where nothing else is asked for. Two hosts' threads on two cores that apps need as well move no more than one does, at more
 * processor time (their batches are smaller; `npm run bench -- cores`), so half of the cores is left to others.
 */
const defaultThreads = (): number => Math.max(1, Math.floor(os.availableParallelism() / 2));

const NOTHING: DataPlaneConfig = { ports: [], gateways: [] };

export class DataPlane implements DataPlaneApi {
  private assigned: ReadonlyMap<string, number> = new Map();
  /** What each thread was told last. */
  private shards: DataPlaneConfig[] = [NOTHING];
  private ended = false;
  /** Calls of `apply` one after the other. */
  private applying: Promise<unknown> = Promise.resolve();

  private constructor(
    private readonly options: DataPlaneOptions,
    private readonly listeners: PlaneListeners,
    private readonly threads: PlaneThread[],
    private readonly fate: { onFailed: (reason: string) => void },
  ) {
    fate.onFailed = (reason) => this.fail(reason);
  }

  /**
   * Starts the first thread. It does not keep the process alive.
   * @throws WarrenError WARREN_LINK_UNAVAILABLE where this machine or installation cannot run it, WARREN_INVALID_INPUT for
   *   an unknown AEAD.
   */
  static async start(options: DataPlaneOptions): Promise<DataPlane> {
    const listeners = new PlaneListeners(options.log);
    const fate = { onFailed: (_reason: string): void => {} };
    const first = await PlaneThread.start(options, listeners, (reason) => fate.onFailed(reason));
    for (const note of first.notes) options.log(note);
    return new DataPlane(options, listeners, [first], fate);
  }

  get aead(): string {
    return this.threads[0].aead;
  }

  apply(config: DataPlaneConfig): Promise<ApplyResult> {
    const applied = this.applying.then(() => this.applyNow(config));
    this.applying = applied.catch(() => {});
    return applied;
  }

  private async applyNow(config: DataPlaneConfig): Promise<ApplyResult> {
    this.requireLife();
    const hosts = config.ports.map(({ id }) => id);
    const wanted = Math.max(1, Math.min(hosts.length, this.options.threads ?? defaultThreads()));
    while (this.threads.length < wanted) {
      const thread = await PlaneThread.start(this.options, this.listeners, this.fate.onFailed);
      this.threads.push(thread);
      this.shards.push(NOTHING);
      if (this.ended) await thread.stop();
      this.requireLife();
    }
    const assigned = assignPorts(this.assigned, hosts, this.threads.length);
    const shards = this.threads.map((_, thread) => shardOf(config, assigned, thread));
    this.assigned = assigned;
    const before = this.shards;
    this.shards = shards;
    if (this.threads.length > 1)
      await Promise.all(
        this.threads.map((thread, i) => {
          const kept = keptOf(before[i], shards[i]);
          return kept === undefined ? undefined : thread.apply(kept);
        }),
      );
    const results = await Promise.all(this.threads.map((thread, i) => thread.apply(shards[i])));
    await this.endIdle();
    return mergeResults(results);
  }

  /** The last threads, where they have no host any more. */
  private async endIdle(): Promise<void> {
    while (this.threads.length > 1 && this.shards[this.threads.length - 1].ports.length === 0) {
      this.shards.pop();
      await this.threads.pop()!.stop();
    }
  }

  /** @returns problems as sentences; the rest is done. */
  async changePeers(changes: PeerChanges): Promise<readonly string[]> {
    const thread = this.shards.findIndex(({ gateways }) => gateways.some(({ id }) => id === changes.gateway));
    return this.threads[Math.max(0, thread)].changePeers(changes);
  }

  async status(): Promise<DataPlaneStatus> {
    return mergeStatus(await Promise.all(this.threads.map((thread) => thread.status())));
  }

  onDns(handler: DnsHandler, names?: OwnNames): void {
    this.listeners.onDns(handler, names);
  }

  onEvent(listener: (event: DataPlaneEvent) => void): () => void {
    return this.listeners.onEvent(listener);
  }

  pipe(linkId: string): PacketPipe | undefined {
    for (const thread of this.threads) {
      const pipe = thread.pipe(linkId);
      if (pipe !== undefined) return pipe;
    }
    return undefined;
  }

  /** Ends the threads and closes their sockets and devices. */
  async stop(): Promise<void> {
    this.ended = true;
    await Promise.all(this.threads.map((thread) => thread.stop()));
  }

  /** One thread without the others is no data plane. */
  private fail(reason: string): void {
    if (this.ended) return;
    this.options.log(`The data plane ended: ${reason}`);
    void this.stop();
    this.listeners.emit({ type: "failed", reason });
  }

  private requireLife(): void {
    if (this.ended) throw new WarrenError("WARREN_INTERNAL", "The data plane has ended: restart the daemon.");
  }
}
