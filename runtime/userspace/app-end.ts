/** The far end of one app's link `userspace`: its address answers here, for the app's sockets on loopback, and its proxy speaks here. */
import type { DnsHandler } from "../dataplane/config";
import type { PacketPipe } from "../dataplane/pipe";
import { StackRunner } from "../netstack/runner";
import { countersOf, type StackCounters } from "./counters";
import { Inbound } from "./inbound";
import { type AppProcess, LocalApp } from "./local-app";
import type { TargetSpec } from "./loopback-target";
import type { Outside } from "./outside";
import { AppProxy } from "./proxy";
import { families, networkResolver } from "./resolve";
import { StackWay } from "./way";

export interface AppLink {
  /** Instance id. */
  readonly id: string;
  /** `NETWORK_ID/HOST_ID`, whose names it asks. */
  readonly gateway: string;
  readonly domain: string;
  readonly addresses: readonly string[];
  readonly mtu: number;
  /** CIDR ranges of the network, and of what is behind its peers. */
  readonly ranges: readonly string[];
  readonly target: TargetSpec;
  readonly proxy: { readonly port: number; readonly secret: string };
  readonly egress: boolean;
}

export interface AppEndOptions {
  readonly dns: () => DnsHandler | undefined;
  readonly outside: Outside;
  readonly process: () => AppProcess | undefined;
}

export class AppEnd {
  private constructor(
    public spec: AppLink,
    readonly pipe: PacketPipe,
    readonly app: LocalApp,
    readonly way: StackWay,
    private readonly runner: StackRunner,
    private readonly inbound: Inbound,
    private readonly proxy: AppProxy,
  ) {}

  /** @throws the system's error where the proxy's port is taken. */
  static async open(spec: AppLink, pipe: PacketPipe, options: AppEndOptions): Promise<AppEnd> {
    const { addresses, mtu } = spec;
    const app = new LocalApp(spec.target, options.process);
    let end: AppEnd | undefined;
    const current = () => end?.spec ?? spec;
    // Transparent, so that datagrams come without a socket for each port.
    const runner = new StackRunner({ pipe, addresses, mtu, transparent: true });
    const way = new StackWay({
      id: spec.id,
      stack: runner.stack,
      ranges: () => current().ranges,
      resolver: networkResolver(options.dns, {
        gateway: spec.gateway,
        from: addresses[0] as string,
        families: families(addresses),
        domain: spec.domain,
      }),
      outside: () => (current().egress ? options.outside : undefined),
      own: (port, signal) => app.connect(port, signal),
    });
    let proxy: AppProxy;
    try {
      proxy = await AppProxy.listen(spec.proxy.port, spec.proxy.secret, way);
    } catch (error) {
      runner.close();
      throw new Error(`its proxy cannot listen on 127.0.0.1:${spec.proxy.port} (${(error as Error).message})`);
    }
    end = new AppEnd(spec, pipe, app, way, runner, new Inbound(runner.stack, app), proxy);
    return end;
  }

  /** @returns whether connections may live on with the new spec. */
  update(spec: AppLink): boolean {
    const fixed = ({ gateway, domain, mtu, proxy, addresses }: AppLink) =>
      JSON.stringify([gateway, domain, mtu, proxy, addresses]);
    if (fixed(spec) !== fixed(this.spec)) return false;
    this.app.spec = spec.target;
    this.spec = spec;
    return true;
  }

  get counters(): StackCounters {
    return countersOf(this.spec.id, this.runner.stack, [this.inbound.lost, this.proxy.lost, this.way.lost]);
  }

  close(): void {
    this.proxy.close();
    this.inbound.close();
    this.runner.close();
  }
}
