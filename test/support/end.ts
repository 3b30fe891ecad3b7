/** What all ends of a tunnel in a namespace have in common, whatever program they are. */
import { type KeyPair, newKeyPair } from "./keys";
import type { Namespace } from "./namespace";
import type { Program } from "./process";
import { exchangeFile, type PingResult, type PingSettings, ping, udpProbe, upload } from "./traffic";
import { waitFor } from "./wait";

/**
 * `warren` is our data plane in a program of the tests, `warren-portable` the one without native code, with a TCP/IP stack in place of a
 * device, `warren-wg` the shipped stand-alone interface.
 */
export type EndKind = "warren" | "warren-portable" | "warren-wg" | "wireguard-go" | "boringtun";

export interface EndPeer {
  readonly publicKey: string;
  readonly presharedKey?: string;
  /** CIDR ranges. */
  readonly allowedIps: readonly string[];
  /** `address:port`, `[address]:port`. */
  readonly endpoint?: string;
  /** Seconds. */
  readonly persistentKeepalive?: number;
}

export interface PeerCounters {
  readonly publicKey: string;
  readonly endpoint?: string;
  /** Milliseconds since 1970. */
  readonly latestHandshake?: number;
  /** Bytes. */
  readonly rx: number;
  readonly tx: number;
}

export interface EndOptions {
  readonly namespace: Namespace;
  /** Inner addresses with prefix length. */
  readonly addresses: readonly string[];
  /** UDP. @default 51820 */
  readonly port?: number;
  /** @default 1420 */
  readonly mtu?: number;
  readonly keys?: KeyPair;
  /** Our own device carries a virtio header before each packet: 64 KiB at a time. @default true */
  readonly vnetHeader?: boolean;
  /** Its program tells all it does. @default false */
  readonly verbose?: boolean;
}

export abstract class End {
  abstract readonly kind: EndKind;
  readonly namespace: Namespace;
  readonly device: string;
  readonly keys: KeyPair;
  readonly port: number;
  readonly mtu: number;
  protected readonly vnetHeader: boolean;
  protected readonly verbose: boolean;
  protected readonly addresses: readonly string[];
  protected peerConfigs: readonly EndPeer[] = [];
  protected program: Program | undefined;

  constructor(options: EndOptions) {
    this.namespace = options.namespace;
    // Sockets of wireguard-go and boringtun are named after the device and seen from every namespace: a unique name it is.
    this.device = options.namespace.scratch.device();
    this.addresses = options.addresses;
    this.port = options.port ?? 51820;
    this.mtu = options.mtu ?? 1420;
    this.vnetHeader = options.vnetHeader ?? true;
    this.verbose = options.verbose ?? false;
    this.keys = options.keys ?? newKeyPair();
  }

  get publicKey(): string {
    return this.keys.publicKey;
  }

  get pid(): number {
    return this.program!.pid;
  }

  /** Starts the program and brings its device up with the present peers. */
  async start(): Promise<void> {
    await this.launch();
    await this.push();
    await waitFor(`device ${this.device}`, () => this.namespace.ip("link", "show", this.device));
    for (const address of this.addresses) await this.namespace.addAddress(this.device, address);
    await this.namespace.ip("link", "set", this.device, "mtu", String(this.mtu), "up");
  }

  async setPeers(...peers: EndPeer[]): Promise<void> {
    this.peerConfigs = peers;
    if (this.program) await this.push();
  }

  abstract peers(): Promise<PeerCounters[]>;

  async peer(publicKey: string): Promise<PeerCounters> {
    const found = (await this.peers()).find((peer) => peer.publicKey === publicKey);
    if (!found) throw new Error(`${this.kind} has no peer ${publicKey}`);
    return found;
  }

  /** SIGKILL: the device goes with the process. */
  async kill(): Promise<void> {
    await this.program?.kill();
    this.program = undefined;
  }

  async stop(): Promise<void> {
    await this.program?.stop();
    this.program = undefined;
  }

  async restart(): Promise<void> {
    await this.kill();
    await waitFor(
      `the end of device ${this.device}`,
      async () => !(await this.namespace.ip("link")).includes(this.device),
    );
    await this.start();
  }

  /** As `ping` of traffic.ts has it, from this end's side of the tunnel; the next three too. */
  ping(to: string, options: PingSettings = {}): Promise<PingResult> {
    return ping(this.namespace, to, options);
  }

  exchangeFile(to: string, size: number, timeout?: number): Promise<void> {
    return exchangeFile(this.namespace, to, size, timeout);
  }

  upload(to: string, size: number, timeout?: number): Promise<void> {
    return upload(this.namespace, to, size, timeout);
  }

  udpProbe(to: string, datagrams: readonly Uint8Array[]): Promise<readonly string[]> {
    return udpProbe(this.namespace, to, datagrams);
  }

  /** What its program said, for error messages. */
  get output(): string {
    return this.program?.output ?? `${this.kind}: not running`;
  }

  protected abstract launch(): Promise<void>;
  protected abstract push(): Promise<void>;
}
