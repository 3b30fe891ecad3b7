/** The same UAPI requests to `warren-wg` and to wireguard-go: the same answers, and the same state afterwards. */
import * as fs from "node:fs";
import * as net from "node:net";
import * as path from "node:path";
import * as fc from "fast-check";
import { KeyPair } from "../../runtime/wireguard/x25519";
import { Namespace } from "../support/namespace";
import { describeNeeding } from "../support/needs";
import { peerPath, ROOT } from "../support/repo";
import { Scratch } from "../support/scratch";
import { waitFor } from "../support/wait";

const PROGRAM = path.join(ROOT, "dist", "cli", "warren-wg.js");
const OWN = [`${"a8".repeat(31)}6a`, `${"58".repeat(31)}5a`] as const;
/** The last two are the device's own with these private keys. */
const KEYS = [
  ...["11", "22", "33"].map((byte) => byte.repeat(32)),
  ...OWN.map((key) => Buffer.from(new KeyPair(Buffer.from(key, "hex")).publicKey).toString("hex")),
];

describeNeeding(["linux", "root", "tun", "ip", "wireguard-go"], "beside wireguard-go (root, wireguard-go)", () => {
  const scratch = new Scratch();
  const files: string[] = [];
  afterAll(() => scratch.dispose());

  beforeAll(async () => {
    const namespace = await Namespace.create(scratch, "a");
    for (const command of [[process.execPath, PROGRAM], [peerPath("wireguard-go")]]) {
      const device = scratch.device();
      const file = `/var/run/wireguard/${device}.sock`;
      scratch.defer(() => fs.rmSync(file, { force: true }));
      await namespace.start([...command, "-f", device], { env: { WG_PROCESS_FOREGROUND: "1", LOG_LEVEL: "silent" } });
      await waitFor(file, () => fs.existsSync(file));
      files.push(file);
    }
  });

  /** What comes back until the other side ends, or as many answers as there were requests. */
  function ask(file: string, text: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const connection = net.connect(file);
      let said = "";
      connection.setTimeout(5000, () => reject(new Error(`no end after ${JSON.stringify(text)}: ${said}`)));
      connection.on("data", (bytes) => {
        said += bytes;
      });
      connection.on("error", reject).on("close", () => resolve(said));
      connection.end(text);
    });
  }

  /** wireguard-go lists peers in no order, and counts a device as up before it was; ports differ anyway. */
  function normal(answer: string): string {
    const [device, ...peers] = answer.replace(/^listen_port=.*\n/m, "").split(/^(?=public_key=)/m);
    const status = /errno=-?\d+\n\n$/.exec(answer)?.[0] ?? "";
    return [device, ...peers.map((peer) => peer.replace(status, "")).sort()].join("").replace(status, "") + status;
  }

  async function compare(transaction: string): Promise<void> {
    const [ours, theirs] = await Promise.all(files.map((file) => ask(file, transaction)));
    expect({ transaction, answer: ours }).toEqual({ transaction, answer: theirs });
    const [our, their] = await Promise.all(files.map((file) => ask(file, "get=1\n\n")));
    expect({ transaction, state: normal(our!) }).toEqual({ transaction, state: normal(their!) });
  }

  const set = (...lines: string[]) => `set=1\n${lines.map((line) => `${line}\n`).join("")}\n`;

  it.each([
    [
      "a whole configuration",
      set(`private_key=${OWN[0]}`, "fwmark=7", `public_key=${KEYS[0]}`, "allowed_ip=10.0.0.9/8"),
    ],
    ["unknown keys", set("x=1")],
    ["no =", set("listen_port")],
    ["keys of the other part", set(`public_key=${KEYS[0]}`, "fwmark=1")],
    ["a fault after a peer", set(`public_key=${KEYS[1]}`, "persistent_keepalive_interval=3", "endpoint=nowhere")],
    ["an unfinished set", `set=1\npublic_key=${KEYS[2]}\nallowed_ip=::/0`],
    ["CR LF", "set=1\nfwmark=9\r\n\r\n"],
    ["something after get", "get=1\nx\n"],
    ["no private key", set(`private_key=${"0".repeat(64)}`)],
    ["a key of low order", set(`public_key=${"0".repeat(64)}`, "allowed_ip=10.44.0.0/16")],
    ["ports", set("listen_port=0")],
    ["a port too high", set("listen_port=70000")],
    ["empty values", set("private_key=")],
    ["mapped addresses", set(`public_key=${KEYS[0]}`, "allowed_ip=10.0.0.0/0", "allowed_ip=2001:DB8::/33")],
    ["an endpoint with a zone", set(`public_key=${KEYS[0]}`, "endpoint=[fe80::7%lo]:51820")],
    [
      "one whose zone is a number, and one that is none",
      set(`public_key=${KEYS[1]}`, "endpoint=[fe80::7%1]:1", "endpoint=[fe80::7%]:1"),
    ],
    ["a zone of IPv4", set(`public_key=${KEYS[0]}`, "endpoint=192.0.2.1%lo:51820")],
    ["an endpoint with port 0", set(`public_key=${KEYS[0]}`, "endpoint=192.0.2.1:0")],
    ["zones", set(`public_key=${KEYS[0]}`, "allowed_ip=fe80::1%eth0/64")],
    ["all gone", set("replace_peers=true")],
  ])("%s", async (_what, transaction) => {
    await compare(transaction);
  });

  it("random transactions", async () => {
    const line = fc.oneof(
      {
        weight: 6,
        arbitrary: fc.constantFrom(
          ...KEYS.map((key) => `public_key=${key}`),
          ...OWN.map((key) => `private_key=${key}`),
          ...KEYS.map((key) => `preshared_key=${key}`),
        ),
      },
      {
        weight: 10,
        arbitrary: fc.constantFrom(
          ...[
            "replace_allowed_ips=true",
            "update_only=true",
            "remove=true",
            "protocol_version=1",
            "replace_peers=true",
          ],
          ...["allowed_ip=10.1.2.3/16", "allowed_ip=10.1.0.0/16", "allowed_ip=fd00::1/64", "allowed_ip=-10.1.0.0/16"],
          ...["allowed_ip=0.0.0.0/0", "allowed_ip=::/0", "allowed_ip=-::/0", "persistent_keepalive_interval=0"],
          ...[
            "endpoint=192.0.2.1:51820",
            "endpoint=[2001:db8::7]:1",
            "persistent_keepalive_interval=65535",
            "fwmark=3",
          ],
        ),
      },
      {
        weight: 1,
        arbitrary: fc.constantFrom(
          ...["persistent_keepalive_interval=-1", "allowed_ip=10.0.0.1", "allowed_ip=10.0.0.0/33", "allowed_ip=", "="],
          ...[
            "endpoint=192.0.2.1",
            "endpoint=::1:1",
            "endpoint=[::1]",
            "public_key=00",
            "preshared_key=",
            "remove=false",
          ],
          ...["allowed_ip=010.0.0.0/8", "allowed_ip=10.0.0.0/+8", "fwmark=0x1", "fwmark=4294967296", "listen_port=1.0"],
          ...["protocol_version=2", "update_only=yes", "private_key=zz", "nonsense", "public_key", "allowed_ip=--::/0"],
        ),
      },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(line, { maxLength: 12 }), (lines) => compare(set(...lines))),
      { numRuns: 150, seed: 1 },
    );
  }, 60_000);
});
