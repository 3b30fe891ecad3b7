/** What takes WireGuard's real timers: all of it at the same time, for a little over two minutes. */
import { describeNeeding, type Need } from "../support/needs";
import { inner, withPair } from "../support/pair";
import { ping } from "../support/traffic";
import { sleep, waitFor } from "../support/wait";
import type { EndKind } from "../support/wireguard-end";

const base: Need[] = ["linux", "root", "tun", "ip", "wg", "ping", "curl"];

describeNeeding([...base, "wireguard-go", "boringtun"], "real timers (root, wireguard-go, boringtun)", () => {
  const pairs: [EndKind, EndKind][] = [
    ["warren", "wireguard-go"],
    ["wireguard-go", "warren"],
    ["warren", "boringtun"],
    ["boringtun", "warren"],
  ];

  it.concurrent.each(pairs)(
    "%s and %s renew their keys after 120 s without losing a packet",
    async (left, right) => {
      await withPair({ left, right, psk: true }, async (pair) => {
        await ping(pair.left.namespace, inner.right[4]);
        const first = await pair.left.peer(pair.right.publicKey);
        const result = await ping(pair.left.namespace, inner.right[4], { count: 250, interval: 0.5 });
        expect(result).toEqual({ sent: 250, received: 250 });
        for (const [end, remote] of [
          [pair.left, pair.right],
          [pair.right, pair.left],
        ] as const) {
          const renewed = (await end.peer(remote.publicKey)).latestHandshake! - first.latestHandshake!;
          // `wg` counts whole seconds.
          expect(renewed).toBeGreaterThanOrEqual(118_000);
          expect(renewed).toBeLessThan(127_000);
        }
      });
    },
    160_000,
  );

  it.concurrent.each(["wireguard-go", "boringtun"] as const)(
    "we notice by ourselves that %s has forgotten the session, after 15 s of silence",
    async (other) => {
      await withPair({ left: "warren", right: other }, async (pair) => {
        await ping(pair.left.namespace, inner.right[4]);
        await pair.right.restart();
        const forgotten = Date.now();
        await waitFor(
          "an answer after the restart",
          async () => (await ping(pair.left.namespace, inner.right[4], { count: 1, deadline: 1 })).received === 1,
          { timeout: 40_000 },
        );
        expect(Date.now() - forgotten).toBeLessThan(30_000);
      });
    },
    80_000,
  );

  it.concurrent("a persistent keepalive keeps us reachable through a silence, and nothing is sent without one", async () => {
    await withPair({ left: "warren", right: "wireguard-go" }, async (pair) => {
      await ping(pair.left.namespace, inner.right[4]);
      await sleep(12_000); // The passive keepalive of 10 s has passed.
      const quiet = await pair.left.peer(pair.right.publicKey);
      await sleep(5_000);
      expect((await pair.left.peer(pair.right.publicKey)).tx).toBe(quiet.tx);
      const { publicKey } = pair.right;
      const allowedIps = [`${inner.right[4]}/32`];
      await pair.left.setPeers({ publicKey, allowedIps, endpoint: quiet.endpoint, persistentKeepalive: 1 });
      await sleep(5_000);
      const kept = await pair.left.peer(pair.right.publicKey);
      expect(kept.tx - quiet.tx).toBeGreaterThanOrEqual(3 * 32);
      expect(kept.tx - quiet.tx).toBeLessThanOrEqual(8 * 32);
    });
  }, 60_000);
});
