/** The HTTP proxy: CONNECT tunnels (RFC 9110 section 9.3.6) and requests in absolute form (RFC 9112 section 3.2.2). */
import * as http from "node:http";
import type * as net from "node:net";
import { parseHostPort } from "../host-port";
import { grant } from "./grants";
import { OutsideError } from "./outside";
import type { Credentials } from "./socks-session";
import { splice } from "./splice";
import type { Way } from "./way";

/** Headers that concern one hop only (RFC 9110 section 7.6.1), and those that are for the proxy. */
const HOP_BY_HOP = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** Asked by preload.ts. */
const GRANT_PATH = "/grant?to=";

const REALM = 'Basic realm="warren"';

/**
 * A server that is given connections (`emit("connection", socket)`) instead of listening itself.
 * @param admitted called when a connection has shown the password.
 */
export function httpProxy(way: Way, credentials: Credentials, admitted: (socket: net.Socket) => void): http.Server {
  const allows = (request: http.IncomingMessage): boolean => {
    const allowed = isAllowed(request, credentials);
    if (allowed) admitted(request.socket);
    return allowed;
  };
  const server = http.createServer({ requestTimeout: 0 }, (request, response) => {
    if (!allows(request)) {
      response.writeHead(407, { "Proxy-Authenticate": REALM, "Content-Type": "text/plain" });
      response.end("This proxy belongs to another app: use the URL in WARREN_PROXY.\n");
      return;
    }
    if (request.method === "POST" && request.url?.startsWith(GRANT_PATH)) void openGrant(request, response, way);
    else void forward(request, response, way);
  });
  server.on("connect", (request: http.IncomingMessage, socket: net.Socket, head: Buffer) => {
    void tunnel(request, socket, head, way, allows(request));
  });
  return server;
}

function isAllowed(request: http.IncomingMessage, credentials: Credentials): boolean {
  const said = parseBasic(request.headers["proxy-authorization"]);
  return said !== undefined && credentials.matches(said.user, said.password);
}

/** Of a header as RFC 7617 has it. */
export function parseBasic(header = ""): { readonly user: string; readonly password: string } | undefined {
  const encoded = /^Basic\s+(\S+)$/i.exec(header)?.[1];
  if (encoded === undefined) return undefined;
  const text = Buffer.from(encoded, "base64").toString("utf8");
  const at = text.indexOf(":");
  return at < 0 ? undefined : { user: text.slice(0, at), password: text.slice(at + 1) };
}

/** The text without its percent signs; empty where they mean nothing. */
function unescaped(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return "";
  }
}

async function openGrant(request: http.IncomingMessage, response: http.ServerResponse, way: Way): Promise<void> {
  const answer = (status: number, value: unknown) => {
    response.writeHead(status, { "Content-Type": "application/json" });
    response.end(JSON.stringify(value));
  };
  const gone = new AbortController();
  response.once("close", () => gone.abort());
  const target = parseHostPort(unescaped(request.url!.slice(GRANT_PATH.length)));
  if (!target) return answer(400, { code: "EINVAL" });
  try {
    const stream = await way.connect(target.host, target.port, gone.signal);
    answer(200, await grant(request.socket, stream));
  } catch (error) {
    answer(502, { code: (error as NodeJS.ErrnoException).code ?? "ECONNREFUSED" });
  }
}

async function tunnel(
  request: http.IncomingMessage,
  socket: net.Socket,
  head: Buffer,
  way: Way,
  allowed: boolean,
): Promise<void> {
  socket.on("error", () => undefined);
  const answer = (status: string, more = "", body = "") =>
    socket.end(
      `HTTP/1.1 ${status}\r\n${more}Content-Type: text/plain\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
    );
  if (!allowed) {
    answer("407 Proxy Authentication Required", `Proxy-Authenticate: ${REALM}\r\n`);
    return;
  }
  const target = parseHostPort(request.url ?? "");
  if (!target) {
    answer("400 Bad Request", "", "CONNECT wants HOST:PORT.\n");
    return;
  }
  const gone = new AbortController();
  socket.once("close", () => gone.abort());
  try {
    const stream = await way.connect(target.host, target.port, gone.signal);
    socket.write("HTTP/1.1 200 Connection established\r\n\r\n");
    if (head.length > 0) socket.unshift(head);
    socket.setTimeout(0);
    splice(socket, stream);
  } catch (error) {
    const { status, text } = explain(error, request.url as string);
    answer(status, "", text);
  }
}

async function forward(request: http.IncomingMessage, response: http.ServerResponse, way: Way): Promise<void> {
  let url: URL;
  try {
    url = new URL(request.url ?? "");
    if (url.protocol !== "http:") throw new TypeError("not http");
  } catch {
    response.writeHead(400, { "Content-Type": "text/plain" });
    response.end("This is a proxy: it wants requests for http://HOST/, or CONNECT.\n");
    return;
  }
  if (namedByConnection(request).includes("content-length")) {
    response.writeHead(400, { "Content-Type": "text/plain" });
    response.end("Connection names Content-Length, which is not of one hop.\n");
    return;
  }
  const gone = new AbortController();
  response.once("close", () => gone.abort());
  try {
    const port = Number(url.port || 80);
    const stream = await way.connect(url.hostname, port, gone.signal);
    // Its events are over: a request on it would not hear of that.
    if (stream.destroyed) throw stream.errored ?? new OutsideError("ECONNRESET", "broke as it opened");
    const onward = http.request({
      createConnection: () => stream as net.Socket,
      method: request.method ?? "GET",
      path: `${url.pathname}${url.search}`,
      headers: passedOn(request, url.host),
      setHost: false,
    });
    const fail = (error: unknown) => {
      // The client may send more before it reads the answer.
      request.unpipe(onward).resume();
      if (response.writableEnded) return;
      if (response.headersSent) response.destroy();
      else refuse(response, error, url.host);
    };
    const switched = () => {
      onward.destroy();
      fail(new OutsideError("EPROTO", "switches protocols, which nobody asked for"));
    };
    onward.on("error", fail);
    onward.on("upgrade", switched);
    onward.on("response", (answer) => {
      if (answer.statusCode === 101) return switched();
      answer.on("error", fail);
      try {
        response.writeHead(answer.statusCode ?? 0, answer.statusMessage, headerList(answer, new Set()));
      } catch (error) {
        // Node reads more of a server than it writes for one.
        onward.destroy();
        fail(error);
        return;
      }
      answer.pipe(response);
    });
    response.once("close", () => onward.destroy());
    request.pipe(onward);
  } catch (error) {
    if (!gone.signal.aborted) refuse(response, error, url.host);
  }
}

function passedOn(request: http.IncomingMessage, host: string): string[] {
  // A body must be seen to be one: of itself Node frames none of GET, HEAD, DELETE and OPTIONS, so that it would be the next request.
  const framing = request.headers["transfer-encoding"] === undefined ? [] : ["Transfer-Encoding", "chunked"];
  // RFC 9112 section 3.2.2: the target's own host, whatever the header said.
  return ["Host", host, ...headerList(request, new Set(["host"])), ...framing, "Connection", "close"];
}

/** Headers of one hop, by its own word (RFC 9110 section 7.6.1). */
function namedByConnection(message: http.IncomingMessage): string[] {
  return (message.headers.connection ?? "").split(",").map((name) => name.trim().toLowerCase());
}

/** Header names and values as they came, without those of one hop and those that `Connection` names. */
function headerList(message: http.IncomingMessage, without: ReadonlySet<string>): string[] {
  const named = namedByConnection(message);
  const list: string[] = [];
  for (let i = 0; i + 1 < message.rawHeaders.length; i += 2) {
    const name = (message.rawHeaders[i] as string).toLowerCase();
    if (HOP_BY_HOP.has(name) || without.has(name) || named.includes(name)) continue;
    list.push(message.rawHeaders[i] as string, message.rawHeaders[i + 1] as string);
  }
  return list;
}

function refuse(response: http.ServerResponse, error: unknown, target: string): void {
  const { status, text } = explain(error, target);
  response.writeHead(Number(status.slice(0, 3)), status.slice(4), { "Content-Type": "text/plain" });
  response.end(text);
}

function explain(error: unknown, target: string): { status: string; text: string } {
  const { code } = error as NodeJS.ErrnoException;
  if (code === "EACCES") return { status: "403 Forbidden", text: `${target} is closed to this app.\n` };
  if (code === "ETIMEDOUT") return { status: "504 Gateway Timeout", text: `${target} did not answer.\n` };
  if (/^(HPE_|ERR_|EPROTO$)/.test(code ?? ""))
    return { status: "502 Bad Gateway", text: `${target} answers with what is no HTTP.\n` };
  if (code === "ENOTFOUND") return { status: "502 Bad Gateway", text: `${target} has a name that nobody knows.\n` };
  return { status: "502 Bad Gateway", text: `${target} cannot be reached (${code ?? (error as Error).message}).\n` };
}
