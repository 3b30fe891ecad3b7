/**
 * The stacks of this process: those of apps on the link `userspace` with their proxies, and those of gateways with the apps' egress, DNS
 * over TCP and the daemon's own connections. Told the whole of what should be; finds the difference.
 */
import type { Duplex } from "node:stream";
import { isDeepStrictEqual } from "node:util";
import type { DnsHandler } from "../dataplane/config";
import type { PacketPipe } from "../dataplane/pipe";
import { WarrenError } from "../errors";
import type { Endpoint } from "../netstack/options";
import { AppEnd, type AppLink } from "./app-end";
import { BoundWatch, present, type StackCounters } from "./counters";
import { EchoSocket } from "./echo";
import { GatewayEnd, type GatewayStack } from "./gateway-end";
import type { AppProcess, LocalApp } from "./local-app";
import { Outside } from "./outside";
import type { Datagrams, Way } from "./way";

export interface UserspacePlan {
  readonly apps: readonly AppLink[];
  readonly gateways: readonly GatewayStack[];
}

export interface UserspaceOptions {
  /** The near end of a stack link, after the data plane has it. */
  readonly pipe: (linkId: string) => PacketPipe | undefined;
  /** What answers at `.2`; undefined until it does. */
  readonly dns: () => DnsHandler | undefined;
  /** The process of an instance. */
  readonly processOf: (instanceId: string) => AppProcess | undefined;
  /** CIDR ranges that egress may reach although they are the machine's own. */
  readonly egressAllow: readonly string[];
  /** A stack, or what leaves the network (`outside`), has reached bounds: what it lost for that, by reason. */
  readonly onBounds?: (id: string, lost: Record<string, number>) => void;
}

/** Milliseconds between looks at what was lost for reaching a bound. */
const WATCH = 10_000;

export interface UserspaceProblem {
  readonly id: string;
  readonly message: string;
}

interface End<Spec> {
  readonly spec: Spec;
  readonly pipe: PacketPipe;
  close(): void;
}

export class Userspace {
  private readonly apps = new Map<string, AppEnd>();
  private readonly gateways = new Map<string, GatewayEnd>();
  private readonly outside: Outside;
  private readonly echo: EchoSocket | undefined;
  private readonly timer: NodeJS.Timeout;

  constructor(private readonly options: UserspaceOptions) {
    this.outside = new Outside(options.egressAllow);
    this.echo = EchoSocket.open();
    const watch = new BoundWatch((id, lost) => options.onBounds?.(id, lost));
    this.timer = setInterval(() => watch.look(this.counters()), WATCH).unref();
  }

  /** Call after the data plane has applied the same. @returns what could not be done; the rest was. */
  async apply(plan: UserspacePlan): Promise<UserspaceProblem[]> {
    const problems: UserspaceProblem[] = [];
    const { dns, pipe, processOf } = this.options;
    await this.follow(this.gateways, plan.gateways, problems, (spec, near) =>
      GatewayEnd.open(spec, near, { dns, outside: this.outside, echo: this.echo }),
    );
    await this.follow(this.apps, plan.apps, problems, (spec, near) =>
      AppEnd.open(spec, near, { dns, outside: this.outside, process: () => processOf(spec.id) }),
    );
    for (const { id } of [...plan.gateways, ...plan.apps])
      if (!pipe(id)) problems.push({ id, message: "the data plane has no end for its stack" });
    return problems;
  }

  /** Of each stack, and of what all share. */
  counters(): StackCounters[] {
    const lost = present([
      ["connections refused", this.outside.refused],
      ["echo requests refused", this.echo?.refused ?? 0],
    ]);
    const outside = { id: "outside", packetsIn: 0, packetsOut: 0, connections: this.outside.open, memory: 0, lost };
    return [...[...this.apps.values(), ...this.gateways.values()].map(({ counters }) => counters), outside];
  }

  /** The means to speak as an instance on the link `userspace`. */
  appWay(instanceId: string): Way | undefined {
    return this.apps.get(instanceId)?.way;
  }

  /** The app behind an instance's address, where it is on the link `userspace`. */
  app(instanceId: string): LocalApp | undefined {
    return this.apps.get(instanceId)?.app;
  }

  /**
   * The means to speak in a network as one of its gateways on this machine.
   * @throws WarrenError WARREN_NOT_READY where none has an address of its own yet.
   */
  gateway(networkId: string, hostId?: string): Way {
    const usable = [...this.gateways.values()].filter(
      ({ spec }) => spec.networkId === networkId && spec.addresses.length > 0,
    );
    const found = usable.find(({ spec }) => spec.hostId === hostId) ?? usable[0];
    if (!found)
      throw new WarrenError(
        "WARREN_NOT_READY",
        "This machine has no gateway of that network yet: wait until one of its members works here.",
      );
    return found.way;
  }

  /**
   * A connection to a member, as a gateway of this machine; half-open.
   * @param host a name, as members know it, or an address.
   * @throws WarrenError WARREN_NOT_READY; else an error with the system's `code`.
   */
  async dialTcp(networkId: string, host: string, port: number, signal?: AbortSignal): Promise<Duplex> {
    return this.gateway(networkId).connect(host, port, signal);
  }

  /** A UDP port in the network, as a gateway of this machine. @throws WarrenError WARREN_NOT_READY */
  bindUdp(networkId: string, onDatagram: (from: Endpoint, data: Uint8Array) => void): Datagrams {
    return this.gateway(networkId).datagrams(onDatagram);
  }

  close(): void {
    clearInterval(this.timer);
    for (const end of [...this.apps.values(), ...this.gateways.values()]) end.close();
    this.apps.clear();
    this.gateways.clear();
    this.echo?.close();
  }

  private async follow<Spec extends { readonly id: string }, E extends End<Spec> & { update(spec: Spec): boolean }>(
    ends: Map<string, E>,
    specs: readonly Spec[],
    problems: UserspaceProblem[],
    open: (spec: Spec, near: PacketPipe) => Promise<E>,
  ): Promise<void> {
    const wanted = new Map(specs.map((spec) => [spec.id, spec]));
    for (const [id, end] of ends) {
      const spec = wanted.get(id);
      if (spec && this.options.pipe(id) === end.pipe && (isDeepStrictEqual(spec, end.spec) || end.update(spec)))
        continue;
      end.close();
      ends.delete(id);
    }
    for (const spec of specs) {
      const near = this.options.pipe(spec.id);
      if (ends.has(spec.id) || !near) continue;
      try {
        ends.set(spec.id, await open(spec, near));
      } catch (error) {
        problems.push({ id: spec.id, message: (error as Error).message });
      }
    }
  }
}
