/** Datagrams of one who speaks for a member: on stacks joined in memory, through the SOCKS5 proxy and through control's dial. */
import { execFile } from "node:child_process";
import * as dgram from "node:dgram";
import { once } from "node:events";
import * as net from "node:net";
import { promisify } from "node:util";
import { describeRoot } from "../../test/support/needs";
import { sleep, waitFor } from "../../test/support/wait";
import { serveDial } from "../control/http/dial";
import { StackRunner } from "../netstack/runner";
import { UdpSocket } from "../netstack/streams";
import { MemoryPipe } from "../netstack/testing/pipes";
import { Outside } from "./outside";
import { AppProxy } from "./proxy";
import * as socks from "./socks5";
import { StackWay } from "./way";

const run = promisify(execFile);
const MEMBER = "10.1.2.3";
const OTHER = "10.1.2.4";
const SECRET = "correct-horse";
/** The longest datagram over IPv4. */
const LONGEST = 65_507;

let way: StackWay;
let end: () => void;
let ranges: readonly string[];
/** What came to the other member: from where, and how many bytes. */
let heard: { from: string; size: number }[];
/** The other member sends this many bytes to whom it heard last. */
let answerAgain: (size: number) => void;

/** A member that speaks, and another one that echoes what comes to its port 53. Outside is open: loopback only, for this test. */
beforeEach(() => {
  const [left, right] = MemoryPipe.pair();
  const options = { mtu: 1420, transparent: true };
  const near = new StackRunner({ pipe: left, addresses: [MEMBER], ...options });
  const far = new StackRunner({ pipe: right, addresses: [OTHER], ...options });
  const echo = new UdpSocket(far.stack, { port: 53 });
  heard = [];
  echo.on("message", (data: Buffer, from: { address: string; port: number }) => {
    heard.push({ from: from.address, size: data.length });
    echo.send(data, from);
    answerAgain = (size) => echo.send(Buffer.alloc(size), from);
  });
  const outside = new Outside(["127.0.0.1/32"]);
  ranges = ["10.1.2.0/24"];
  way = new StackWay({
    id: "mem_test.0",
    stack: near.stack,
    ranges: () => ranges,
    resolver: {
      async resolve(name) {
        if (name === "broken.internal") throw new Error("no resolver");
        return name === "other.internal" ? [OTHER] : [];
      },
    },
    outside: () => outside,
  });
  end = () => {
    near.close();
    far.close();
  };
});
afterEach(() => end());

/** The sizes that came back until this many did. */
function answers(count: number) {
  const sizes: number[] = [];
  let done: (sizes: number[]) => void;
  const all = new Promise<number[]>((resolve) => {
    done = resolve;
  });
  return {
    all,
    take: (data: Uint8Array) => {
      sizes.push(data.length);
      if (sizes.length === count) done(sizes);
    },
  };
}

/** What can go nowhere, each of it lost without a word. */
const LOST: readonly (readonly [host: string, port: number, size: number])[] = [
  [OTHER, 0, 1],
  ["127.0.0.1", 0, 1],
  [OTHER, 53, LONGEST + 1],
  ["other.internal", 53, 65_535],
  ["broken.internal", 53, 1],
  ["nobody.internal", 53, 1],
  ["::ffff:10.1.2.4", 53, 1],
  ["fe80::1%lo", 53, 1],
  ["fd00::7", 53, 1],
];

test("datagrams go to members by address and name; what can go nowhere is lost", async () => {
  const { all, take } = answers(3);
  const link = way.datagrams((_from, data) => take(data));
  for (const [host, port, size] of LOST) link.send(host, port, Buffer.alloc(size));
  link.send(OTHER, 53, Buffer.alloc(1));
  link.send("other.internal", 53, Buffer.alloc(2));
  link.send(OTHER, 53, Buffer.alloc(LONGEST));
  expect((await all).sort((a, b) => a - b)).toEqual([1, 2, LONGEST]);
  expect(heard.every(({ from }) => from === MEMBER)).toBe(true);
  // Its answer comes when it is closed already.
  link.send("other.internal", 53, Buffer.alloc(3));
  link.close();
  await new Promise((resolve) => setImmediate(resolve));
});

test("pairs outside the network that gave way to newer ones are counted, also those of UDP ports that are closed", () => {
  expect(way.lost).toEqual({ "datagram pairs evicted": 0, "datagrams dropped": 0 });
  for (const more of [3, 4]) {
    const link = way.datagrams(() => undefined);
    for (let port = 1; port <= 256 + more; port++) link.send("127.0.0.1", port, Buffer.alloc(1));
    link.close();
  }
  expect(way.lost).toEqual({ "datagram pairs evicted": 7, "datagrams dropped": 0 });
});

test("pairs outside the network are bounded for all UDP ports together, and given back where one is closed", async () => {
  const world = dgram.createSocket("udp4");
  world.on("message", (data, { port, address }) => world.send(data, port, address));
  world.bind(0, "127.0.0.1");
  await once(world, "listening");
  const links = Array.from({ length: 8 }, () => way.datagrams(() => undefined));
  for (const link of links) for (let port = 1; port <= 256; port++) link.send("127.0.0.1", port, Buffer.alloc(1));
  expect(way.lost).toMatchObject({ "datagram pairs evicted": 1024 });
  for (const link of links.slice(1)) link.close();
  const two = [1, 2].map((size) => {
    const { all, take } = answers(1);
    const link = way.datagrams((_from, data) => take(data));
    link.send("127.0.0.1", world.address().port, Buffer.alloc(size));
    return all.finally(() => link.close());
  });
  expect(await Promise.all(two)).toEqual([[1], [2]]);
  expect(way.lost).toMatchObject({ "datagram pairs evicted": 1024 });
  links[0]!.close();
  world.close();
});

test("of those who were asked the last 4096 may answer", async () => {
  ranges = ["10.1.0.0/16"];
  const sizes: number[] = [];
  const link = way.datagrams((_from, data) => void sizes.push(data.length));
  link.send(OTHER, 53, Buffer.alloc(1));
  await waitFor("its answer", () => sizes.length === 1);
  for (let i = 0; i < 4095; i++) link.send(`10.1.${16 + (i >> 8)}.${i & 255}`, 9, Buffer.alloc(1));
  answerAgain(2);
  await waitFor("one more", () => sizes.length === 2);
  link.send("10.1.99.1", 9, Buffer.alloc(1));
  answerAgain(3);
  await sleep(50);
  link.send(OTHER, 53, Buffer.alloc(4));
  await waitFor("the last one", () => sizes.includes(4));
  expect(sizes).toEqual([1, 2, 4]);
  link.close();
});

test("what is inside is as the ranges say now; where they are none, nothing has changed", async () => {
  const place = (host: string) =>
    way.ping(host, 2000).then(
      () => "inside",
      (error: NodeJS.ErrnoException) => error.code,
    );
  expect([await place(OTHER), await place("10.1.3.4")]).toEqual(["inside", "EACCES"]);
  ranges = ["10.1.3.0/24", "::/0"];
  expect([await place(OTHER), await place("127.0.0.1")]).toEqual(["EACCES", "EACCES"]);
  ranges = ["10.1.2.0/24"];
  expect(await place(OTHER)).toBe("inside");
  ranges = ["10.1.2.0/99"];
  for (let i = 0; i < 2; i++) await expect(way.ping(OTHER, 1)).rejects.toThrow("CIDR");
});

/** A client of the proxy that has a UDP association. */
async function associate() {
  const proxy = await AppProxy.listen(0, SECRET, way);
  const control = net.connect(proxy.port, "127.0.0.1");
  const hear = async () => (await once(control, "data"))[0] as Buffer;
  control.write(Buffer.from([5, 1, 2]));
  await hear();
  control.write(Buffer.from(`\x01\x06warren${String.fromCharCode(SECRET.length)}${SECRET}`, "latin1"));
  await hear();
  control.write(Buffer.from([5, 3, 0, 1, 0, 0, 0, 0, 0, 0]));
  const relay = (await hear()).readUInt16BE(8);
  const client = dgram.createSocket("udp4");
  const send = (head: Buffer, size: number) => client.send([head, Buffer.alloc(size, 7)], relay, "127.0.0.1");
  const roundTrip = async (head: Buffer, size: number) => {
    const answer = once(client, "message");
    send(head, size);
    const message = (await answer)[0] as Buffer;
    const parsed = socks.parseDatagram(message);
    if (typeof parsed === "string") throw new Error(parsed);
    const data = message.subarray(parsed.length);
    expect(data.equals(Buffer.alloc(data.length, 7))).toBe(true);
    return { ...parsed.value, size: message.length - parsed.length };
  };
  const close = () => {
    control.destroy();
    client.close();
    proxy.close();
  };
  return { relay, send, roundTrip, close };
}

const named = (host: string, port: number) =>
  Buffer.concat([Buffer.from([0, 0, 0, 3, host.length]), Buffer.from(host), Buffer.from([port >> 8, port & 255])]);

test("UDP ASSOCIATE carries datagrams to members, and outside, and outlives those that go nowhere", async () => {
  const world = dgram.createSocket("udp4");
  world.on("message", (data, { port, address }) => world.send(data, port, address));
  world.bind(0, "127.0.0.1");
  await once(world, "listening");
  const { send, roundTrip, close } = await associate();
  for (const [host, port, size] of LOST) if (size === 1) send(named(host, port), size);
  expect(await roundTrip(named("other.internal", 53), 9000)).toEqual({ host: OTHER, port: 53, size: 9000 });
  expect(await roundTrip(socks.datagramHeader({ host: OTHER, port: 53 }), 0)).toMatchObject({ size: 0 });
  const { port } = world.address();
  expect(await roundTrip(socks.datagramHeader({ host: "127.0.0.1", port }), 5)).toMatchObject({ port, size: 5 });
  close();
  world.close();
});

describeRoot("UDP ASSOCIATE and other accounts", () => {
  /** `relay`: its port. The same port of another address is not the daemon's, whose account the client may have. */
  test.each([
    ["from a port of its own", "s"],
    ["from the relay's port of another address of loopback", 's.bind(relay, "127.0.0.5")'],
  ])("one that is faster than the client does not take its place: %s", async (_where, bind) => {
    const { relay, roundTrip, close } = await associate();
    const thief = `const relay = ${relay}, s = require("node:dgram").createSocket("udp4");
      ${bind};
      s.send(Buffer.from("${named("other.internal", 53).toString("hex")}ff", "hex"), relay, "127.0.0.1", () => s.close());`;
    await run(process.execPath, ["-e", thief], { uid: 65_534, gid: 65_534, cwd: "/" });
    expect(await roundTrip(named("other.internal", 53), 9)).toMatchObject({ size: 9 });
    expect(heard.map(({ size }) => size)).toEqual([9]);
    close();
  });
});

test("dial carries datagrams of any length that a frame has, and outlives those that are too long", async () => {
  const server = net.createServer((socket) => {
    const request = {
      url: "/v1/networks/net/dial?to=other.internal:53&protocol=udp",
      headers: { upgrade: "warren-stream" },
    };
    void serveDial(request as never, socket, Buffer.alloc(0), {
      networkId: () => "net",
      dial: () =>
        ({
          connect: () => Promise.reject(new Error("not asked for")),
          datagrams: (_id: string, onDatagram: (data: Uint8Array) => void) =>
            way.datagrams((_from, data) => onDatagram(data)),
        }) as never,
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const socket = net.connect((server.address() as net.AddressInfo).port, "127.0.0.1");
  const frame = (size: number) => Buffer.concat([Buffer.from([size >> 8, size & 255]), Buffer.alloc(size, 7)]);
  let got = Buffer.alloc(0);
  socket.on("data", (chunk) => {
    got = Buffer.concat([got, chunk]);
  });
  for (const size of [65_535, LONGEST + 1, 0, 100]) socket.write(frame(size));
  const wanted = Buffer.concat([frame(0), frame(100)]);
  while (!got.includes(wanted)) await once(socket, "data");
  expect(String(got)).toMatch(/^HTTP\/1\.1 101 /);
  socket.destroy();
  server.close();
});
