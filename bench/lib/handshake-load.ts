/**
 * A program that shakes hands with one WireGuard interface as many peers, one after the other at a steady pace. Standard input is
 * a HandshakeLoad as JSON; it ends with a line `{"done": handshakes}` when all have an answer, or after ten seconds without one.
 */
import { randomBytes } from "node:crypto";
import * as dgram from "node:dgram";
import { performance } from "node:perf_hooks";
import { Device } from "../../runtime/wireguard";
import { nodeAead } from "../../runtime/wireguard/aead-node";
import { parseEndpoint } from "../../runtime/wireguard/endpoint";

export interface HandshakeLoad {
  /** `address:port` */
  readonly endpoint: string;
  /** base64. */
  readonly publicKey: string;
  /** base64; one for each peer. */
  readonly privateKeys: readonly string[];
  /** Handshakes a second: below what the programs take for an attack. */
  readonly rate: number;
}

const PATIENCE = 10_000;

async function main(load: HandshakeLoad): Promise<void> {
  const endpoint = parseEndpoint(load.endpoint);
  const host = load.endpoint.replace(/:\d+$/, "");
  const clock = {
    now: () => performance.now(),
    wall: () => ({ seconds: Math.floor(Date.now() / 1000), nanos: (Date.now() % 1000) * 1e6 }),
  };
  let done = 0;
  const ended = new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, PATIENCE + (load.privateKeys.length / load.rate) * 1000);
    const devices = load.privateKeys.map((privateKey) => {
      const socket = dgram.createSocket("udp4");
      const device = new Device({
        privateKey: Buffer.from(privateKey, "base64"),
        clock,
        random: (size) => randomBytes(size),
        aead: nodeAead,
        sink: {
          datagram: (buf, off, len) => socket.send(Buffer.from(buf.subarray(off, off + len)), endpoint.port, host),
          packet: () => undefined,
          event: ({ type }) => {
            if (type !== "handshake-completed" || ++done < load.privateKeys.length) return;
            clearTimeout(timer);
            resolve();
          },
        },
      });
      const peer = device.addPeer({
        publicKey: Buffer.from(load.publicKey, "base64"),
        endpoint,
        allowedIps: ["0.0.0.0/0"],
        persistentKeepalive: 0,
      });
      socket.on("message", (message) => {
        const room = new Uint8Array(message.length + 64);
        room.set(message);
        device.receive(room, 0, message.length, endpoint);
        socket.close();
      });
      return () => device.initiate(peer);
    });
    for (const [i, initiate] of devices.entries()) setTimeout(initiate, (i / load.rate) * 1000);
  });
  await ended;
  console.log(JSON.stringify({ done }));
  process.exit(0);
}

let text = "";
process.stdin.setEncoding("utf8").on("data", (part) => {
  text += part;
});
process.stdin.on("end", () => void main(JSON.parse(text)));
