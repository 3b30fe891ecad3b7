/**
 * The data plane without native code, for any platform: the same engine in the event loop, on sockets of node:dgram. Its links are
 * stacks of this process. Datagrams of one turn of the event loop make a round.
 */
import ipaddr from "ipaddr.js";
import { WarrenError } from "../errors";
import { loadKernels } from "../native/kernels";
import { PlainMemory } from "../native/plain-memory";
import type { Aead } from "../wireguard/types";
import type { DataPlaneApi, DataPlaneOptions } from "./api";
import { Bells } from "./bells";
import { PAGES } from "./buffers";
import type { ApplyResult, DataPlaneConfig, DataPlaneEvent, DataPlaneStatus, DnsHandler, LinkConfig } from "./config";
import { DgramPort, Receptions } from "./dgram-port";
import { Engine } from "./engine";
import { Outbox } from "./outbox";
import type { PacketPipe } from "./pipe";
import { PlaneListeners } from "./plane-listeners";
import { selectAead } from "./select-aead";
import { StackPipes } from "./stack-pipe";

/** Longest time that a timer is set for, milliseconds. */
const MAX_WAIT = 60_000;

export class PortableDataPlane implements DataPlaneApi {
  readonly aead: string;
  private readonly engine: Engine;
  private readonly pipes: StackPipes;
  private readonly listeners: PlaneListeners;
  private readonly receptions: Receptions;
  private readonly prepared = new Map<string, DgramPort>();
  private ended = false;
  /** Calls of `apply` one after the other. */
  private applying: Promise<unknown> = Promise.resolve();
  private roundDue = false;
  private stacksWoken = false;
  private timer: NodeJS.Timeout | undefined;
  private timerAt = Number.POSITIVE_INFINITY;

  private constructor(log: (message: string) => void, forcedAead: string | undefined) {
    const memory = new PlainMemory(PAGES);
    const kernels = loadKernels(memory);
    const aead: Aead = selectAead(forcedAead, memory, kernels, log);
    this.aead = aead.name;
    this.listeners = new PlaneListeners(log);
    const outbox = new Outbox(memory.bytes, kernels);
    const bells = Bells.create();
    this.receptions = new Receptions(
      memory.bytes,
      (source) => {
        if (!this.roundDue) this.engine.tick();
        this.engine.take(source);
        this.schedule();
      },
      () => {
        this.engine.flush();
        this.receptions.reset();
      },
      outbox,
    );
    this.engine = new Engine({
      bytes: memory.bytes,
      kernels,
      aead,
      outbox,
      newPort: ({ id }) => this.prepared.get(id)!,
      openLink: (_context, config) => refusal(config),
      stacks: {
        bells,
        threads: false,
        onOpen: (rings) => this.pipes.add(rings),
        onClose: (link) => this.pipes.remove(link),
        wake: () => {
          this.stacksWoken = true;
        },
      },
      onEvent: (event) => this.listeners.emit(event),
      onDns: (id, gateway, { from, message }) => {
        const text = ipaddr.fromByteArray(Array.from(from)).toString();
        void this.listeners.answer({ gateway, from: text, message }).then((reply) => {
          if (!this.ended) this.engine.answerDns(id, reply?.message);
        });
      },
      log,
    });
    this.pipes = new StackPipes(bells, () => this.schedule(), log);
  }

  /** @throws WarrenError WARREN_INVALID_INPUT or WARREN_UNSUPPORTED for an AEAD that cannot be had here. */
  static async start(options: DataPlaneOptions): Promise<PortableDataPlane> {
    return new PortableDataPlane(options.log, options.aead ?? process.env.WARREN_AEAD);
  }

  apply(config: DataPlaneConfig): Promise<ApplyResult> {
    const applied = this.applying.then(async () => {
      this.requireLife();
      const wanted = new Set(config.ports.map(({ id }) => id));
      for (const [id, port] of this.prepared)
        if (!wanted.has(id)) {
          port.close();
          this.prepared.delete(id);
        }
      for (const port of config.ports) {
        let known = this.prepared.get(port.id);
        if (known === undefined) {
          known = new DgramPort(this.receptions, port.id);
          this.prepared.set(port.id, known);
        }
        await known.prepare(port);
      }
      this.requireLife();
      const result = this.engine.apply(config);
      this.schedule();
      return result;
    });
    this.applying = applied.catch(() => {});
    return applied;
  }

  async status(): Promise<DataPlaneStatus> {
    this.requireLife();
    return this.engine.status();
  }

  onDns(handler: DnsHandler): void {
    this.listeners.onDns(handler);
  }

  onEvent(listener: (event: DataPlaneEvent) => void): () => void {
    return this.listeners.onEvent(listener);
  }

  pipe(linkId: string): PacketPipe | undefined {
    return this.pipes.get(linkId);
  }

  async stop(): Promise<void> {
    if (this.ended) return;
    this.ended = true;
    clearTimeout(this.timer);
    this.engine.close();
    for (const port of this.prepared.values()) port.close();
    this.pipes.close();
  }

  private requireLife(): void {
    if (this.ended) throw new WarrenError("WARREN_INTERNAL", "The data plane has ended: restart the daemon.");
  }

  private schedule(): void {
    if (this.roundDue || this.ended) return;
    this.roundDue = true;
    setImmediate(this.round);
  }

  private readonly round = (): void => {
    this.roundDue = false;
    if (this.ended) return;
    const { engine } = this;
    engine.stacks.wake();
    engine.tick();
    engine.finishRound();
    this.receptions.reset();
    if (!engine.stacks.sleep()) this.schedule();
    if (this.stacksWoken) {
      this.stacksWoken = false;
      this.pipes.look();
    }
    this.setTimer();
  };

  private setTimer(): void {
    const next = this.engine.nextTimer();
    // A timer that comes too early does no harm.
    if (this.timer !== undefined && this.timerAt <= next) return;
    clearTimeout(this.timer);
    this.timer = undefined;
    if (next === Number.POSITIVE_INFINITY) return;
    this.timerAt = next;
    this.timer = setTimeout(
      () => {
        this.timer = undefined;
        this.schedule();
      },
      Math.min(MAX_WAIT, Math.max(0, Math.ceil(next - this.engine.tick()))),
    );
    this.timer.unref();
  }
}

function refusal({ id, source }: LinkConfig): string {
  return `Link ${id} is a device of the kernel (${source.kind}), and this data plane runs without native code: use the link userspace (WARREN_LINK=userspace), or install the optional package koffi on Linux.`;
}
