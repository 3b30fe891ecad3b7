/** The data plane on real devices: two gateways with a real tunnel over loopback, apps in network namespaces. */
import { randomBytes } from "node:crypto";
import * as dgram from "node:dgram";
import * as fs from "node:fs";
import * as dnsPacket from "dns-packet";
import { type KeyPair, newKeyPair, newPresharedKey } from "../../test/support/keys";
import { Namespace } from "../../test/support/namespace";
import { describeNeeding } from "../../test/support/needs";
import { Program } from "../../test/support/process";
import { sha256 } from "../../test/support/programs/fixed-bytes";
import { Scratch } from "../../test/support/scratch";
import { startTrafficServer } from "../../test/support/traffic";
import { waitFor } from "../../test/support/wait";
import { dnsHandler, Forwarder, Names, type ZoneView } from "../dns";
import type { DataPlaneConfig, DataPlaneEvent, GatewayConfig, LinkConfig, PeerConfig } from "./config";
import { DataPlane } from "./dataplane";

interface App {
  readonly namespace: Namespace;
  readonly link: LinkConfig;
}

describeNeeding(["linux", "root", "tun", "ip", "ping", "curl", "tcpdump"], "data plane", () => {
  let scratch: Scratch;
  let plane: DataPlane;
  let east: App;
  let west: App;
  let third: App;
  let ports: Readonly<Record<string, number>> = {};
  const events: DataPlaneEvent[] = [];
  const logged: string[] = [];
  const eastKeys = newKeyPair();
  const westKeys = newKeyPair();
  let psk = newPresharedKey();

  async function app(label: string, last: number, vnetHeader = true): Promise<App> {
    const namespace = await Namespace.create(scratch, label);
    return {
      namespace,
      link: {
        id: label,
        source: { kind: "open", name: "warren0", netns: `/run/netns/${namespace.name}`, vnetHeader },
        addresses: [`10.77.0.${last}`, `fd77::${last}`],
      },
    };
  }

  async function configure(one: App): Promise<void> {
    for (const [i, address] of one.link.addresses.entries())
      await one.namespace.addAddress("warren0", `${address}/${i === 0 ? 32 : 128}`);
    await one.namespace.ip("link", "set", "warren0", "mtu", "1420", "up");
    await one.namespace.ip("route", "add", "10.77.0.0/24", "dev", "warren0");
    await one.namespace.ip("-6", "route", "add", "fd77::/64", "dev", "warren0");
  }

  const toward = (keys: KeyPair, last: readonly number[], port: number | undefined): PeerConfig => ({
    publicKey: keys.publicKey,
    presharedKey: psk,
    allowedIps: last.flatMap((n) => [`10.77.0.${n}/32`, `fd77::${n}/128`]),
    persistentKeepalive: 0,
    initiate: true,
    gateway: true,
    ...(port === undefined ? {} : { endpoint: `127.0.0.1:${port}` }),
  });

  const gateway = (
    id: string,
    port: string,
    keys: KeyPair,
    links: LinkConfig[],
    peers: PeerConfig[],
  ): GatewayConfig => ({
    id,
    port,
    privateKey: keys.privateKey,
    mtu: 1420,
    gatewayIps: ["10.77.0.1", "fd77::1"],
    dnsIps: ["10.77.0.2", "fd77::2"],
    links,
    peers,
  });

  /** `ord` has east and third, `iad` has west. */
  const config = (): DataPlaneConfig => ({
    ports: [
      { id: "ord", listen: ["127.0.0.1"], port: 0 },
      { id: "iad", listen: ["127.0.0.1"], port: 0 },
    ],
    gateways: [
      gateway("net/ord", "ord", eastKeys, [east.link, third.link], [toward(westKeys, [4], ports.iad)]),
      gateway("net/iad", "iad", westKeys, [west.link], [toward(eastKeys, [3, 5], ports.ord)]),
    ],
  });

  async function ping(from: App, to: string, more: readonly string[] = []): Promise<string> {
    const result = await from.namespace.run(["ping", "-n", "-c", "1", "-W", "2", ...more, to], { mayFail: true });
    return result.stdout;
  }

  beforeAll(async () => {
    scratch = new Scratch();
    east = await app("e", 3);
    west = await app("w", 4);
    third = await app("t", 5);
    plane = await DataPlane.start({ log: (message) => logged.push(message), threads: 2 });
    plane.onEvent((event) => events.push(event));
    const first = await plane.apply(config());
    expect(first.problems).toEqual([]);
    ports = first.ports;
    const second = await plane.apply(config());
    expect(second).toEqual({ ports, problems: [] });
    for (const one of [east, west, third]) await configure(one);
  }, 30_000);

  afterAll(async () => {
    await plane?.stop();
    await scratch?.dispose();
    expect(logged).toEqual([]);
  });

  test("two apps on two hosts ping each other through the tunnel, IPv4 and IPv6", async () => {
    expect(await ping(east, "10.77.0.4")).toMatch(/1 received/);
    expect(await ping(west, "fd77::3")).toMatch(/1 received/);
    const status = await plane.status();
    expect(status.peers.map((peer) => peer.latestHandshake !== undefined && peer.rx > 0 && peer.tx > 0)).toEqual([
      true,
      true,
    ]);
  });

  test("TCP: a megabyte and a half over HTTP arrives as it was sent", async () => {
    const body = "w".repeat(1500000);
    const server = await west.namespace.start([
      process.execPath,
      "-e",
      `require("http").createServer((q, s) => s.end("w".repeat(1500000))).listen(8080, () => console.log("ready"))`,
    ]);
    await server.said(/ready/);
    for (const host of ["10.77.0.4", "[fd77::4]"]) {
      const { stdout } = await east.namespace.run(["curl", "-sS", "-m", "10", `http://${host}:8080/`]);
      expect(stdout === body).toBe(true);
    }
    await server.stop();
  });

  /** Sends one datagram from an app and gives back the answer, as hex; empty: none within two seconds. */
  async function udp(from: App, to: string, port: number, hex: string): Promise<string> {
    const program = `
      const s = require("dgram").createSocket("${to.includes(":") ? "udp6" : "udp4"}");
      s.on("message", (m) => { console.log(m.toString("hex")); s.close(); clearTimeout(t); });
      s.on("error", (e) => { console.log(e.code); s.close(); clearTimeout(t); });
      const t = setTimeout(() => s.close(), 2000);
      s.connect(${port}, "${to}", () => s.send(Buffer.from("${hex}", "hex")));`;
    return (await from.namespace.run([process.execPath, "-e", program])).stdout.trim();
  }

  test("UDP between the hosts; nobody listening is told by the app's own kernel", async () => {
    const server = await west.namespace.start([
      process.execPath,
      "-e",
      `const s = require("dgram").createSocket("udp4");
       s.on("message", (m, r) => s.send(m, r.port, r.address));
       s.bind(9000, () => console.log("ready"))`,
    ]);
    await server.said(/ready/);
    expect(await udp(east, "10.77.0.4", 9000, "c0ffee")).toBe("c0ffee");
    expect(await udp(east, "10.77.0.4", 9001, "c0ffee")).toBe("ECONNREFUSED");
    await server.stop();
  });

  const tunnelBytes = async (): Promise<number> =>
    (await plane.status()).peers.reduce((sum, peer) => sum + peer.rx + peer.tx, 0);

  test("two apps of one host reach each other without the tunnel", async () => {
    const before = await tunnelBytes();
    expect(await ping(east, "10.77.0.5")).toMatch(/1 received/);
    expect(await ping(third, "fd77::3")).toMatch(/1 received/);
    // What may still pass are the keepalives of earlier tests.
    expect((await tunnelBytes()) - before).toBeLessThanOrEqual(64);
  });

  test.each([
    ["both devices take big packets", true],
    ["one device is plain", false],
  ])("megabytes between two apps of one host arrive as they were sent, where %s", async (_name, vnetHeader) => {
    const other = await app(vnetHeader ? "q" : "p", vnetHeader ? 6 : 7, vnetHeader);
    const base = config();
    const [ord, iad] = base.gateways;
    const more = { ...base, gateways: [{ ...ord, links: [...ord.links, other.link] }, iad] };
    expect((await plane.apply(more)).problems).toEqual([]);
    await configure(other);
    const before = await tunnelBytes();
    const ends = [east, other] as const;
    const servers = await Promise.all(ends.map(({ namespace }) => startTrafficServer(namespace)));
    const bytes = randomBytes(5_000_000);
    const file = scratch.file("body");
    fs.writeFileSync(file, bytes);
    for (const [from, to] of [ends, [other, east]] as const)
      for (const address of to.link.addresses) {
        const url = `http://${address.includes(":") ? `[${address}]` : address}:8080/`;
        const { stdout } = await from.namespace.run(["curl", "-sS", "-m", "10", "-T", file, url]);
        expect(stdout).toBe(sha256(bytes));
      }
    expect((await tunnelBytes()) - before).toBeLessThan(1000);
    const link = (await plane.status()).links.find(({ id }) => id === other.link.id)!;
    expect(link.tx).toBeGreaterThan(7000);
    expect(link.dropped["link-down"]).toBeUndefined();
    for (const server of servers) await server.stop();
    await plane.apply(base);
  });

  test("a source that is not the app's is dropped and counted", async () => {
    const dropped = async () => (await plane.status()).links.find((link) => link.id === "e")!.dropped.source ?? 0;
    const before = await dropped();
    await east.namespace.addAddress("warren0", "10.77.0.4/32");
    await east.namespace.addAddress("warren0", "10.77.0.99/32");
    try {
      expect(await ping(east, "10.77.0.5", ["-I", "10.77.0.99", "-W", "1"])).toMatch(/0 received/);
      expect(await ping(east, "10.77.0.5", ["-I", "10.77.0.4", "-W", "1"])).toMatch(/0 received/);
    } finally {
      await east.namespace.removeAddress("warren0", "10.77.0.99/32");
      await east.namespace.removeAddress("warren0", "10.77.0.4/32");
    }
    expect((await dropped()) - before).toBeGreaterThanOrEqual(2);
  });

  test("the gateway and DNS addresses answer pings; an address that nobody has is told unreachable", async () => {
    for (const to of ["10.77.0.1", "10.77.0.2", "fd77::1", "fd77::2"])
      expect(await ping(east, to)).toMatch(/1 received/);
    expect(await ping(east, "10.77.0.200")).toMatch(/From 10\.77\.0\.1 .*Host Unreachable/);
    expect(await udp(east, "10.77.0.1", 53, "00")).toBe("ECONNREFUSED");
  });

  test("a question to the DNS address reaches the handler, over IPv4 and IPv6", async () => {
    const zone: ZoneView = {
      serial: 1,
      domain: "internal",
      regions: [],
      ranges: ["10.77.0.0/24"],
      gatewayIps: ["10.77.0.1"],
      gateways: [],
      dnsIps: ["10.77.0.2"],
      apps: [
        {
          name: "west",
          port: 8080,
          instances: [{ id: "w1", machine: "w1", region: "iad", hostId: "iad", addresses: ["10.77.0.4"] }],
          service: [],
          tags: {},
        },
      ],
      peers: [],
    };
    const names = new Names(zone);
    names.setHealthy(new Set(["w1"]));
    const forwarder = new Forwarder({ servers: () => [] });
    plane.onDns(
      dnsHandler((id) => (id === "net/ord" ? { names, distance: () => 0, maxReply: 1200 } : undefined), forwarder),
    );
    const ask = (name: string) =>
      dnsPacket.encode({ type: "query", id: 7, flags: 256, questions: [{ type: "A", name }] }).toString("hex");
    for (const to of ["10.77.0.2", "fd77::2"]) {
      const reply = dnsPacket.decode(Buffer.from(await udp(east, to, 53, ask("west.internal")), "hex"));
      expect([reply.id, reply.answers?.map((a) => "data" in a && a.data)]).toEqual([7, ["10.77.0.4"]]);
    }
    const unknown = dnsPacket.decode(Buffer.from(await udp(west, "10.77.0.2", 53, ask("example.com")), "hex"));
    expect(unknown).toMatchObject({ id: 7, rcode: "SERVFAIL" });
    forwarder.close();
  });

  test("an attached peer reaches .1, .2, the apps of its host and those of another; its endpoint is learnt, also anew", async () => {
    const laptop = await app("l", 9);
    const laptopKeys = newKeyPair();
    const base = config();
    const [ord, iad] = base.gateways;
    const withLaptop = (port: number): DataPlaneConfig => ({
      ports: [...base.ports, { id: "laptop", listen: ["127.0.0.1"], port }],
      gateways: [
        {
          ...ord,
          peers: [
            ...ord.peers,
            {
              publicKey: laptopKeys.publicKey,
              allowedIps: ["10.77.0.9/32", "fd77::9/128"],
              persistentKeepalive: 0,
              initiate: false,
            },
          ],
        },
        { ...iad, peers: [toward(eastKeys, [3, 5, 9], ports.ord)] },
        // What a stock client is: one peer for the whole network, and no addresses of a gateway.
        {
          ...gateway(
            "laptop",
            "laptop",
            laptopKeys,
            [laptop.link],
            [
              {
                publicKey: eastKeys.publicKey,
                endpoint: `127.0.0.1:${ports.ord}`,
                allowedIps: ["10.77.0.0/24", "fd77::/64"],
                persistentKeepalive: 25,
                initiate: true,
              },
            ],
          ),
          gatewayIps: [],
          dnsIps: [],
        },
      ],
    });
    const first = await plane.apply(withLaptop(0));
    expect(first.problems).toEqual([]);
    await configure(laptop);
    for (const to of ["10.77.0.1", "10.77.0.2", "fd77::2", "10.77.0.3", "10.77.0.4", "fd77::4"])
      expect(await ping(laptop, to)).toMatch(/1 received/);
    expect(await ping(west, "10.77.0.9")).toMatch(/1 received/);
    const learnt = () =>
      events.flatMap((e) => (e.type === "endpoint" && e.publicKey === laptopKeys.publicKey ? [e.endpoint] : []));
    expect(learnt()).toEqual([`127.0.0.1:${first.ports.laptop}`]);

    // The client comes from another port now, as behind a NAT that forgot it.
    const spare = dgram.createSocket("udp4");
    await new Promise<void>((resolve) => spare.bind(0, "127.0.0.1", resolve));
    const other = spare.address().port;
    await new Promise<void>((resolve) => spare.close(() => resolve()));
    expect((await plane.apply(withLaptop(other))).problems).toEqual([]);
    expect(await ping(laptop, "10.77.0.4")).toMatch(/1 received/);
    await waitFor("the event", () => learnt().includes(`127.0.0.1:${other}`));
    // The other host's gateway is no place to ask for an address that nobody has: no loop, an answer from here.
    expect(await ping(laptop, "10.77.0.200")).toMatch(/Unreachable/);
    await plane.apply(base);
  });

  test("what lies on the wire is no inner payload", async () => {
    const capture = await scratchCapture();
    // "WARREN-IN-CLEAR!" as the pattern that fills the ping.
    expect(await ping(east, "10.77.0.4", ["-s", "500", "-p", Buffer.from("WARREN-IN-CLEAR!").toString("hex")])).toMatch(
      /1 received/,
    );
    const bytes = await waitFor("the ping in the capture", () => {
      const got = fs.readFileSync(capture.file);
      return got.length > 1000 ? got : undefined;
    });
    await capture.stop();
    expect(bytes.includes("WARREN")).toBe(false);
    expect(bytes.includes("IN-CLEAR")).toBe(false);
  });

  async function scratchCapture(): Promise<{ file: string; stop: () => Promise<void> }> {
    const file = scratch.file("capture");
    fs.writeFileSync(file, "");
    fs.chmodSync(file, 0o666);
    const filter = `udp port ${ports.ord} or udp port ${ports.iad}`;
    const program = await Program.start(scratch, ["tcpdump", "-i", "lo", "-U", "-Z", "root", "-w", file, filter]);
    await waitFor("tcpdump", () => /listening on/.test(program.stderr));
    return { file, stop: () => program.stop() };
  }

  test("random and truncated datagrams are counted and get no answer", async () => {
    const counted = async (): Promise<number> => {
      const { ports: all, gateways } = await plane.status();
      return [...all, ...gateways]
        .flatMap(({ dropped }) => ["malformed-message", "mac1", "unknown-index"].map((reason) => dropped[reason] ?? 0))
        .reduce((sum, count) => sum + count, 0);
    };
    const before = await counted();
    const socket = dgram.createSocket("udp4");
    for (let i = 0; i < 1500; i++) {
      const datagram = randomBytes(i % 200);
      if (i % 3) {
        // A message type with proper zeros, so that the parsers behind it are reached too.
        datagram.fill(0, 0, Math.min(4, datagram.length));
        if (datagram.length > 0) datagram[0] = 1 + (i % 5);
      }
      await new Promise((resolve) => socket.send(datagram, ports[i % 2 ? "ord" : "iad"], "127.0.0.1", resolve));
    }
    const answered: Buffer[] = [];
    socket.on("message", (message) => answered.push(message));
    expect(await ping(west, "10.77.0.3")).toMatch(/1 received/);
    expect(answered).toEqual([]);
    socket.close();
    const after = await waitFor("all to be counted", async () => {
      const now = await counted();
      return now - before >= 1500 ? now : undefined;
    });
    expect(after - before).toBe(1500);
  });

  test("links come and go, and nobody else's session is touched", async () => {
    const before = (await plane.status()).peers.map((peer) => peer.latestHandshake);
    const less = config();
    const without = {
      ...less,
      gateways: less.gateways.map((g) => ({ ...g, links: g.links.filter((l) => l.id !== "t") })),
    };
    expect((await plane.apply(without)).problems).toEqual([]);
    expect(await third.namespace.ip("-o", "link")).not.toMatch(/warren0/);
    expect(await ping(east, "10.77.0.5")).toMatch(/Unreachable/);
    expect((await plane.apply(config())).problems).toEqual([]);
    await configure(third);
    expect(await ping(east, "10.77.0.5")).toMatch(/1 received/);
    expect(await ping(west, "10.77.0.5")).toMatch(/1 received/);
    expect((await plane.status()).peers.map((peer) => peer.latestHandshake)).toEqual(before);
  });

  test("a device that vanishes is reported and comes back with the next apply", async () => {
    await third.namespace.ip("link", "del", "warren0");
    await waitFor("the event", () => events.some((event) => event.type === "link-lost" && event.link === "t"));
    expect((await plane.status()).links.map((link) => link.id)).not.toContain("t");
    expect((await plane.apply(config())).problems).toEqual([]);
    await configure(third);
    expect(await ping(west, "10.77.0.5")).toMatch(/1 received/);
  });

  test("a namespace that is not there, and a port in use, are problems with a name; the next apply tries again", async () => {
    const taken = dgram.createSocket("udp4");
    await new Promise<void>((resolve) => taken.bind(0, "127.0.0.1", resolve));
    const port = taken.address().port;
    const base = config();
    const more: DataPlaneConfig = {
      ports: [...base.ports, { id: "third", listen: ["127.0.0.1"], port }],
      gateways: [
        ...base.gateways,
        gateway(
          "other/host",
          "third",
          newKeyPair(),
          [{ id: "x", source: { kind: "open", name: "warren0", netns: "/run/netns/none" }, addresses: ["10.77.0.3"] }],
          [],
        ),
      ],
    };
    const first = await plane.apply(more);
    expect(first.problems.map((problem) => problem.id)).toEqual(["third", "x"]);
    expect(first.problems[0].message).toContain(`UDP port ${port} on 127.0.0.1 is in use`);
    await new Promise<void>((resolve) => taken.close(() => resolve()));
    const second = await plane.apply(more);
    expect([second.ports.third, second.problems.map((problem) => problem.id)]).toEqual([port, ["x"]]);
    await plane.apply(base);
    expect(await ping(east, "10.77.0.4")).toMatch(/1 received/);
  });

  test("a changed pre-shared key on both sides: traffic goes on", async () => {
    psk = newPresharedKey();
    expect((await plane.apply(config())).problems).toEqual([]);
    expect(await ping(east, "10.77.0.4")).toMatch(/1 received/);
  });

  test("after a restart of the data plane traffic returns", async () => {
    await plane.stop();
    await expect(plane.status()).rejects.toThrow(/ended/);
    plane = await DataPlane.start({ log: (message) => logged.push(message), aead: "node" });
    plane.onEvent((event) => events.push(event));
    const same = config();
    const fixed = { ...same, ports: same.ports.map((p) => ({ ...p, port: ports[p.id] })) };
    expect(await plane.apply(fixed)).toEqual({ ports, problems: [] });
    for (const one of [east, west, third]) await configure(one);
    expect(await ping(west, "10.77.0.3")).toMatch(/1 received/);
    expect(events.some((event) => event.type === "handshake" && event.gateway === "net/ord")).toBe(true);
  });
});
