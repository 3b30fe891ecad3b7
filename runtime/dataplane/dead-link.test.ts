/** Links of one thread: what becomes of one is nothing to the other. */
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { type KeyPair, newKeyPair } from "../../test/support/keys";
import { Namespace } from "../../test/support/namespace";
import { describeNeeding } from "../../test/support/needs";
import { sha256 } from "../../test/support/programs/fixed-bytes";
import type { Received } from "../../test/support/programs/udp-burst";
import { PROGRAMS } from "../../test/support/repo";
import { Scratch } from "../../test/support/scratch";
import { startTrafficServer, udpProbe } from "../../test/support/traffic";
import type { DataPlaneEvent, GatewayConfig, LinkConfig } from "./config";
import { DataPlane } from "./dataplane";

const DEVICE = "warren0";
const SIZE = 5_000_000;
/** Bursts, datagrams in each, bytes in each datagram: the flood lasts half a second or longer. */
const FLOOD = [100, 40, 1200] as const;
const BURSTS = [20, 40, 1200] as const;

const node = (...args: readonly (string | number)[]): string[] => [process.execPath, ...args.map(String)];
const burst = path.join(PROGRAMS, "udp-burst.js");

/** A program that is given datagrams and reads none. */
const DEAF = `require("dgram").createSocket("udp4").bind(9000, () => {
  require("fs").writeSync(1, "ready\\n");
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
})`;

/** What happens to the bad link; and whether packets for it are counted there, and an event tells of it. */
const cases: readonly [string, (bad: Namespace) => Promise<unknown>, { counted: boolean; lost: boolean }][] = [
  ["is down", (bad) => bad.ip("link", "set", DEVICE, "down"), { counted: true, lost: false }],
  ["is gone", (bad) => bad.ip("link", "del", DEVICE), { counted: false, lost: true }],
  [
    "has a program that reads nothing",
    async (bad) => (await bad.start(node("-e", DEAF))).said(/ready/),
    { counted: false, lost: false },
  ],
];

describeNeeding(["linux", "root", "tun", "ip", "curl"], "of two links in one thread", () => {
  let scratch: Scratch;
  let plane: DataPlane;
  const events: DataPlaneEvent[] = [];

  beforeEach(async () => {
    scratch = new Scratch();
    events.length = 0;
    plane = await DataPlane.start({ log: () => {}, threads: 1 });
    plane.onEvent((event) => events.push(event));
  });

  afterEach(async () => {
    await plane.stop();
    await scratch.dispose();
  });

  /** Three apps: the first behind a gateway of its own, the others behind one. */
  async function threeApps(): Promise<Namespace[]> {
    const apps = await Promise.all(["f", "g", "b"].map((label) => Namespace.create(scratch, label)));
    const links = apps.map(
      ({ name }, i): LinkConfig => ({
        id: `link${i}`,
        source: { kind: "open", name: DEVICE, netns: `/run/netns/${name}` },
        addresses: [`10.77.0.${3 + i}`],
      }),
    );
    const [near, far] = [newKeyPair(), newKeyPair()];
    const gateway = (
      id: string,
      keys: KeyPair,
      own: LinkConfig[],
      other: KeyPair,
      remote: LinkConfig[],
      endpoint?: string,
    ): GatewayConfig => ({
      id,
      port: id,
      privateKey: keys.privateKey,
      mtu: 1420,
      gatewayIps: [],
      dnsIps: [],
      links: own,
      peers: [
        {
          publicKey: other.publicKey,
          allowedIps: remote.flatMap(({ addresses }) => addresses.map((address) => `${address}/32`)),
          persistentKeepalive: 0,
          initiate: false,
          ...(endpoint === undefined ? {} : { endpoint }),
        },
      ],
    });
    const ports = ["far", "near"].map((id) => ({ id, listen: ["127.0.0.1"], port: 0 }));
    const config = (endpoint?: string) => ({
      ports,
      gateways: [
        gateway("far", far, [links[0]], near, links.slice(1), endpoint),
        gateway("near", near, links.slice(1), far, [links[0]]),
      ],
    });
    const first = await plane.apply(config());
    expect((await plane.apply(config(`127.0.0.1:${first.ports.near}`))).problems).toEqual([]);
    for (const [i, app] of apps.entries()) {
      await app.addAddress(DEVICE, `10.77.0.${3 + i}/24`);
      await app.ip("link", "set", DEVICE, "mtu", "1420", "up");
    }
    return apps;
  }

  test.each(cases)("one %s and is flooded: the other is given everything, in order", async (_name, spoil, expected) => {
    const [from, good, bad] = await threeApps();
    await startTrafficServer(good);
    const receiver = await good.start(node(burst, "receive", 4, BURSTS[0] * BURSTS[1]));
    const [, port] = await receiver.said(/port (\d+)\n/);
    // Of a burst that must wait for a handshake not all is kept.
    expect((await udpProbe(from, "10.77.0.4", [new Uint8Array(10)])).length).toBe(1);
    await spoil(bad);
    const file = scratch.file("body");
    const bytes = randomBytes(SIZE);
    fs.writeFileSync(file, bytes);
    const [{ stdout }] = await Promise.all([
      from.run(["curl", "-sS", "-m", "10", "-T", file, "http://10.77.0.4:8080/"], { timeout: 15_000 }),
      from.run(node(burst, "send", 4, "10.77.0.4", port, ...BURSTS)),
      from.run(node(burst, "send", 4, "10.77.0.5", 9000, ...FLOOD)),
    ]);
    expect(stdout).toBe(sha256(bytes));
    const received = JSON.parse((await receiver.said(/\{.*\}(?=\n)/))[0]) as Received;
    expect(received.numbers).toEqual(Array.from({ length: BURSTS[0] * BURSTS[1] }, (_, i) => i));
    expect(received.spoilt).toBe(0);
    const { links } = await plane.status();
    const lost = ["link1", "link2"].map((id) => links.find((link) => link.id === id)?.dropped["link-down"] ?? 0);
    expect(lost).toEqual([0, expected.counted ? FLOOD[0] * FLOOD[1] : 0]);
    expect(events.some((event) => event.type === "link-lost" && event.link === "link2")).toBe(expected.lost);
  });
});
