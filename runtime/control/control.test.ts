import * as fs from "node:fs";
import * as http from "node:http";
import * as os from "node:os";
import * as path from "node:path";
import { WarrenError } from "../errors";
import { home, prepareHome } from "../home";
import type { AgentView } from "./agent-view";
import { type Control, createControl } from "./control";
import type { PutMember, PutNetwork, Readiness } from "./interface/types";

interface Answer {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: answers of every shape
  body: any;
}

const owner = { organization: "acme", project: "shop", stack: "prod", urn: "urn:network" };

function network(name = "net", spec: Partial<PutNetwork["spec"]> = {}): PutNetwork {
  return {
    owner,
    spec: { name, cidr: "10.1.2.0/24", reserved: [], regions: [], domain: "internal", mtu: 1420, tags: {}, ...spec },
  };
}

function app(name: string, over: Partial<PutMember> = {}): PutMember {
  return {
    owner: { ...owner, urn: `urn:${name}` },
    name,
    kind: "app",
    addresses: [],
    app: {
      regions: ["ord"],
      instances: 1,
      port: 8080,
      command: ["./server"],
      cwd: "/",
      env: {},
      triggers: [],
      health: { type: "none", interval: 1, timeout: 1, threshold: 1 },
      restart: "always",
      tags: {},
    },
    ...over,
  } as PutMember;
}

function peer(name: string, key = 1): PutMember {
  return {
    owner: { ...owner, urn: `urn:${name}` },
    name,
    kind: "peer",
    addresses: [],
    peer: { publicKey: Buffer.alloc(32, key).toString("base64"), routes: [], tags: {} },
  };
}

function quietAgent(over: Partial<AgentView> = {}): AgentView {
  return {
    readiness: async () => ({ ready: true, missing: [], warnings: [] }),
    status: () => ({ applied: 1, problems: [], link: "tun", aead: "none", instances: [], tunnels: [] }),
    entry: async () => ({ prefix: ["nsenter"], cwd: "/", env: {} }),
    logs: async function* () {
      yield "one\n";
      yield "two\n";
    },
    settled: async () => true,
    ...over,
  };
}

describe("control over its socket", () => {
  let dir: string;
  let control: Control;

  beforeEach(async () => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), "warren-control-"));
    const h = home(dir);
    prepareHome(h);
    control = createControl({ home: h, waits: { agent: 200, port: 200, settled: 200 } });
    control.attachAgent(quietAgent());
    await control.listen();
  });

  afterEach(async () => {
    await control.close();
    fs.rmSync(dir, { recursive: true, force: true });
  });

  function call(method: string, url: string, body?: unknown): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const text = body === undefined ? "" : typeof body === "string" ? body : JSON.stringify(body);
      const headers = { "content-length": Buffer.byteLength(text) };
      const request = http.request({ socketPath: home(dir).controlSocket, method, path: url, headers }, (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (c) => chunks.push(c));
        response.on("end", () => {
          const text = Buffer.concat(chunks).toString();
          const json = response.headers["content-type"] === "application/json";
          resolve({ status: response.statusCode!, body: json ? JSON.parse(text) : text });
        });
      });
      request.on("error", reject);
      request.end(text);
    });
  }

  test("create, list, delete", async () => {
    const net = await call("PUT", "/v1/networks/net", network());
    expect(net.status).toBe(200);
    expect(net.body).toMatchObject({ gatewayIp: "10.1.2.1", dnsIp: "10.1.2.2", registryId: control.registry.id });
    expect(Buffer.from(net.body.seed, "base64")).toHaveLength(32);

    const east = await call("PUT", "/v1/networks/net/members/east", app("east"));
    expect(east).toMatchObject({ status: 200, body: { addresses: [{ slot: "ord/0", ipv4: "10.1.2.3" }] } });
    expect((await call("PUT", "/v1/networks/net/members/east", app("east"))).body.id).toBe(east.body.id);

    const listed = await call("GET", "/v1/networks");
    expect(listed.body).toHaveLength(1);
    expect(listed.body[0].seed).toBeUndefined();
    expect((await call("GET", "/v1/members?network=net&kind=app")).body).toMatchObject([{ name: "east" }]);
    expect((await call("GET", "/v1/members?kind=peer")).body).toEqual([]);

    const planned = await call("POST", "/v1/plan", {
      network: network().spec,
      owner,
      name: "west",
      slots: ["iad/0"],
      old: [],
      before: [],
    });
    expect(planned.body).toEqual({ addresses: [{ slot: "iad/0", ipv4: "10.1.2.4" }] });

    for (let i = 0; i < 2; i++) expect((await call("DELETE", `/v1/members/${east.body.id}`)).status).toBe(200);
    expect((await call("GET", `/v1/members/${east.body.id}`)).body.error.code).toBe("WARREN_NOT_FOUND");
    for (let i = 0; i < 2; i++) expect((await call("DELETE", `/v1/networks/${net.body.id}`, owner)).status).toBe(200);
    expect(control.isEmpty()).toBe(true);
  });

  test("the socket is private, and taken over from a daemon that is gone", async () => {
    expect(fs.statSync(home(dir).controlSocket).mode & 0o777).toBe(0o600);
    expect(fs.statSync(home(dir).registry).mode & 0o777).toBe(0o600);
    await control.close();
    fs.writeFileSync(home(dir).controlSocket, "");
    control = createControl({ home: home(dir) });
    await control.listen();
    expect((await call("GET", "/v1/health")).body).toMatchObject({ apiVersion: 1, pid: process.pid });
    expect((await call("GET", "/v1/status")).body).toMatchObject({ problems: ["the agent is still starting"] });
    control.attachAgent(quietAgent());
  });

  test("bad requests say what and where", async () => {
    const bad = async (method: string, url: string, body: unknown, status: number, code: string, at?: string) => {
      const answer = await call(method, url, body);
      expect(answer).toMatchObject({ status, body: { error: { code } } });
      if (at !== undefined) expect(answer.body.error.path).toBe(at);
      return answer.body.error.message as string;
    };
    await bad("PUT", "/v1/networks/net", "{", 400, "WARREN_INVALID_INPUT", "body");
    await bad("PUT", "/v1/networks/net", { owner }, 400, "WARREN_INVALID_INPUT", "spec");
    await bad("PUT", "/v1/networks/net", network("net", { cidr: "10.1.2.5/24" }), 400, "WARREN_INVALID_RANGE", "cidr");
    await bad("PUT", "/v1/networks/net", " ".repeat(5_000_000), 400, "WARREN_INVALID_INPUT", "body");
    await bad("GET", "/v1/nothing", undefined, 404, "WARREN_NOT_FOUND");
    await bad("POST", "/v1/networks", {}, 405, "WARREN_INVALID_INPUT");
    await bad("GET", "/v1/members/mem_none/ready?wait=1", undefined, 404, "WARREN_NOT_FOUND");
    await call("PUT", "/v1/networks/net", network());
    const put = app("a") as PutMember & { kind: "app" };
    await bad("PUT", "/v1/networks/net/members/a", { ...put, kind: "cat" }, 400, "WARREN_INVALID_INPUT", "kind");
    const instances = { ...put, app: { ...put.app, instances: 0 } };
    await bad("PUT", "/v1/networks/net/members/a", instances, 400, "WARREN_INVALID_INPUT", "app.instances");
    const source = { ...put, app: { ...put.app, sourceHash: "0".repeat(64) } };
    await bad("PUT", "/v1/networks/net/members/a", source, 404, "WARREN_NOT_FOUND", "sourceHash");
    await call("PUT", "/v1/networks/net/members/a", app("a"));
    const { id } = (await call("GET", "/v1/members")).body[0];
    await bad("GET", `/v1/members/${id}/ready?wait=-1`, undefined, 400, "WARREN_INVALID_INPUT", "wait");
  });

  test("a peer waits for its gateway's port", async () => {
    await call("PUT", "/v1/networks/net", network());
    expect((await call("PUT", "/v1/networks/net/members/laptop", peer("laptop"))).body.error).toMatchObject({
      code: "WARREN_NOT_READY",
      message: expect.stringContaining("UDP port of host-local"),
    });
    const stop = control.desired.watch(() => {
      for (const host of control.desired.current().hosts)
        if (host.port === 0) control.desired.reportPort(host.id, 4711);
    });
    const again = await call("PUT", "/v1/networks/net/members/tablet", {
      ...peer("tablet", 2),
      peer: { ...(peer("tablet", 2) as { peer: object }).peer, region: "ord" },
    });
    expect(again.body.gateway).toMatchObject({ hostId: "host-ord", endpoint: "127.0.0.1:4711" });
    stop();
  });

  test("a listing shows no pre-shared key, but that there is one, and what the config file says", async () => {
    control.registry.putNetwork("net", network());
    const secret = Buffer.alloc(32, 5).toString("base64");
    const put = peer("laptop") as PutMember & { kind: "peer" };
    control.registry.putMember("net", "laptop", { ...put, peer: { ...put.peer, presharedKey: secret } });
    for (const url of ["/v1/status", "/v1/members", "/v1/members?kind=peer"])
      expect(JSON.stringify((await call("GET", url)).body)).not.toContain(secret);
    const config = { dns: "split", persistentKeepalive: 0 } as const;
    control.registry.putMember("net", "phone", {
      ...peer("phone", 2),
      peer: { ...put.peer, publicKey: Buffer.alloc(32, 2).toString("base64"), ...config },
    } as PutMember);
    const [laptop, phone] = (await call("GET", "/v1/members")).body;
    expect(laptop).toMatchObject({ name: "laptop", hasPresharedKey: true });
    expect(phone).toMatchObject({ name: "phone", peer: config });
    expect(phone.hasPresharedKey).toBeUndefined();
  });

  test("a listing shows the names of an app's environment, but no value; asked for by its id, the app has them", async () => {
    await call("PUT", "/v1/networks/net", network());
    const put = app("a") as PutMember & { kind: "app" };
    const body = { ...put, app: { ...put.app, env: { PASSWORD: "open sesame" } } };
    const { id } = (await call("PUT", "/v1/networks/net/members/a", body)).body;
    for (const url of ["/v1/status", "/v1/members", "/v1/members?kind=app"]) {
      const text = JSON.stringify((await call("GET", url)).body);
      expect(text).toContain("PASSWORD");
      expect(text).not.toContain("open sesame");
    }
    expect((await call("GET", `/v1/members/${id}`)).body.app.env).toEqual({ PASSWORD: "open sesame" });
  });

  test("a peer that has expired is ready, with a warning, though the agent does not know it", async () => {
    const asked = jest.fn(async () => Promise.reject(new WarrenError("WARREN_NOT_FOUND", "No such member.")));
    control.attachAgent(quietAgent({ readiness: asked }));
    control.registry.putNetwork("net", network());
    const put = peer("laptop") as PutMember & { kind: "peer" };
    const expiresAt = "2020-01-31T12:00:00Z";
    const { id } = control.registry.putMember("net", "laptop", { ...put, peer: { ...put.peer, expiresAt } });
    expect((await call("GET", `/v1/members/${id}/ready?wait=5`)).body).toEqual({
      ready: true,
      missing: [],
      warnings: [`laptop expired at ${expiresAt}.`],
    });
    expect(asked).not.toHaveBeenCalled();
  });

  test.each(["//", "//[", "/v1/members/%zz", "*", "http://[/"])(
    "the path %s is no page, and does no harm",
    async (url) => {
      expect(await call("GET", url)).toMatchObject({ status: 404 });
    },
  );

  test("what does not go away is said, and waited for again", async () => {
    await call("PUT", "/v1/networks/net", network());
    const { id } = (await call("PUT", "/v1/networks/net/members/a", app("a"))).body;
    control.attachAgent(quietAgent({ settled: async () => false }));
    for (let i = 0; i < 2; i++)
      expect(await call("DELETE", `/v1/members/${id}`)).toMatchObject({
        status: 504,
        body: { error: { code: "WARREN_NOT_READY" } },
      });
    control.attachAgent(quietAgent());
    expect((await call("DELETE", `/v1/members/${id}`)).status).toBe(200);
  });

  test("questions of names are handed over with the asker, once somebody answers", async () => {
    const { id } = control.registry.putNetwork("net", network());
    const message = Buffer.from("question").toString("base64");
    expect((await call("POST", "/v1/networks/net/dns", { message })).body).toMatchObject({
      error: { code: "WARREN_NOT_READY" },
    });
    const asked: unknown[] = [];
    control.attachNames({
      ask: async (networkId, bytes, from) => {
        asked.push(networkId, Buffer.from(bytes).toString(), from);
        return Buffer.from("answer");
      },
    });
    const answer = await call("POST", "/v1/networks/net/dns", { message, from: "mem_1" });
    expect([answer.status, answer.body]).toEqual([200, { message: Buffer.from("answer").toString("base64") }]);
    expect(asked).toEqual([id, "question", "mem_1"]);
    expect((await call("POST", "/v1/networks/none/dns", { message })).status).toBe(404);
    expect((await call("POST", "/v1/networks/net/dns", {})).status).toBe(400);
  });

  test("logs stream, and stop when the reader goes", async () => {
    expect((await call("GET", "/v1/instances/mem_a.0/logs?lines=2")).body).toBe("one\ntwo\n");
    let ended = false;
    control.attachAgent(
      quietAgent({
        logs: async function* (_id, { signal }) {
          try {
            yield "hello\n";
            await new Promise((resolve) => signal.addEventListener("abort", resolve));
          } finally {
            ended = true;
          }
        },
      }),
    );
    await new Promise<void>((resolve, reject) => {
      const url = "/v1/instances/mem_a.0/logs?follow=1";
      const request = http.get({ socketPath: home(dir).controlSocket, path: url }, (response) => {
        response.once("data", (chunk) => {
          expect(String(chunk)).toBe("hello\n");
          request.destroy();
          resolve();
        });
      });
      request.on("error", reject);
    });
    for (let i = 0; i < 100 && !ended; i++) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(ended).toBe(true);
    control.attachAgent(
      quietAgent({
        logs: async function* () {
          yield* [];
          throw new WarrenError("WARREN_NOT_FOUND", "There is no instance x.");
        },
      }),
    );
    for (const follow of [0, 1]) expect((await call("GET", `/v1/instances/x/logs?follow=${follow}`)).status).toBe(404);
  });

  test("a long poll ends when its caller hangs up, or control closes", async () => {
    await call("PUT", "/v1/networks/net", network());
    const { id } = (await call("PUT", "/v1/networks/net/members/a", app("a"))).body;
    let aborted = 0;
    const poll = (signal: AbortSignal) =>
      new Promise<Readiness>((resolve) => {
        signal.addEventListener("abort", () => {
          aborted++;
          resolve({ ready: false, missing: ["a"], warnings: [] });
        });
      });
    control.attachAgent(quietAgent({ readiness: (_id, _ms, signal) => poll(signal) }));
    const request = http.get({ socketPath: home(dir).controlSocket, path: `/v1/members/${id}/ready?wait=60` });
    request.on("error", () => {});
    setTimeout(() => request.destroy(), 50);
    for (let i = 0; i < 100 && aborted === 0; i++) await new Promise((resolve) => setTimeout(resolve, 10));
    const second = call("GET", `/v1/members/${id}/ready?wait=60`);
    await new Promise((resolve) => setTimeout(resolve, 50));
    await control.close();
    expect((await second).body).toMatchObject({ ready: false });
    expect(aborted).toBe(2);
    control = createControl({ home: home(dir) });
    await control.listen();
  });

  test("shutdown is passed on once its answer is out", async () => {
    await control.close();
    const asked = new Promise((resolve) => {
      control = createControl({ home: home(dir), onShutdown: resolve });
    });
    await control.listen();
    expect((await call("POST", "/v1/shutdown", { apps: "stop" })).status).toBe(200);
    expect(await asked).toBe("stop");
  });
});
