/** SOCKS5 messages out of a connection whose bytes come in any pieces. */
import { PassThrough } from "node:stream";
import * as fc from "fast-check";
import { takeMessage } from "./socks-reader";
import { parseGreeting, parsePassword, parseRequest } from "./socks5";

const text = (bytes: Uint8Array) => [bytes.length, ...bytes];
const short = fc.uint8Array({ maxLength: 255 });
const name = fc.stringMatching(/^[a-z0-9.-]{1,255}$/).filter((s) => s.length <= 255);

/** The bytes cut where `cuts` says. */
function pieces(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return places.slice(1).map((end, i) => bytes.subarray(places[i], end));
}

async function feed(socket: PassThrough, chunks: readonly Buffer[]): Promise<void> {
  for (const chunk of chunks) {
    if (chunk.length > 0) socket.write(chunk);
    await new Promise(setImmediate);
  }
}

async function rest(socket: PassThrough): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk);
  return Buffer.concat(chunks);
}

test("a conversation in any pieces is the same one, and what comes after it is whole", async () => {
  const conversation = fc.record({
    methods: short,
    user: short,
    password: short,
    host: name,
    port: fc.nat(65_535),
    after: fc.uint8Array({ maxLength: 3000 }),
    cuts: fc.array(fc.nat(), { maxLength: 12 }),
  });
  await fc.assert(
    fc.asyncProperty(conversation, async ({ methods, user, password, host, port, after, cuts }) => {
      const bytes = Buffer.from([
        ...[5, ...text(methods)],
        ...[1, ...text(user), ...text(password)],
        ...[5, 1, 0, 3, ...text(Buffer.from(host)), port >> 8, port & 255],
        ...after,
      ]);
      const socket = new PassThrough();
      const feeding = feed(socket, pieces(bytes, cuts)).then(() => socket.end());
      expect(await takeMessage(socket, parseGreeting)).toEqual([...methods]);
      const utf8 = (part: Uint8Array) => Buffer.from(part).toString("utf8");
      expect(await takeMessage(socket, parsePassword)).toEqual({ user: utf8(user), password: utf8(password) });
      expect(await takeMessage(socket, parseRequest)).toEqual({ command: 1, host, port });
      expect((await rest(socket)).equals(Buffer.from(after))).toBe(true);
      await feeding;
    }),
    { numRuns: 200 },
  );
});

test("no more than the stream's own buffer is held while nobody waits for a message", async () => {
  const flood = Buffer.alloc(1 << 20, 7);
  for (const [first, message] of [
    [[5, 1, 2], [2]],
    [[4, 1, 2], undefined],
  ] as const) {
    const socket = new PassThrough();
    const taken = takeMessage(socket, parseGreeting);
    socket.write(Buffer.from(first));
    expect(await taken).toEqual(message);
    for (let i = 0; i < 8; i++) socket.write(flood);
    await new Promise(setImmediate);
    expect(socket.readableLength).toBeLessThanOrEqual(flood.length);
    expect(socket.writableLength).toBeGreaterThanOrEqual(7 * flood.length);
  }
});

test("any bytes in any pieces come to an end: a message, or none", async () => {
  const parsers = fc.constantFrom(parseGreeting, parsePassword, parseRequest);
  await fc.assert(
    fc.asyncProperty(
      parsers,
      fc.uint8Array({ maxLength: 1500 }),
      fc.array(fc.nat(), { maxLength: 8 }),
      async (parse, any, cuts) => {
        const bytes = Buffer.from(any);
        const socket = new PassThrough();
        const taken = takeMessage<unknown>(socket, parse);
        await feed(socket, pieces(bytes, cuts));
        socket.end();
        const whole = parse(bytes);
        expect(await taken).toEqual(typeof whole === "string" ? undefined : whole.value);
      },
    ),
    { numRuns: 300 },
  );
});
