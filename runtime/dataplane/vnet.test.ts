/** What a kernel with offloads takes from us and gives us: joined packets are whole and in good form, and are in use. */
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { Namespace } from "../../test/support/namespace";
import { describeNeeding } from "../../test/support/needs";
import { inner, type Pair, withPair } from "../../test/support/pair";
import type { Program } from "../../test/support/process";
import { sha256 } from "../../test/support/programs/fixed-bytes";
import type { Received } from "../../test/support/programs/udp-burst";
import { PROGRAMS } from "../../test/support/repo";
import { Scratch } from "../../test/support/scratch";
import { udpProbe } from "../../test/support/traffic";
import { waitFor } from "../../test/support/wait";
import { PacketIo } from "../native/packet-io";
import { faultOf, packetsOf } from "./testing/pcap";

const ours = { left: "warren", right: "warren" } as const;
const MTU = 1420;
const PROTO_UDP = 17;

/** The name of the plain device that shows what the kernel makes of our joined packets. */
const SHOWN = "shown";

const burst = (...args: (string | number)[]): string[] => [
  process.execPath,
  path.join(PROGRAMS, "udp-burst.js"),
  ...args.map(String),
];

/** UDP packets of such payloads, once these bytes of payload were recorded. */
function batches(file: string, least: number, total: number): Promise<Uint8Array[]> {
  const payload = (packet: Uint8Array) => packet.length - (packet[0] >>> 4 === 4 ? 28 : 48);
  return waitFor("a whole record", () => {
    const found = packetsOf(fs.readFileSync(file)).filter(
      (packet) => packet[packet[0] >>> 4 === 4 ? 9 : 6] === PROTO_UDP && payload(packet) >= least,
    );
    return found.reduce((sum, packet) => sum + payload(packet), 0) === total && found;
  });
}

async function record(namespace: Namespace, device: string, file: string): Promise<Program> {
  const dump = await namespace.start([
    ...["tcpdump", "-i", device, "-U", "-s", "0", "-B", "65536", "-Z", "root", "-w", file],
  ]);
  await waitFor("tcpdump", () => /listening on/.test(dump.stderr));
  return dump;
}

/** A body that arrives as it was sent. */
async function move(pair: Pair, family: 4 | 6, size: number): Promise<void> {
  const bytes = randomBytes(size);
  const file = pair.scratch.file("body");
  fs.writeFileSync(file, bytes);
  const host = family === 4 ? inner.right[4] : `[${inner.right[6]}]`;
  const { stdout } = await pair.left.namespace.run(["curl", "-sS", "-m", "30", "-T", file, `http://${host}:8080/`], {
    timeout: 35_000,
  });
  expect(stdout).toBe(sha256(bytes));
}

describeNeeding(["linux", "root", "tun", "uso", "ip"], "a device that is opened with virtio headers", () => {
  test("takes segments of UDP", async () => {
    const scratch = new Scratch();
    const io = new PacketIo(2);
    try {
      const namespace = await Namespace.create(scratch, "u");
      for (const vnetHeader of [true, false]) {
        const fd = io.openTun("tried", `/run/netns/${namespace.name}`, vnetHeader);
        expect(fd).toBeGreaterThanOrEqual(0);
        expect(io.prepareTun(fd)).toMatchObject({ udpSegments: vnetHeader });
        io.close(fd);
      }
    } finally {
      await scratch.dispose();
    }
  });
});

describeNeeding(["linux", "root", "tun", "uso", "ip", "tcpdump"], "UDP in batches", () => {
  const BURSTS = 20;
  const COUNT = 40;
  const SIZE = 1200;

  test.each([4, 6] as const)(
    "over IPv%i: comes and goes as joined packets, arrives whole and in order",
    async (family) => {
      await withPair(ours, async (pair) => {
        const { left, right } = pair;
        // Of a burst that must wait for a handshake not all is kept.
        expect((await udpProbe(left.namespace, inner.right[family], [new Uint8Array(10)])).length).toBe(1);
        const files = { left: pair.scratch.file("left"), right: pair.scratch.file("right") };
        const dumps = [
          await record(left.namespace, left.device, files.left),
          await record(right.namespace, right.device, files.right),
        ];
        const receiver = await right.namespace.start(burst("receive", family, BURSTS * COUNT));
        const [, port] = await receiver.said(/port (\d+)\n/);
        await left.namespace.run(burst("send", family, inner.right[family], port, BURSTS, COUNT, SIZE));
        const received = JSON.parse((await receiver.said(/\{.*\}(?=\n)/))[0]) as Received;
        expect(received.numbers).toEqual(Array.from({ length: BURSTS * COUNT }, (_, i) => i));
        expect([received.lengths, received.spoilt]).toEqual([[SIZE], 0]);
        // Our own kernel gave us whole bursts, and the other one took several datagrams in one write.
        const total = BURSTS * COUNT * SIZE;
        const given = await batches(files.left, SIZE, total);
        const taken = await batches(files.right, SIZE, total);
        for (const dump of dumps) await dump.stop();
        expect(given.length).toBe(BURSTS);
        expect(taken.length).toBeLessThan((BURSTS * COUNT) / 4);
        expect(received.reads).toBeLessThan((BURSTS * COUNT) / 4);
      });
    },
  );
});

describeNeeding(["linux", "root", "tun", "ip", "nft", "curl", "tcpdump"], "a receiver that joins packets", () => {
  // What the kernel makes of a joined packet is seen where a copy of it leaves by a device without offloads.
  test("gives its kernel what that makes into packets of the right size with right checksums", async () => {
    await withPair(ours, async (pair) => {
      const { namespace, device } = pair.right;
      const io = new PacketIo(2);
      const fd = io.openTun(SHOWN, `/run/netns/${namespace.name}`, false);
      expect(fd).toBeGreaterThanOrEqual(0);
      try {
        await namespace.ip("link", "set", SHOWN, "mtu", String(MTU), "up");
        const rule = `type filter hook ingress device "${device}" priority 0; dup to "${SHOWN}";`;
        await namespace.run(["nft", `table netdev show { chain copies { ${rule} }; }`]);
        const [joined, shown] = [pair.scratch.file("joined"), pair.scratch.file("shown")];
        const dumps = [await record(namespace, device, joined), await record(namespace, SHOWN, shown)];
        for (const family of [4, 6] as const) {
          await move(pair, family, 3_000_000);
          const datagrams = Array.from({ length: 40 }, (_, i) => new Uint8Array(i === 39 ? 100 : 1200).fill(i));
          const echoed = await udpProbe(pair.left.namespace, inner.right[family], datagrams, { wait: 3000 });
          expect(echoed.length).toBe(40);
        }
        for (const dump of dumps) await dump.stop();
        const written = packetsOf(fs.readFileSync(joined));
        expect(written.filter(({ length }) => length > MTU).length).toBeGreaterThan(50);
        const packets = packetsOf(fs.readFileSync(shown));
        expect(packets.length).toBeGreaterThan((2 * 3_000_000) / MTU);
        expect(packets.flatMap((packet) => faultOf(packet, MTU) ?? [])).toEqual([]);
      } finally {
        io.close(fd);
      }
    });
  });
});
