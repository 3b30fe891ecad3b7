/** The proxy on loopback, over a way that leads to this process's own sockets. */
import { execFile } from "node:child_process";
import * as dgram from "node:dgram";
import { once } from "node:events";
import * as fs from "node:fs";
import * as http from "node:http";
import * as net from "node:net";
import * as path from "node:path";
import { promisify } from "node:util";
import { describeNeeding } from "../../test/support/needs";
import { sleep, waitFor } from "../../test/support/wait";
import { OutsideError } from "./outside";
import { AppProxy } from "./proxy";
import { proxyEnvironment } from "./proxy-environment";
import type { Way } from "./way";

const run = promisify(execFile);
const SECRET = "correct-horse";
const ASSOCIATE = Buffer.from([5, 3, 0, 1, 0, 0, 0, 0, 0, 0]);
const connectTo = (host: string) =>
  Buffer.from(`\x05\x01\0\x03${String.fromCharCode(host.length)}${host}\0\x50`, "latin1");
const PRELOAD = path.join(__dirname, "../../dist/runtime/userspace/preload.js");

describeNeeding(["linux", "curl"], "an app's proxy", () => {
  let web: http.Server;
  let proxy: AppProxy;
  /** What `hostile.internal` answers to whatever it is asked. */
  let hostile = "";
  /** `slow.internal` is not there before this. */
  let patience: Promise<net.Socket>;
  const asked: string[] = [];
  /** `web.internal`, `web` and `web.flycast` are the server of this test, `dead.internal` refuses, `closed.internal` is not for this app. */
  const way: Omit<Way, "ping"> = {
    async connect(host, port) {
      asked.push(`${host}:${port}`);
      if (host === "dead.internal") throw new OutsideError("ECONNREFUSED", "refused");
      if (host === "closed.internal") throw new OutsideError("EACCES", "closed");
      if (host === "hostile.internal") {
        const server = net.createServer((socket) => socket.end(hostile, "latin1")).listen(0, "127.0.0.1");
        await once(server, "listening");
        const socket = net.connect((server.address() as net.AddressInfo).port, "127.0.0.1");
        await once(socket, "connect");
        server.close();
        return socket;
      }
      if (host === "slow.internal") return patience;
      if (!["web", "web.internal", "web.flycast", "10.1.2.5"].includes(host))
        throw new OutsideError("ENOTFOUND", "no such name");
      const socket = net.connect({
        host: "127.0.0.1",
        port: (web.address() as net.AddressInfo).port,
        allowHalfOpen: true,
      });
      await once(socket, "connect");
      return Object.defineProperty(socket, "remoteAddress", { value: "10.1.2.5" });
    },
    datagrams: (onDatagram) => ({
      send: (host, port, data) => onDatagram({ address: "10.1.2.5", port }, Buffer.from(`${host} ${data}`)),
      close: () => undefined,
    }),
  };

  beforeAll(async () => {
    web = http.createServer(async (request, response) => {
      let body = "";
      for await (const chunk of request) body += chunk;
      const { headers, method, url } = request;
      response.writeHead(200, { "X-Answer": "yes", Connection: "close, x-hop", "X-Hop": "1" });
      response.end(JSON.stringify({ method, url, headers, body }));
    });
    web.listen(0, "127.0.0.1");
    await once(web, "listening");
    proxy = await AppProxy.listen(0, SECRET, way as Way);
  });
  afterAll(() => {
    proxy.close();
    web.close();
    web.closeAllConnections();
  });

  const environment = (): Record<string, string | undefined> => ({
    PATH: process.env.PATH,
    ...proxyEnvironment(proxy.port, SECRET),
  });
  const curl = (...args: string[]) =>
    run("curl", ["-sS", "--max-time", "10", ...args], { env: environment(), encoding: "utf8" }).then((r) => r.stdout);

  it("forwards requests in absolute form, without what was meant for itself", async () => {
    const answer = JSON.parse(await curl("-d", "a body", "-H", "X-Mine: 1", "http://web.internal:8080/p?q=1"));
    expect(answer).toMatchObject({ method: "POST", url: "/p?q=1", body: "a body" });
    expect(answer.headers).toMatchObject({ host: "web.internal:8080", "x-mine": "1" });
    for (const name of Object.keys(answer.headers)) expect(name).not.toMatch(/^proxy-/);
    expect(asked.at(-1)).toBe("web.internal:8080");
    expect(await curl("-i", "http://10.1.2.5/")).toMatch(/X-Answer: yes/i);
    expect(await curl("-i", "http://10.1.2.5/")).not.toMatch(/X-Hop: 1/i);
  });

  it("tunnels by CONNECT, and by SOCKS5 with names resolved on this side", async () => {
    expect(JSON.parse(await curl("-p", "http://web.internal:81/"))).toMatchObject({ url: "/" });
    const socks = environment().WARREN_PROXY as string;
    expect(JSON.parse(await curl("-x", socks, "http://web.internal:82/"))).toMatchObject({ url: "/" });
    expect(asked.at(-1)).toBe("web.internal:82");
  });

  it("answers for a server that speaks no valid HTTP, and lives on", async () => {
    for (const [head, status] of [
      ["HTTP/1.1 200 O\x01K\r\nContent-Length: 2\r\n\r\nhi", "502"],
      ["HTTP/1.1 099 Low\r\nContent-Length: 2\r\n\r\nhi", "502"],
      ["HTTP/1.1 200 OK\r\nX-Odd: a\x01b\r\nContent-Length: 2\r\n\r\nhi", "502"],
      ["no HTTP at all\r\n\r\n", "502"],
    ] as const) {
      hostile = head;
      const answer = await curl("-w", "%{http_code}", "http://hostile.internal/");
      expect([head, answer]).toEqual([head, `hostile.internal answers with what is no HTTP.\n${status}`]);
    }
    expect(JSON.parse(await curl("http://web.internal/"))).toMatchObject({ url: "/" });
  }, 20_000);

  const ask = (to: string) =>
    curl(
      "-w",
      "%{http_code}",
      "--noproxy",
      "*",
      "-X",
      "POST",
      "-H",
      `Proxy-Authorization: Basic ${Buffer.from(`warren:${SECRET}`).toString("base64")}`,
      `http://127.0.0.1:${proxy.port}/grant?to=${to}`,
    );

  it("keeps a grant for its asker, whoever else connects, and closes within the moment", async () => {
    const { port } = JSON.parse((await ask("web.internal:80")).replace(/200$/, "")) as { port: number };
    const other = net.connect({ port, host: "127.0.0.1", localAddress: "127.0.0.5" }).on("error", () => undefined);
    await new Promise((resolve) => other.resume().on("close", resolve));
    const hasty = net.connect(port, "127.0.0.1").on("error", () => undefined);
    process.nextTick(() => hasty.destroy());
    await new Promise((resolve) => hasty.on("close", resolve));
    await sleep(50);
    const mine = net.connect(port, "127.0.0.1");
    mine.write("GET /mine HTTP/1.0\r\n\r\n");
    expect(String((await once(mine, "data"))[0])).toMatch(/^HTTP\/1\.1 200/);
    mine.destroy();
  });

  it("refuses a grant whose destination cannot be read", async () => {
    for (const to of ["%", "%ff", "", "web.internal", "web.internal%3A99999"])
      expect([to, await ask(to)]).toEqual([to, '{"code":"EINVAL"}400']);
  });

  it("says why a destination cannot be reached", async () => {
    expect(await curl("-w", "%{http_code}", "http://dead.internal/")).toBe(
      "dead.internal cannot be reached (ECONNREFUSED).\n502",
    );
    expect(await curl("-w", "%{http_code}", "http://closed.internal/")).toBe(
      "closed.internal is closed to this app.\n403",
    );
    const socks = environment().WARREN_PROXY as string;
    await expect(curl("-x", socks, "http://dead.internal/")).rejects.toMatchObject({ code: 97 });
  });

  it("serves nobody without the password", async () => {
    const at = `127.0.0.1:${proxy.port}`;
    const before = asked.length;
    expect(await curl("-x", `http://${at}`, "-o", "/dev/null", "-w", "%{http_code}", "http://web.internal/")).toBe(
      "407",
    );
    expect(
      await curl("-x", `http://warren:wrong@${at}`, "-o", "/dev/null", "-w", "%{http_code}", "http://web.internal/"),
    ).toBe("407");
    await expect(curl("-x", `socks5h://warren:wrong@${at}`, "http://web.internal/")).rejects.toMatchObject({
      code: 97,
    });
    await expect(curl("-x", `socks5h://${at}`, "http://web.internal/")).rejects.toMatchObject({ code: 97 });
    expect(asked.length).toBe(before);
  });

  it("ends a connection that speaks neither, and lives on", async () => {
    for (const garbage of [
      Buffer.from([4, 1, 0, 80]),
      Buffer.from("\r\n\r\nhello"),
      Buffer.from([5, 0]),
      Buffer.alloc(3000, 5),
    ]) {
      const socket = net.connect(proxy.port, "127.0.0.1");
      socket.on("error", () => undefined);
      socket.write(garbage);
      socket.resume();
      await once(socket, "close");
    }
    expect(JSON.parse(await curl("http://web.internal/"))).toMatchObject({ url: "/" });
  }, 20_000);

  it("gives strangers a time to show the password, however slowly they speak, and few places", async () => {
    const strict = await AppProxy.listen(0, SECRET, way as Way, { greeting: 500, strangers: 4 });
    const stranger = (first: string, drip: string) => {
      const socket = net.connect(strict.port, "127.0.0.1").on("error", () => undefined);
      socket.write(first, "latin1");
      const timer = setInterval(() => socket.write(drip, "latin1"), 50);
      socket.resume();
      return once(socket, "close").finally(() => clearInterval(timer));
    };
    // Each would go on for ever.
    await Promise.all([stranger("GET http://web.internal/ HTTP/1.1\r\n", "X: y\r\n"), stranger("\x05\xff", "\x02")]);
    const many = Array.from({ length: 12 }, () => net.connect(strict.port, "127.0.0.1"));
    const gone = many.slice(0, 8).map((socket) => once(socket.resume(), "close"));
    await Promise.all(gone);
    expect(strict.lost["proxy strangers evicted"]).toBeGreaterThan(0);
    const socks = `socks5h://warren:${SECRET}@127.0.0.1:${strict.port}`;
    expect(JSON.parse(await curl("-x", socks, "http://web.internal/"))).toMatchObject({ url: "/" });
    // Who has shown it may take its time.
    const slow = net.connect(strict.port, "127.0.0.1");
    const credentials = Buffer.from(`warren:${SECRET}`).toString("base64");
    slow.write(`CONNECT web.internal:80 HTTP/1.1\r\nProxy-Authorization: Basic ${credentials}\r\n\r\n`);
    await once(slow, "data");
    await new Promise((resolve) => setTimeout(resolve, 700));
    slow.write("GET /later HTTP/1.0\r\n\r\n");
    expect(String((await once(slow, "data"))[0])).toMatch(/^HTTP\/1\.1 200/);
    for (const socket of [...many, slow]) socket.destroy();
    strict.close();
  }, 20_000);

  /** A client that has been asked for its password and says this one; its own side of the connection stays open. */
  async function socksClient(secret = SECRET) {
    const socket = net.connect({ port: proxy.port, host: "127.0.0.1", allowHalfOpen: true });
    socket.on("error", () => undefined);
    const hear = async () => (await once(socket, "data"))[0] as Buffer;
    socket.write(Buffer.from([5, 1, 2]));
    expect([...(await hear())]).toEqual([5, 2]);
    socket.write(Buffer.from(`\x01\x06warren${String.fromCharCode(secret.length)}${secret}`, "latin1"));
    expect([...(await hear())]).toEqual([1, secret === SECRET ? 0 : 1]);
    return { socket, hear };
  }

  it("ends the connections that it refused for good, whatever they go on to say", async () => {
    const outlives = async (socket: net.Socket) => {
      const flood = setInterval(() => socket.write(Buffer.alloc(1 << 16, 7)), 20);
      // It may be reset while it speaks.
      socket.on("error", () => undefined).resume();
      await new Promise((resolve) => socket.on("close", resolve)).finally(() => clearInterval(flood));
    };
    const greeting = net.connect({ port: proxy.port, host: "127.0.0.1", allowHalfOpen: true });
    greeting.write(Buffer.from([5, 1, 0]));
    expect([...((await once(greeting, "data"))[0] as Buffer)]).toEqual([5, 255]);
    await outlives(greeting);
    await outlives((await socksClient("wrong")).socket);
    for (const [request, word] of [
      [connectTo("dead.internal"), 5],
      [Buffer.from([5, 2, 0, 1, 10, 1, 2, 5, 0, 80]), 7],
      [Buffer.from([5, 1, 0, 9, 10, 1, 2, 5, 0, 80]), 8],
    ] as const) {
      const { socket, hear } = await socksClient();
      socket.write(request);
      expect([...(await hear())]).toEqual([5, word, 0, 1, 0, 0, 0, 0, 0, 0]);
      await outlives(socket);
    }
  }, 20_000);

  it("holds little of what comes before its time, and loses nothing of it", async () => {
    const part = Buffer.alloc(1 << 20, 7);
    let open: (socket: net.Socket) => void = () => undefined;
    patience = new Promise((resolve) => {
      open = resolve;
    });
    let got = 0;
    const sink = net.createServer((socket) => {
      socket
        .on("error", () => undefined)
        .on("data", (chunk) => {
          got += chunk.length;
        });
    });
    sink.listen(0, "127.0.0.1");
    await once(sink, "listening");
    const waiting = await socksClient();
    waiting.socket.write(connectTo("slow.internal"));
    const before = process.memoryUsage().arrayBuffers;
    for (let i = 0; i < 48; i++) waiting.socket.write(part);
    await sleep(500);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8 << 20);
    const far = net.connect({ port: (sink.address() as net.AddressInfo).port, host: "127.0.0.1", allowHalfOpen: true });
    await once(far, "connect");
    open(far);
    await waitFor("the last byte", () => got === 48 << 20);

    const association = await socksClient();
    association.socket.write(ASSOCIATE);
    await association.hear();
    // What nobody wants is read as fast as it comes: minutes, where it is kept.
    for (let i = 0; i < 128; i++) association.socket.write(part);
    await waitFor("its end", () => association.socket.writableLength === 0, { timeout: 5000 });
    for (const { socket } of [waiting, association]) socket.destroy();
    sink.close();
  }, 20_000);

  it("carries datagrams for the one who associated, and drops fragments", async () => {
    const { socket: control, hear } = await socksClient();
    control.write(ASSOCIATE);
    const bound = await hear();
    expect([...bound.subarray(0, 8)]).toEqual([5, 0, 0, 1, 127, 0, 0, 1]);
    const relay = bound.readUInt16BE(8);
    const mine = dgram.createSocket("udp4");
    const other = dgram.createSocket("udp4");
    const to = Buffer.concat([Buffer.from([0, 0, 0, 3, 12]), Buffer.from("web.internal"), Buffer.from([0, 53])]);
    const fragment = Buffer.concat([Buffer.from([0, 0, 1]), to.subarray(3), Buffer.from("lost")]);
    mine.send(fragment, relay, "127.0.0.1");
    mine.send(Buffer.concat([to, Buffer.from("ping")]), relay, "127.0.0.1");
    const [answer] = (await once(mine, "message")) as [Buffer];
    expect(answer).toEqual(
      Buffer.concat([Buffer.from([0, 0, 0, 1, 10, 1, 2, 5, 0, 53]), Buffer.from("web.internal ping")]),
    );
    other.on("message", () => {
      throw new Error("another process was served");
    });
    other.send(Buffer.concat([to, Buffer.from("theft")]), relay, "127.0.0.1");
    mine.send(Buffer.concat([to, Buffer.from("again")]), relay, "127.0.0.1");
    expect(String((await once(mine, "message"))[0])).toContain("again");
    control.destroy();
    mine.close();
    other.close();
  });

  it("is used by a Node program that knows nothing of it, with Node's own errors", async () => {
    expect(fs.existsSync(PRELOAD)).toBe(true);
    const env = {
      ...environment(),
      NODE_OPTIONS: `--require=${PRELOAD}`,
      WARREN_PROXY_FOR: "10.1.2.0/24,.internal,.flycast",
    };
    const script = `
      const net = require("node:net");
      const errorOf = (host, port) => new Promise((r) => net.connect(port, host).on("error", (e) => r(e.code + " " + e.syscall)).on("connect", () => r("connected")));
      (async () => {
        console.log(JSON.parse(await (await fetch("http://web.internal:8080/f")).text()).headers.host);
        const socket = net.connect(80, "10.1.2.5", () => console.log(socket.remoteAddress, socket.remotePort));
        socket.write("GET /early HTTP/1.0\\r\\n\\r\\n");
        let text = ""; for await (const chunk of socket) text += chunk;
        console.log(JSON.parse(text.split("\\r\\n\\r\\n")[1]).url);
        console.log(await errorOf("dead.internal", 1));
        console.log(await errorOf("nobody.internal", 1));
        for (const host of ["web", "web.flycast"])
          console.log(JSON.parse(await (await fetch("http://" + host + ":8080/")).text()).headers.host);
        const here = (_host, _options, done) => done(null, [{ address: "127.0.0.1", family: 4 }]);
        console.log(await new Promise((r) =>
          net.connect({ host: "a-name-of-this-machine", port: ${(web.address() as net.AddressInfo).port}, lookup: here }, () => r("its own")).on("error", r)));
        console.log(await errorOf("127.0.0.1", ${(web.address() as net.AddressInfo).port}));
        process.exit(0);
      })();`;
    const { stdout } = await run(process.execPath, ["-e", script], { env, encoding: "utf8", timeout: 20_000 });
    expect(stdout.trim().split("\n")).toEqual([
      "web.internal:8080",
      "10.1.2.5 80",
      "/early",
      "ECONNREFUSED connect",
      "ENOTFOUND getaddrinfo",
      "web:8080",
      "web.flycast:8080",
      "its own",
      "connected",
    ]);
  }, 30_000);
});
