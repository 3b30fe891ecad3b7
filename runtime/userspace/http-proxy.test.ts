import { once } from "node:events";
import * as net from "node:net";
import * as fc from "fast-check";
import { parseBasic } from "./http-proxy";
import { AppProxy } from "./proxy";

const encoded = (text: string | Uint8Array) => Buffer.from(text as string).toString("base64");

describe("the header Proxy-Authorization", () => {
  test("gives back any user without a colon, and any password", () => {
    const user = fc.string({ unit: "grapheme" }).filter((text) => !text.includes(":"));
    const scheme = fc.constantFrom("Basic ", "basic ", "BASIC \t");
    fc.assert(
      fc.property(scheme, user, fc.string({ unit: "grapheme" }), (basic, user, password) => {
        expect(parseBasic(basic + encoded(`${user}:${password}`))).toEqual({ user, password });
      }),
    );
  });

  test.each([
    undefined,
    "",
    "Basic",
    "Basic ",
    "Bearer dTpw",
    "Basic dTpw x",
    " Basic dTpw",
    `Basic ${encoded("user")}`,
  ])("%p says nobody", (header) => expect(parseBasic(header)).toBeUndefined());

  test("of any text is what it decodes to, or nobody", () => {
    const any = fc.oneof(
      fc.string(),
      fc.string().map((text) => `Basic ${text}`),
      fc.uint8Array().map((bytes) => `Basic ${encoded(bytes)}`),
    );
    fc.assert(
      fc.property(any, (header) => {
        const said = parseBasic(header);
        if (said === undefined) return;
        expect(said.user).not.toContain(":");
        const token = header.replace(/^basic\s+/i, "");
        expect(Buffer.from(token, "base64").toString()).toBe(`${said.user}:${said.password}`);
      }),
      { numRuns: 2000 },
    );
  });
});

describe("a request that is passed on", () => {
  const SECRET = "correct-horse";
  let upstream: net.Server;
  let proxy: AppProxy;
  /** What the server answers to the first bytes of a connection, and all that it got. */
  let reply: string;
  let got: string;
  /** Whether the way gives streams that are gone already. */
  let dead: boolean;

  beforeEach(async () => {
    [got, reply, dead] = ["", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", false];
    upstream = net.createServer((socket) => {
      socket.on("error", () => undefined).once("data", () => socket.write(reply));
      socket.on("data", (data) => {
        got += data;
      });
    });
    await once(upstream.listen(0, "127.0.0.1"), "listening");
    const connect = async () => {
      const { port } = upstream.address() as net.AddressInfo;
      const socket = net.connect({ port, host: "127.0.0.1", allowHalfOpen: true });
      await once(socket, "connect");
      if (dead) await once(socket.destroy(), "close");
      return socket;
    };
    proxy = await AppProxy.listen(0, SECRET, { connect } as never);
  });
  afterEach(() => {
    proxy.close();
    upstream.close();
  });

  /** @returns the answer, to the end of the connection. */
  async function ask(method: string, headers: readonly string[], body = ""): Promise<string> {
    const socket = net.connect({ port: proxy.port, host: "127.0.0.1", allowHalfOpen: true });
    const authorization = `Proxy-Authorization: Basic ${encoded(`warren:${SECRET}`)}`;
    const head = [`${method} http://web.internal/x HTTP/1.1`, "Host: web.internal", authorization, ...headers];
    socket.write(`${head.join("\r\n")}\r\n\r\n${body}`);
    let answer = "";
    for await (const data of socket) answer += data;
    socket.end();
    return answer;
  }

  const INNER = "GET /smuggled HTTP/1.1\r\nHost: web.internal\r\n\r\n";
  const CHUNKED = `${INNER.length.toString(16)}\r\n${INNER}\r\n0\r\n\r\n`;

  test.each(["GET", "HEAD", "DELETE", "OPTIONS", "POST"])("%s: a body in chunks goes on in chunks", async (method) => {
    reply = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    const answer = ask(method, ["Transfer-Encoding: chunked", "Connection: close"], CHUNKED);
    expect(await answer).toMatch(/^HTTP\/1\.1 200 /);
    expect(got).toMatch(/^Transfer-Encoding: chunked\r$/im);
    expect(got.slice(got.indexOf("\r\n\r\n") + 4)).toBe(CHUNKED);
  });

  test.each(["DELETE", "POST"])("%s: the length of a body is not taken off on request", async (method) => {
    const headers = [`Content-Length: ${INNER.length}`, "Connection: close, Content-Length"];
    expect(await ask(method, headers, INNER)).toMatch(/^HTTP\/1\.1 400 /);
    expect(got).toBe("");
  });

  test.each([
    ["to another protocol", "Upgrade: x\r\nConnection: Upgrade\r\n"],
    ["without a word to what", ""],
  ])("is answered where the server switches %s", async (_name, headers) => {
    reply = `HTTP/1.1 101 Switching Protocols\r\n${headers}\r\n`;
    expect(await ask("GET", ["Connection: close"])).toMatch(/^HTTP\/1\.1 502 /);
  });

  test("is answered where its connection broke as it opened", async () => {
    dead = true;
    expect(await ask("GET", ["Connection: close"])).toMatch(/^HTTP\/1\.1 502 /);
  });
});
