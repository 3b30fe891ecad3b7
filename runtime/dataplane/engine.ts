/**
 * The data plane's thread: everything that is configured, and the loop that waits in poll and moves packets.
 * Level-triggered: `apply` takes the whole desired state and changes what differs.
 */
import { performance } from "node:perf_hooks";
import { type PacketIo, POLLIN } from "../native/packet-io";
import type { Aead, Clock } from "../wireguard/types";
import type { PacketKernels } from "./checksum";
import type { ApplyResult, DataPlaneConfig, DataPlaneEvent, DataPlaneStatus, PeerChanges } from "./config";
import { countedDrops, type DnsQuestion } from "./gateway";
import { type GatewayDeps, GatewayDevice } from "./gateway-device";
import { type LinkContext, newLinkContext, type OpenLink, TunLink } from "./link";
import { Outbox } from "./outbox";
import { UdpPort, type UdpSocket } from "./port";

/** Longest wait in poll, milliseconds: a process that ends must never wait longer for this thread. */
const MAX_WAIT = 250;
/** DNS questions that may wait for their answer at once, and how long, milliseconds. */
const MAX_QUESTIONS = 512;
const QUESTION_LIFE = 15_000;

export interface EngineDeps {
  readonly io: PacketIo;
  readonly kernels: PacketKernels;
  readonly aead: Aead;
  readonly openLink: OpenLink;
  readonly onEvent: (event: DataPlaneEvent) => void;
  readonly onDns: (id: number, gateway: string, question: DnsQuestion) => void;
  readonly log: (message: string) => void;
}

interface Waiting {
  readonly gateway: GatewayDevice;
  readonly question: DnsQuestion;
  readonly since: number;
}

interface AttachedLink {
  readonly link: TunLink;
  gateway: GatewayDevice;
}

export class Engine {
  private readonly ports = new Map<string, UdpPort>();
  private readonly gateways = new Map<string, GatewayDevice>();
  private readonly links = new Map<string, AttachedLink>();
  private readonly questions = new Map<number, Waiting>();
  private nextQuestion = 1;
  /** What each entry of the poll list is; entry 0 is the control descriptor. */
  private polled: (UdpSocket | AttachedLink)[] = [];
  private polledPorts: (UdpPort | undefined)[] = [];
  private pollStale = true;
  private time = performance.now();
  private faults = 0;
  private readonly clock: Clock;
  private readonly gatewayDeps: GatewayDeps;
  private readonly outbox: Outbox;
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
    this.outbox = new Outbox(deps.io, deps.kernels);
    this.linkContext = newLinkContext(deps.io, deps.kernels);
    this.gatewayDeps = {
      io: deps.io,
      outbox: this.outbox,
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
    this.pollStale = true;
    const ports: Record<string, number> = {};
    for (const port of this.ports.values()) if (port.number !== 0) ports[port.id] = port.number;
    return { ports, problems };
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
    const wantedLinks = new Map(config.gateways.flatMap((g) => g.links.map((l) => [l.id, JSON.stringify(l.source)])));
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
        port = new UdpPort(this.deps.io, this.outbox, portConfig);
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
    const links: TunLink[] = [];
    for (const linkConfig of config.links) {
      let attached = this.links.get(linkConfig.id);
      if (attached === undefined) {
        const link = TunLink.open(this.linkContext, linkConfig, this.deps.openLink);
        if (typeof link === "string") {
          problems.push({ id: linkConfig.id, message: link });
          continue;
        }
        attached = { link, gateway };
        this.links.set(linkConfig.id, attached);
      }
      attached.gateway = gateway;
      attached.link.setAddresses(linkConfig.addresses);
      links.push(attached.link);
    }
    gateway.switch.setLinks(links);
    // After the links: the first packets of a handshake may carry data for them.
    for (const message of gateway.setPeers(config.peers)) problems.push({ id: config.id, message });
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
      gateways: gateways.map((gateway) => ({ id: gateway.config.id, dropped: gateway.drops() })),
      ports: [...this.ports.values()].map((port) => ({
        id: port.id,
        dropped: Object.fromEntries(
          Object.entries({ ...port.devices.drops, ...port.drops }).filter(([, count]) => count > 0),
        ),
      })),
    };
  }

  private ask(gateway: GatewayDevice, question: DnsQuestion): boolean {
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
  answerDns(id: number, message: Uint8Array | undefined): void {
    const waiting = this.questions.get(id);
    if (waiting === undefined) return;
    this.questions.delete(id);
    this.time = performance.now();
    if (message === undefined) return;
    waiting.gateway.switch.answerDns(waiting.question, message);
    this.flush();
  }

  /** One round: waits for packets, timers or control, and handles what is there. @returns true where control waits. */
  round(controlFd: number): boolean {
    const { io } = this.deps;
    if (this.pollStale) this.rebuildPoll(controlFd);
    this.time = performance.now();
    io.poll(this.polled.length + 1, Math.min(MAX_WAIT, Math.max(0, Math.ceil(this.nextTimer() - this.time))));
    this.time = performance.now();
    for (let i = 0; i < this.polled.length; i++) {
      if (io.polled(i + 1) === 0) continue;
      const port = this.polledPorts[i];
      const entry = this.polled[i];
      try {
        if (port !== undefined) port.receive(entry as UdpSocket);
        else (entry as AttachedLink).link.receive((entry as AttachedLink).gateway.switch);
      } catch (error) {
        this.fault(error);
      }
      this.flush();
    }
    try {
      for (const port of this.ports.values()) if (port.devices.nextTimer() <= this.time) port.devices.tick();
    } catch (error) {
      this.fault(error);
    }
    this.flush();
    this.dropLost();
    return io.polled(0) !== 0;
  }

  /** Lets go what was gathered: packets for links, then datagrams. */
  private flush(): void {
    const { holding } = this.linkContext;
    while (holding.length > 0)
      try {
        holding.pop()!.flush();
      } catch (error) {
        this.fault(error);
      }
    this.outbox.flush();
  }

  private nextTimer(): number {
    let next = Number.POSITIVE_INFINITY;
    for (const port of this.ports.values()) next = Math.min(next, port.devices.nextTimer());
    return next;
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
      gateway.switch.setLinks(
        [...this.links.values()].filter((other) => other.gateway === gateway).map((other) => other.link),
      );
      this.pollStale = true;
      this.deps.onEvent({ type: "link-lost", link: id, reason });
    }
  }

  private rebuildPoll(controlFd: number): void {
    const { io } = this.deps;
    this.polled = [];
    this.polledPorts = [];
    io.setPoll(0, controlFd, POLLIN);
    for (const port of this.ports.values())
      for (const socket of port.sockets) {
        io.setPoll(this.polled.length + 1, socket.fd, POLLIN);
        this.polled.push(socket);
        this.polledPorts.push(port);
      }
    for (const attached of this.links.values()) {
      io.setPoll(this.polled.length + 1, attached.link.fd, POLLIN);
      this.polled.push(attached);
      this.polledPorts.push(undefined);
    }
    this.pollStale = false;
  }

  close(): void {
    for (const gateway of this.gateways.values()) gateway.close();
    for (const { link } of this.links.values()) link.close();
    for (const port of this.ports.values()) port.close();
    this.gateways.clear();
    this.links.clear();
    this.ports.clear();
    this.pollStale = true;
  }
}
