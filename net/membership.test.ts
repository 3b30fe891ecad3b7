import { once } from "node:events";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import * as packet from "dns-packet";
import { newKeyPair } from "../test/support/keys";
import { dispatcher, join, type Membership } from ".";

const here = newKeyPair();
const there = newKeyPair();
const ADDRESS = { here: "10.66.0.3", there: "10.66.0.2" };
/** UDP, below the range from which Linux lends ports. */
const UDP_PORT = 20_000 + (process.pid % 10_000);

let server: Membership;
let client: Membership;

/** Two programs in one network: the one at `.2` is also what answers names. */
beforeAll(async () => {
  server = await join(`[Interface]
PrivateKey = ${there.privateKey}
Address = ${ADDRESS.there}/24
ListenPort = ${UDP_PORT}
[Peer]
PublicKey = ${here.publicKey}
AllowedIPs = ${ADDRESS.here}/32
`);
  const names = server.bindUdp(53);
  names.on("message", (message: Buffer, from: { address: string; port: number }) => {
    const { id, questions } = packet.decode(message);
    const { name, type } = questions![0];
    const known = name === "api.internal" && type === "A";
    names.send(
      packet.encode({
        type: "response",
        id,
        flags: known ? 0 : 3,
        questions,
        answers: known ? [{ type: "A", name, ttl: 5, data: ADDRESS.there }] : [],
      }),
      from,
    );
  });
  client = await join(`[Interface]
PrivateKey = ${here.privateKey}
Address = ${ADDRESS.here}/24
[Peer]
PublicKey = ${there.publicKey}
AllowedIPs = 10.66.0.0/24
Endpoint = localhost:${UDP_PORT}
`);
});

afterAll(async () => {
  await client?.close();
  await server?.close();
});

test("a connection to a name, bytes both ways and an orderly end", async () => {
  const listener = await server.listen(7000, (stream) => stream.pipe(stream));
  try {
    const stream = await client.dial("api:7000");
    expect(stream.remoteAddress).toBe(ADDRESS.there);
    expect(stream.localAddress).toBe(ADDRESS.here);
    const sent = Buffer.alloc(3_000_000, "warren ");
    stream.end(sent);
    const got: Buffer[] = [];
    for await (const part of stream) got.push(part);
    expect(Buffer.concat(got).equals(sent)).toBe(true);
  } finally {
    listener.close();
  }
});

test("fetch through a dispatcher, a server of node:http on the network", async () => {
  const web = http.createServer((request, response) => response.end(`you asked ${request.headers.host}`));
  const listener = await server.listen(0, (stream) => web.emit("connection", stream));
  const agent = dispatcher(client);
  try {
    const { port } = listener.address() as AddressInfo;
    const init = { dispatcher: agent } as object;
    for (const host of ["api.internal", ADDRESS.there]) {
      const response = await fetch(`http://${host}:${port}/`, init);
      expect(await response.text()).toBe(`you asked ${host}:${port}`);
    }
  } finally {
    await agent.close();
    listener.close();
  }
});

test("datagrams", async () => {
  const socket = client.bindUdp();
  const echo = server.bindUdp(7001);
  echo.on("message", (message, from) => echo.send(message, from));
  try {
    const answer = once(socket, "message");
    socket.send(Buffer.from("hello"), { address: ADDRESS.there, port: 7001 });
    expect(String((await answer)[0])).toBe("hello");
  } finally {
    socket.close();
    echo.close();
  }
});

test("what is not there", async () => {
  await expect(client.dial(`${ADDRESS.there}:7002`)).rejects.toMatchObject({ code: "ECONNREFUSED" });
  await expect(client.dial("nobody.internal:80")).rejects.toMatchObject({ code: "WARREN_NOT_FOUND" });
  await expect(client.dial("nobody")).rejects.toMatchObject({ code: "WARREN_INVALID_INPUT" });
  await expect(client.dial("192.0.2.1:80")).rejects.toMatchObject({ code: "ENETUNREACH" });
  const stopped = AbortSignal.timeout(100);
  await expect(client.dial("10.66.0.77:80", { signal: stopped })).rejects.toThrow();
});

test("a port that is taken", async () => {
  const listener = await server.listen(7003);
  await expect(server.listen(7003)).rejects.toMatchObject({ code: "EADDRINUSE" });
  listener.close();
});
