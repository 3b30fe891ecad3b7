/** How this machine reaches members: as one of its gateways, or as an app that runs here. */
import * as net from "node:net";
import type { Duplex } from "node:stream";
import type { DialView } from "../control/agent-view";
import type { Attempt, PingAnswer } from "../control/interface/types";
import { WarrenError } from "../errors";
import type { Datagrams, Userspace } from "../userspace";
import type { Agent } from "./agent";
import type { KeeperLink } from "./keeper-link";

export class Reach implements DialView {
  constructor(
    private readonly userspace: Pick<Userspace, "gateway" | "appWay">,
    private readonly keeper: Pick<KeeperLink, "call">,
    private readonly agent: Pick<Agent, "instance">,
  ) {}

  async connect(networkId: string, host: string, port: number, signal?: AbortSignal): Promise<Duplex> {
    return this.userspace.gateway(networkId).connect(host, port, signal);
  }

  datagrams(networkId: string, onDatagram: (data: Uint8Array) => void): Datagrams {
    return this.userspace.gateway(networkId).datagrams((_from, data) => onDatagram(data));
  }

  async ping(networkId: string, host: string, timeout: number): Promise<PingAnswer> {
    return this.userspace.gateway(networkId).ping(host, timeout);
  }

  async attempt(instanceId: string, address: string, port: number, timeout: number): Promise<Attempt> {
    const sandbox = this.agent.instance(instanceId)?.sandbox;
    if (!sandbox) throw new WarrenError("WARREN_NOT_FOUND", `No instance ${instanceId} runs on this machine.`);
    if (sandbox.link === "tun")
      return this.keeper.call("probe", { sandbox: instanceId, type: "tcp", address, port, timeout });
    const way = this.userspace.appWay(instanceId);
    if (!way) return { ok: false, detail: "its TCP/IP stack is not there" };
    try {
      const stream = await way.connect(address, port, AbortSignal.timeout(timeout));
      stream.on("error", () => undefined).destroy();
      return { ok: true, detail: `connected to ${net.isIPv6(address) ? `[${address}]` : address}:${port}` };
    } catch (error) {
      return { ok: false, detail: (error as Error).message };
    }
  }
}
