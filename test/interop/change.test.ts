/** What changes under a running tunnel: addresses outside, and either end's life. */
import { describeNeeding } from "../support/needs";
import { inner, type Pair, withPair } from "../support/pair";
import { exchangeFile, ping } from "../support/traffic";
import { waitFor } from "../support/wait";

describe.each(["wireguard-go", "boringtun"] as const)("with %s", (other) => {
  describeNeeding(["linux", "root", "tun", "ip", "wg", "ping", "curl", other], `(root, ${other})`, () => {
    describe.each([4, 6] as const)("over IPv%i", (outer) => {
      it("an end that moves is followed, first ours, then the other", async () => {
        await withPair({ left: "warren", right: other, outer, bothKnow: true }, async (pair) => {
          await works(pair);
          const ours = await pair.move("left", outer);
          await works(pair);
          expect((await pair.right.peer(pair.left.publicKey)).endpoint).toBe(ours);
          const theirs = await pair.move("right", outer);
          // The one that moved speaks first: the other cannot know.
          await worksBack(pair);
          expect((await pair.left.peer(pair.right.publicKey)).endpoint).toBe(theirs);
          await works(pair);
        });
      });
    });

    it("an end that was killed and started again is spoken to again at once", async () => {
      await withPair({ left: "warren", right: other, bothKnow: true, psk: true }, async (pair) => {
        await works(pair);
        await pair.left.restart();
        await works(pair);
        await pair.right.restart();
        await worksBack(pair);
        await works(pair);
        await exchangeFile(pair.left.namespace, inner.right[4], 50_000);
      });
    });

    it("a peer that is taken out is silent, and one that is put back works", async () => {
      await withPair({ left: other, right: "warren" }, async (pair) => {
        await works(pair);
        await pair.right.setPeers();
        expect(await ping(pair.left.namespace, inner.right[4], { deadline: 1 })).toEqual({ sent: 3, received: 0 });
        expect(await pair.right.peers()).toEqual([]);
        await pair.right.setPeers({ publicKey: pair.left.publicKey, allowedIps: [`${inner.left[4]}/32`] });
        // The other side still holds the session that we forgot, and begins anew when nothing has come back for 15 s; a restart is quicker.
        await pair.left.restart();
        await works(pair);
      });
    });
  });
});

async function works(pair: Pair): Promise<void> {
  await waitFor("an answer from the right end", async () => {
    const { received } = await ping(pair.left.namespace, inner.right[4], { count: 1, deadline: 1 });
    return received === 1;
  });
}

async function worksBack(pair: Pair): Promise<void> {
  await waitFor("an answer from the left end", async () => {
    const { received } = await ping(pair.right.namespace, inner.left[4], { count: 1, deadline: 1 });
    return received === 1;
  });
}
