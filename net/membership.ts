/** A Node program as a member of a network: its own WireGuard device and TCP/IP stack, with no privileges and no daemon. */
import { lookup } from "node:dns/promises";
import ipaddr from "ipaddr.js";
import { AddressRanges } from "../runtime/address-ranges";
import { type DataPlaneApi, startDataPlane } from "../runtime/dataplane/api";
import type { DataPlaneConfig, PeerConfig } from "../runtime/dataplane/config";
import { WarrenError } from "../runtime/errors";
import { NetworkError } from "../runtime/netstack/network-error";
import { StackRunner } from "../runtime/netstack/runner";
import { TcpServer, TcpStream, UdpSocket } from "../runtime/netstack/streams";
import { untilOpen } from "../runtime/until-open";
import { Resolver } from "./resolver";
import { parseTarget } from "./target";
import { isAddress, parseWgConfig, type WgConfig, type WgPeer } from "./wg-config";

const PORT = "udp";
const GATEWAY = "own/network";
const LINK = "own";
/** Milliseconds that a connection may take to come about. */
const DIAL_PATIENCE = 10_000;

export interface JoinOptions {
  /** Told what a person should know, such as which cipher code is used. @default nothing */
  readonly log?: (message: string) => void;
}

export interface DialOptions {
  /** Milliseconds. @default 10000 */
  readonly timeout?: number;
  readonly signal?: AbortSignal;
  /** As Node's sockets have it. @default false */
  readonly allowHalfOpen?: boolean;
}

/**
 * Joins a network with a peer's config (the output `config` of a `Peer`, or any wg-quick file). The membership keeps the process
 * alive until it is closed.
 * @throws WarrenError WARREN_INVALID_INPUT for a config that cannot be used
 */
export async function join(config: string, options: JoinOptions = {}): Promise<Membership> {
  const parsed = parseWgConfig(config);
  const dataplane = await startDataPlane({ log: options.log ?? (() => undefined) });
  try {
    return await Membership.create(parsed, dataplane);
  } catch (error) {
    await dataplane.stop();
    throw error;
  }
}

export class Membership {
  private closed = false;
  /** A timer of the event loop's: the data plane and the stack keep no process alive. */
  private readonly alive = setInterval(() => undefined, 1 << 30);
  private readonly resolver: Resolver;

  private constructor(
    private readonly config: WgConfig,
    private readonly dataplane: DataPlaneApi,
    private readonly runner: StackRunner,
    /** What its peers lead to. */
    private readonly reached: AddressRanges,
  ) {
    this.resolver = new Resolver(runner.stack, {
      servers: dnsServers(config),
      searchDomains: config.searchDomains.length > 0 ? config.searchDomains : ["internal"],
    });
    dataplane.onEvent((event) => {
      // Its endpoint is a name perhaps, and leads elsewhere by now.
      if (event.type === "handshake-gave-up") void this.apply().catch(() => undefined);
    });
  }

  /** For `join`. */
  static async create(config: WgConfig, dataplane: DataPlaneApi): Promise<Membership> {
    const { problems } = await dataplane.apply(await toDataPlane(config));
    const pipe = dataplane.pipe(LINK);
    if (problems.length > 0 || pipe === undefined)
      throw new WarrenError(
        "WARREN_LINK_UNAVAILABLE",
        `The network cannot be joined: ${problems.map(({ message }) => message).join(" ") || "the link was not opened."}`,
      );
    const reached = new AddressRanges(config.peers.flatMap(({ allowedIps }) => allowedIps));
    const runner = new StackRunner({ pipe, addresses: config.addresses, mtu: config.mtu });
    return new Membership(config, dataplane, runner, reached);
  }

  /** Its own addresses. */
  get addresses(): readonly string[] {
    return this.config.addresses;
  }

  /**
   * Connects to `name:port` or `address:port` of the network.
   * @throws WarrenError WARREN_INVALID_INPUT, WARREN_NOT_FOUND, WARREN_NOT_READY; errors of the connection as Node has them
   *   (`code` ECONNREFUSED, ETIMEDOUT, ENETUNREACH, EHOSTUNREACH); AbortError
   */
  async dial(target: string, options: DialOptions = {}): Promise<TcpStream> {
    const { host, port } = parseTarget(target);
    options.signal?.throwIfAborted();
    let failure: unknown;
    for (const address of await this.resolve(host)) {
      try {
        return await this.connect(address, port, options);
      } catch (error) {
        options.signal?.throwIfAborted();
        failure = error;
      }
    }
    throw failure;
  }

  /** Takes connections to a port of its own addresses; 0: any free one, which `address()` tells. */
  listen(port: number, onConnection?: (stream: TcpStream) => void): Promise<TcpServer> {
    return new Promise((resolve, reject) => {
      const server = new TcpServer(this.runner.stack, { allowHalfOpen: false }, onConnection);
      server.once("error", reject);
      server.once("listening", () => {
        server.off("error", reject);
        resolve(server);
      });
      server.listen({ port });
    });
  }

  /** A UDP socket on its own addresses; 0: any free port. */
  bindUdp(port = 0): UdpSocket {
    return new UdpSocket(this.runner.stack, { port });
  }

  /** The addresses of a name in the network; an address is its own answer. */
  async resolve(name: string): Promise<string[]> {
    return isAddress(name) ? [name] : this.resolver.resolve(name);
  }

  /** Leaves the network: ends all connections, closes the sockets. */
  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    clearInterval(this.alive);
    this.runner.close();
    await this.dataplane.stop();
  }

  private connect(address: string, port: number, options: DialOptions): Promise<TcpStream> {
    // As a kernel does that has no route: at once, not after a time-out.
    if (!this.reached.has(address))
      return Promise.reject(new NetworkError("ENETUNREACH", "connect", { address, port }));
    const { allowHalfOpen = false, timeout = DIAL_PATIENCE, signal } = options;
    return untilOpen(TcpStream.connect(this.runner.stack, { address, port, allowHalfOpen }), {
      timeout,
      late: () => new NetworkError("ETIMEDOUT", "connect", { address, port }),
      signal,
      aborted: ({ reason }) => reason as Error,
    });
  }

  private async apply(): Promise<void> {
    const wanted = await toDataPlane(this.config);
    if (!this.closed) await this.dataplane.apply(wanted);
  }
}

async function toDataPlane(config: WgConfig): Promise<DataPlaneConfig> {
  return {
    ports: [{ id: PORT, listen: ["0.0.0.0", "::"], port: config.listenPort }],
    gateways: [
      {
        id: GATEWAY,
        port: PORT,
        privateKey: config.privateKey,
        mtu: config.mtu,
        gatewayIps: [],
        dnsIps: [],
        links: [{ id: LINK, source: { kind: "stack" }, addresses: config.addresses }],
        peers: await Promise.all(config.peers.map(toPeer)),
      },
    ],
  };
}

async function toPeer(peer: WgPeer): Promise<PeerConfig> {
  const { endpoint, ...rest } = peer;
  return { ...rest, ...(endpoint === undefined ? {} : { endpoint: await numeric(endpoint) }), initiate: true };
}

/** The endpoint with its name looked up. */
async function numeric(endpoint: string): Promise<string> {
  const colon = endpoint.lastIndexOf(":");
  const host = endpoint.slice(0, colon).replace(/^\[|\]$/g, "");
  if (isAddress(host)) return endpoint;
  try {
    const { address, family } = await lookup(host);
    return `${family === 6 ? `[${address}]` : address}${endpoint.slice(colon)}`;
  } catch (cause) {
    throw new WarrenError("WARREN_NOT_READY", `The Endpoint ${endpoint} cannot be looked up: is the machine online?`, {
      path: "config",
      cause,
    });
  }
}

/** Those of the config; else the second address of the ranges, where Warren's networks have theirs. */
function dnsServers(config: WgConfig): string[] {
  if (config.dns.length > 0) return [...config.dns];
  return config.peers
    .flatMap(({ allowedIps }) => allowedIps)
    .filter((range) => Number(range.split("/")[1]) <= (range.includes(":") ? 126 : 30) && !range.endsWith("/0"))
    .map((range) => {
      const [network, length] = ipaddr.parseCIDR(range);
      const bytes = network.toByteArray();
      for (let bit = length; bit < bytes.length * 8; bit++) bytes[bit >> 3] &= ~(0x80 >> (bit & 7));
      bytes[bytes.length - 1] += 2;
      return ipaddr.fromByteArray(bytes).toString();
    });
}
