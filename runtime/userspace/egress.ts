/** The way out of apps in namespaces: what they send outside their network arrives at their gateway's own stack, which has real sockets. */
import type { Duplex } from "node:stream";
import type { EchoHandler } from "../netstack/icmp";
import type { Endpoint } from "../netstack/options";
import type { Stack } from "../netstack/stack";
import type { ConnectionRequest } from "../netstack/streams";
import { Budget } from "./budget";
import { answersThrough, DatagramRelay } from "./datagram-relay";
import type { EchoSocket } from "./echo";
import type { Outside } from "./outside";
import { reset, splice } from "./splice";

/** Connections that wait for the other side, of one app and of all. */
const PENDING = { each: 128, total: 1024 };
/** Pairs of UDP ends. */
const DATAGRAM_PAIRS = { each: 512, total: 4096 };

export interface EgressOptions {
  readonly outside: Outside;
  /** The instance that has this address and may leave its network. */
  readonly appOf: (address: string) => string | undefined;
  readonly echo: EchoSocket | undefined;
}

export class Egress {
  private readonly pending = new Budget(PENDING.each, PENDING.total);
  private readonly relay: DatagramRelay;
  private readonly open = new Set<Duplex>();
  private closed = false;

  constructor(
    private readonly stack: Stack,
    private readonly options: EgressOptions,
  ) {
    this.relay = new DatagramRelay({
      ...DATAGRAM_PAIRS,
      ...answersThrough(stack),
    });
  }

  readonly connect = async (request: ConnectionRequest): Promise<void> => {
    const app = this.options.appOf(request.from.address);
    if (app === undefined || !this.options.outside.allows(request.to.address)) return request.unreachable("admin");
    const giveBack = this.pending.take(app);
    if (!giveBack) return request.refuse();
    const gone = new AbortController();
    request.onGone = () => gone.abort();
    try {
      const outside = await this.options.outside.connect(app, request.to.address, request.to.port, gone.signal);
      const inside = this.closed ? undefined : request.accept({ allowHalfOpen: true });
      if (!inside) {
        outside.on("error", () => undefined);
        reset(outside);
        return;
      }
      this.open.add(outside);
      splice(inside, outside, () => this.open.delete(outside));
    } catch (error) {
      if (gone.signal.aborted) return;
      const { code } = error as NodeJS.ErrnoException;
      if (code === "ETIMEDOUT" || code === "EHOSTUNREACH") request.unreachable("host");
      else if (code === "ENETUNREACH" || code === "EADDRNOTAVAIL") request.unreachable("network");
      else request.refuse();
    } finally {
      giveBack();
    }
  };

  readonly datagram = (from: Endpoint, to: Endpoint, data: Uint8Array): void => {
    const app = this.options.appOf(from.address);
    if (app === undefined || !this.options.outside.allows(to.address)) this.stack.rejectDatagram(from, to, "admin");
    else this.relay.forward(app, from, to, data, () => [to]);
  };

  readonly echo: EchoHandler = (echo, answer) => {
    const app = this.options.appOf(echo.from);
    if (app === undefined || !this.options.outside.allows(echo.to) || !this.options.echo?.handles(echo.to))
      answer.reject("admin");
    else this.options.echo.send(echo.to, echo.data, (data) => answer.reply(data));
  };

  get lost(): Record<string, number> {
    return { "waiting connections refused": this.pending.refused, ...this.relay.lost };
  }

  close(): void {
    this.closed = true;
    this.relay.close();
    for (const stream of this.open) reset(stream);
  }
}
