import * as fs from "node:fs";
import * as http from "node:http";
import * as os from "node:os";
import * as path from "node:path";
import { controlPlace, socketClient } from "./client";

let dir: string;
let socket: string;
let server: http.Server | undefined;
beforeEach(() => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), "warren-client-"));
  socket = path.join(dir, "control.sock");
});
afterEach(async () => {
  server?.closeAllConnections();
  await new Promise((resolve) => (server ? server.close(resolve) : resolve(undefined)));
  server = undefined;
  fs.rmSync(dir, { recursive: true, force: true });
});

async function serve(answer: http.RequestListener): Promise<void> {
  server = http.createServer(answer);
  await new Promise<void>((resolve) => server!.listen(socket, resolve));
}

it("sends JSON and turns an answer's error back into what it was", async () => {
  const seen: string[] = [];
  await serve(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    seen.push(`${request.method} ${request.url} ${body}`);
    if (request.method === "GET") return response.end("[]");
    response.statusCode = 409;
    response.end(JSON.stringify({ error: { code: "WARREN_NOT_EMPTY", message: "Still in use.", path: "network" } }));
  });
  const client = socketClient(socket);
  expect(await client.members({ network: "a b", kind: "app" })).toEqual([]);
  const owner = { organization: "o", project: "p", stack: "s", urn: "u" };
  await expect(client.deleteNetwork("net/1", owner)).rejects.toMatchObject({
    name: "WarrenError",
    code: "WARREN_NOT_EMPTY",
    path: "network",
    message: "Still in use.",
  });
  expect(seen).toEqual([
    "GET /v1/members?network=a%20b&kind=app ",
    `DELETE /v1/networks/net%2F1 ${JSON.stringify(owner)}`,
  ]);
  await client.close();
});

it("says where nobody answers, also behind a socket that was left behind", async () => {
  const client = socketClient(socket);
  await expect(client.health()).rejects.toMatchObject({
    code: "WARREN_CONTROL_UNREACHABLE",
    message: expect.stringContaining(socket),
  });
  await client.close();
});

it("ends when it is told to", async () => {
  await serve(() => {});
  const client = socketClient(socket);
  const stop = new AbortController();
  const waiting = client.ready("m", 60, stop.signal);
  stop.abort();
  await expect(waiting).rejects.toMatchObject({ code: "WARREN_CONTROL_UNREACHABLE" });
  await client.close();
});

it("knows a socket and refuses other places without repeating what may be secret in them", () => {
  expect(controlPlace("unix:///run/w/control.sock")).toEqual({ socketPath: "/run/w/control.sock" });
  expect(() => controlPlace("https://user:token@control.example.com")).toThrow(
    /https:\/\/control\.example\.com is not supported yet/,
  );
});

it("follows a log that says nothing for a while, and delivers a file as it is", async () => {
  let got = "";
  await serve(async (request, response) => {
    if (request.method === "PUT") {
      for await (const chunk of request) got += chunk;
      return response.end("{}");
    }
    response.write("one\n");
    setTimeout(() => response.end("two\n"), 100);
  });
  const client = socketClient(socket);
  let log = "";
  for await (const chunk of await client.logs("mem_a.0", { follow: true, lines: 5 })) log += chunk;
  expect(log).toBe("one\ntwo\n");
  const file = path.join(dir, "source");
  fs.writeFileSync(file, "x".repeat(200_000));
  await client.putSource("abc", file);
  expect(got).toHaveLength(200_000);
  await client.close();
});

it("says that a daemon ended in the middle of its answer", async () => {
  await serve((request, response) => {
    response.writeHead(200, { "content-length": 100 });
    response.write("[");
    setTimeout(() => request.socket.destroy(), 20);
  });
  const client = socketClient(socket);
  await expect(client.networks()).rejects.toMatchObject({ code: "WARREN_CONTROL_UNREACHABLE" });
  await client.close();
});
