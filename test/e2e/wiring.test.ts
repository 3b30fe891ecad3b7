import * as fs from "node:fs";
import * as http from "node:http";
import type * as net from "node:net";
import { Namespace } from "../support/namespace";
import { describeNeeding } from "../support/needs";
import { useScratch } from "../support/scratch";
import { waitFor } from "../support/wait";
import { Machine } from "./machine";

/** Says which instance answers. */
const WHO = `require("node:http").createServer((q, a) => a.end(process.env.FLY_REGION + " " + process.env.FLY_PRIVATE_IP)).listen(process.env.PORT)`;
/** Prints all addresses of a name, sorted. */
const RESOLVE = `require("node:dns").promises.resolve4(process.argv[2]).then((all) => console.log(all.sort().join(" ")), (error) => console.log(error.code))`;

describeNeeding(["linux", "root", "tun", "curl"], "two instances in each of two regions", () => {
  const scratch = useScratch();
  const machine = new Machine(scratch);

  it("have an address each, are all named, and all answer; one that fails leaves the name until it is back", async () => {
    await machine.start();
    await machine.putNetwork("net");
    const failing = scratch.file("fail");
    const health = { type: "http" as const, path: "/health", interval: 0.2, timeout: 2, threshold: 2 };
    const code = `require("node:http").createServer((q, a) => {
      const bad = q.url === "/health" && require("node:fs").existsSync(${JSON.stringify(failing)} + process.env.FLY_PRIVATE_IP);
      a.statusCode = bad ? 500 : 200;
      a.end(process.env.FLY_REGION + " " + process.env.FLY_PRIVATE_IP);
    }).listen(process.env.PORT)`;
    const spec = { regions: ["ord", "iad"], instances: 2, command: machine.script("who", code), health };
    const { addresses } = await machine.runApp("net", "web", spec);
    await machine.runApp("net", "asker", { command: machine.script("idle", WHO) });
    expect(addresses.map(({ slot, ipv4 }) => `${slot} ${ipv4}`)).toEqual([
      "ord/0 10.1.2.3",
      "ord/1 10.1.2.4",
      "iad/0 10.1.2.5",
      "iad/1 10.1.2.6",
    ]);
    for (const { slot, ipv4 } of addresses)
      expect(await machine.curl("asker", `http://${ipv4}:8080`)).toBe(`${slot.split("/")[0]} ${ipv4}`);
    const names = () => machine.exec("asker", [...machine.script("resolve", RESOLVE), "web.internal"]);
    expect(await names()).toBe("10.1.2.3 10.1.2.4 10.1.2.5 10.1.2.6\n");

    fs.writeFileSync(`${failing}10.1.2.5`, "");
    const third = async () => (await machine.instances("web")).find(({ slot }) => slot === "iad/0")!;
    await waitFor("an unhealthy instance", async () => (await third()).state === "unhealthy");
    expect((await third()).detail).toBe("HTTP 500 from 10.1.2.5:8080/health");
    expect(await names()).toBe("10.1.2.3 10.1.2.4 10.1.2.6\n");
    fs.rmSync(`${failing}10.1.2.5`);
    await waitFor("a healthy instance", async () => (await third()).state === "healthy");
    expect(await names()).toBe("10.1.2.3 10.1.2.4 10.1.2.5 10.1.2.6\n");
    expect((await machine.instances("web")).map(({ restarts }) => restarts)).toEqual([0, 0, 0, 0]);
  }, 60_000);
});

describeNeeding(["linux", "root", "tun", "curl"], "an app in front of something that runs already", () => {
  const scratch = useScratch();
  const machine = new Machine(scratch);
  const servers = new Set<http.Server>();
  afterAll(() => {
    for (const server of servers) server.close();
  });
  const listen = async (port: number, text: string): Promise<http.Server> => {
    const server = http.createServer((_request, answer) => answer.end(text));
    await new Promise<void>((resolve, reject) => server.once("error", reject).listen(port, "127.0.0.1", resolve));
    servers.add(server);
    return server;
  };
  const portOf = (server: http.Server) => (server.address() as net.AddressInfo).port;
  const end = (server: http.Server) =>
    new Promise((resolve) => {
      server.close(resolve);
      server.closeAllConnections();
    });

  it("follows it up and down, and says what it waits for", async () => {
    const first = await listen(0, "");
    const port = portOf(first);
    await end(first);
    await machine.start();
    await machine.putNetwork("net");
    const health = { type: "tcp" as const, interval: 0.2, timeout: 2, threshold: 2 };
    const upstream = `127.0.0.1:${port}`;
    const app = await machine.putApp("net", "db", { upstream, health });
    await machine.runApp("net", "asker");
    const why = `instance ord/0 of db is starting: the upstream ${upstream} does not answer yet (${upstream}: connect ECONNREFUSED ${upstream})`;
    expect(await machine.client.ready(app.id, 1)).toEqual({ ready: false, missing: [why], warnings: [] });

    const server = await listen(port, "one");
    expect(await machine.client.ready(app.id, 10)).toMatchObject({ ready: true, missing: [] });
    expect(await machine.curl("asker", "http://db.internal:8080")).toBe("one");
    expect(await machine.instance("db")).toMatchObject({ state: "healthy", ipv4: "10.1.2.3", restarts: 0 });

    await end(server);
    await waitFor("an unhealthy app", async () => (await machine.instance("db")).state === "unhealthy");
    expect((await machine.instance("db")).detail).toBe(`${upstream}: connect ECONNREFUSED ${upstream}`);
    await listen(port, "again");
    await waitFor("a healthy app", async () => (await machine.instance("db")).state === "healthy");
    expect(await machine.curl("asker", "http://db.internal:8080")).toBe("again");
  }, 60_000);

  it("changes between command and upstream in place: same address, same id, and nothing of the other way is left", async () => {
    const health = { type: "http" as const, interval: 0.2, timeout: 2, threshold: 2 };
    const before = await machine.instance("db");
    const command = await machine.runApp("net", "db", { command: machine.server(), health });
    expect(command.addresses).toEqual([{ slot: "ord/0", ipv4: "10.1.2.3" }]);
    expect(await machine.curl("asker", "http://db.internal:8080")).toBe("Hello from db!\n");
    const running = await machine.instance("db");
    expect(running).toMatchObject({ id: before.id, pid: expect.any(Number) });

    const other = await listen(0, "other");
    await machine.runApp("net", "db", { upstream: `127.0.0.1:${portOf(other)}`, health });
    expect(await machine.curl("asker", "http://db.internal:8080")).toBe("other");
    const after = await machine.instance("db");
    expect(after).toMatchObject({ id: before.id, ipv4: "10.1.2.3", state: "healthy" });
    expect(after.pid).toBeUndefined();
    expect(fs.existsSync(`/proc/${running.pid}`)).toBe(false);

    const third = await listen(0, "third");
    await machine.runApp("net", "db", { upstream: `127.0.0.1:${portOf(third)}`, health });
    expect(await machine.curl("asker", "http://db.internal:8080")).toBe("third");
    expect((await machine.client.status()).problems).toEqual([]);
  }, 60_000);
});

/** Answers every question for an A record with 203.0.113.77, over UDP on 127.0.0.153. */
const DNS_SERVER = `
const socket = require("node:dgram").createSocket("udp4");
socket.on("message", (query, from) => {
  let end = 12;
  while (query[end] !== 0) end += query[end] + 1;
  const question = query.subarray(12, end + 5);
  const header = Buffer.from([query[0], query[1], 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
  const answer = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 203, 0, 113, 77]);
  console.log("asked " + question.toString("latin1").replace(/[^a-z0-9]+/g, "."));
  socket.send(Buffer.concat([header, question, answer]), from.port, from.address);
});
socket.bind(53, "127.0.0.153", () => console.log("ready"));`;

describeNeeding(["linux", "root", "tun", "ip"], "names outside the network", () => {
  const scratch = useScratch();

  it("are asked of the machine's resolvers, and names inside never leave", async () => {
    const namespace = await Namespace.create(scratch, "d");
    const resolvConf = scratch.file("resolv.conf");
    fs.writeFileSync(resolvConf, "nameserver 127.0.0.153\n", { mode: 0o644 });
    const through = [
      ...["ip", "netns", "exec", namespace.name, "unshare", "--mount", "--propagation", "private", "sh", "-c"],
      'mount --bind "$0" "$(realpath /etc/resolv.conf)" && exec "$@"',
      resolvConf,
    ];
    const machine = await new Machine(scratch, { through }).start();
    const server = await namespace.start(machine.script("dns", DNS_SERVER));
    await server.said(/ready/);
    await machine.putNetwork("net");
    await machine.runApp("net", "east");
    const resolve = (name: string) => machine.exec("east", [...machine.script("resolve", RESOLVE), name]);
    expect(await resolve("www.example.com")).toBe("203.0.113.77\n");
    expect(await resolve("east.internal")).toBe("10.1.2.3\n");
    expect(await resolve("nobody.internal")).toBe("ENOTFOUND\n");
    expect(server.stdout).toContain("www.example.com");
    expect(server.stdout).not.toContain("internal");
    await server.stop();
    expect(await resolve("www.example.org")).toBe("ESERVFAIL\n");
    expect(await resolve("east.internal")).toBe("10.1.2.3\n");
  }, 60_000);
});
