import { randomBytes, randomInt } from "node:crypto";
import { Duplex } from "node:stream";
import type { DnsHandler } from "../dataplane/config";
import { Forwarder } from "./forwarder";
import { dnsHandler } from "./handler";
import { type StreamOptions, serveDnsStream } from "./stream";
import { namesOf, query, view } from "./testing/ask";

/** Our end of a connection, and what the other end sees of it. */
class Connection extends Duplex {
  readonly replies: string[] = [];
  /** False: the other end takes nothing for now. */
  taking = true;
  private held: (() => void) | undefined;

  constructor() {
    super({ writableHighWaterMark: 64 });
  }
  override _read(): void {}
  override _write(chunk: Buffer, _: string, done: () => void): void {
    const take = () => {
      this.replies.push(chunk.subarray(2).toString());
      expect(chunk.readUInt16BE(0)).toBe(chunk.length - 2);
      done();
    };
    if (this.taking) take();
    else this.held = take;
  }
  release(): void {
    this.taking = true;
    this.held?.();
  }
}

/** A message long enough to be one. */
const message = (text: string) => text.padEnd(12, "-");
function framed(text: string): Buffer {
  const bytes = Buffer.from(`..${message(text)}`);
  bytes.writeUInt16BE(bytes.length - 2, 0);
  return bytes;
}

const echo: DnsHandler = async ({ gateway, from, message, stream }) =>
  Buffer.from(`${gateway} ${from} ${stream} ${Buffer.from(message)}`);

function serve(handler: DnsHandler = echo, options: StreamOptions = {}): Connection {
  const connection = new Connection();
  serveDnsStream(connection, "net/host", "10.1.2.9", handler, options);
  return connection;
}

const soon = () => new Promise((resolve) => setImmediate(resolve));

test("questions in pieces, and several in one piece; the connection ends with the last answer", async () => {
  const connection = serve();
  const bytes = Buffer.concat([framed("one"), framed("two"), framed("three")]);
  for (const at of [0, 1, 2, 7]) connection.push(bytes.subarray(at, [1, 2, 7, bytes.length][[0, 1, 2, 7].indexOf(at)]));
  await soon();
  expect(connection.replies).toEqual(["one", "two", "three"].map((text) => `net/host 10.1.2.9 true ${message(text)}`));
  connection.push(null);
  await soon();
  expect(connection.writableEnded).toBe(true);
});

test("answers come as they are ready, also after the asker has ended its side", async () => {
  const waiting = new Map<string, (reply: Uint8Array) => void>();
  const connection = serve(
    ({ message }) => new Promise((resolve) => waiting.set(Buffer.from(message).toString(), resolve)),
  );
  connection.push(Buffer.concat([framed("slow"), framed("quick")]));
  connection.push(null);
  await soon();
  waiting.get(message("quick"))!(Buffer.from("2"));
  await soon();
  expect([connection.replies, connection.writableEnded]).toEqual([["2"], false]);
  waiting.get(message("slow"))!(Buffer.from("1"));
  await soon();
  expect([connection.replies, connection.writableEnded]).toEqual([["2", "1"], true]);
});

test("no more questions at once than allowed; the rest waits", async () => {
  const waiting: (() => void)[] = [];
  const connection = serve(() => new Promise((resolve) => waiting.push(() => resolve(Buffer.from("x")))), {
    maxInFlight: 2,
  });
  connection.push(Buffer.concat([framed("1"), framed("2"), framed("3")]));
  await soon();
  expect([waiting.length, connection.isPaused()]).toEqual([2, true]);
  waiting[0]!();
  await soon();
  expect(waiting.length).toBe(3);
  connection.destroy();
});

test("an asker that takes no answers is not answered further", async () => {
  let answered = 0;
  const connection = serve(async () => {
    answered++;
    return Buffer.alloc(100);
  });
  connection.taking = false;
  connection.push(Buffer.concat(Array.from({ length: 50 }, () => framed("q"))));
  await soon();
  expect(answered).toBeLessThanOrEqual(16);
  expect(connection.isPaused()).toBe(true);
  connection.release();
  for (let i = 0; i < 5; i++) await soon();
  expect([answered, connection.replies.length]).toEqual([50, 50]);
  connection.destroy();
});

test("what is no DNS, and what is to be met with silence, ends the connection", async () => {
  const short = serve();
  short.push(Buffer.from("GET / HTTP/1.1\r\n\r\n"));
  const tiny = serve();
  tiny.push(Buffer.from([0, 3, 1, 2, 3]));
  const silent = serve(async () => undefined);
  silent.push(framed("a response"));
  const broken = serve(() => Promise.reject(new Error("no")));
  broken.push(framed("q"));
  await soon();
  // The first is a length that never comes to its end.
  expect([short, tiny, silent, broken].map((connection) => connection.destroyed)).toEqual([false, true, true, true]);
  short.destroy();
});

test("idle connections end, whoever is waiting", () => {
  jest.useFakeTimers();
  try {
    const connection = serve(echo, { idle: 1000 });
    jest.advanceTimersByTime(999);
    expect(connection.destroyed).toBe(false);
    jest.advanceTimersByTime(1);
    expect(connection.destroyed).toBe(true);
  } finally {
    jest.useRealTimers();
  }
});

test("an error of the connection is its end, not ours", async () => {
  const connection = serve();
  connection.destroy(new Error("reset"));
  await soon();
  expect(connection.destroyed).toBe(true);
});

test("random bytes in random pieces: answers or an end, and nothing else", async () => {
  const forwarder = new Forwarder({ servers: () => [] });
  const known = { names: namesOf(view), distance: () => 0, maxReply: 1232 };
  const handler = dnsHandler(() => known, forwarder);
  const good = query("api.internal", "A");
  for (let i = 0; i < 200; i++) {
    const messages = Array.from({ length: 5 }, () => {
      const message = randomInt(2) ? Buffer.from(good) : randomBytes(12 + randomInt(40));
      for (let n = randomInt(3); n > 0; n--) message[randomInt(message.length)] = randomInt(256);
      return Buffer.concat([Buffer.from([0, randomInt(8) ? message.length : randomInt(256)]), message]);
    });
    const bytes = Buffer.concat(messages);
    const connection = serve(handler);
    for (let at = 0; at < bytes.length && !connection.destroyed; ) {
      const end = at + 1 + randomInt(bytes.length - at);
      connection.push(bytes.subarray(at, end));
      at = end;
      if (randomInt(3) === 0) await soon();
    }
    if (!connection.destroyed) connection.push(null);
    for (let n = 0; n < 4; n++) await soon();
    expect(connection.destroyed || connection.writableEnded).toBe(true);
    expect(connection.replies.length).toBeLessThanOrEqual(30);
  }
  forwarder.close();
});
