/** Connections and datagrams to an app's private address, carried to its real ports on this machine. */
import type { Duplex } from "node:stream";
import type { Endpoint } from "../netstack/options";
import type { Stack } from "../netstack/stack";
import { type ConnectionRequest, onConnectionRequest } from "../netstack/streams";
import { Budget } from "./budget";
import { answersThrough, DatagramRelay } from "./datagram-relay";
import type { LocalApp } from "./local-app";
import { reset, splice } from "./splice";

/** Connections of one app, with those that wait for their loopback side; more are refused. */
const CONNECTIONS = 8192;
/** Pairs of UDP ends of one app. */
const DATAGRAM_PAIRS = 2048;

export class Inbound {
  private readonly budget = new Budget(CONNECTIONS, CONNECTIONS);
  private readonly relay: DatagramRelay;
  private readonly open = new Set<Duplex>();
  private closed = false;

  constructor(
    private readonly stack: Stack,
    private readonly app: LocalApp,
  ) {
    this.relay = new DatagramRelay({
      each: DATAGRAM_PAIRS,
      total: DATAGRAM_PAIRS,
      ...answersThrough(stack),
    });
    onConnectionRequest(stack, (request) => void this.connect(request));
    stack.onDatagram = (from: Endpoint, to: Endpoint, data: Uint8Array) =>
      this.relay.forward("", from, to, data, () => app.datagramEnds(to.port));
  }

  /** Connections that are open now. */
  get connections(): number {
    return this.open.size;
  }

  get lost(): Record<string, number> {
    return { "connections refused": this.budget.refused, ...this.relay.lost };
  }

  close(): void {
    this.closed = true;
    onConnectionRequest(this.stack, undefined);
    this.stack.onDatagram = undefined;
    this.relay.close();
    for (const stream of this.open) reset(stream);
  }

  /** The SYN is answered once the app itself has taken the connection, so that a refusal is one to the client too. */
  private async connect(request: ConnectionRequest): Promise<void> {
    const giveBack = this.budget.take("");
    if (!giveBack) return request.refuse();
    const gone = new AbortController();
    request.onGone = () => gone.abort();
    try {
      const local = await this.app.connect(request.to.port, gone.signal);
      const remote = this.closed ? undefined : request.accept({ allowHalfOpen: true });
      if (!remote) {
        local.on("error", () => undefined);
        reset(local);
        giveBack();
        return;
      }
      this.open.add(local);
      splice(remote, local, () => {
        this.open.delete(local);
        giveBack();
      });
    } catch (error) {
      giveBack();
      if (gone.signal.aborted) return;
      if ((error as NodeJS.ErrnoException).code === "ETIMEDOUT") request.unreachable("host");
      else request.refuse();
    }
  }
}
