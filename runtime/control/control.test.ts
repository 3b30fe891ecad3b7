import * as fs from "node:fs";
import * as http from "node:http";
import * as os from "node:os";
import * as path from "node:path";
import { home, prepareHome } from "../home";
import type { AgentView } from "./agent-view";
import { type Control, createControl } from "./control";
import type { PutMember, PutNetwork } from "./interface/types";

export interface Answer {
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
    control = createControl({ home: h, waits: { port: 200, settled: 200 } });
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
});
