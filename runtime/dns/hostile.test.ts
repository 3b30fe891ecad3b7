/** Resolvers of the host that answer anything at all: bytes of no sense, halves, forgeries, and streams that do not keep to their frames. */
import * as dgram from "node:dgram";
import * as net from "node:net";
import * as dnsPacket from "dns-packet";
import fc from "fast-check";
import { Forwarder } from "./forwarder";
import { fitReply, isReplyTo, RCODE, writeError } from "./message";
import { data, query, read } from "./testing/ask";

const QUERY = query("www.example.com", "A", { id: 0x1234 });
const GOOD = dnsPacket.encode({
  type: "response",
  id: 0x1234,
  questions: [{ type: "A", name: "www.example.com" }],
  answers: [{ type: "A", name: "www.example.com", ttl: 60, data: "192.0.2.1" }],
});

/** Random bytes, and good replies with some bytes changed or the end cut off. */
const anything = fc.oneof(
  fc.uint8Array({ maxLength: 600 }),
  fc
    .record({
      changes: fc.array(fc.tuple(fc.nat(GOOD.length - 1), fc.nat(255)), { maxLength: 4 }),
      length: fc.integer({ min: 0, max: GOOD.length }),
    })
    .map(({ changes, length }) => {
      const bytes = Buffer.from(GOOD);
      for (const [at, value] of changes) bytes[at] = value;
      return new Uint8Array(bytes.subarray(0, length));
    }),
);

test("a reply is one to this question, byte by byte, or none", () => {
  const lower = (message: Uint8Array) => Buffer.from(message.subarray(12, 29)).toString("latin1").toLowerCase();
  const oracle = (reply: Uint8Array): boolean => {
    if (reply.length < 12 || reply[0] !== 0x12 || reply[1] !== 0x34 || reply[2]! < 0x80) return false;
    const questions = reply[4]! * 256 + reply[5]!;
    if (questions === 0) return reply[3]! % 16 !== 0;
    if (questions !== 1 || reply.length < QUERY.length) return false;
    return lower(reply) === lower(QUERY) && Buffer.from(reply.subarray(29, 33)).equals(QUERY.subarray(29, 33));
  };
  expect(isReplyTo(GOOD, QUERY)).toBe(true);
  fc.assert(
    fc.property(anything, (reply) => isReplyTo(reply, QUERY) === oracle(reply)),
    { numRuns: 5000 },
  );
});

test("types that are alike but for one bit of a letter are not one", () => {
  const https = query("example.com", "A");
  https.writeUInt16BE(65, https.length - 4);
  const reply = Buffer.from(https);
  reply[2]! |= 0x80;
  expect(isReplyTo(reply, https)).toBe(true);
  reply.writeUInt16BE(97, reply.length - 4);
  expect(isReplyTo(reply, https)).toBe(false);
});

test("whatever came fits, under its own id, and says where it was cut", () => {
  fc.assert(
    fc.property(anything, fc.integer({ min: 512, max: 1232 }), fc.nat(2000), (bytes, limit, more) => {
      const reply = Buffer.concat([bytes, Buffer.alloc(more)]);
      if (reply.length < 12) return;
      const fitting = fitReply(reply, limit);
      expect(fitting.length).toBeLessThanOrEqual(limit);
      expect(Buffer.from(fitting.subarray(0, 2)).equals(reply.subarray(0, 2))).toBe(true);
      if (reply.length <= limit) expect(Buffer.from(fitting).equals(reply)).toBe(true);
      else {
        expect(fitting[2]! & 2).toBe(2);
        expect(read(fitting)).toMatchObject({ answers: [], flag_tc: true });
      }
    }),
    { numRuns: 2000 },
  );
});

describe("the forwarder", () => {
  const closers: (() => void)[] = [];
  afterEach(() => {
    for (const close of closers.splice(0)) close();
  });

  /** @param tcp what a TCP server does with a connection, once a question has come */
  async function ask(
    udp: (query: Buffer) => Uint8Array[],
    tcp: (socket: net.Socket, query: Buffer) => void,
    timeout = 400,
  ): Promise<Uint8Array> {
    const server = net.createServer((socket) => {
      socket.on("error", () => undefined).once("data", (chunk) => tcp(socket, chunk.subarray(2)));
      closers.push(() => socket.destroy());
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as net.AddressInfo;
    const socket = dgram.createSocket("udp4");
    socket.on("message", (message, from) => {
      for (const reply of udp(message)) socket.send(reply, from.port, from.address);
    });
    await new Promise<void>((resolve) => socket.bind(port, "127.0.0.1", resolve));
    const forwarder = new Forwarder({ servers: () => [`127.0.0.1#${port}`], timeout });
    closers.push(
      () => forwarder.close(),
      () => socket.close(),
      () => server.close(),
    );
    return forwarder.resolve(QUERY);
  }

  const answering = (question: Uint8Array) => {
    const reply = Buffer.from(GOOD);
    reply.set(question.subarray(0, 2));
    return reply;
  };
  const truncated = (question: Uint8Array) => {
    const reply = Buffer.from(question);
    reply[2]! |= 0x82;
    return reply;
  };
  const framed = (message: Uint8Array, length = message.length) =>
    Buffer.concat([Buffer.from([length >> 8, length & 255]), message]);
  const silent = () => undefined;

  test("takes the right reply out of a flood of others", async () => {
    const others = fc.sample(anything, { numRuns: 200, seed: 7 });
    const reply = await ask((question) => {
      const forged = others.map((bytes) => {
        const copy = Buffer.from(bytes);
        if (copy.length >= 2) copy.set(question.subarray(0, 2));
        return copy;
      });
      return [...forged.filter((one) => !isReplyTo(one, question)), answering(question)];
    }, silent);
    expect(data(read(reply))).toEqual(["192.0.2.1"]);
    expect(reply.slice(0, 2)).toEqual(new Uint8Array([0x12, 0x34]));
  });

  test("passes on what is a reply by its header and question, whatever follows, under the asker's id", async () => {
    const reply = await ask((question) => {
      const bytes = answering(question);
      bytes.fill(0xff, QUERY.length);
      return [bytes];
    }, silent);
    expect([...reply.slice(0, 2)]).toEqual([0x12, 0x34]);
    expect(reply).toHaveLength(GOOD.length);
  });

  const ways: Record<string, [(socket: net.Socket, question: Buffer) => void, "whole" | "cut"]> = {
    "byte by byte": [
      (socket, question) => {
        socket.setNoDelay(true);
        for (const byte of framed(answering(question))) socket.write(Buffer.from([byte]));
      },
      "whole",
    ],
    "with another message behind it": [
      (socket, question) =>
        socket.write(Buffer.concat([framed(answering(question)), framed(writeError(question, RCODE.REFUSED))])),
      "whole",
    ],
    "in a frame of no bytes": [(socket) => socket.write(framed(Buffer.alloc(0))), "cut"],
    "in a frame that is longer than what comes": [
      (socket, question) => socket.end(framed(answering(question), 60_000)),
      "cut",
    ],
    "in a frame that never ends": [(socket, question) => socket.write(framed(answering(question), 60_000)), "cut"],
    "in a frame that is too short": [(socket, question) => socket.end(framed(answering(question), 20)), "cut"],
    "that is somebody else's": [(socket) => socket.end(framed(answering(Buffer.from([9, 9])))), "cut"],
    "of one byte": [(socket) => socket.end(Buffer.from([0])), "cut"],
    "that is a closed connection": [(socket) => socket.resetAndDestroy(), "cut"],
  };
  test.each(Object.entries(ways))("over TCP, a reply %s", async (_name, [tcp, expected]) => {
    const reply = read(await ask((question) => [truncated(question)], tcp));
    // What came over UDP says that there is more, which is as true as before.
    expect([reply.id, reply.flag_tc, data(reply)]).toEqual([
      0x1234,
      expected === "cut",
      expected === "cut" ? [] : ["192.0.2.1"],
    ]);
  });
});
