/**
 * Stock wg-quick over wireguard-go, with the text that a Peer gives out: the examples peer-laptop (a laptop on a cable) and
 * fly-tutorial (on the machine itself), and the options of a peer. Daemon and laptop live in namespaces of their own.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import * as qrcode from "qrcode";
import { newKeyPair } from "../support/keys";
import { connect, Namespace } from "../support/namespace";
import { describeNeeding, type Need } from "../support/needs";
import { peerPath } from "../support/repo";
import { Scratch } from "../support/scratch";
import { waitFor } from "../support/wait";
import { NOTHING, pathWithoutGo, Stage, values } from "./stage";

const NEEDS: readonly Need[] = ["linux", "root", "tun", "ip", "wg", "wg-quick", "curl", "wireguard-go"];
const GATEWAY = "192.0.2.1";
const LAPTOP = "192.0.2.2";

/** A `wg-quick up` of a config text. Where the kernel has WireGuard itself, wg-quick takes that. */
class WgQuick {
  private constructor(
    private readonly namespace: Namespace,
    private readonly file: string,
    readonly device: string,
  ) {}

  static async up(namespace: Namespace, text: string): Promise<WgQuick> {
    const { scratch } = namespace;
    const device = scratch.device();
    const quick = new WgQuick(namespace, scratch.file(`${device}.conf`), device);
    fs.writeFileSync(quick.file, text, { mode: 0o600 });
    scratch.defer(() => fs.rmSync(`/var/run/wireguard/${device}.sock`, { force: true }));
    await quick.call("up");
    return quick;
  }

  down(): Promise<void> {
    return this.call("down");
  }

  private async call(operation: "up" | "down"): Promise<void> {
    // wireguard-go stays in the background with this call's standard streams, unless it has nothing to say.
    const env = { WG_QUICK_USERSPACE_IMPLEMENTATION: peerPath("wireguard-go"), LOG_LEVEL: "silent" };
    await this.namespace.run(["wg-quick", operation, this.file], { env });
  }

  /** Seconds since 1970; 0: never. */
  async latestHandshake(): Promise<number> {
    const { stdout } = await this.namespace.run(["wg", "show", this.device, "latest-handshakes"]);
    return Number(stdout.trim().split("\t")[1]);
  }
}

function curl(from: Namespace, url: string, timeout = 15_000): Promise<string> {
  return waitFor(`an answer of ${url}`, async () => (await curlOnce(from, url)).stdout, { timeout });
}

function curlOnce(from: Namespace, url: string) {
  return from.run(["curl", "-sS", "--fail", "--max-time", "2", url]);
}

async function refused(from: Namespace, url: string): Promise<boolean> {
  const { code } = await from.run(["curl", "-sS", "--max-time", "2", url], { mayFail: true });
  return code !== 0;
}

describeNeeding(NEEDS, "peer-laptop, on a cable to the machine", () => {
  const scratch = new Scratch();
  let laptop: Namespace;
  let machine: Namespace;
  let stage: Stage;
  let dir: string;
  const phone = newKeyPair();
  const config = ["-c", `warren:endpoint=${GATEWAY}`, "-c", `phonePublicKey=${phone.publicKey}`];
  const url = "http://10.7.0.5:8080";

  beforeAll(async () => {
    machine = await Namespace.create(scratch, "m");
    laptop = await Namespace.create(scratch, "l");
    await connect(
      { namespace: machine, device: "cable", addresses: [`${GATEWAY}/24`] },
      { namespace: laptop, device: "cable", addresses: [`${LAPTOP}/24`] },
    );
    stage = new Stage(scratch, { within: machine });
    dir = stage.copy("peer-laptop");
    expect(values(await stage.stack("preview", dir, ...config))).toMatchObject({ helloIp: "10.7.0.5" });
    await stage.stack("up", dir, ...config);
  }, 200_000);
  afterAll(() => scratch.dispose(), 60_000);

  it("stays as it is while apps come and go, and reaches them all", async () => {
    const text = await stage.output(dir, "laptopConfig");
    expect(text).toMatch(/^Address = 10\.7\.0\.3\/24$/m);
    expect(text).toMatch(/^PresharedKey = /m);
    expect(text).toMatch(new RegExp(`^Endpoint = ${GATEWAY.replaceAll(".", "\\.")}:\\d+$`, "m"));
    expect(await refused(laptop, url)).toBe(true);
    await WgQuick.up(laptop, text);
    expect(await curl(laptop, url)).toBe("Hello, 10.7.0.3!\n");

    const program = path.join(dir, "index.ts");
    const before = fs.readFileSync(program, "utf8");
    fs.appendFileSync(
      program,
      `\nnew warren.App("later", { network, region: "iad", command: [process.execPath, "hello.js"] });\n`,
    );
    expect((await stage.stack("up", dir, ...config)).counts).toMatchObject({ ...NOTHING, create: 1 });
    expect(await stage.output(dir, "laptopConfig")).toBe(text);
    expect(await curl(laptop, "http://10.7.0.6:8080")).toBe("Hello, 10.7.0.3!\n");
    fs.writeFileSync(program, before);
    expect((await stage.stack("up", dir, ...config)).counts).toMatchObject({ ...NOTHING, delete: 1 });
    expect(await stage.output(dir, "laptopConfig")).toBe(text);
    expect(await curl(laptop, url)).toBe("Hello, 10.7.0.3!\n");
    expect(await refused(laptop, "http://10.7.0.6:8080")).toBe(true);
  }, 200_000);

  it("is reached again at once after the daemon was killed, without a word of its own", async () => {
    const pid = await stage.daemonPid();
    process.kill(pid, "SIGKILL");
    await waitFor("another daemon", async () => (await stage.daemonPid()) !== pid);
    // wireguard-go itself would begin a handshake only 15 s after its first packet that nobody answers.
    expect(await curl(laptop, url, 10_000)).toBe("Hello, 10.7.0.3!\n");
  }, 60_000);

  it("with a key of its own has no private key here", async () => {
    const text = await stage.output(dir, "phoneConfig");
    expect(text).toMatch(/^# PrivateKey = /m);
    await WgQuick.up(machine, text.replace(/^# PrivateKey = .*$/m, `PrivateKey = ${phone.privateKey}`));
    expect(await curl(machine, url)).toBe("Hello, 10.7.0.4!\n");
  }, 60_000);

  it("can be shown as a QR code, with a placeholder for the key", async () => {
    const { stdout: text } = await stage.warren(["config", "laptop"]);
    expect(text).toContain("PrivateKey = PRIVATE_KEY_IS_IN_THE_PULUMI_STATE");
    const { stdout: qr } = await stage.warren(["config", "laptop", "--qr"]);
    expect(qr.trimEnd()).toBe((await qrcode.toString(text, { type: "terminal", small: true })).trimEnd());
  }, 60_000);

  it("is gone with its stack", async () => {
    await stage.stack("destroy", dir, ...config);
    expect(await stage.json("networks")).toEqual([]);
    expect(await refused(laptop, url)).toBe(true);
  }, 60_000);
});

describeNeeding([...NEEDS, "nobody"], "peer-laptop, with apps on the link userspace and nothing else", () => {
  const scratch = new Scratch();
  afterAll(() => scratch.dispose(), 60_000);

  it("reaches them with a stock client; they see loopback instead of its address", async () => {
    const machine = await Namespace.create(scratch, "m");
    const laptop = await Namespace.create(scratch, "l");
    await connect(
      { namespace: machine, device: "cable", addresses: [`${GATEWAY}/24`] },
      { namespace: laptop, device: "cable", addresses: [`${LAPTOP}/24`] },
    );
    const stage = new Stage(scratch, {
      within: machine,
      unprivileged: "with-nothing",
      env: { WARREN_LINK: "userspace" },
    });
    const dir = stage.copy("peer-laptop");
    await stage.stack("up", dir, "-c", `warren:endpoint=${GATEWAY}`);
    await WgQuick.up(laptop, await stage.output(dir, "laptopConfig"));
    expect(await curl(laptop, "http://10.7.0.4:8080")).toBe("Hello, 127.0.0.1!\n");
    expect((await laptop.run(["ping", "-c", "1", "-W", "5", "10.7.0.4"])).stdout).toContain("1 received");
    // Another port is one of the machine's own, and stays so.
    expect(await refused(laptop, "http://10.7.0.4:22")).toBe(true);
    await stage.stack("destroy", dir);
  }, 200_000);
});

describe.each<{ who: string; unprivileged: boolean; needs: readonly Need[] }>([
  { who: "root", unprivileged: false, needs: NEEDS },
  { who: "nobody", unprivileged: true, needs: [...NEEDS, "nobody"] },
])("a peer of a daemon of $who", ({ unprivileged, needs }) => {
  describeNeeding(needs, "on the machine itself", () => {
    const scratch = new Scratch();
    afterAll(() => scratch.dispose(), 60_000);

    it("curls both apps of the tutorial", async () => {
      const machine = await Namespace.create(scratch, "m");
      const stage = new Stage(scratch, { within: machine, unprivileged, env: { PATH: pathWithoutGo(scratch) } });
      const dir = stage.copy("fly-tutorial");
      await stage.stack("up", dir);
      expect(await refused(machine, "http://10.1.2.4:8080")).toBe(true);
      expect(await refused(machine, "http://127.0.0.1:8080")).toBe(true);
      const tunnel = await WgQuick.up(machine, await stage.output(dir, "config"));
      expect(await curl(machine, "http://10.1.2.4:8080")).toBe("Hello from api-service-east!\n");
      expect(await curl(machine, "http://10.1.2.5:8080")).toBe("Hello from api-service-west!\n");
      expect(await tunnel.latestHandshake()).toBeGreaterThan(0);
      expect((await stage.warren(["status"])).stdout).toMatch(/laptop +127\.0\.0\.1:\d+ +\d+ s ago/);
      await tunnel.down();
      await stage.stack("destroy", dir);
    }, 200_000);
  });
});

describeNeeding(NEEDS, "the options of a peer", () => {
  const scratch = new Scratch();
  afterAll(() => scratch.dispose(), 60_000);
  const hello = `require("node:http").createServer((q, r) => r.end("Hello, " + q.socket.remoteAddress)).listen(process.env.PORT, "0.0.0.0");`;
  const program = (peer: string) => `
const network = new warren.Network("net", { cidr: "10.9.0.0/24" });
const site = new warren.Peer("site", { network, endpoint: "${GATEWAY}", ${peer} });
const hello = new warren.App("hello", { network, command: [process.execPath, "hello.js"] });
exports.config = site.config;`;

  it("routes a range behind it, and refuses it once it has expired", async () => {
    const machine = await Namespace.create(scratch, "m");
    const site = await Namespace.create(scratch, "s");
    await connect(
      { namespace: machine, device: "cable", addresses: [`${GATEWAY}/24`] },
      { namespace: site, device: "cable", addresses: [`${LAPTOP}/24`] },
    );
    const stage = new Stage(scratch, { within: machine });
    const files = { "hello.js": hello };
    const dir = stage.program("site", program(`routes: ["192.168.77.0/24"]`), files);
    await stage.stack("up", dir);
    const text = await stage.output(dir, "config");
    expect(text).toMatch(/^AllowedIPs = 10\.9\.0\.0\/24$/m);
    await WgQuick.up(site, text);

    // A printer, say, in the range that only the peer reaches.
    await site.addAddress("lo", "192.168.77.9/32");
    const printer = `require("node:http").createServer((q, r) => r.end("ready for " + q.socket.remoteAddress)).listen(631, "192.168.77.9");`;
    await site.start([process.execPath, "-e", printer]);
    expect(await stage.curlFrom("hello", "http://192.168.77.9:631")).toBe("ready for 10.9.0.4");
    expect(await curl(site, "http://10.9.0.4:8080")).toBe("Hello, 10.9.0.3");

    const expiry = Date.now() + 12_000;
    stage.program("site", program(`expiresAt: "${new Date(expiry).toISOString()}"`), files);
    expect((await stage.stack("up", dir)).counts).toMatchObject({ ...NOTHING, update: 1 });
    expect(await stage.output(dir, "config")).toBe(text);
    await waitFor("the end of the peer", () => refused(site, "http://10.9.0.4:8080"), { timeout: 40_000 });
    expect(Date.now()).toBeGreaterThanOrEqual(expiry - 2500); // Curl itself waits for 2 s.
    // The app is still there for others.
    expect(await stage.curlFrom("hello", "http://hello.internal:8080")).toBe("Hello, 10.9.0.4");
    await stage.stack("destroy", dir);
  }, 180_000);
});
