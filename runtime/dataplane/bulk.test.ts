/** Bulk traffic between two data planes: byte-exact on every path, at every size of the line, and in good form on the wire. */
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import { describeNeeding } from "../../test/support/needs";
import { inner, type Pair, withPair } from "../../test/support/pair";
import { sha256 } from "../../test/support/programs/fixed-bytes";
import { startTrafficServer, udpProbe } from "../../test/support/traffic";
import { waitFor } from "../../test/support/wait";
import { faultOf, packetsOf } from "./testing/pcap";

const SIZE = 5_000_000;
const ours = { left: "warren", right: "warren" } as const;

/** Moves random bytes over TCP, within so many seconds. The one that takes them answers with their hash. */
async function move(pair: Pair, from: "left" | "right", family: 4 | 6, size: number, seconds = 60): Promise<void> {
  const bytes = randomBytes(size);
  const file = pair.scratch.file("body");
  fs.writeFileSync(file, bytes);
  const to = inner[from === "left" ? "right" : "left"][family];
  const url = `http://${family === 4 ? to : `[${to}]`}:8080/`;
  const argv = ["curl", "-sS", "-m", `${seconds}`, "-T", file, url];
  const { stdout } = await pair[from].namespace.run(argv, { timeout: (seconds + 5) * 1000 });
  expect(stdout).toBe(sha256(bytes));
}

/** One family each way. */
async function exchange(pair: Pair): Promise<void> {
  await startTrafficServer(pair.left.namespace);
  await move(pair, "left", 4, SIZE);
  await move(pair, "right", 6, SIZE);
}

const statusOf = (pair: Pair): Promise<Status[]> =>
  Promise.all([pair.left, pair.right].map((end) => (end as unknown as { status(): Promise<Status> }).status()));

interface Status {
  readonly gateways: readonly { readonly dropped: object }[];
  readonly ports: readonly { readonly dropped: object; readonly refused: number }[];
}

describeNeeding(["linux", "root", "tun", "ip", "curl", "tcpdump"], "bulk traffic", () => {
  // A full packet of 1420 needs 1480 outside: on a narrower line the kernel refuses segments of that length.
  test.each([
    [1280, 1420],
    [1400, 1420],
    [1460, 1420],
    [1500, 1420],
    [9000, 8920],
  ])("over a line of MTU %i with packets of %i", async (outerMtu, mtu) => {
    await withPair({ ...ours, outerMtu, mtu }, async (pair) => {
      await exchange(pair);
      const datagrams = Array.from({ length: 50 }, (_, i) => randomBytes(i === 49 ? 100 : 1200));
      const echoed = await udpProbe(pair.left.namespace, inner.right[6], datagrams, { wait: 500 });
      expect([...echoed].sort()).toEqual(datagrams.map((bytes) => bytes.toString("hex")).sort());
      const status = await statusOf(pair);
      expect(status.flatMap(({ gateways, ports }) => [...gateways, ...ports].map(({ dropped }) => dropped))).toEqual([
        {},
        {},
        {},
        {},
      ]);
      for (const { ports } of status) expect(ports[0].refused > 0).toBe(outerMtu < 1480);
    });
  });

  test("over IPv6 outside", async () => {
    await withPair({ ...ours, outer: 6 }, exchange);
  });

  test.each([[["left", "right"]], [["right"]]] as const)("with plain devices: %j", async (plain) => {
    await withPair({ ...ours, plain }, exchange);
  });

  test.each([
    [0.1, 40_000],
    [0.3, 20_000],
  ])(
    "over a line that delays, reorders, doubles and loses %d of all datagrams every byte arrives",
    async (drop, size) => {
      const relay = { delay: 1, jitter: 2, reorder: 0.1, duplicate: 0.1, drop, seed: 7 };
      await withPair({ ...ours, relay, bothKnow: true }, async (pair) => {
        await move(pair, "left", 4, size, 120);
        const { dropped, reordered, doubled } = await pair.relay!.counts();
        expect(dropped).toBeGreaterThan(5);
        expect(Math.min(reordered, doubled)).toBeGreaterThan(0);
      });
    },
    150_000,
  );

  // A plain device shows what a kernel with offloads would not: each packet as it crossed the line.
  test("what comes out are packets of the right size with right checksums", async () => {
    await withPair({ ...ours, plain: ["right"] }, async (pair) => {
      const file = pair.scratch.file("capture");
      const argv = ["tcpdump", "-i", pair.right.device, "-U", "-B", "65536", "-Z", "root", "-w", file];
      const dump = await pair.right.namespace.start(argv);
      await waitFor("tcpdump", () => /listening on/.test(dump.stderr));
      await exchange(pair);
      await move(pair, "right", 4, SIZE);
      await move(pair, "left", 6, SIZE);
      const datagrams = Array.from({ length: 20 }, (_, i) => new Uint8Array(1 + i * 60).fill(i));
      expect((await udpProbe(pair.left.namespace, inner.right[4], datagrams, { wait: 300 })).length).toBe(20);
      await dump.stop();
      const packets = packetsOf(fs.readFileSync(file));
      expect(packets.length).toBeGreaterThan((4 * SIZE) / 1420 / 2);
      expect(packets.flatMap((packet) => faultOf(packet, 1420) ?? [])).toEqual([]);
    });
  });
});
