/** Network namespaces, joined by veth pairs. */

import { Program, type ProgramOptions, type RunOptions, type RunResult, run } from "./process";
import type { Scratch } from "./scratch";

/** A network namespace with its loopback up, removed with its scratch together with all that runs in it. */
export class Namespace {
  private constructor(
    readonly scratch: Scratch,
    readonly name: string,
  ) {}

  /** @param label a letter or two that tells the namespaces of one scratch apart */
  static async create(scratch: Scratch, label: string): Promise<Namespace> {
    const namespace = new Namespace(scratch, `${scratch.id}${label}`);
    await run(["ip", "netns", "add", namespace.name]);
    scratch.defer(() => namespace.remove());
    await namespace.ip("link", "set", "lo", "up");
    return namespace;
  }

  /** Runs a command inside. */
  run(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    const env = { ...this.scratch.env, ...options.env };
    return run(["ip", "netns", "exec", this.name, ...argv], { ...options, env });
  }

  /** Starts a program inside; `ip netns exec` becomes it, so its process id is the program's. */
  start(argv: readonly string[], options: ProgramOptions = {}): Promise<Program> {
    return Program.start(this.scratch, ["ip", "netns", "exec", this.name, ...argv], options);
  }

  async ip(...args: string[]): Promise<string> {
    return (await run(["ip", "-n", this.name, ...args])).stdout;
  }

  /** @param address with prefix length; IPv6 addresses are usable at once (no duplicate address detection) */
  async addAddress(device: string, address: string): Promise<void> {
    await this.ip("address", "add", address, "dev", device, ...(address.includes(":") ? ["nodad"] : []));
  }

  async removeAddress(device: string, address: string): Promise<void> {
    await this.ip("address", "del", address, "dev", device);
  }

  async addRoute(to: string, ...via: string[]): Promise<void> {
    await this.ip(...(to.includes(":") ? ["-6"] : []), "route", "add", to, ...via);
  }

  async forward(): Promise<void> {
    await this.run(["sysctl", "-q", "-w", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]);
  }

  /** Drops this share of the incoming packets that match. @param match an nftables expression such as `udp dport 51820` */
  async loseIncoming(percent: number, match: string): Promise<void> {
    const rules = `table inet loss {
      chain input {
        type filter hook input priority 0;
        ${match} numgen random mod 100 < ${percent} counter drop;
      }
    }\n`;
    await this.run(["nft", "-f", "-"], { input: rules });
  }

  /** How many packets `loseIncoming` has dropped. */
  async lost(): Promise<number> {
    const { stdout } = await this.run(["nft", "list", "table", "inet", "loss"]);
    return Number(/counter packets (\d+)/.exec(stdout)?.[1] ?? 0);
  }

  private async remove(): Promise<void> {
    const { stdout } = await run(["ip", "netns", "pids", this.name], { mayFail: true });
    for (const pid of stdout.split("\n").filter(Boolean)) {
      try {
        process.kill(Number(pid), "SIGKILL");
      } catch {
        // Ended meanwhile.
      }
    }
    await run(["ip", "netns", "del", this.name]);
  }
}

export interface CableEnd {
  readonly namespace: Namespace;
  readonly device: string;
  /** With prefix length. */
  readonly addresses: readonly string[];
}

/** Joins two namespaces by a veth pair; the devices are made in their namespaces and never seen outside. */
export async function connect(a: CableEnd, b: CableEnd, options: { mtu?: number } = {}): Promise<void> {
  const mtu = options.mtu === undefined ? [] : ["mtu", String(options.mtu)];
  await run([
    ...["ip", "link", "add", a.device, ...mtu, "netns", a.namespace.name, "type", "veth"],
    ...["peer", "name", b.device, ...mtu, "netns", b.namespace.name],
  ]);
  for (const end of [a, b]) {
    for (const address of end.addresses) await end.namespace.addAddress(end.device, address);
    await end.namespace.ip("link", "set", end.device, "up");
  }
}
