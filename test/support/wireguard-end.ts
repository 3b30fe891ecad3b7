/** One end of a tunnel in a namespace: ours, wireguard-go or boringtun, all driven in the same way. */
import * as fs from "node:fs";
import * as path from "node:path";
import { End, type EndKind, type EndOptions, type PeerCounters } from "./end";
import { run } from "./process";
import { peerPath, ROOT } from "./repo";
import { waitFor } from "./wait";
import { PortableEnd, WarrenEnd } from "./warren-end";

export type { End, EndKind } from "./end";

export function newEnd(kind: EndKind, options: EndOptions): End {
  if (kind === "warren") return new WarrenEnd(options);
  return kind === "warren-portable" ? new PortableEnd(options) : new StockEnd(kind, options);
}

/** A program that is configured by `wg`. */
export class StockEnd extends End {
  constructor(
    readonly kind: Exclude<EndKind, "warren" | "warren-portable">,
    options: EndOptions,
  ) {
    super(options);
  }

  protected async launch(): Promise<void> {
    const socket = `/var/run/wireguard/${this.device}.sock`;
    fs.rmSync(socket, { force: true });
    this.namespace.scratch.defer(() => fs.rmSync(socket, { force: true }));
    this.program = await this.namespace.start([...this.command(), this.device], {
      env: { LOG_LEVEL: this.verbose ? "verbose" : "error", WG_PROCESS_FOREGROUND: "1" },
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
