/** Policy and service addresses on real devices: two gateways with a real tunnel over loopback, and stock programs in namespaces. */
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import { type KeyPair, newKeyPair } from "../../test/support/keys";
import { Namespace } from "../../test/support/namespace";
import { describeNeeding } from "../../test/support/needs";
import type { Program } from "../../test/support/process";
import { sha256 } from "../../test/support/programs/fixed-bytes";
import { Scratch } from "../../test/support/scratch";
import { startTrafficServer } from "../../test/support/traffic";
import type { DataPlaneConfig, GatewayConfig, LinkConfig, PolicyConfig, ServiceConfig } from "./config";
import { DataPlane } from "./dataplane";

interface App {
  readonly namespace: Namespace;
  readonly link: LinkConfig;
}

const SERVICE = ["10.78.0.200", "fd78::200"] as const;
/** What curl says of a connection that failed before its time was up. */
const REFUSED = /curl: \(7\)/;
const urlOf = (address: string, port: number) => `http://${address.includes(":") ? `[${address}]` : address}:${port}/`;

describeNeeding(["linux", "root", "tun", "ip", "ping", "curl"], "policy and service addresses", () => {
  let scratch: Scratch;
  let plane: DataPlane;
  let east: App;
  let third: App;
  let west: App;
  let ports: Readonly<Record<string, number>> = {};
  const logged: string[] = [];
  const started: Program[] = [];
  const keys = { ord: newKeyPair(), iad: newKeyPair() };

  async function app(label: string, last: number): Promise<App> {
    const namespace = await Namespace.create(scratch, label);
    const source = { kind: "open", name: "warren0", netns: `/run/netns/${namespace.name}` } as const;
    return { namespace, link: { id: label, source, addresses: [`10.78.0.${last}`, `fd78::${last}`] } };
  }

  async function configure({ namespace, link }: App): Promise<void> {
    for (const [i, address] of link.addresses.entries())
      await namespace.addAddress("warren0", `${address}/${i === 0 ? 32 : 128}`);
    await namespace.ip("link", "set", "warren0", "mtu", "1420", "up");
    await namespace.ip("route", "add", "10.78.0.0/24", "dev", "warren0");
    await namespace.ip("-6", "route", "add", "fd78::/64", "dev", "warren0");
  }

  function gateway(id: "ord" | "iad", links: LinkConfig[], other: KeyPair, has: readonly number[]): GatewayConfig {
    const port = ports[id === "ord" ? "iad" : "ord"];
    return {
      id: `net/${id}`,
      port: id,
      privateKey: keys[id].privateKey,
      mtu: 1420,
      gatewayIps: ["10.78.0.1", "fd78::1"],
      dnsIps: ["10.78.0.2", "fd78::2"],
      ranges: ["10.78.0.0/24", "fd78::/64"],
      links,
      peers: [
        {
          publicKey: other.publicKey,
          allowedIps: has.flatMap((last) => [`10.78.0.${last}/32`, `fd78::${last}/128`]),
          persistentKeepalive: 0,
          initiate: true,
          gateway: true,
          ...(port === undefined ? {} : { endpoint: `127.0.0.1:${port}` }),
        },
      ],
    };
  }

  /** `ord` has east and third, `iad` has west. */
  async function apply(policy?: PolicyConfig, services: readonly ServiceConfig[] = []): Promise<void> {
    const told = { ...(policy === undefined ? {} : { policy }), services };
    const config: DataPlaneConfig = {
      ports: (["ord", "iad"] as const).map((id) => ({ id, listen: ["127.0.0.1"], port: 0 })),
      gateways: [
        { ...gateway("ord", [east.link, third.link], keys.iad, [4]), ...told },
        { ...gateway("iad", [west.link], keys.ord, [3, 5]), ...told },
      ],
    };
    const result = await plane.apply(config);
    expect(result.problems).toEqual([]);
    ports = result.ports;
  }

  /** Only east may reach west, on TCP port 8080. */
  const CLOSED: PolicyConfig = {
    closed: ["10.78.0.4/32", "fd78::4/128"],
    rules: [
      {
        from: ["10.78.0.3/32", "fd78::3/128"],
        to: ["10.78.0.4/32", "fd78::4/128"],
        protocol: "tcp",
        ports: [[8080, 8080]],
      },
    ],
  };

  const spread = (...backends: (readonly [last: number, healthy: boolean])[]): ServiceConfig[] => [
    {
      id: "s",
      addresses: SERVICE,
      backends: backends.map(([last, healthy]) => ({
        addresses: [`10.78.0.${last}`, `fd78::${last}`],
        healthy,
        distance: 0,
      })),
    },
  ];

  async function get(from: App, url: string): Promise<string> {
    const { stdout, stderr } = await from.namespace.run(["curl", "-sS", "-m", "5", url], { mayFail: true });
    return stdout + stderr;
  }

  async function start({ namespace }: App, program: string): Promise<Program> {
    const server = await namespace.start([process.execPath, "-e", program]);
    started.push(server);
    await server.said(/ready/);
    return server;
  }

  const startNamed = (one: App, name: string): Promise<Program> =>
    start(one, `require("http").createServer((q, s) => s.end("${name}")).listen(8080, () => console.log("ready"))`);

  beforeAll(async () => {
    scratch = new Scratch();
    [east, west, third] = [await app("e", 3), await app("w", 4), await app("t", 5)];
    plane = await DataPlane.start({ log: (message) => logged.push(message) });
    await apply();
    await apply();
    for (const one of [east, west, third]) await configure(one);
  }, 30_000);

  afterEach(async () => {
    for (const program of started.splice(0)) await program.stop();
    await apply();
  });

  afterAll(async () => {
    await plane?.stop();
    await scratch?.dispose();
    expect(logged).toEqual([]);
  });

  test("who is allowed gets through, the others are refused at once, within a host and between two", async () => {
    await startNamed(west, "west");
    await apply(CLOSED);
    for (const address of ["10.78.0.4", "fd78::4"]) {
      expect(await get(east, urlOf(address, 8080))).toBe("west");
      expect(await get(third, urlOf(address, 8080))).toMatch(REFUSED);
      expect(await get(east, urlOf(address, 8081))).toMatch(REFUSED);
    }
    const ping = await third.namespace.run(["ping", "-n", "-c", "1", "-W", "2", "10.78.0.4"], { mayFail: true });
    expect(ping.stdout).toMatch(/From 10\.78\.0\.1 .*Packet filtered/);
    await apply({ ...CLOSED, closed: ["10.78.0.5/32"], rules: [] });
    expect(await get(east, urlOf("10.78.0.5", 8080))).toMatch(REFUSED);
    expect(await get(third, urlOf("10.78.0.4", 8080))).toBe("west");
  });

  test("a change ends a running connection at both ends, and lets new ones begin, without a new tunnel", async () => {
    await apply(CLOSED);
    const handshakes = async () => (await plane.status()).peers.map((peer) => peer.latestHandshake);
    const before = await handshakes();
    const chat = (start: string) => `
      const s = ${start};
      const on = (c) => {
        console.log("open");
        setInterval(() => c.write("x"), 50);
        c.on("error", (e) => { console.log("ended " + e.code); process.exit(0); });
      };`;
    const listening = chat('require("net").createServer((c) => on(c))');
    const server = await start(west, `${listening} s.listen(8080, () => console.log("ready"));`);
    const connecting = chat('require("net").connect(8080, "10.78.0.4")');
    const client = await start(east, `${connecting} s.on("connect", () => on(s)); console.log("ready");`);
    await Promise.all([server.said(/open/), client.said(/open/)]);
    await apply({ ...CLOSED, rules: [] });
    await Promise.all([server.said(/ended ECONNRESET/), client.said(/ended ECONNRESET/)]);
    await startNamed(west, "again");
    expect(await get(east, urlOf("10.78.0.4", 8080))).toMatch(REFUSED);
    await apply(CLOSED);
    expect(await get(east, urlOf("10.78.0.4", 8080))).toBe("again");
    expect(await handshakes()).toEqual(before);
  });

  test("a service's connections reach its healthy backends, on this host and on the other; a dead one costs nothing", async () => {
    const near = await startNamed(third, "third");
    const far = await startNamed(west, "west");
    await apply(undefined, spread([4, true], [5, true]));
    const ask = async (times: number) => {
      const got = new Set<string>();
      for (let i = 0; i < times; i++) got.add(await get(east, urlOf(SERVICE[i % 2], 8080)));
      return [...got].sort();
    };
    expect(await ask(16)).toEqual(["third", "west"]);
    await apply(undefined, spread([4, true], [5, false]));
    expect(await ask(8)).toEqual(["west"]);
    await apply(undefined, spread([4, true], [5, true]));
    await near.stop();
    // Nobody noticed yet: what third refuses, west gets.
    expect(await ask(10)).toEqual(["west"]);
    await far.stop();
    expect(await get(east, urlOf(SERVICE[0], 8080))).toMatch(REFUSED);
    await apply(undefined, spread([4, true], [99, true]));
    await startNamed(west, "west");
    expect(await ask(10)).toEqual(["west"]);
  });

  test("megabytes to and from a service arrive as they were sent, big packets and all; with a policy too", async () => {
    const bytes = randomBytes(5_000_000);
    const file = scratch.file("body");
    fs.writeFileSync(file, bytes);
    for (const { namespace } of [third, west]) started.push(await startTrafficServer(namespace));
    const open = { from: ["10.78.0.3/32", "fd78::3/128"], protocol: "tcp", ports: [[8080, 8080]] } as const;
    const closed = ["10.78.0.3/32", "10.78.0.4/31", "fd78::3/128", "fd78::4/127"];
    for (const policy of [undefined, { closed, rules: [{ ...open, to: closed }] }])
      for (const backend of [4, 5]) {
        await apply(policy, spread([backend, true]));
        for (const address of SERVICE) {
          const argv = ["curl", "-sS", "-m", "10", "-T", file, urlOf(address, 8080)];
          expect((await east.namespace.run(argv)).stdout).toBe(sha256(bytes));
        }
      }
  });

  test("an app that is its own only backend reaches itself; pings of a service are answered", async () => {
    await startNamed(third, "third");
    await apply(undefined, spread([5, true]));
    for (const address of SERVICE) {
      expect(await get(third, urlOf(address, 8080))).toBe("third");
      for (const from of [third, east]) {
        const { stdout } = await from.namespace.run(["ping", "-n", "-c", "1", "-W", "2", address]);
        expect(stdout).toMatch(/1 received/);
      }
    }
  });
});
