/** Names of a network, asked of its DNS through control: as this machine, which is no member. */
import { randomInt } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import * as dnsPacket from "dns-packet";
import type { NetworkRecord } from "../runtime/control/interface/types";
import { WarrenError } from "../runtime/errors";
import type { ControlClient } from "./client";

/** Milliseconds for a daemon that has just been started to come to its names, and between two questions meanwhile. */
const PATIENCE = 10_000;
const INTERVAL = 100;

/**
 * @param hostname what a resolver in the network would take (`api`, `iad.api`, `api.internal`, `api.flycast`), or a peer's bare name
 * @returns numeric addresses, IPv4 first; none: there is no such name
 */
export async function addressesBehind(
  control: Pick<ControlClient, "dns">,
  network: NetworkRecord,
  hostname: string,
): Promise<string[]> {
  for (const name of candidates(hostname, network.spec.domain)) {
    const found = await Promise.all((["A", "AAAA"] as const).map((type) => ask(control, network.id, name, type)));
    if (found.flat().length > 0) return found.flat();
  }
  return [];
}

function candidates(hostname: string, domain: string): string[] {
  if (hostname.endsWith(".")) return [hostname.slice(0, -1)];
  const inDomain = `${hostname}.${domain}`;
  return hostname.includes(".") ? [hostname, inDomain] : [inDomain, `${hostname}._peer.${domain}`];
}

async function ask(
  control: Pick<ControlClient, "dns">,
  networkId: string,
  name: string,
  type: "A" | "AAAA",
): Promise<string[]> {
  const id = randomInt(0x10000);
  const flags = dnsPacket.RECURSION_DESIRED;
  const query = dnsPacket.encode({ type: "query", id, flags, questions: [{ type, name }] });
  const reply = dnsPacket.decode(Buffer.from(await whenReady(() => control.dns(networkId, query))));
  return (reply.answers ?? []).flatMap((answer) => (answer.type === type ? [answer.data] : []));
}

async function whenReady<T>(work: () => Promise<T>): Promise<T> {
  for (const deadline = Date.now() + PATIENCE; ; await pause(INTERVAL))
    try {
      return await work();
    } catch (error) {
      if (!WarrenError.is(error) || error.code !== "WARREN_NOT_READY" || Date.now() > deadline) throw error;
    }
}
