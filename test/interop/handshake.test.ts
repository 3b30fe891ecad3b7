/** Our data plane against the other implementations: who begins, over what, with what secret, carrying what. */
import { describeNeeding } from "../support/needs";
import { inner, withPair } from "../support/pair";
import { exchangeFile, ping, udpProbe } from "../support/traffic";
import type { EndKind } from "../support/wireguard-end";
import { expectTwoFilesEachWay } from "./counters";

const base = ["linux", "root", "tun", "ip", "wg", "ping", "curl"] as const;

describe.each(["wireguard-go", "boringtun"] as const)("against %s", (other) => {
  describeNeeding([...base, other], `(root, ${other})`, () => {
    const roles: [string, EndKind, EndKind][] = [
      ["we begin", "warren", other],
      [`${other} begins`, other, "warren"],
    ];
    const cases = roles.flatMap(([who, left, right]) =>
      ([4, 6] as const).flatMap((outer) => [true, false].map((psk) => ({ who, left, right, outer, psk }))),
    );

    it.each(cases)("$who, IPv$outer outside, preshared key: $psk", async ({ left, right, outer, psk }) => {
      await withPair({ left, right, outer, psk }, async (pair) => {
        const from = pair.left.namespace;
        for (const family of [4, 6] as const) {
          expect(await ping(from, inner.right[family])).toEqual({ sent: 3, received: 3 });
          await exchangeFile(from, inner.right[family], 200_000);
          const datagrams = [1, 100, 1000, 1372].map((size) => Buffer.alloc(size, size));
          const replies = await udpProbe(from, inner.right[family], datagrams);
          expect([...replies].sort()).toEqual(datagrams.map((d) => d.toString("hex")).sort());
        }
        // Once in either family.
        await expectTwoFilesEachWay(pair);
      });
    });

    it("refuses a peer whose preshared key differs", async () => {
      await withPair({ left: other, right: "warren", psk: true }, async (pair) => {
        const [peer] = await pair.right.peers();
        await pair.right.setPeers({
          publicKey: peer.publicKey,
          presharedKey: Buffer.alloc(32, 7).toString("base64"),
          allowedIps: [`${inner.left[4]}/32`],
        });
        expect(await ping(pair.left.namespace, inner.right[4], { deadline: 1 })).toEqual({ sent: 3, received: 0 });
        expect((await pair.right.peer(pair.left.publicKey)).rx).toBeLessThan(1000);
      });
    });
  });
});

describeNeeding([...base, "wireguard-go"], "byte counters (root, wireguard-go)", () => {
  it("agree to the byte with those of the other side, as wireguard-go counts", async () => {
    await withPair({ left: "warren", right: "wireguard-go" }, async (pair) => {
      await ping(pair.left.namespace, inner.right[4], { count: 10 });
      await exchangeFile(pair.left.namespace, inner.right[6], 50_000);
      const ours = await pair.left.peer(pair.right.publicKey);
      const theirs = await pair.right.peer(pair.left.publicKey);
      expect({ rx: ours.rx, tx: ours.tx }).toEqual({ rx: theirs.tx, tx: theirs.rx });
    });
  });
});
