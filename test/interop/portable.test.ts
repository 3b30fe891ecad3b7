/**
 * The data plane without native code against the other implementations: what handshake, line and change test of the native one. Its end
 * of the tunnel is a TCP/IP stack, so that its traffic begins and ends in it.
 */
import { randomBytes } from "node:crypto";
import { newPresharedKey } from "../support/keys";
import { describeNeeding } from "../support/needs";
import { inner, type Pair, withPair } from "../support/pair";
import { capture, udpProbe } from "../support/traffic";
import { waitFor } from "../support/wait";
import type { End, EndKind } from "../support/wireguard-end";
import { expectTwoFilesEachWay } from "./counters";

const OURS = "warren-portable";
const base = ["linux", "root", "tun", "ip", "nft", "wg", "ping", "curl"] as const;

describe.each(["wireguard-go", "boringtun"] as const)("with %s", (other) => {
  describeNeeding([...base, other], `(root, ${other})`, () => {
    const roles: [string, EndKind, EndKind][] = [
      ["we begin", OURS, other],
      [`${other} begins`, other, OURS],
    ];
    const cases = roles.flatMap(([who, left, right]) =>
      ([4, 6] as const).map((outer) => ({ who, left, right, outer, psk: outer === 4 })),
    );

    it.each(cases)("$who, IPv$outer outside, preshared key: $psk", async ({ left, right, outer, psk }) => {
      await withPair({ left, right, outer, psk }, async (pair) => {
        for (const family of [4, 6] as const) {
          const to = inner.right[family];
          expect(await pair.left.ping(to)).toEqual({ sent: 3, received: 3 });
          // In two packets each way.
          expect(await pair.left.ping(to, { size: 2000 })).toEqual({ sent: 3, received: 3 });
          await pair.left.exchangeFile(to, 200_000);
          const datagrams = [1, 100, 1000, 1372].map((size) => Buffer.alloc(size, size));
          const replies = await pair.left.udpProbe(to, datagrams);
          expect([...replies].sort()).toEqual(datagrams.map((d) => d.toString("hex")).sort());
        }
        // Once in either family.
        await expectTwoFilesEachWay(pair);
      });
    });

    it("an end that was killed and started again is spoken to at once, and one that moves is followed", async () => {
      await withPair({ left: OURS, right: other, bothKnow: true, psk: true }, async (pair) => {
        await answers(pair.left, inner.right[4]);
        await pair.left.restart();
        await answers(pair.left, inner.right[4]);
        await pair.right.restart();
        // The one that has forgotten speaks first: the other cannot know.
        await answers(pair.right, inner.left[4]);
        const ours = await pair.move("left", 4);
        await answers(pair.left, inner.right[4]);
        expect((await pair.right.peer(pair.left.publicKey)).endpoint).toBe(ours);
        const theirs = await pair.move("right", 4);
        await answers(pair.right, inner.left[4]);
        expect((await pair.left.peer(pair.right.publicKey)).endpoint).toBe(theirs);
        await pair.right.exchangeFile(inner.left[4], 50_000);
      });
    });

    it("delivers files intact over a line that delays, reorders, doubles and drops", async () => {
      const relay = { delay: 2, jitter: 5, reorder: 0.1, duplicate: 0.1, drop: 0.01, seed: 42 };
      await withPair({ left: OURS, right: other, relay }, async (pair) => {
        await pair.left.exchangeFile(inner.right[6], 100_000, 60_000);
        const counts = await pair.relay!.counts();
        expect(counts.doubled).toBeGreaterThan(10);
        expect(counts.reordered).toBeGreaterThan(10);
      });
    }, 130_000);
  });
});

describeNeeding([...base, "wireguard-go", "tcpdump"], "what it refuses (root, wireguard-go)", () => {
  it("delivers a file intact while 30 % of the datagrams are lost", async () => {
    await withPair({ left: "wireguard-go", right: OURS, bothKnow: true }, async (pair) => {
      await pair.left.namespace.ip("link", "set", "cable", "gso_max_segs", "1");
      await pair.right.namespace.loseIncoming(30, "udp dport 51820");
      await pair.left.upload(inner.right[4], 64_000, 100_000);
      expect(await pair.right.namespace.lost()).toBeGreaterThan(8);
    });
  }, 120_000);

  it("is silent towards a stranger, a peer with another preshared key, and one that was taken out", async () => {
    await withPair({ left: "wireguard-go", right: OURS, psk: true }, async (pair: Pair) => {
      await answers(pair.left, inner.right[4]);
      const before = await pair.right.peer(pair.left.publicKey);
      await pair.left.namespace.addAddress("cable", "192.0.2.66/24");
      const messages = [1, 2, 3, 4].flatMap((type) =>
        [16, 32, 64, 92, 148, 1200].map((size) => {
          const bytes = randomBytes(size);
          bytes.writeUInt32LE(type, 0);
          return bytes;
        }),
      );
      const filter = "src host 192.0.2.2 and (icmp or udp) and not dst port 51820";
      const said = await capture(pair.left.namespace, "cable", filter, async () => {
        expect(await udpProbe(pair.left.namespace, "192.0.2.2", messages, { port: 51820, wait: 500 })).toEqual([]);
      });
      expect(said).toEqual([]);
      const after = await pair.right.peer(pair.left.publicKey);
      expect({ endpoint: after.endpoint, at: after.latestHandshake }).toEqual({
        endpoint: before.endpoint,
        at: before.latestHandshake,
      });
      await answers(pair.left, inner.right[4]);

      const { publicKey } = pair.left;
      const allowedIps = [`${inner.left[4]}/32`];
      await pair.right.setPeers();
      expect(await pair.left.ping(inner.right[4], { count: 1, deadline: 1 })).toEqual({ sent: 1, received: 0 });
      await pair.right.setPeers({ publicKey, presharedKey: newPresharedKey(), allowedIps });
      await pair.left.restart();
      expect(await pair.left.ping(inner.right[4], { count: 1, deadline: 1 })).toEqual({ sent: 1, received: 0 });
    });
  });
});

async function answers(from: End, to: string): Promise<void> {
  await waitFor(
    `an answer to ${from.kind}`,
    async () => (await from.ping(to, { count: 1, deadline: 1 })).received === 1,
  );
}
