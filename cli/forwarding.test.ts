/** The ports of `warren proxy`, with real sockets on both sides. */
import * as dgram from "node:dgram";
import { once } from "node:events";
import * as net from "node:net";
import { FrameReader, frame } from "../runtime/control/interface/frames";
import { waitFor } from "../test/support/wait";
import type { Forward } from "./forward";
import { listenTcp, listenUdp } from "./forwarding";

const forward = (protocol: "tcp" | "udp", port = 0): Forward => ({
  protocol,
  local: { address: "127.0.0.1", port },
  to: "api:80",
});
const silent = () => undefined;

/** What stands for the daemon: each dial is a connection to here, with what came over it. */
async function daemon() {
  const sockets: net.Socket[] = [];
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", silent);
    sockets.push(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const dial = async () => {
    const socket = net.connect({ port: (server.address() as net.AddressInfo).port, allowHalfOpen: true });
    await once(socket, "connect");
    return socket;
  };
  return { sockets, dial, server };
}

test.each([
  ["tcp", listenTcp],
  ["udp", listenUdp],
] as const)("a %s port that is taken is named, with what to do", async (protocol, listen) => {
  const { dial, server } = await daemon();
  const { port, close } = await listen(forward(protocol), dial, silent);
  await expect(listen(forward(protocol, port), dial, silent)).rejects.toMatchObject({
    code: "WARREN_INVALID_INPUT",
    message: `Port ${port} of 127.0.0.1 is in use: choose another one, or 0 for any that is free.`,
  });
  const elsewhere = { ...forward(protocol), local: { address: "192.0.2.1", port: 0 } };
  await expect(listen(elsewhere, dial, silent)).rejects.toMatchObject({
    message: expect.stringMatching(
      /^Port 0 of 192\.0\.2\.1 cannot be listened on \(.*EADDRNOTAVAIL.*\): choose another/,
    ),
  });
  close();
  server.close();
});

test("a client that is gone before its connection came about leaves none behind", async () => {
  const { dial, sockets, server } = await daemon();
  let connect = silent as () => void;
  const later = new Promise<void>((resolve) => {
    connect = resolve;
  });
  const { port, close } = await listenTcp(forward("tcp"), () => later.then(dial), silent);
  const client = net.connect(port, "127.0.0.1");
  await once(client, "connect");
  client.resetAndDestroy();
  await new Promise((resolve) => setTimeout(resolve, 50));
  connect();
  await waitFor("the end of the connection", () => sockets[0]?.resume().destroyed);
  close();
  server.close();
});

test("a client of a UDP port that was silent gets a new stream, which the old one's late end does not take away", async () => {
  const { dial, sockets, server } = await daemon();
  const lingering = async () => {
    const socket = await dial();
    const destroy = socket._destroy;
    socket._destroy = (error, done) => void setTimeout(() => destroy.call(socket, error, done), 400);
    return socket;
  };
  const { port, close } = await listenUdp(forward("udp"), lingering, silent, 200);
  const client = dgram.createSocket("udp4");
  const heard: string[] = [];
  client.on("message", (data) => heard.push(String(data)));
  const say = (text: string) => client.send(text, port, "127.0.0.1");
  const on = async (index: number) => {
    const socket = await waitFor(`stream ${index}`, () => sockets[index]);
    const datagrams: string[] = [];
    const reader = new FrameReader((data) => datagrams.push(String(data)));
    socket.on("data", (part: Buffer) => reader.push(part));
    return { socket, datagrams };
  };
  say("one");
  const first = await on(0);
  await waitFor("the first datagram", () => first.datagrams.includes("one"));
  await new Promise((resolve) => setTimeout(resolve, 300));
  say("two");
  const second = await on(1);
  // Until the first stream has closed, and some time after.
  for (let i = 0; i < 20; i++) {
    say("more");
    await new Promise((resolve) => setTimeout(resolve, 40));
  }
  expect(sockets).toHaveLength(2);
  expect(second.datagrams.slice(0, 2)).toEqual(["two", "more"]);
  second.socket.write(frame(Buffer.from("answer")));
  await waitFor("the answer", () => heard.includes("answer"));
  for (const { socket } of [first, second]) socket.destroy();
  client.close();
  close();
  server.close();
});
