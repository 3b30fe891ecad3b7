/** A gateway's own TCP/IP stack: the apps' way out of the network, DNS over TCP at `.2`, and what the daemon itself says in the network. */
import type { DnsHandler } from "../dataplane/config";
import type { PacketPipe } from "../dataplane/pipe";
import { serveDnsStream } from "../dns";
import { StackRunner } from "../netstack/runner";
import { type ConnectionRequest, onConnectionRequest } from "../netstack/streams";
import { countersOf, type StackCounters } from "./counters";
import type { EchoSocket } from "./echo";
import { Egress } from "./egress";
import type { Outside } from "./outside";
import { families, networkResolver } from "./resolve";
import { StackWay } from "./way";

const DNS_PORT = 53;

export interface GatewayStack {
  /** `NETWORK_ID/HOST_ID/stack`. */
  readonly id: string;
  /** `NETWORK_ID/HOST_ID`. */
  readonly gateway: string;
  readonly networkId: string;
  readonly hostId: string;
  readonly domain: string;
  /** What it speaks with itself; none: it carries egress and DNS only. */
  readonly addresses: readonly string[];
  readonly dnsIps: readonly string[];
  readonly mtu: number;
  /** CIDR ranges of the network, and of what is behind its peers. */
  readonly ranges: readonly string[];
  /** Addresses of apps that may leave the network, with their instance ids. */
  readonly egress: readonly (readonly [address: string, instance: string])[];
}

export interface GatewayEndOptions {
  readonly dns: () => DnsHandler | undefined;
  readonly outside: Outside;
  readonly echo: EchoSocket | undefined;
}

export class GatewayEnd {
  readonly way: StackWay;
  private readonly egress: Egress;
  private apps: ReadonlyMap<string, string>;

  private constructor(
    public spec: GatewayStack,
    readonly pipe: PacketPipe,
    private readonly runner: StackRunner,
    private readonly options: GatewayEndOptions,
  ) {
    const { stack } = runner;
    this.apps = new Map(spec.egress);
    this.egress = new Egress(stack, {
      outside: options.outside,
      echo: options.echo,
      appOf: (address) => this.apps.get(address),
    });
    onConnectionRequest(stack, (request) => this.connect(request));
    stack.onDatagram = this.egress.datagram;
    stack.onEcho = this.egress.echo;
    this.way = new StackWay({
      id: spec.id,
      stack,
      ranges: () => this.spec.ranges,
      resolver: networkResolver(options.dns, {
        gateway: spec.gateway,
        from: spec.addresses[0] ?? (spec.dnsIps[0] as string),
        families: families(spec.addresses),
        domain: spec.domain,
      }),
    });
  }

  static async open(spec: GatewayStack, pipe: PacketPipe, options: GatewayEndOptions): Promise<GatewayEnd> {
    const { addresses, mtu } = spec;
    return new GatewayEnd(spec, pipe, new StackRunner({ pipe, addresses, mtu, transparent: true }), options);
  }

  /** @returns whether connections may live on with the new spec. */
  update(spec: GatewayStack): boolean {
    const fixed = ({ domain, mtu, addresses }: GatewayStack) => JSON.stringify([domain, mtu, addresses]);
    if (fixed(spec) !== fixed(this.spec)) return false;
    this.spec = spec;
    this.apps = new Map(spec.egress);
    return true;
  }

  get counters(): StackCounters {
    return countersOf(this.spec.id, this.runner.stack, [this.egress.lost, this.way.lost]);
  }

  close(): void {
    this.egress.close();
    this.runner.close();
  }

  private connect(request: ConnectionRequest): void {
    const { addresses, dnsIps, gateway } = this.spec;
    const { from, to } = request;
    const handler = this.options.dns();
    if (dnsIps.includes(to.address)) {
      const stream = to.port === DNS_PORT && handler ? request.accept({ allowHalfOpen: true }) : undefined;
      if (stream && handler) serveDnsStream(stream, gateway, from.address, handler);
      else request.refuse();
    } else if (addresses.includes(to.address)) request.refuse();
    else void this.egress.connect(request);
  }
}
