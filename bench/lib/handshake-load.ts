/**
 * A program that shakes hands with one WireGuard interface as many peers. Standard input is a HandshakeLoad as JSON; it prints a
 * HandshakeResult. Initiations are made before the time that counts, and answers are verified after it, so that its own work takes
 * little from the other side. Where cookies are asked for, it gives them.
 */
import { randomBytes } from "node:crypto";
import * as dgram from "node:dgram";
import { once } from "node:events";
import { performance } from "node:perf_hooks";
import { CookieJar } from "../../runtime/wireguard/cookie";
import { parseCookieReply, parseResponse } from "../../runtime/wireguard/messages";
import { consumeResponse, createInitiation, type InitiatorState } from "../../runtime/wireguard/noise";
import { timestampOf } from "../../runtime/wireguard/tai64n";
import { KeyPair, PublicKey } from "../../runtime/wireguard/x25519";

export interface HandshakeLoad {
  readonly address: string;
  readonly port: number;
  /** base64. */
  readonly publicKey: string;
  /** Whoever initiates, each from an address of its own: answers are counted by address. */
  readonly peers: readonly { readonly privateKey: string; readonly address: string }[];
  /** Handshakes of each peer. */
  readonly rounds: number;
  /** A steady pace, a second. Absent: as fast as answers come. */
  readonly rate?: number;
}

export interface HandshakeResult {
  /** Those whose answer was genuine. */
  readonly done: number;
  readonly seconds: number;
}

/** Handshakes under way at once where there is no pace: fewer than wireguard-go takes for an attack. */
const AT_ONCE = 16;
/** Milliseconds after which a handshake without an answer is given up. */
const PATIENCE = 1000;
const ZERO_KEY = new Uint8Array(32);

interface Initiator {
  readonly keys: KeyPair;
  readonly jar: CookieJar;
  readonly socket: dgram.Socket;
  readonly prepared: { readonly message: Uint8Array; readonly state: InitiatorState }[];
  underWay: { readonly message: Uint8Array; readonly state: InitiatorState; readonly since: number } | undefined;
}

async function main(load: HandshakeLoad): Promise<HandshakeResult> {
  const remote = new PublicKey(Buffer.from(load.publicKey, "base64"));
  const initiators = await Promise.all(load.peers.map((peer) => prepare(load, remote, peer)));
  const answered: { readonly by: Initiator; readonly state: InitiatorState; readonly response: Buffer }[] = [];
  const total = load.rounds * initiators.length;
  let ended = 0;
  let lastAnswer = 0;
  const start = performance.now();
  const turns = order(initiators, load.rounds);

  await new Promise<void>((resolve) => {
    const next = (): void => {
      const turn = turns.next();
      if (!turn.done) begin(turn.value);
    };
    const begin = (by: Initiator): void => {
      // Its last one got no answer within a whole turn.
      if (by.underWay !== undefined) over(by);
      const { message, state } = by.prepared.pop()!;
      by.underWay = { message, state, since: performance.now() };
      post(by, message);
    };
    const over = (by: Initiator): void => {
      by.underWay = undefined;
      if (++ended === total) {
        clearInterval(sweep);
        resolve();
      } else if (load.rate === undefined) next();
    };
    const post = (by: Initiator, message: Uint8Array): void => {
      by.jar.addMacs(message, performance.now());
      by.socket.send(message, load.port, load.address);
    };
    for (const by of initiators)
      by.socket.on("message", (bytes) => {
        const { underWay } = by;
        if (underWay === undefined) return;
        const response = parseResponse(bytes);
        if (response?.receiver === underWay.state.localIndex) {
          answered.push({ by, state: underWay.state, response: bytes });
          lastAnswer = performance.now();
          over(by);
          return;
        }
        const reply = parseCookieReply(bytes);
        if (reply !== undefined && by.jar.consumeReply(reply, performance.now())) post(by, underWay.message);
      });
    const sweep = setInterval(() => {
      const now = performance.now();
      for (const by of initiators) if (by.underWay !== undefined && now - by.underWay.since > PATIENCE) over(by);
    }, 100);
    if (load.rate === undefined) for (let i = 0; i < AT_ONCE; i++) next();
    else for (let i = 0; i < total; i++) setTimeout(next, (i / load.rate) * 1000);
  });

  const genuine = answered.filter(({ by, state, response }) => {
    const message = parseResponse(response)!;
    return consumeResponse({ state, local: by.keys, presharedKey: ZERO_KEY, message }) !== undefined;
  });
  return { done: genuine.length, seconds: (lastAnswer - start) / 1000 };
}

async function prepare(
  load: HandshakeLoad,
  remote: PublicKey,
  peer: HandshakeLoad["peers"][number],
): Promise<Initiator> {
  const keys = new KeyPair(Buffer.from(peer.privateKey, "base64"));
  const staticShared = keys.shared(remote)!;
  const socket = dgram.createSocket("udp4");
  socket.bind({ address: peer.address });
  await once(socket, "listening");
  const second = Math.floor(Date.now() / 1000);
  // Taken from the end, so the latest comes first here.
  const prepared = Array.from({ length: load.rounds }, (_, i) => {
    const ephemeral = new KeyPair(randomBytes(32));
    const timestamp = timestampOf(second + load.rounds - i, 0);
    const localIndex = randomBytes(4).readUInt32LE();
    return createInitiation({ local: keys, remote, staticShared, ephemeral, timestamp, localIndex })!;
  });
  return { keys, jar: new CookieJar(remote.bytes), socket, prepared, underWay: undefined };
}

/** All peers in turn, as often as there are rounds. */
function* order(initiators: readonly Initiator[], rounds: number): Generator<Initiator> {
  for (let round = 0; round < rounds; round++) yield* initiators;
}

let text = "";
process.stdin.setEncoding("utf8").on("data", (part) => {
  text += part;
});
process.stdin.on("end", async () => {
  console.log(JSON.stringify(await main(JSON.parse(text))));
  process.exit(0);
});
