/**
 * `GET /v1/networks/{network}/dial?to=NAME:PORT` with `Upgrade: warren-stream`: after 101 the connection carries the bytes of a
 * connection in the network. With `protocol=udp` it carries datagrams, each behind its length in two bytes.
 */
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { WarrenError } from "../../errors";
import { type HostPort, parseHostPort } from "../../host-port";
import { splice } from "../../userspace/splice";
import type { DialView } from "../agent-view";
import { FrameReader, frame } from "../interface/frames";
import { errorAnswer } from "./answers";

export const STREAM_PROTOCOL = "warren-stream";
/** Header of a refusal: the system's word for it, such as ECONNREFUSED. */
export const ERRNO_HEADER = "warren-errno";

/** Bytes of a client that has no answer yet; who sends more is not read on until it has. */
const EARLY_BYTES = 65_536;

const PATH = /^\/v1\/networks\/([^/?]+)\/dial$/;

export interface DialContext {
  /** @throws WarrenError WARREN_NOT_FOUND */
  readonly networkId: (idOrName: string) => string;
  /** Undefined: not there yet. */
  readonly dial: () => DialView | undefined;
}

/** Serves one request that asks for an upgrade, to its end. */
export async function serveDial(
  request: IncomingMessage,
  socket: Socket,
  head: Buffer,
  { networkId, dial }: DialContext,
): Promise<void> {
  const gone = new AbortController();
  socket.on("error", () => gone.abort());
  socket.once("close", () => gone.abort());
  try {
    const url = new URL(`http://control${request.url?.startsWith("/") ? request.url : "/"}`);
    const network = decoded(PATH.exec(url.pathname)?.[1]);
    if (network === undefined || request.headers.upgrade?.toLowerCase() !== STREAM_PROTOCOL)
      throw new WarrenError("WARREN_NOT_FOUND", `Control upgrades only .../dial, to ${STREAM_PROTOCOL}.`);
    const { host, port } = parseTarget(url.searchParams.get("to") ?? "");
    const id = networkId(network);
    const view = dial();
    if (!view) throw new WarrenError("WARREN_NOT_READY", "The agent is still starting: try again in a moment.");
    if (url.searchParams.get("protocol") === "udp") {
      const link = view.datagrams(id, (data) => {
        if (!socket.writableNeedDrain) socket.write(frame(data));
      });
      accept(socket, head);
      const reader = new FrameReader((data) => link.send(host, port, data));
      socket.on("data", (part: Buffer) => reader.push(part));
      socket.on("end", () => socket.end());
      socket.once("close", () => link.close());
      return;
    }
    const giveBack = readEarly(socket);
    const stream = await view.connect(id, host, port, gone.signal).finally(giveBack);
    accept(socket, head);
    socket.allowHalfOpen = true;
    splice(socket, stream);
  } catch (error) {
    if (socket.destroyed) return;
    const { status, body, reason } = errorAnswer(unreachable(error));
    const errno = (error as NodeJS.ErrnoException).code;
    const extra = errno?.startsWith("E") ? `${ERRNO_HEADER}: ${errno}\r\n` : "";
    socket.end(
      `HTTP/1.1 ${status} ${reason}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n${extra}Connection: close\r\n\r\n${body}`,
    );
    // Who is not read never ends.
    socket.resume();
  }
}

/** Undefined too for what is no percent-encoding: no name of ours. */
function decoded(segment: string | undefined): string | undefined {
  try {
    return segment && decodeURIComponent(segment);
  } catch {
    return undefined;
  }
}

/**
 * Reads while the network connects, as only who reads sees a client end. One that ends before it has an answer has gone.
 * @returns what stops that, with the bytes that came to be read again
 */
function readEarly(socket: Socket): () => void {
  const early: Buffer[] = [];
  let size = 0;
  const take = (part: Buffer) => {
    early.push(part);
    size += part.length;
    if (size >= EARLY_BYTES) socket.pause();
  };
  const leave = () => socket.destroy();
  socket.on("data", take).on("end", leave);
  return () => {
    socket.off("data", take).off("end", leave).pause();
    if (size > 0) socket.unshift(Buffer.concat(early));
  };
}

function accept(socket: Socket, head: Buffer): void {
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${STREAM_PROTOCOL}\r\n\r\n`);
  if (head.length > 0) socket.unshift(head);
}

/** @throws WarrenError WARREN_INVALID_INPUT */
function parseTarget(text: string): HostPort {
  const found = parseHostPort(text);
  if (found) return found;
  throw new WarrenError("WARREN_INVALID_INPUT", `"${text}" is no NAME:PORT, such as api.internal:8080.`, {
    path: "to",
  });
}

/** What the network says of a member that does not take a connection, as a sentence. */
export function unreachable(error: unknown): unknown {
  const { code, message } = error as NodeJS.ErrnoException;
  if (WarrenError.is(error) || !code?.startsWith("E")) return error;
  if (code === "ENOTFOUND") return new WarrenError("WARREN_NOT_FOUND", `${message}.`, { cause: error });
  return new WarrenError("WARREN_UNREACHABLE", `The connection failed (${code}): ${message}.`, { cause: error });
}
