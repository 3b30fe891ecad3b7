/** What both ends of a pair tell of each other after two files of 200,000 bytes each way, and little beside. */
import type { Pair } from "../support/pair";

export async function expectTwoFilesEachWay(pair: Pair): Promise<void> {
  for (const [end, remote] of [
    [pair.left, pair.right],
    [pair.right, pair.left],
  ] as const) {
    const seen = await end.peer(remote.publicKey);
    expect(seen.latestHandshake).toBeGreaterThan(Date.now() - 30_000);
    expect(seen.rx).toBeGreaterThan(400_000);
    expect(seen.rx).toBeLessThan(600_000);
    expect(seen.tx).toBeGreaterThan(400_000);
    expect(seen.tx).toBeLessThan(600_000);
  }
}
