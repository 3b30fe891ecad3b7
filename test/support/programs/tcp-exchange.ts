/**
 * Transfers whose every byte is checked, over any stream: on Node's sockets when this runs as a program, on others when it is imported.
 * The client sends a line with mode and size first. `up`: the client's data comes, is ended, and answered with `ok` (half-close);
 * `down`: the server's data; `both`: both at once.
 * As data go pseudo-random bytes and their SHA-256.
 *
 * Program: `serve ADDRESS PORT` prints `ready`; `run ADDRESS PORT MODE BYTES` prints `ok`, or a line with the error's code.
 */
import { createHash } from "node:crypto";
import { once } from "node:events";
import * as net from "node:net";
import type { Duplex } from "node:stream";

export type ExchangeMode = "up" | "down" | "both";

const HASH = 32;
const LINE = 32;
const CHUNK = 65_536;

async function send(stream: Duplex, bytes: number): Promise<void> {
  const hash = createHash("sha256");
  let state = bytes | 1;
  for (let left = bytes; left > 0; ) {
    const words = new Int32Array(CHUNK / 4);
    for (let i = 0; i < words.length; i++) {
      state = (Math.imul(state, 1103515245) + 12345) | 0;
      words[i] = state ^ (state >>> 15);
    }
    const chunk = Buffer.from(words.buffer, 0, Math.min(left, CHUNK));
    left -= chunk.length;
    hash.update(chunk);
    if (!stream.write(chunk)) await once(stream, "drain");
  }
  stream.write(hash.digest());
}

/** Takes `size` bytes and their hash. */
class Checked {
  private readonly hash = createHash("sha256");
  private readonly trailer: Buffer[] = [];
  private left: number;

  constructor(size: number) {
    this.left = size;
  }

  take(chunk: Buffer): void {
    const data = chunk.subarray(0, this.left);
    this.left -= data.length;
    this.hash.update(data);
    if (data.length < chunk.length) this.trailer.push(chunk.subarray(data.length));
  }

  get right(): boolean {
    return this.left === 0 && this.hash.digest().equals(Buffer.concat(this.trailer));
  }
}

/** The server's side. */
export async function answer(stream: Duplex): Promise<void> {
  let line = Buffer.alloc(0);
  let checked: Checked | undefined;
  let mode = "";
  let sending: Promise<void> | undefined;
  try {
    for await (const part of stream.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      let chunk = part;
      if (checked === undefined) {
        line = Buffer.concat([line, chunk]);
        if (line.length < LINE) continue;
        const [word, size] = line.subarray(0, LINE).toString().trim().split(" ");
        mode = word;
        checked = new Checked(mode === "down" ? 0 : Number(size));
        if (mode !== "up") sending = send(stream, Number(size));
        chunk = line.subarray(LINE);
      }
      checked.take(chunk);
    }
    await sending;
    if (mode !== "down") stream.write(checked?.right ? "ok" : "no");
    stream.end();
  } catch {
    // The client sees its own side of it.
    stream.destroy();
  }
}

/** The client's side. @throws Error where the stream broke or a byte is wrong */
export async function exchange(stream: Duplex, mode: ExchangeMode, bytes: number): Promise<void> {
  const received = mode === "up" ? 0 : bytes;
  const checked = new Checked(received);
  let left = mode === "up" ? 0 : received + HASH;
  let verdict = "";
  const reading = (async () => {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      const data = chunk.subarray(0, left);
      left -= data.length;
      if (data.length > 0) checked.take(data);
      verdict += chunk.subarray(data.length).toString();
    }
  })();
  stream.write(`${mode} ${bytes}`.padEnd(LINE));
  if (mode === "down") stream.end();
  else await Promise.race([send(stream, bytes).then(() => stream.end()), reading]);
  await reading;
  if (mode !== "up" && !checked.right) throw new Error("the received bytes are not those that were sent");
  if (mode !== "down" && verdict !== "ok") throw new Error(`the server says "${verdict}" to what it got`);
}

function main(what: string, address: string, port: string, mode: string, bytes: string): void {
  if (what === "serve") {
    const server = net.createServer({ allowHalfOpen: true }, (socket) => void answer(socket.on("error", () => {})));
    server.listen(Number(port), address, () => console.log("ready"));
    return;
  }
  const socket = net.connect({ host: address, port: Number(port), allowHalfOpen: true });
  exchange(socket, mode as ExchangeMode, Number(bytes)).then(
    () => console.log("ok"),
    (error) => console.log(error.code ?? error.message),
  );
}

if (require.main === module) main(...(process.argv.slice(2) as [string, string, string, string, string]));
