/**
 * A stand-alone WireGuard interface: a TUN device, a data plane and a UAPI socket kept in step. It follows its device: listens when
 * that is up, is silent when it is down, and ends when the device or the socket's file is removed.
 */
import { randomBytes } from "node:crypto";
import type { DataPlaneConfig, DataPlaneEvent, DataPlaneStatus, PeerConfig } from "../dataplane/config";
import type { DataPlane } from "../dataplane/dataplane";
import type { TunDevice, TunState } from "../native/tun-device";
import { formatGet, type PeerView } from "./answer";
import { type Failure, failure, UapiErrno } from "./failure";
import { type Changes, InterfaceState, type PeerState } from "./interface-state";
import type { SetOperation } from "./operations";
import type { UapiHandler } from "./socket";

const PORT = "port";
const GATEWAY = "interface";
const LINK = "device";
/**
 * Milliseconds between looks at the device and at the socket's file. News of the device come at once; this is for a device that moves
 * to another namespace, where news come from another socket, and for a UDP port that is tried again.
 */
const LOOK = 1000;

export type LogLevel = "verbose" | "error";

export interface StandaloneOptions {
  readonly device: TunDevice;
  readonly plane: Pick<DataPlane, "apply" | "changePeers" | "status" | "onEvent">;
  readonly log: (level: LogLevel, message: string) => void;
  /** Asked with each look at the device; false: end. */
  readonly reachable: () => boolean;
  /** Nothing more will happen. `failed` where that was not asked for. */
  readonly onEnd: (reason: string, failed: boolean) => void;
}

export class StandaloneInterface implements UapiHandler {
  private readonly state = new InterfaceState();
  private link: TunState;
  /** What the data plane was told to bind. Stays 0 where any port would do, lest the same port be opened anew. */
  private portWish = 0;
  private bound = true;
  private news = -1;
  /** Changes of the device and of the configuration come one after the other. */
  private turn: Promise<unknown> = Promise.resolve();
  private timer: NodeJS.Timeout | undefined;
  private ended = false;
  /** Stands for a private key while there is none; then there are no peers either. */
  private readonly noIdentity = randomBytes(32).toString("base64");

  constructor(private readonly options: StandaloneOptions) {
    this.link = options.device.state() ?? { up: false, mtu: 0 };
    options.plane.onEvent((event) => this.report(event));
  }

  /** @throws WarrenError where the data plane does not take the device. */
  async start(): Promise<void> {
    const problems = await this.inTurn(() => this.applyAll());
    if (problems.length > 0) throw new Error(problems.join(" "));
    this.timer = setInterval(() => this.look(), LOOK);
  }

  stop(): void {
    this.ended = true;
    clearInterval(this.timer);
  }

  get(): Promise<string> {
    return this.inTurn(async () => this.view(await this.options.plane.status()));
  }

  private view(status: DataPlaneStatus): string {
    const { privateKey, fwmark, listenPort } = this.state;
    const live = new Map(status.peers.map((peer) => [peer.publicKey, peer]));
    const view = (peer: PeerState): PeerView => {
      const seen = live.get(base64(peer.publicKey));
      return {
        publicKey: peer.publicKey,
        presharedKey: peer.presharedKey,
        endpoint: seen?.endpoint ?? peer.endpoint,
        latestHandshake: seen?.latestHandshake,
        tx: seen?.tx ?? 0,
        rx: seen?.rx ?? 0,
        persistentKeepalive: peer.persistentKeepalive,
        allowedIps: peer.allowedIps,
      };
    };
    return formatGet({ privateKey, fwmark, listenPort, peers: [...this.state.peers.values()].map(view) });
  }

  set(operations: readonly SetOperation[]): Promise<Failure | undefined> {
    return this.inTurn(async () => {
      let failed: Failure | undefined;
      for (const operation of operations) {
        failed = this.state.perform(operation);
        if (failed === undefined && operation.kind === "listen-port") failed = await this.rebind(operation.port);
        else if (failed === undefined && operation.kind === "fwmark") failed = await this.commit();
        if (failed !== undefined) break;
      }
      this.state.endTransaction();
      return (await this.commit()) ?? failed;
    });
  }

  failed({ errno, message }: Failure): void {
    this.options.log("error", `UAPI: ${message} (errno ${-errno})`);
  }

  private async rebind(port: number): Promise<Failure | undefined> {
    const before = this.portWish;
    // Any port, once more: a new one.
    if (port === 0 && before === 0) await this.options.plane.apply(this.config(false));
    this.portWish = port;
    const failed = await this.commit();
    if (failed === undefined) return undefined;
    this.portWish = before;
    if (!this.bound) this.state.listenPort = before;
    return failed;
  }

  /** Tells the data plane what has changed. */
  private async commit(): Promise<Failure | undefined> {
    const changes = this.state.takeChanges();
    if (changes.device) {
      const problems = await this.applyAll();
      if (problems.length > 0) return failure(UapiErrno.portInUse, problems.join(" "));
      const moved = { ...changes, removed: [], peers: changes.peers.filter((change) => change.moved) };
      await this.changePeers(moved);
    } else await this.changePeers(changes);
    return undefined;
  }

  private async changePeers({ removed, peers }: Omit<Changes, "device">): Promise<void> {
    if (this.state.privateKey === undefined || removed.length + peers.length === 0) return;
    const problems = await this.options.plane.changePeers({
      gateway: GATEWAY,
      remove: removed.map(base64),
      set: peers.map(({ peer, moved }) => ({ config: peerConfig(peer), moved })),
    });
    for (const problem of problems) this.options.log("error", problem);
  }

  /** @returns what is wrong with the port, as sentences. */
  private async applyAll(): Promise<string[]> {
    const { ports, problems } = await this.options.plane.apply(this.config(true));
    if (this.options.device.news === this.news) this.options.device.forgetOldNews();
    this.bound = !this.link.up || ports[PORT] !== undefined;
    // Once found, a port is kept, also over a time in which the device is down.
    if (ports[PORT] !== undefined) this.state.listenPort = ports[PORT];
    const own = problems.filter(({ id }) => id !== GATEWAY);
    for (const { id, message } of problems) if (id === GATEWAY) this.options.log("error", message);
    return own.map(({ message }) => message);
  }

  /** @param open whether to listen, where the device is up. */
  private config(open: boolean): DataPlaneConfig {
    const { fwmark, peers, privateKey } = this.state;
    const { mtu, up } = this.link;
    this.news = this.options.device.news;
    return {
      ...(this.news < 0 ? {} : { watch: this.news }),
      ports: [{ id: PORT, listen: open && up ? ["0.0.0.0", "::"] : [], port: this.portWish, fwmark }],
      gateways: [
        {
          id: GATEWAY,
          port: PORT,
          privateKey: privateKey === undefined ? this.noIdentity : base64(privateKey),
          mtu,
          gatewayIps: [],
          dnsIps: [],
          links: [{ id: LINK, source: { kind: "descriptor", fd: this.options.device.fd }, addresses: [] }],
          peers: privateKey === undefined ? [] : [...peers.values()].map(peerConfig),
          standalone: { up },
        },
      ],
    };
  }

  private look(): void {
    const { device, log, reachable } = this.options;
    const link = device.state();
    if (link === undefined) this.end("the interface was deleted");
    else if (!reachable()) this.end("the socket was removed");
    if (this.ended || link === undefined) return;
    const retry = !this.bound;
    if (link === this.link && device.news === this.news && !retry) return;
    const before = this.link;
    this.link = link;
    if (link.mtu !== before.mtu) log("verbose", `MTU updated: ${link.mtu}`);
    if (link.up !== before.up) log("verbose", `Interface ${link.up ? "up" : "down"}`);
    if (before.up && !link.up) this.portWish = this.state.listenPort;
    void this.inTurn(async () => {
      if (this.ended) return;
      const quiet = retry && link === before;
      for (const problem of await this.applyAll()) log(quiet ? "verbose" : "error", problem);
    }).catch((error: Error) => log("error", error.message));
  }

  private report(event: DataPlaneEvent): void {
    const { log } = this.options;
    if (event.type === "failed") this.end(`the data plane ended: ${event.reason}`, true);
    else if (event.type === "watched") this.look();
    else if (event.type === "link-lost") {
      // Only the kernel can tell a deleted device from one whose reading failed.
      const gone = this.options.device.name === undefined;
      this.end(gone ? "the interface was deleted" : `the device was lost (${event.reason})`, !gone);
    } else if (event.type === "handshake") log("verbose", `${shortName(event.publicKey)} - handshake done`);
    else if (event.type === "handshake-gave-up")
      log("verbose", `${shortName(event.publicKey)} - no answer to handshakes for 90 seconds`);
    else log("verbose", `${shortName(event.publicKey)} - now at ${event.endpoint}`);
  }

  private end(reason: string, failed = false): void {
    if (this.ended) return;
    this.stop();
    this.options.onEnd(reason, failed);
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.turn.then(work);
    this.turn = done.catch(() => undefined);
    return done;
  }
}

function base64(hex: string): string {
  return Buffer.from(hex, "hex").toString("base64");
}

function peerConfig(peer: PeerState): PeerConfig {
  return {
    publicKey: base64(peer.publicKey),
    ...(peer.presharedKey === undefined ? {} : { presharedKey: base64(peer.presharedKey) }),
    allowedIps: [...peer.allowedIps],
    ...(peer.endpoint === undefined ? {} : { endpoint: peer.endpoint }),
    persistentKeepalive: peer.persistentKeepalive,
    initiate: false,
  };
}

/** As wireguard-go names peers in its log. @param publicKey base64 */
function shortName(publicKey: string): string {
  return `peer(${publicKey.slice(0, 4)}…${publicKey.slice(39, 43)})`;
}
