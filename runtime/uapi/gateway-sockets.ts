/**
 * Where the daemon is root's, its gateways answer `wg show`: a socket for each, which only root can open, shows no private or pre-shared
 * key, and refuses to be configured. Nothing depends on it: where a socket cannot be, the log says so.
 */
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import type { DataPlaneApi } from "../dataplane/api";
import type { DataPlaneStatus } from "../dataplane/config";
import type { Log } from "../log";
import { formatGet } from "./answer";
import { type Failure, failure, UapiErrno } from "./failure";
import { answers, socketPath, UAPI_FOLDER, UapiSocket } from "./socket";

const PREFIX = "wr-";
/** A socket this young may be about to listen, milliseconds. */
const YOUNG = 2000;
/** Milliseconds after which a socket whose file somebody removed is there again, at most. */
const LOOK = 5000;

/**
 * The name by which `wg` knows a gateway: 15 characters, the most that an interface has. Gateways of daemons with different state folders
 * have different ones.
 */
export function gatewayInterface(homeDir: string, networkId: string, hostId: string): string {
  const hash = createHash("sha256").update(`${homeDir}\0${networkId}/${hostId}`).digest("hex");
  return PREFIX + hash.slice(0, 15 - PREFIX.length);
}

export class GatewaySockets {
  private readonly sockets = new Map<string, UapiSocket>();
  private readonly failed = new Set<string>();
  private turn: Promise<void>;
  private closed = false;
  private gateways: readonly string[] = [];
  private timer: NodeJS.Timeout | undefined;
  /** For an unprivileged daemon there is nothing to do: it could not write where `wg` looks. */
  private readonly possible = process.platform === "linux" && process.getuid?.() === 0;

  constructor(
    private readonly homeDir: string,
    private readonly plane: Pick<DataPlaneApi, "apply" | "status" | "onEvent">,
    private readonly log: Log,
  ) {
    this.turn = this.possible ? removeStale().catch(() => undefined) : Promise.resolve();
    // Also after a crash; what a killed daemon leaves is removed by the next one, and by `wg` itself.
    if (!this.possible) return;
    process.on("exit", this.close);
    this.timer = setInterval(() => {
      if ([...this.sockets.values()].some((socket) => !socket.reachable)) this.show(this.gateways);
    }, LOOK);
    this.timer.unref();
  }

  /** The data plane for whoever configures it, with the sockets following. */
  get following(): Pick<DataPlaneApi, "apply" | "onEvent"> {
    return {
      apply: async (config) => {
        const result = await this.plane.apply(config);
        this.show(config.gateways.map(({ id }) => id));
        return result;
      },
      onEvent: (listener) => this.plane.onEvent(listener),
    };
  }

  readonly close = (): void => {
    this.closed = true;
    clearInterval(this.timer);
    for (const socket of this.sockets.values()) socket.close();
    this.sockets.clear();
    process.off("exit", this.close);
  };

  private show(gateways: readonly string[]): void {
    this.gateways = gateways;
    if (!this.possible) return;
    const wanted = new Map(gateways.map((id) => [nameOf(this.homeDir, id), id]));
    this.turn = this.turn.then(async () => {
      for (const [name, socket] of this.sockets)
        if (!wanted.has(name) || !socket.reachable) {
          socket.close();
          this.sockets.delete(name);
        }
      for (const [name, id] of wanted) await this.open(name, id);
    });
  }

  private async open(name: string, id: string): Promise<void> {
    if (this.closed || this.sockets.has(name)) return;
    try {
      const socket = await UapiSocket.open(socketPath(name), new GatewayHandler(this.plane, id));
      if (this.closed) socket.close();
      else this.sockets.set(name, socket);
      this.failed.delete(name);
    } catch (error) {
      // Tried again with each change of the network; said once.
      if (!this.failed.has(name))
        this.log("warn", "wg cannot show a gateway", { gateway: id, reason: (error as Error).message });
      this.failed.add(name);
    }
  }
}

function nameOf(homeDir: string, gatewayId: string): string {
  const [networkId, hostId] = gatewayId.split("/") as [string, string];
  return gatewayInterface(homeDir, networkId, hostId);
}

/** Removes gateways' sockets behind which nobody listens any more. */
async function removeStale(): Promise<void> {
  const names = fs.existsSync(UAPI_FOLDER) ? fs.readdirSync(UAPI_FOLDER) : [];
  for (const name of names) {
    if (!name.startsWith(PREFIX) || !name.endsWith(".sock")) continue;
    const file = path.join(UAPI_FOLDER, name);
    const made = fs.lstatSync(file, { throwIfNoEntry: false })?.mtimeMs;
    if (made !== undefined && Date.now() - made > YOUNG && !(await answers(file))) fs.rmSync(file, { force: true });
  }
}

class GatewayHandler {
  constructor(
    private readonly plane: Pick<DataPlaneApi, "status">,
    private readonly id: string,
  ) {}

  async get(): Promise<string> {
    return gatewayAnswer(await this.plane.status(), this.id);
  }

  async set(): Promise<Failure> {
    return failure(UapiErrno.refused, "gateways are configured by their networks");
  }

  failed(): void {}
}

/** What `get` answers for one gateway. */
export function gatewayAnswer(status: DataPlaneStatus, id: string): string {
  const gateway = status.gateways.find((candidate) => candidate.id === id);
  const peers = status.peers
    .filter((peer) => peer.gateway === id)
    .map((peer) => ({
      publicKey: Buffer.from(peer.publicKey, "base64").toString("hex"),
      endpoint: peer.endpoint,
      latestHandshake: peer.latestHandshake,
      tx: peer.tx,
      rx: peer.rx,
      persistentKeepalive: peer.persistentKeepalive ?? 0,
      allowedIps: peer.allowedIps ?? [],
    }));
  return formatGet({ listenPort: gateway?.listenPort ?? 0, fwmark: 0, peers });
}
