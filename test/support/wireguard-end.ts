/** One end of a tunnel in a namespace: ours, wireguard-go or boringtun, all driven in the same way. */
import * as fs from "node:fs";
import * as path from "node:path";
import * as readline from "node:readline";
import type { ApplyResult, DataPlaneConfig, DataPlaneStatus } from "../../runtime/dataplane/config";
import { type KeyPair, newKeyPair } from "./keys";
import type { Namespace } from "./namespace";
import { type Program, run } from "./process";
import { PROGRAMS, peerPath, ROOT } from "./repo";
import { waitFor } from "./wait";

/** `warren` is our data plane in a program of the tests, `warren-wg` the shipped stand-alone interface. */
export type EndKind = "warren" | "warren-wg" | "wireguard-go" | "boringtun";

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
}

export abstract class End {
  abstract readonly kind: EndKind;
  readonly namespace: Namespace;
  readonly device: string;
  readonly keys: KeyPair;
  readonly port: number;
  readonly mtu: number;
  protected readonly vnetHeader: boolean;
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

  /** What its program said, for error messages. */
  get output(): string {
    return this.program?.output ?? `${this.kind}: not running`;
  }

  protected abstract launch(): Promise<void>;
  protected abstract push(): Promise<void>;
}

export function newEnd(kind: EndKind, options: EndOptions): End {
  return kind === "warren" ? new WarrenEnd(options) : new StockEnd(kind, options);
}

/** A program that is configured by `wg`. */
export class StockEnd extends End {
  constructor(
    readonly kind: Exclude<EndKind, "warren">,
    options: EndOptions,
  ) {
    super(options);
  }

  protected async launch(): Promise<void> {
    const socket = `/var/run/wireguard/${this.device}.sock`;
    fs.rmSync(socket, { force: true });
    this.namespace.scratch.defer(() => fs.rmSync(socket, { force: true }));
    this.program = await this.namespace.start([...this.command(), this.device], {
      env: { LOG_LEVEL: "error", WG_PROCESS_FOREGROUND: "1" },
    });
    await waitFor(`${this.kind} on ${this.device}`, async () => {
      if (this.program!.ended !== undefined) throw new Error(this.program!.output);
      return (await run(["wg", "show", this.device, "listen-port"])).stdout;
    });
  }

  private command(): string[] {
    if (this.kind === "warren-wg") return [process.execPath, path.join(ROOT, "dist", "cli", "warren-wg.js"), "-f"];
    if (this.kind === "wireguard-go") return [peerPath("wireguard-go"), "-f"];
    // A connected socket would keep boringtun from moving to another address.
    return [peerPath("boringtun"), "-f", "--disable-drop-privileges", "--disable-connected-udp"];
  }

  protected async push(): Promise<void> {
    const lines = ["[Interface]", `PrivateKey = ${this.keys.privateKey}`, `ListenPort = ${this.port}`];
    for (const peer of this.peerConfigs) {
      lines.push("[Peer]", `PublicKey = ${peer.publicKey}`, `AllowedIPs = ${peer.allowedIps.join(", ")}`);
      if (peer.presharedKey) lines.push(`PresharedKey = ${peer.presharedKey}`);
      if (peer.endpoint) lines.push(`Endpoint = ${peer.endpoint}`);
      if (peer.persistentKeepalive) lines.push(`PersistentKeepalive = ${peer.persistentKeepalive}`);
    }
    const file = this.namespace.scratch.file(`${this.device}.conf`);
    fs.writeFileSync(file, `${lines.join("\n")}\n`, { mode: 0o600 });
    await run(["wg", "syncconf", this.device, file]);
  }

  async peers(): Promise<PeerCounters[]> {
    const { stdout } = await run(["wg", "show", this.device, "dump"]);
    return stdout
      .trim()
      .split("\n")
      .slice(1)
      .map((line) => {
        const [publicKey, , endpoint, , handshake, rx, tx] = line.split("\t");
        return {
          publicKey,
          endpoint: endpoint === "(none)" ? undefined : endpoint,
          latestHandshake: this.handshakeTime(Number(handshake), Number(rx)),
          rx: Number(rx),
          tx: Number(tx),
        };
      });
  }

  /** boringtun tells the seconds that have passed, where WireGuard's interface has those since 1970. */
  private handshakeTime(seconds: number, rx: number): number | undefined {
    if (this.kind === "boringtun") return rx === 0 ? undefined : Date.now() - seconds * 1000;
    return seconds === 0 ? undefined : seconds * 1000;
  }
}

interface Pending {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

/** Our data plane with one gateway and one link, whose TUN device lies in the namespace itself. */
export class WarrenEnd extends End {
  readonly kind = "warren";
  private readonly pending = new Map<number, Pending>();
  private serial = 0;

  protected async launch(): Promise<void> {
    const program = await this.namespace.start([process.execPath, path.join(PROGRAMS, "our-node.js")]);
    this.program = program;
    readline.createInterface({ input: program.child.stdout! }).on("line", (line) => {
      if (!line.startsWith("{")) return;
      const { id, result, error } = JSON.parse(line);
      const pending = this.pending.get(id);
      this.pending.delete(id);
      if (error !== undefined) pending?.reject(new Error(error));
      else pending?.resolve(result);
    });
    program.child.once("exit", () => {
      for (const { reject } of this.pending.values()) reject(new Error(`our end has ended: ${program.output}`));
      this.pending.clear();
    });
  }

  private call<T>(method: "apply" | "status", params?: DataPlaneConfig): Promise<T> {
    const id = ++this.serial;
    const program = this.program!;
    return new Promise<T>((resolve, reject) => {
      if (program.ended !== undefined) {
        reject(new Error(`our end has ended: ${program.output}`));
        return;
      }
      const timer = setTimeout(() => {
        this.pending.delete(id);
        reject(new Error(`our end did not answer ${method} within 10 s: ${program.output}`));
      }, 10_000);
      this.pending.set(id, {
        resolve: (value) => {
          clearTimeout(timer);
          resolve(value as T);
        },
        reject: (error) => {
          clearTimeout(timer);
          reject(error);
        },
      });
      program.child.stdin!.write(`${JSON.stringify({ id, method, params })}\n`);
    });
  }

  protected async push(): Promise<void> {
    const result = await this.call<ApplyResult>("apply", {
      ports: [{ id: "port", listen: ["0.0.0.0", "::"], port: this.port }],
      gateways: [
        {
          id: "network/host",
          port: "port",
          privateKey: this.keys.privateKey,
          mtu: this.mtu,
          gatewayIps: [],
          dnsIps: [],
          links: [
            {
              id: "link",
              source: { kind: "open", name: this.device, vnetHeader: this.vnetHeader },
              addresses: this.addresses.map((address) => address.split("/")[0]),
            },
          ],
          peers: this.peerConfigs.map((peer) => ({
            persistentKeepalive: 0,
            initiate: false,
            ...peer,
          })),
        },
      ],
    });
    if (result.problems.length) throw new Error(result.problems.map((p) => `${p.id}: ${p.message}`).join("; "));
  }

  status(): Promise<DataPlaneStatus> {
    return this.call("status");
  }

  async peers(): Promise<PeerCounters[]> {
    return [...(await this.status()).peers];
  }
}
