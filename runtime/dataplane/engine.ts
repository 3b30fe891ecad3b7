/**
 * Everything that is configured, and what a round does with packets that came; who calls it decides how to wait for them (poll-loop.ts,
 * portable.ts). Level-triggered: `apply` takes the whole desired state and changes what differs.
 */
import { performance } from "node:perf_hooks";
import type { Aead, Clock } from "../wireguard/types";
import type { PacketKernels } from "./checksum";
import type {
  ApplyResult,
  DataPlaneConfig,
  DataPlaneEvent,
  DataPlaneStatus,
  KeepAnswer,
  LinkConfig,
  PeerChanges,
  PortConfig,
} from "./config";
import { DnsCache } from "./dns-cache";
import { countedDrops, type DnsQuestion } from "./gateway";
import { type GatewayDeps, GatewayDevice } from "./gateway-device";
import { type EngineLink, type LinkContext, newLinkContext } from "./link";
import type { Outbox } from "./outbox";
import type { UdpPort } from "./port";
import { linksOf } from "./shards";
import { StackLinks, type StackLinksDeps } from "./stack-links";

/** DNS questions that may wait for their answer at once, and how long, milliseconds. */
const MAX_QUESTIONS = 512;
const QUESTION_LIFE = 15_000;

export interface EngineDeps {
  /** The memory in which packets lie, see buffers.ts, and the kernels on it. */
  readonly bytes: Uint8Array;
  readonly kernels: PacketKernels;
  readonly aead: Aead;
  readonly outbox: Outbox;
  readonly newPort: (config: PortConfig) => UdpPort;
  /** Opens a link that is none with a stack. @returns a sentence where it cannot be */
  readonly openLink: (context: LinkContext, config: LinkConfig) => EngineLink | string;
  readonly stacks: StackLinksDeps;
  readonly onEvent: (event: DataPlaneEvent) => void;
  readonly onDns: (id: number, gateway: string, question: DnsQuestion) => void;
  readonly log: (message: string) => void;
}

interface Waiting {
  readonly gateway: GatewayDevice;
  readonly question: DnsQuestion;
  readonly since: number;
}

/** What may have packets. */
export interface Source {
  /** Takes what waits, a bounded amount. */
  receive(): void;
}

class AttachedLink implements Source {
  constructor(
    readonly link: EngineLink,
    public gateway: GatewayDevice,
  ) {}

  receive(): void {
    this.link.receive(this.gateway.switch);
  }
}

export class Engine {
  readonly ports = new Map<string, UdpPort>();
  readonly links = new Map<string, AttachedLink>();
  readonly stacks: StackLinks;
  /** Changes whenever ports, links or what is watched do. */
  generation = 0;
  watch: number | undefined;
  private readonly gateways = new Map<string, GatewayDevice>();
  readonly dnsCache = new DnsCache();
  private readonly questions = new Map<number, Waiting>();
  private nextQuestion = 1;
  private time = performance.now();
  private faults = 0;
  private readonly clock: Clock;
  private readonly gatewayDeps: GatewayDeps;
  private readonly linkContext: LinkContext;

  constructor(private readonly deps: EngineDeps) {
    this.clock = {
      // One reading for each round of the loop.
      now: () => this.time,
      wall: () => {
        const ms = Date.now();
        return { seconds: Math.floor(ms / 1000), nanos: (ms % 1000) * 1_000_000 };
      },
    };
    this.linkContext = newLinkContext(deps.bytes, deps.kernels);
    this.stacks = new StackLinks(deps.stacks);
    this.gatewayDeps = {
      io: deps,
      outbox: deps.outbox,
      aead: deps.aead,
      clock: this.clock,
      onEvent: deps.onEvent,
      onDns: (gateway, question) => this.ask(gateway, question),
    };
  }

  apply(config: DataPlaneConfig): ApplyResult {
    this.time = performance.now();
    const problems: { id: string; message: string }[] = [];
    this.dropLost();
    this.removeOld(config);
    this.applyPorts(config, problems);
    for (const gateway of config.gateways) {
      try {
        this.applyGateway(gateway, problems);
      } catch (error) {
        problems.push({ id: gateway.id, message: (error as Error).message });
      }
    }
    this.flush();
    this.watch = config.watch;
    this.generation++;
    const ports: Record<string, number> = {};
    for (const port of this.ports.values()) if (port.number !== 0) ports[port.id] = port.number;
    return { ports, problems };
  }

  /** Something came on the watched descriptor. */
  watched(): void {
    this.deps.onEvent({ type: "watched" });
  }

  /** @returns problems as sentences. */
  changePeers({ gateway: id, ...changes }: PeerChanges): string[] {
    this.time = performance.now();
    const gateway = this.gateways.get(id);
    if (gateway === undefined) return [`There is no gateway ${id}.`];
    const problems = gateway.changePeers(changes);
    this.flush();
    return problems;
  }

  private removeOld(config: DataPlaneConfig): void {
    const wantedLinks = new Map(
      config.gateways.flatMap((g) => linksOf(g).map((l) => [l.id, JSON.stringify(l.source)])),
    );
    for (const [id, { link }] of this.links)
      if (wantedLinks.get(id) !== link.source) {
        link.close();
        this.links.delete(id);
      }
    const wanted = new Map(config.gateways.map((g) => [g.id, GatewayDevice.identity(g)]));
    for (const [id, gateway] of this.gateways)
      if (wanted.get(id) !== GatewayDevice.identity(gateway.config)) {
        gateway.close();
        this.gateways.delete(id);
        for (const [key, waiting] of this.questions) if (waiting.gateway === gateway) this.questions.delete(key);
      }
    const wantedPorts = new Set(config.ports.map((p) => p.id));
    for (const [id, port] of this.ports)
      if (!wantedPorts.has(id)) {
        // Devices of a removed port that are still wanted are problems of the configuration, found below.
        for (const [gatewayId, gateway] of this.gateways)
          if (gateway.port === port) {
            gateway.close();
            this.gateways.delete(gatewayId);
          }
        port.close();
        this.ports.delete(id);
      }
  }

  private applyPorts(config: DataPlaneConfig, problems: { id: string; message: string }[]): void {
    for (const portConfig of config.ports) {
      let port = this.ports.get(portConfig.id);
      if (port === undefined) {
        port = this.deps.newPort(portConfig);
        this.ports.set(portConfig.id, port);
      }
      try {
        const problem = port.bind(portConfig);
        if (problem !== undefined) problems.push({ id: portConfig.id, message: problem });
      } catch (error) {
        problems.push({ id: portConfig.id, message: (error as Error).message });
      }
    }
  }

  private applyGateway(config: DataPlaneConfig["gateways"][number], problems: { id: string; message: string }[]): void {
    const port = this.ports.get(config.port);
    if (port === undefined) {
      problems.push({
        id: config.id,
        message: `Gateway ${config.id} names the port ${config.port}, which is not configured.`,
      });
      return;
    }
    let gateway = this.gateways.get(config.id);
    if (gateway === undefined) {
      gateway = new GatewayDevice(this.gatewayDeps, config, port);
      this.gateways.set(config.id, gateway);
    } else gateway.update(config);
    const links: EngineLink[] = [];
    for (const linkConfig of config.links) {
      const link = this.attach(linkConfig, gateway);
      if (typeof link === "string") problems.push({ id: linkConfig.id, message: link });
      else links.push(link);
    }
    gateway.links = links;
    gateway.stack = undefined;
    if (config.stack !== undefined) {
      const stack = this.attach(config.stack, gateway);
      if (typeof stack === "string") problems.push({ id: config.stack.id, message: stack });
      else gateway.stack = stack;
    }
    gateway.switch.setLinks(gateway.links, gateway.stack);
    // After the links: the first packets of a handshake may carry data for them.
    for (const message of gateway.setPeers(config.peers)) problems.push({ id: config.id, message });
  }

  /** The link as configured, opened where it is not. @returns a sentence where it cannot be */
  private attach(config: LinkConfig, gateway: GatewayDevice): EngineLink | string {
    let attached = this.links.get(config.id);
    if (attached === undefined) {
      const link =
        config.source.kind === "stack"
          ? this.stacks.open(this.linkContext, config)
          : this.deps.openLink(this.linkContext, config);
      if (typeof link === "string") return link;
      attached = new AttachedLink(link, gateway);
      this.links.set(config.id, attached);
    }
    attached.gateway = gateway;
    attached.link.configure(config);
    return attached.link;
  }

  status(): DataPlaneStatus {
    const gateways = [...this.gateways.values()];
    return {
      aead: this.deps.aead.name,
      peers: gateways.flatMap((gateway) => gateway.status()),
      links: [...this.links.values()].map(({ link }) => ({
        id: link.id,
        rx: link.rx,
        tx: link.tx,
        dropped: countedDrops(link.drops),
      })),
      gateways: gateways.map((gateway) => gateway.gatewayStatus()),
      ports: [...this.ports.values()].map((port) => ({
        id: port.id,
        dropped: Object.fromEntries(
          Object.entries({ ...port.devices.drops, ...port.drops }).filter(([, count]) => count > 0),
        ),
        refused: port.refused,
      })),
    };
  }

  private ask(gateway: GatewayDevice, question: DnsQuestion): boolean {
    const kept = this.dnsCache.find(gateway.config.id, question.message);
    if (kept !== undefined) {
      gateway.switch.answerDns(question, kept);
      return true;
    }
    if (this.questions.size >= MAX_QUESTIONS) {
      for (const [id, waiting] of this.questions) {
        if (this.time - waiting.since < QUESTION_LIFE) break;
        this.questions.delete(id);
      }
      if (this.questions.size >= MAX_QUESTIONS) return false;
    }
    const id = this.nextQuestion++;
    this.questions.set(id, { gateway, question, since: this.time });
    this.deps.onDns(id, gateway.config.id, question);
    return true;
  }

  /** The answer to a question that `onDns` reported; undefined: silence. */
  answerDns(id: number, message: Uint8Array | undefined, keep?: KeepAnswer): void {
    const waiting = this.questions.get(id);
    if (waiting === undefined) return;
    this.questions.delete(id);
    this.time = performance.now();
    if (message === undefined) return;
    if (keep !== undefined) this.dnsCache.keep(waiting.gateway.config.id, waiting.question.message, message, keep);
    waiting.gateway.switch.answerDns(waiting.question, message);
    this.flush();
  }

  /** Before packets are taken: reads the clock. @returns milliseconds */
  tick(): number {
    this.time = performance.now();
    return this.time;
  }

  /** Takes what waits there; what comes of it is held until `flush`. */
  take(source: Source): void {
    try {
      source.receive();
    } catch (error) {
      this.fault(error);
    }
  }

  /** Takes what waits there, and lets go what comes of it. */
  serve(source: Source): void {
    this.take(source);
    this.flush();
  }

  /** The end of a round: packets of stacks, timers, links that were lost. */
  finishRound(): void {
    this.stacks.round(this.serveStack);
    try {
      for (const port of this.ports.values()) if (port.devices.nextTimer() <= this.time) port.devices.tick();
    } catch (error) {
      this.fault(error);
    }
    this.flush();
    this.dropLost();
  }

  private readonly serveStack = (link: EngineLink): void => {
    const attached = this.links.get(link.id);
    if (attached !== undefined) this.serve(attached);
  };

  /** When `finishRound` has something to do by the clock; Infinity: never. */
  nextTimer(): number {
    let next = Number.POSITIVE_INFINITY;
    for (const port of this.ports.values()) next = Math.min(next, port.devices.nextTimer());
    return next;
  }

  /** Lets go what was gathered: packets for links, then datagrams. */
  flush(): void {
    const { holding } = this.linkContext;
    while (holding.length > 0)
      try {
        holding.pop()!.flush();
      } catch (error) {
        this.fault(error);
      }
    this.deps.outbox.flush();
  }

  /** A fault of this program costs one packet and a line in the log, not the tunnels of everyone. */
  private fault(error: unknown): void {
    this.faults++;
    if (this.faults <= 20) this.deps.log(`A packet was dropped by a fault: ${(error as Error).stack ?? String(error)}`);
  }

  private dropLost(): void {
    for (const [id, { link, gateway }] of this.links) {
      if (link.lost === undefined) continue;
      const reason = link.lost;
      link.close();
      this.links.delete(id);
      gateway.links = gateway.links.filter((other) => other !== link);
      gateway.switch.setLinks(gateway.links, gateway.stack);
      this.generation++;
      this.deps.onEvent({ type: "link-lost", link: id, reason });
    }
  }

  close(): void {
    for (const gateway of this.gateways.values()) gateway.close();
    for (const { link } of this.links.values()) link.close();
    for (const port of this.ports.values()) port.close();
    this.gateways.clear();
    this.links.clear();
    this.ports.clear();
    this.generation++;
  }
}
