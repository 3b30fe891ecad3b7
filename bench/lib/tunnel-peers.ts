/** What many peers cost a WireGuard program: their handshakes, their memory, and one more among them. */
import * as path from "node:path";
import { newKeyPair } from "../../test/support/keys";
import type { Pair } from "../../test/support/pair";
import { run } from "../../test/support/process";
import { ROOT } from "../../test/support/repo";
import { median } from "./figure";
import type { HandshakeLoad, HandshakeResult } from "./handshake-load";
import { cpuSeconds, residentMiB } from "./process-cost";

/** Peers that shake hands in turn; so many that each stays below what is taken for an attack. */
const INITIATORS = 512;
/** Handshakes of each at full speed. */
const TURNS = 6;
/** At a steady pace: peers, and how many a second. boringtun asks for cookies above 100. */
export const PACED = { peers: 200, rate: 80 };
export const IDLE_PEERS = 10_000;
export const ADDED_PEERS = 15;

export type PeersName = "handshakes" | "handshakesMax" | "peersMemory" | "addPeer";
type Note = (name: PeersName, value: number) => void;

/** One round of handshakes that the right end answers. */
export async function handshakes(pair: Pair, note: Note): Promise<void> {
  const before = cpuSeconds(pair.right.pid);
  const paced = await shakeHands(pair, PACED.peers, { rounds: 1, rate: PACED.rate });
  if (paced.done < PACED.peers) throw new Error(`${paced.done} of ${PACED.peers} handshakes were answered`);
  note("handshakes", paced.done / (cpuSeconds(pair.right.pid) - before));
  const { done, seconds } = await shakeHands(pair, INITIATORS, { rounds: TURNS });
  if (done === 0) throw new Error("no handshake at full speed was answered");
  note("handshakesMax", done / seconds);
}

async function shakeHands(
  { left, right }: Pair,
  count: number,
  how: Pick<HandshakeLoad, "rounds" | "rate">,
): Promise<HandshakeResult> {
  const initiators = Array.from({ length: count }, (_, i) => ({
    ...newKeyPair(),
    address: `10.90.${i >> 7}.${(i & 127) + 1}`,
  }));
  // In two requests: boringtun does not see what one that takes peers away adds.
  await right.setPeers();
  await right.setPeers(...initiators.map(({ publicKey }, i) => ({ publicKey, allowedIps: [idleAddress(i)] })));
  // All of the range is the left end's own.
  await left.namespace.ip("route", "replace", "local", "10.90.0.0/16", "dev", "lo");
  await right.namespace.ip("route", "replace", "10.90.0.0/16", "via", "192.0.2.1");
  const load: HandshakeLoad = {
    address: "192.0.2.2",
    port: right.port,
    publicKey: right.publicKey,
    peers: initiators.map(({ privateKey, address }) => ({ privateKey, address })),
    ...how,
  };
  const program = [process.execPath, path.join(ROOT, "dist", "bench", "lib", "handshake-load.js")];
  const { stdout } = await left.namespace.run(program, { input: JSON.stringify(load), timeout: 60_000 });
  return JSON.parse(stdout);
}

/** One round: a fresh right end gets all the peers, and some more one by one. */
export async function manyPeers({ right }: Pair, note: Note): Promise<void> {
  const newPeer = (i: number) => ({ publicKey: newKeyPair().publicKey, allowedIps: [idleAddress(i)] });
  await right.setPeers();
  await right.restart();
  await right.setPeers(...Array.from({ length: IDLE_PEERS }, (_, i) => newPeer(i)));
  note("peersMemory", residentMiB(right.pid));
  const times: number[] = [];
  for (let i = 0; i < ADDED_PEERS; i++) {
    const { publicKey, allowedIps } = newPeer(IDLE_PEERS + i);
    const start = process.hrtime.bigint();
    await run(["wg", "set", right.device, "peer", publicKey, "allowed-ips", allowedIps.join(",")]);
    times.push(Number(process.hrtime.bigint() - start) / 1e6);
  }
  note("addPeer", median(times));
}

function idleAddress(i: number): string {
  return `10.${100 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}/32`;
}
