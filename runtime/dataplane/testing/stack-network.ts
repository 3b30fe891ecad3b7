/** Two hosts whose apps are stacks of this process, with a real tunnel over loopback between them. */
import { type KeyPair, newKeyPair } from "../../../test/support/keys";
import { waitFor } from "../../../test/support/wait";
import type { DataPlaneApi } from "../api";
import type { DataPlaneConfig, GatewayConfig, PeerConfig } from "../config";
import type { PacketPipe } from "../pipe";
import { tcpPacket } from "./tcp-packet";

/** What a stack got. */
export interface Arrived {
  readonly packet: Uint8Array;
  readonly segment: number;
}

export const STACK_MTU = 1420;

export function gatewayOf(
  host: string,
  keys: KeyPair,
  links: readonly { readonly id: string; readonly last: number }[],
  peers: readonly PeerConfig[],
): GatewayConfig {
  return {
    id: `net/${host}`,
    port: host,
    privateKey: keys.privateKey,
    mtu: STACK_MTU,
    gatewayIps: ["10.0.0.1", "fd00::1"],
    dnsIps: ["10.0.0.2", "fd00::2"],
    links: links.map(({ id, last }) => ({
      id,
      source: { kind: "stack" as const },
      addresses: [`10.0.0.${last}`, `fd00::${last}`],
    })),
    peers,
  };
}

export function peerOf(keys: KeyPair, lasts: readonly number[], port: number | undefined): PeerConfig {
  return {
    publicKey: keys.publicKey,
    allowedIps: lasts.flatMap((last) => [`10.0.0.${last}/32`, `fd00::${last}/128`]),
    persistentKeepalive: 0,
    initiate: true,
    gateway: true,
    ...(port === undefined ? {} : { endpoint: `127.0.0.1:${port}` }),
  };
}

/**
 * Gives both planes (which may be one) their configuration: `.3` and `.5` on `ord`, `.4` on `iad`; the pipes' ids are e, t and w.
 * @returns the configurations, each plane's, and their keys
 */
export async function connectHosts(ord: DataPlaneApi, iad: DataPlaneApi): Promise<readonly DataPlaneConfig[]> {
  const ordKeys = newKeyPair();
  const iadKeys = newKeyPair();
  const ports: Record<string, number> = {};
  const one = (host: "ord" | "iad"): DataPlaneConfig => ({
    ports: [{ id: host, listen: ["127.0.0.1"], port: ports[host] ?? 0 }],
    gateways: [
      host === "ord"
        ? gatewayOf(
            "ord",
            ordKeys,
            [
              { id: "e", last: 3 },
              { id: "t", last: 5 },
            ],
            [peerOf(iadKeys, [4], ports.iad)],
          )
        : gatewayOf("iad", iadKeys, [{ id: "w", last: 4 }], [peerOf(ordKeys, [3, 5], ports.ord)]),
    ],
  });
  const configs = (): DataPlaneConfig[] => {
    const [a, b] = [one("ord"), one("iad")];
    return ord === iad ? [{ ports: [...a.ports, ...b.ports], gateways: [...a.gateways, ...b.gateways] }] : [a, b];
  };
  const planes = ord === iad ? [ord] : [ord, iad];
  for (let round = 0; round < 3; round++)
    for (const [i, plane] of planes.entries()) {
      const { ports: used, problems } = await plane.apply(configs()[i]);
      if (problems.length > 0) throw new Error(JSON.stringify(problems));
      Object.assign(ports, used);
    }
  return configs();
}

/** Everything that comes out of a pipe from now on. */
export function record(pipe: PacketPipe): Arrived[] {
  const arrived: Arrived[] = [];
  pipe.onPacket = (buf, off, len, segment) => {
    arrived.push({ packet: buf.slice(off, off + len), segment });
  };
  return arrived;
}

/** Sends one packet from `.3` to `.4` and waits for it: then there is a session. */
export async function untilConnected(plane: DataPlaneApi, other: DataPlaneApi): Promise<void> {
  const arrived = record(other.pipe("w")!);
  const packet = tcpPacket({ family: 4, sequence: 1, payload: new Uint8Array(0) });
  plane.pipe("e")!.send(packet, 0, packet.length, 0);
  await waitFor("the first packet", () => arrived.length > 0);
}
