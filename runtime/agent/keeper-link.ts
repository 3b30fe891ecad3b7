/** The daemon's line to its keeper: made on demand, made again when it breaks. */
import type { Home } from "../home";
import type { KeeperClient } from "../keeper/client";
import { ensureKeeper } from "../keeper/launch";
import type { KeeperMethods, ProcessState, Supervise } from "../keeper/protocol";
import type { Log } from "../log";
import { VERSION } from "../version";

export interface KeeperLinkOptions {
  readonly home: Home;
  /** How the keeper brings this daemon back. */
  readonly supervise: Supervise;
  readonly log: Log;
  readonly onProcess: (sandbox: string, state: ProcessState) => void;
  /** The keeper ended, and with it the apps: compare and repair. */
  readonly onLost: () => void;
}

export class KeeperLink {
  private client: Promise<KeeperClient> | undefined;
  private closed = false;

  constructor(private readonly options: KeeperLinkOptions) {}

  /** Starts a keeper where none is. @throws WarrenError with the keeper's code, or why there is none. */
  async call<M extends keyof KeeperMethods>(
    method: M,
    params: Parameters<KeeperMethods[M]>[0],
  ): Promise<ReturnType<KeeperMethods[M]>> {
    this.client ??= this.connect().catch((error) => {
      this.client = undefined;
      throw error;
    });
    return (await this.client).call(method, params);
  }

  /** Without a keeper there is nothing to say goodbye to. */
  async goodbye(apps: "keep" | "stop"): Promise<void> {
    const client = await this.client?.catch(() => undefined);
    this.closed = true;
    if (!client) return;
    await client.call("goodbye", { apps });
    client.close();
  }

  private async connect(): Promise<KeeperClient> {
    const { home, supervise, log, onProcess, onLost } = this.options;
    const client = await ensureKeeper(home, {
      onProcess,
      onLost: () => {
        this.client = undefined;
        if (this.closed) return;
        log("warn", "the keeper is gone, and its apps with it");
        onLost();
      },
    });
    try {
      const { version, pid } = await client.call("hello", { version: VERSION });
      await client.call("supervise", supervise);
      log("info", "keeper", { pid, version });
      return client;
    } catch (error) {
      // The next call makes another connection; this one would tell everything a second time.
      client.close();
      throw error;
    }
  }
}
