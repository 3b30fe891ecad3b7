/** How each instance of this machine is plugged in: its link, and on the link `userspace` its places on loopback. */
import { createHash, randomBytes } from "node:crypto";
import * as dgram from "node:dgram";
import * as net from "node:net";
import { WarrenError } from "../errors";
import type { LinkKind, LoopbackSpec, SandboxState } from "../keeper/protocol";
import type { LinkChoice } from "./link-choice";

export type Plug = { readonly link: "tun" } | { readonly link: "userspace"; readonly loopback: LoopbackSpec };

export const TUN: Plug = { link: "tun" };

/** Below what hosts take for WireGuard, and below the range from which systems lend ports to outgoing connections. */
const PORTS = { first: 10_000, count: 10_000 };
/** Bytes. */
const SECRET = 18;

export class Plugs {
  /** Of instances that have no sandbox yet. */
  private readonly chosen = new Map<string, Plug>();
  /** Instances for which link `tun` failed, and why. */
  private readonly fellBack = new Map<string, string>();

  constructor(
    private readonly choice: LinkChoice,
    private readonly isFree: (port: number) => Promise<boolean> = isPortFree,
  ) {}

  /** Decides for these instances. What a sandbox has it keeps, unless a person now says otherwise: its app goes on meanwhile. */
  async decide(
    instances: readonly { readonly id: string; readonly region: string }[],
    present: ReadonlyMap<string, SandboxState>,
  ): Promise<Map<string, Plug>> {
    const plugs = new Map<string, Plug>();
    const taken = new Set<number>();
    const open: { readonly id: string; readonly link: LinkKind }[] = [];
    for (const { id, region } of instances) {
      const sandbox = present.get(id);
      const link =
        this.choice.forced(region) ??
        (this.fellBack.has(id) ? "userspace" : (sandbox?.link ?? (await this.choice.best())));
      const known = (sandbox && plugOf(sandbox)) ?? this.chosen.get(id);
      if (known?.link === link) {
        plugs.set(id, known);
        if (known.link === "userspace") taken.add(known.loopback.port).add(known.loopback.proxy);
      } else open.push({ id, link });
    }
    for (const { id, link } of open) {
      const plug: Plug = link === "tun" ? TUN : { link, loopback: await this.place(id, taken) };
      plugs.set(id, plug);
      this.chosen.set(id, plug);
    }
    for (const map of [this.chosen, this.fellBack]) for (const id of map.keys()) if (!plugs.has(id)) map.delete(id);
    return plugs;
  }

  /** Link `tun` does not work for this one. @returns whether another may be tried. */
  failed(id: string, region: string, reason: string): boolean {
    if (this.choice.forced(region) !== undefined || this.fellBack.has(id)) return false;
    this.fellBack.set(id, reason);
    return true;
  }

  /** Why an instance is not on link `tun`, where that is its own affair. */
  reason(id: string): string | undefined {
    return this.fellBack.get(id);
  }

  /** The same ports for the same instance, where nobody else has them. */
  private async place(id: string, taken: Set<number>): Promise<LoopbackSpec> {
    const start = createHash("sha256").update(id).digest().readUInt32BE(0);
    const found: number[] = [];
    for (let step = 0; step < PORTS.count && found.length < 2; step++) {
      const port = PORTS.first + ((start + step) % PORTS.count);
      if (taken.has(port) || !(await this.isFree(port))) continue;
      taken.add(port);
      found.push(port);
    }
    const [port, proxy] = found;
    if (port === undefined || proxy === undefined)
      throw new WarrenError(
        "WARREN_LINK_UNAVAILABLE",
        `No two loopback ports from ${PORTS.first} to ${PORTS.first + PORTS.count - 1} are free: stop what holds them.`,
      );
    return { port, proxy, secret: randomBytes(SECRET).toString("base64url") };
  }
}

function plugOf({ link, spec }: SandboxState): Plug | undefined {
  if (link === "tun") return TUN;
  return spec.loopback && { link, loopback: spec.loopback };
}

/** Nobody listens there on loopback, in TCP or UDP. */
export async function isPortFree(port: number): Promise<boolean> {
  const tcp = (host: string) =>
    new Promise<boolean>((resolve) => {
      const server = net.createServer();
      // A machine without IPv6 has nobody there.
      server.once("error", (error: NodeJS.ErrnoException) => resolve(error.code !== "EADDRINUSE" && host === "::1"));
      server.listen({ port, host, exclusive: true }, () => server.close(() => resolve(true)));
    });
  const udp = () =>
    new Promise<boolean>((resolve) => {
      const socket = dgram.createSocket("udp4");
      socket.once("error", () => resolve(false));
      socket.bind({ port, address: "127.0.0.1", exclusive: true }, () => socket.close(() => resolve(true)));
    });
  return (await tcp("127.0.0.1")) && (await tcp("::1")) && (await udp());
}
