/**
 * Two programs that are joined through data planes without native code, one at either end of a cable: bytes come from a program on
 * loopback, pass a TCP/IP stack and a tunnel, and the same back up to a program on loopback.
 */
import * as path from "node:path";
import { newKeyPair } from "../../test/support/keys";
import { connect, Namespace } from "../../test/support/namespace";
import { ROOT } from "../../test/support/repo";
import { Scratch } from "../../test/support/scratch";
import { waitFor } from "../../test/support/wait";
import type { ForwarderSettings } from "../programs/forwarder";
import { tcp } from "./tunnel-traffic";

const IPERF = 5201;
const UDP = 51820;
const MTU = 1420;
const inner = { left: "10.77.0.1", right: "10.77.0.2" };

export class AppToApp {
  private constructor(
    private readonly scratch: Scratch,
    private readonly left: Namespace,
  ) {}

  static async create(): Promise<AppToApp> {
    const scratch = new Scratch();
    try {
      const [left, right] = [await Namespace.create(scratch, "a"), await Namespace.create(scratch, "b")];
      await connect(
        { namespace: left, device: "cable", addresses: ["192.0.2.1/24"] },
        { namespace: right, device: "cable", addresses: ["192.0.2.2/24"] },
      );
      const keys = { left: newKeyPair(), right: newKeyPair() };
      await start(right, {
        ...{ privateKey: keys.right.privateKey, peerPublicKey: keys.left.publicKey, endpoint: `192.0.2.1:${UDP}` },
        ...{ address: inner.right, forwards: [], accepts: [{ port: IPERF, to: IPERF }] },
      });
      await start(left, {
        ...{ privateKey: keys.left.privateKey, peerPublicKey: keys.right.publicKey, endpoint: `192.0.2.2:${UDP}` },
        ...{ address: inner.left, forwards: [{ listen: `127.0.0.1:${IPERF}`, to: `${inner.right}:${IPERF}` }] },
      });
      const server = await right.start(["iperf3", "-s", "--forceflush"]);
      await server.said(/listening/);
      await waitFor("the first bytes", () => left.run(["iperf3", "-c", "127.0.0.1", "-n", "1"]));
      return new AppToApp(scratch, left);
    } catch (error) {
      await scratch.dispose();
      throw error;
    }
  }

  /** Gbit/s of one TCP stream. */
  async throughput(...args: string[]): Promise<number> {
    return (await tcp(this.left, "127.0.0.1", 1, ...args)).gigabits;
  }

  async dispose(): Promise<void> {
    await this.scratch.dispose();
  }
}

async function start(namespace: Namespace, settings: Omit<ForwarderSettings, "mtu" | "listenPort">): Promise<void> {
  const program = path.join(ROOT, "dist", "bench", "programs", "forwarder.js");
  const forwarder = await namespace.start([process.execPath, program], { env: { WARREN_IO: "portable" } });
  forwarder.child.stdin!.end(JSON.stringify({ ...settings, mtu: MTU, listenPort: UDP } satisfies ForwarderSettings));
  await forwarder.said(/ready/);
}
