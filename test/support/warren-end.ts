/** The ends of a tunnel that are our data plane, in programs of the tests. */
import * as path from "node:path";
import * as readline from "node:readline";
import type { ApplyResult, DataPlaneConfig, DataPlaneStatus, LinkConfig } from "../../runtime/dataplane/config";
import { End, type PeerCounters } from "./end";
import { PROGRAMS } from "./repo";
import { type PingResult, type PingSettings, TRAFFIC_PORT } from "./traffic";

interface Pending {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

/** Our data plane with one gateway and one link. */
abstract class OwnEnd extends End {
  private readonly pending = new Map<number, Pending>();
  private serial = 0;

  /** The file of its program, and how its link ends. */
  protected abstract readonly file: string;
  protected abstract readonly source: LinkConfig["source"];

  protected async launch(): Promise<void> {
    const program = await this.namespace.start([process.execPath, path.join(PROGRAMS, this.file)]);
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

  /** @param timeout milliseconds */
  protected call<T>(method: string, params?: object, timeout = 10_000): Promise<T> {
    const id = ++this.serial;
    const program = this.program!;
    return new Promise<T>((resolve, reject) => {
      if (program.ended !== undefined) {
        reject(new Error(`our end has ended: ${program.output}`));
        return;
      }
      const timer = setTimeout(() => {
        this.pending.delete(id);
        reject(new Error(`our end did not answer ${method} within ${timeout / 1000} s: ${program.output}`));
      }, timeout);
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
    const config: DataPlaneConfig = {
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
              source: this.source,
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
    };
    const result = await this.call<ApplyResult>("apply", config);
    if (result.problems.length) throw new Error(result.problems.map((p) => `${p.id}: ${p.message}`).join("; "));
  }

  status(): Promise<DataPlaneStatus> {
    return this.call("status");
  }

  async peers(): Promise<PeerCounters[]> {
    return [...(await this.status()).peers];
  }
}

/** Its TUN device lies in the namespace itself. */
export class WarrenEnd extends OwnEnd {
  readonly kind = "warren";
  protected readonly file = "our-node.js";

  protected get source(): LinkConfig["source"] {
    return { kind: "open", name: this.device, vnetHeader: this.vnetHeader };
  }
}

/** Without native code, and without a device: its traffic begins and ends in its own TCP/IP stack. */
export class PortableEnd extends OwnEnd {
  readonly kind = "warren-portable";
  protected readonly file = "our-portable-node.js";
  protected readonly source: LinkConfig["source"] = { kind: "stack" };

  override async start(): Promise<void> {
    await this.launch();
    await this.push();
    const addresses = this.addresses.map((address) => address.split("/")[0]);
    await this.call("listen", { addresses, mtu: this.mtu, port: TRAFFIC_PORT });
  }

  override async restart(): Promise<void> {
    await this.kill();
    await this.start();
  }

  override ping(to: string, options: PingSettings = {}): Promise<PingResult> {
    const { count = 3, interval = 0.05, deadline = 5 } = options;
    return this.call("ping", { to, ...options }, (count * interval + deadline + 5) * 1000);
  }

  override async exchangeFile(to: string, size: number, timeout = 30_000): Promise<void> {
    await this.call("download", { to, size, timeout }, timeout + 5000);
    await this.upload(to, size, timeout);
  }

  override async upload(to: string, size: number, timeout = 30_000): Promise<void> {
    await this.call("upload", { to, size, timeout }, timeout + 5000);
  }

  override udpProbe(to: string, datagrams: readonly Uint8Array[]): Promise<readonly string[]> {
    return this.call("udpProbe", { to, datagrams: datagrams.map((bytes) => Buffer.from(bytes).toString("hex")) });
  }
}
