import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { newKeyPair } from "./keys";
import { Namespace } from "./namespace";
import { describeNeeding } from "./needs";
import { inner, type Pair, withPair } from "./pair";
import { Program, run } from "./process";
import { ROOT } from "./repo";
import { Scratch, useScratch } from "./scratch";
import { exchangeFile, ping, udpProbe } from "./traffic";
import { waitFor } from "./wait";

describe("the harness", () => {
  const scratch = useScratch();

  it("ends a command that takes too long, and says what it had said", async () => {
    await expect(run(["sh", "-c", "echo so far; sleep 60"], { timeout: 200 })).rejects.toThrow(
      /not done within 0.2 s\nso far/,
    );
  });

  it("stops a program together with what it started", async () => {
    const program = await Program.start(scratch, ["sh", "-c", "sleep 61 & echo child $!; wait"]);
    const [, child] = await program.said(/child (\d+)/);
    await program.stop();
    await waitFor("the child's end", () => !fs.existsSync(`/proc/${child}`) || isZombie(child));
  });

  it("undoes in reverse order, and all of it even when a step fails", async () => {
    const one = new Scratch();
    const order: number[] = [];
    one.defer(() => void order.push(1));
    one.defer(() => {
      throw new Error("second");
    });
    one.defer(() => void order.push(3));
    await expect(one.dispose()).rejects.toThrow("second");
    expect(order).toEqual([3, 1]);
    expect(fs.existsSync(one.dir)).toBe(false);
  });

  it("names what it waited for in vain, and why", async () => {
    const never = waitFor("the impossible", () => Promise.reject(new Error("no")), { timeout: 100, interval: 10 });
    await expect(never).rejects.toThrow("the impossible did not happen within 0.1 s: no");
  });

  it("reaps what a killed run left: folders and detached processes, and nothing of a living one", async () => {
    const dead = spawn("true");
    await new Promise((resolve) => dead.once("exit", resolve));
    const left = path.join(os.tmpdir(), `wt${dead.pid}xabc`);
    fs.mkdirSync(left);
    const orphan = spawn("sleep", ["62"], {
      detached: true,
      stdio: "ignore",
      env: { ...process.env, WARREN_TEST_SCRATCH: path.basename(left) },
    });
    const ended = new Promise((resolve) => orphan.once("exit", (_code, signal) => resolve(signal)));
    // That of another run on this machine may come before it.
    await run([process.execPath, path.join(ROOT, "tools", "reap.mjs")]);
    expect(await ended).toBe("SIGKILL");
    expect(fs.existsSync(left)).toBe(false);
    expect(fs.existsSync(scratch.dir)).toBe(true);
  });

  it("makes keys as WireGuard has them", () => {
    const { privateKey, publicKey } = newKeyPair();
    expect(Buffer.from(privateKey, "base64")).toHaveLength(32);
    expect(Buffer.from(publicKey, "base64")).toHaveLength(32);
  });
});

describeNeeding(["linux", "root", "ip", "nft", "ping"], "namespaces (root)", () => {
  it("lose the share of packets that they are told to, and are gone afterwards", async () => {
    const scratch = new Scratch();
    const namespace = await Namespace.create(scratch, "n");
    try {
      await namespace.loseIncoming(30, "icmp type echo-request");
      const { sent, received } = await ping(namespace, "127.0.0.1", { count: 100, interval: 0.002, deadline: 1 });
      expect(sent).toBe(100);
      expect(received).toBeGreaterThan(40);
      expect(received).toBeLessThan(95);
      expect(await namespace.lost()).toBe(sent - received);
    } finally {
      await scratch.dispose();
    }
    expect((await run(["ip", "netns", "list"])).stdout).not.toContain(namespace.name);
  });
});

describeNeeding(
  ["linux", "root", "tun", "ip", "nft", "wg", "ping", "curl", "wireguard-go", "boringtun"],
  "two stock peers on the harness (root, wireguard-go, boringtun)",
  () => {
    it.each([4, 6] as const)("meet over IPv%i", async (outer) => {
      await withPair({ left: "wireguard-go", right: "boringtun", outer, psk: true }, async (pair: Pair) => {
        expect(await ping(pair.left.namespace, inner.right[4])).toEqual({ sent: 3, received: 3 });
        expect(await ping(pair.left.namespace, inner.right[6])).toEqual({ sent: 3, received: 3 });
        await exchangeFile(pair.left.namespace, inner.right[4], 100_000);
        expect(await udpProbe(pair.left.namespace, inner.right[4], [Buffer.from("hello")])).toEqual(["68656c6c6f"]);
        const counters = await pair.left.peer(pair.right.publicKey);
        expect(counters.latestHandshake).toBeGreaterThan(Date.now() - 60_000);
        expect(counters.tx).toBeGreaterThan(100_000);
      });
    });

    it("meet over a line that reorders and doubles", async () => {
      const relay = { delay: 1, jitter: 3, reorder: 0.05, duplicate: 0.05, drop: 0.01, seed: 7 };
      await withPair({ left: "boringtun", right: "wireguard-go", relay }, async (pair) => {
        await exchangeFile(pair.left.namespace, inner.right[6], 100_000);
        const counts = await pair.relay!.counts();
        expect(counts.passed).toBeGreaterThan(100);
        expect(counts.doubled).toBeGreaterThan(0);
        expect(counts.reordered).toBeGreaterThan(0);
      });
    });
  },
);

function isZombie(pid: string): boolean {
  return / Z /.test(fs.readFileSync(`/proc/${pid}/stat`, "latin1"));
}
