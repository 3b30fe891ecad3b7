/** `warren-wg` as a program: with the stock tools, against the other implementations, and what happens to its interface. */
import * as fs from "node:fs";
import * as net from "node:net";
import * as path from "node:path";
import { newKeyPair } from "../support/keys";
import { connect, Namespace } from "../support/namespace";
import { describeNeeding } from "../support/needs";
import { inner, withPair } from "../support/pair";
import { type Program, type RunResult, run } from "../support/process";
import { peerPath, ROOT } from "../support/repo";
import { Scratch } from "../support/scratch";
import { exchangeFile, ping } from "../support/traffic";
import { waitFor } from "../support/wait";

const PROGRAM = path.join(ROOT, "dist", "cli", "warren-wg.js");
const base = ["linux", "root", "tun", "ip", "wg", "ping", "curl"] as const;
const socketOf = (device: string) => `/var/run/wireguard/${device}.sock`;

describe.each(["wireguard-go", "boringtun", "warren-wg"] as const)("against %s", (other) => {
  const needs = other === "warren-wg" ? base : ([...base, other] as const);
  describeNeeding(needs, `(root${other === "warren-wg" ? "" : `, ${other}`})`, () => {
    it.each([4, 6] as const)(
      "pings and moves files over IPv%i, and counts the bytes as the other does",
      async (outer) => {
        await withPair({ left: "warren-wg", right: other, outer, psk: true }, async ({ left, right }) => {
          for (const family of [4, 6] as const) {
            expect(await ping(left.namespace, inner.right[family])).toEqual({ sent: 3, received: 3 });
            await exchangeFile(left.namespace, inner.right[family], 500_000);
          }
          const ours = await left.peer(right.publicKey);
          const theirs = await right.peer(left.publicKey);
          expect(ours.latestHandshake).toBeGreaterThan(Date.now() - 60_000);
          expect(ours.rx).toBeGreaterThan(1_000_000);
          expect(theirs.rx).toBeGreaterThan(1_000_000);
          if (other !== "boringtun") expect({ rx: ours.rx, tx: ours.tx }).toEqual({ rx: theirs.tx, tx: theirs.rx });
        });
      },
    );
  });
});

/** One interface in a namespace of its own. */
class Machine {
  private constructor(
    readonly scratch: Scratch,
    readonly namespace: Namespace,
    readonly device: string,
  ) {}

  static async create(): Promise<Machine> {
    const scratch = new Scratch();
    const device = scratch.device();
    scratch.defer(() => fs.rmSync(socketOf(device), { force: true }));
    return new Machine(scratch, await Namespace.create(scratch, "a"), device);
  }

  start(env: Record<string, string> = {}, device = this.device): Promise<Program> {
    return this.namespace.start([process.execPath, PROGRAM, "-f", device], { env: { LOG_LEVEL: "verbose", ...env } });
  }

  async running(env: Record<string, string> = {}): Promise<Program> {
    const program = await this.start(env);
    await program.said(/UAPI listener started/);
    return program;
  }

  wg(...args: string[]): Promise<RunResult> {
    return run(["wg", ...args], { mayFail: true });
  }

  async show(what: string): Promise<string> {
    return (await this.wg("show", this.device, what)).stdout.trim();
  }

  /** A file for `wg` that only root can read. */
  file(name: string, text: string): string {
    const file = this.scratch.file(name);
    fs.writeFileSync(file, text, { mode: 0o600 });
    return file;
  }

  udpPorts(): Promise<string> {
    return udpPorts(this.namespace);
  }
}

async function withMachine(body: (machine: Machine) => Promise<void>): Promise<void> {
  const machine = await Machine.create();
  try {
    await body(machine);
  } finally {
    await machine.scratch.dispose();
  }
}

async function udpPorts(namespace: Namespace): Promise<string> {
  return (await namespace.run(["cat", "/proc/net/udp"])).stdout;
}

const hexPort = (port: number) => `:${port.toString(16).toUpperCase().padStart(4, "0")} `;

describeNeeding(base, "the program (root)", () => {
  it("goes to the background when its interface is there, and ends with it", async () => {
    await withMachine(async ({ namespace, device }) => {
      await namespace.run([process.execPath, PROGRAM, device]);
      expect(await namespace.ip("link", "show", device)).toContain("mtu 1420");
      expect(fs.statSync(socketOf(device)).mode & 0o777).toBe(0o600);
      expect((await run(["wg", "show", "interfaces"])).stdout).toContain(device);
      await namespace.ip("link", "delete", device);
      await waitFor("the end of its socket", () => !fs.existsSync(socketOf(device)));
    });
  });

  it("says in the foreground why an interface cannot be, though it would run in the background", async () => {
    await withMachine(async ({ namespace, device }) => {
      await namespace.ip("link", "add", device, "type", "veth", "peer", "name", "other");
      const { code, stderr } = await namespace.run([process.execPath, PROGRAM, device], { mayFail: true });
      expect(code).toBe(1);
      expect(stderr).toBe(
        `warren-wg: There is an interface ${device} of another kind, or its name is none (at most 15 bytes): choose another name.\n`,
      );
      expect(fs.existsSync(socketOf(device))).toBe(false);
    });
  });

  it("keeps its keys out of the log, and out of everyone's reach", async () => {
    await withMachine(async (machine) => {
      const program = await machine.running();
      const keys = newKeyPair();
      const psk = Buffer.alloc(32, 9).toString("base64");
      const peer = newKeyPair().publicKey;
      await machine.wg("set", machine.device, "private-key", machine.file("key", keys.privateKey));
      await machine.wg("set", machine.device, "peer", peer, "preshared-key", machine.file("psk", psk));
      expect(await machine.show("private-key")).toBe(keys.privateKey);
      expect(await machine.show("public-key")).toBe(keys.publicKey);
      expect(await machine.show("preshared-keys")).toBe(`${peer}\t${psk}`);
      await program.stop();
      for (const secret of [keys.privateKey, psk]) {
        expect(program.output).not.toContain(secret);
        expect(program.output).not.toContain(Buffer.from(secret, "base64").toString("hex"));
      }
    });
  });

  it.each([
    ["silent", false, false],
    ["error", true, false],
    ["", true, false],
    ["verbose", true, true],
  ] as const)("with LOG_LEVEL %j it tells of faults: %p, of all else: %p", async (level, faults, all) => {
    await withMachine(async (machine) => {
      const program = await machine.start({ LOG_LEVEL: level });
      await waitFor("its socket", () => fs.existsSync(socketOf(machine.device)));
      await new Promise<void>((resolve, reject) => {
        const connection = net.connect(socketOf(machine.device)).on("error", reject).on("close", resolve).resume();
        connection.end("set=1\nnonsense=1\n\n");
      });
      await program.stop();
      const said = program.stdout + program.stderr;
      expect(/"nonsense" is no key of the device/.test(said)).toBe(faults);
      expect(said.includes("UAPI listener started")).toBe(all);
      if (!faults) expect(said).toBe("");
    });
  });

  it.each(["SIGTERM", "SIGINT"] as const)("removes interface and socket at %s", async (signal) => {
    await withMachine(async (machine) => {
      const program = await machine.running();
      program.signal(signal);
      expect(await program.exited()).toBe("exit code 0");
      expect(fs.existsSync(socketOf(machine.device))).toBe(false);
      expect(await machine.namespace.ip("link")).not.toContain(machine.device);
    });
  });

  it("ends when its socket is removed", async () => {
    await withMachine(async (machine) => {
      const program = await machine.running();
      fs.rmSync(socketOf(machine.device));
      expect(await program.exited()).toBe("exit code 0");
      expect(await machine.namespace.ip("link")).not.toContain(machine.device);
    });
  });

  it("starts again over what a killed one left behind, and not beside a living one", async () => {
    await withMachine(async (machine) => {
      const killed = await machine.running();
      await killed.kill();
      expect(fs.existsSync(socketOf(machine.device))).toBe(true);
      const second = await machine.running();
      const third = await machine.start();
      expect(await third.exited()).toBe("exit code 1");
      expect(third.stderr).toContain("is in use by another program");
      expect(await machine.show("fwmark")).toBe("off");
      await second.stop();
    });
  });

  it("refuses the socket of a living program in another namespace, and leaves it alone", async () => {
    await withMachine(async (machine) => {
      await machine.running();
      const other = await Namespace.create(machine.scratch, "b");
      const { code, stderr } = await other.run([process.execPath, PROGRAM, machine.device], { mayFail: true });
      expect(code).toBe(1);
      expect(stderr).toContain(`Another program listens on ${socketOf(machine.device)}`);
      expect(await machine.show("fwmark")).toBe("off");
      expect(await other.ip("link")).not.toContain(machine.device);
    });
  });

  it("listens while its interface is up, on the port it had", async () => {
    await withMachine(async (machine) => {
      const { namespace, device } = machine;
      await machine.running();
      expect(await machine.show("listen-port")).toBe("0");
      await namespace.ip("link", "set", device, "up");
      const port = Number(
        await waitFor("a port", async () => (await machine.show("listen-port")).replace(/^0$/, "") || false),
      );
      expect(await machine.udpPorts()).toContain(hexPort(port));
      await namespace.ip("link", "set", device, "down");
      await waitFor("closed sockets", async () => !(await machine.udpPorts()).includes(hexPort(port)));
      expect(await machine.show("listen-port")).toBe(String(port));
      await namespace.ip("link", "set", device, "up");
      await waitFor("open sockets", async () => (await machine.udpPorts()).includes(hexPort(port)));
      await machine.wg("set", device, "listen-port", "7777");
      expect(await machine.udpPorts()).toContain(hexPort(7777));
      expect(await machine.udpPorts()).not.toContain(hexPort(port));
      await machine.wg("set", device, "listen-port", "0");
      expect(await machine.show("listen-port")).not.toBe("7777");
      expect(await machine.udpPorts()).not.toContain(hexPort(7777));
    });
  });

  it("answers EADDRINUSE for a port that another program has, and keeps its own", async () => {
    await withMachine(async (machine) => {
      await machine.running();
      await machine.namespace.ip("link", "set", machine.device, "up");
      await machine.wg("set", machine.device, "listen-port", "7001");
      const code = 'require("dgram").createSocket("udp4").bind(7002, () => console.log("ready"))';
      const blocker = await machine.namespace.start([process.execPath, "-e", code]);
      await blocker.said(/ready/);
      const refused = await machine.wg("set", machine.device, "listen-port", "7002", "fwmark", "5");
      expect(refused.stderr).toBe("Unable to modify interface: Address already in use\n");
      await waitFor("its port", async () => (await machine.show("listen-port")) === "7001");
    });
  });

  it("works with setconf, syncconf, addconf and showconf", async () => {
    await withMachine(async (machine) => {
      await machine.running();
      const { device } = machine;
      const [own, a, b] = [newKeyPair(), newKeyPair(), newKeyPair()];
      const conf = (keepalive: number, ...peers: string[]) =>
        `[Interface]\nPrivateKey = ${own.privateKey}\nListenPort = 7003\nFwMark = 0x10\n\n${peers
          .map(
            (key, i) =>
              `[Peer]\nPublicKey = ${key}\nAllowedIPs = 10.9.${i}.0/24, fd09:${i}::/64\nPersistentKeepalive = ${keepalive}\n`,
          )
          .join("\n")}`;
      const lists = async () => (await machine.show("persistent-keepalive")).split("\n").sort();
      const set = machine.file("set", conf(5, a.publicKey, b.publicKey));
      expect(await machine.wg("setconf", device, set)).toMatchObject({ code: 0, stderr: "" });
      expect(await lists()).toEqual([`${a.publicKey}\t5`, `${b.publicKey}\t5`].sort());
      const shown = (await machine.wg("showconf", device)).stdout;
      expect(shown).toContain("ListenPort = 7003\nFwMark = 0x10\n");
      expect(shown).toContain("AllowedIPs = 10.9.1.0/24, fd09:1::/64\n");
      const sync = machine.file("sync", conf(6, b.publicKey));
      expect(await machine.wg("syncconf", device, sync)).toMatchObject({ code: 0, stderr: "" });
      expect(await lists()).toEqual([`${b.publicKey}\t6`]);
      expect(await machine.show("allowed-ips")).toBe(`${b.publicKey}\t10.9.0.0/24 fd09::/64`);
      const add = machine.file("add", `[Peer]\nPublicKey = ${a.publicKey}\nAllowedIPs = 10.9.0.0/24\n`);
      expect(await machine.wg("addconf", device, add)).toMatchObject({ code: 0, stderr: "" });
      expect((await machine.show("allowed-ips")).split("\n").sort()).toEqual(
        [`${a.publicKey}\t10.9.0.0/24`, `${b.publicKey}\tfd09::/64`].sort(),
      );
      await machine.wg("setconf", device, machine.file("again", shown));
      expect((await machine.wg("showconf", device)).stdout).toBe(shown);
    });
  });
});

describeNeeding(base, "link-local addresses (root)", () => {
  it("reaches a peer on a link-local address, and says by which device, also after another took its place", async () => {
    // With wireguard-go it cannot be tried: that takes a zone, shows it, and leaves it out when it sends.
    await withPair({ left: "warren-wg", right: "warren-wg" }, async ({ left, right }) => {
      const { namespace } = left;
      for (const [end, last] of [
        [left, 1],
        [right, 2],
      ] as const)
        await end.namespace.addAddress("cable", `fe80::${last}/64`);
      // Other devices have the same range: without a zone nobody knows which is meant.
      const set = (zone: string) =>
        namespace.run(["wg", "set", left.device, "peer", right.publicKey, "endpoint", `[fe80::2%${zone}]:51820`]);
      await set("cable");
      expect((await namespace.run(["wg", "show", left.device, "endpoints"])).stdout).toContain(
        "\t[fe80::2%cable]:51820",
      );
      expect(await ping(namespace, inner.right[4])).toEqual({ sent: 3, received: 3 });
      const { stdout } = await right.namespace.run(["wg", "show", right.device, "endpoints"]);
      expect(stdout).toMatch(/\t\[fe80::[^\]]+%cable\]:51820/);
      expect((await namespace.run(["wg", "show", left.device, "endpoints"])).stdout).toContain(
        "\t[fe80::2%cable]:51820",
      );
      // Another device of that name: its number is another one.
      await namespace.ip("link", "delete", "cable");
      await connect(
        { namespace, device: "cable", addresses: ["fe80::1/64"] },
        { namespace: right.namespace, device: "cable", addresses: ["fe80::2/64"] },
      );
      expect(await ping(namespace, inner.right[4])).toEqual({ sent: 3, received: 3 });
    });
  });
});

describeNeeding([...base, "wireguard-go"], "its life with a peer (root, wireguard-go)", () => {
  it("keeps its session over what changes, and makes a new one with a new key", async () => {
    await withPair({ left: "warren-wg", right: "wireguard-go", bothKnow: true }, async ({ left, right, scratch }) => {
      const works = () => ping(left.namespace, inner.right[4]);
      expect(await works()).toEqual({ sent: 3, received: 3 });
      const handshake = (await left.peer(right.publicKey)).latestHandshake;
      await run(["wg", "set", left.device, "fwmark", "77"]);
      await run(["wg", "set", left.device, "listen-port", "51999"]);
      await run(["wg", "set", left.device, "peer", right.publicKey, "persistent-keepalive", "20"]);
      await run(["wg", "set", left.device, "peer", right.publicKey, "allowed-ips", `${inner.right[4]}/32`]);
      expect(await works()).toEqual({ sent: 3, received: 3 });
      const after = await left.peer(right.publicKey);
      expect(after.latestHandshake).toBe(handshake);
      expect((await right.peer(left.publicKey)).endpoint).toBe("192.0.2.1:51999");
      // What it may say and what comes for it is one thing; nobody has the other family now.
      expect((await left.namespace.run(["ping", "-c1", "-W1", inner.right[6]], { mayFail: true })).stdout).toContain(
        "unreachable",
      );

      const fresh = newKeyPair();
      const file = scratch.file("fresh");
      fs.writeFileSync(file, fresh.privateKey, { mode: 0o600 });
      await run(["wg", "set", left.device, "private-key", file]);
      await right.setPeers({ publicKey: fresh.publicKey, allowedIps: [`${inner.left[4]}/32`] });
      expect(await ping(left.namespace, inner.right[4])).toEqual({ sent: 3, received: 3 });
      const counted = await left.peer(right.publicKey);
      expect(counted.rx).toBeGreaterThan(after.rx);
    });
  });

  it("forgets its session when the interface goes down, and speaks at once when it is up again", async () => {
    await withPair({ left: "warren-wg", right: "wireguard-go", bothKnow: true }, async ({ left, right }) => {
      const { namespace, device } = left;
      expect(await ping(namespace, inner.right[4])).toEqual({ sent: 3, received: 3 });
      await namespace.ip("link", "set", device, "down");
      await waitFor("closed sockets", async () => !(await udpPorts(namespace)).includes(hexPort(51820)));
      const before = await left.peer(right.publicKey);
      expect((await ping(right.namespace, inner.left[4], { count: 1, deadline: 1 })).received).toBe(0);
      expect((await left.peer(right.publicKey)).rx).toBe(before.rx);
      await namespace.ip("link", "set", device, "up");
      // Down, a device loses its IPv6 addresses.
      await namespace.addAddress(device, `${inner.left[6]}/64`);
      expect(await ping(namespace, inner.right[4], { deadline: 3 })).toEqual({ sent: 3, received: 3 });
      const after = await left.peer(right.publicKey);
      expect(after.latestHandshake).toBeGreaterThanOrEqual(before.latestHandshake!);
      expect(after.rx).toBeGreaterThan(before.rx);
    });
  });

  it.each([4, 6] as const)(
    "answers from the address it was written to, and from another once that is gone (IPv%i)",
    async (outer) => {
      await withPair({ left: "wireguard-go", right: "warren-wg", outer }, async ({ left, right }) => {
        const { namespace } = right;
        const length = outer === 4 ? 24 : 64;
        const [first, second] = outer === 4 ? ["192.0.2.2", "192.0.2.9"] : ["2001:db8::2", "2001:db8::9"];
        const at = (address: string) => (outer === 4 ? `${address}:51820` : `[${address}]:51820`);
        await namespace.addAddress("cable", `${second}/${length}`);
        for (const address of [second!, first!, second!]) {
          await run(["wg", "set", left.device, "peer", right.publicKey, "endpoint", at(address)]);
          expect(await ping(left.namespace, inner.right[4])).toEqual({ sent: 3, received: 3 });
          expect((await left.peer(right.publicKey)).endpoint).toBe(at(address));
        }
        await namespace.run(["sysctl", "-q", "-w", "net.ipv4.conf.cable.promote_secondaries=1"]);
        await namespace.removeAddress("cable", `${second}/${length}`);
        // It speaks first: the other side only knows the address that is gone.
        expect(await ping(namespace, inner.left[4])).toEqual({ sent: 3, received: 3 });
        expect((await left.peer(right.publicKey)).endpoint).toBe(at(first!));
      });
    },
  );

  it("follows the MTU", async () => {
    await withPair(
      { left: "warren-wg", right: "wireguard-go", outerMtu: 9000, verbose: true },
      async ({ left, right }) => {
        for (const mtu of [1280, 8000]) {
          for (const end of [left, right]) await end.namespace.ip("link", "set", end.device, "mtu", String(mtu));
          await waitFor("the news", () => left.output.includes(`MTU updated: ${mtu}`));
          expect(await ping(left.namespace, inner.right[4], { size: mtu - 28, dontFragment: true })).toEqual({
            sent: 3,
            received: 3,
          });
          await exchangeFile(left.namespace, inner.right[4], 1_000_000);
        }
      },
    );
  });

  it("goes on in another network namespace, through the sockets of the first", async () => {
    await withPair({ left: "warren-wg", right: "wireguard-go" }, async ({ left, right, scratch }) => {
      const { namespace, device } = left;
      expect(await ping(namespace, inner.right[4])).toEqual({ sent: 3, received: 3 });
      const other = await Namespace.create(scratch, "m");
      await namespace.ip("link", "set", device, "netns", other.name);
      await other.addAddress(device, `${inner.left[4]}/24`);
      await other.ip("link", "set", device, "up");
      expect(await ping(other, inner.right[4], { deadline: 5 })).toEqual({ sent: 3, received: 3 });
      await exchangeFile(other, inner.right[4], 1_000_000);
      // Seen from there, too: no sockets while it is down.
      await other.ip("link", "set", device, "down");
      await waitFor("closed sockets", async () => !(await udpPorts(namespace)).includes(hexPort(51820)));
      await other.ip("link", "set", device, "up");
      expect(await ping(other, inner.right[4], { deadline: 5 })).toEqual({ sent: 3, received: 3 });
      await other.ip("link", "delete", device);
      await waitFor("its end", () => !fs.existsSync(socketOf(device)));
      void right;
    });
  });
});

describeNeeding([...base, "wg-quick", "wireguard-go"], "wg-quick (root, wireguard-go)", () => {
  it("brings it up and down, also as the default route, and saves what was set", async () => {
    const scratch = new Scratch();
    try {
      const [a, b] = [await Namespace.create(scratch, "a"), await Namespace.create(scratch, "b")];
      await connect(
        { namespace: a, device: "cable", addresses: ["192.0.2.1/24"] },
        { namespace: b, device: "cable", addresses: ["192.0.2.2/24"] },
      );
      const ends = [a, b].map((namespace) => ({ namespace, device: scratch.device(), keys: newKeyPair() }));
      const [ours, theirs] = ends as [(typeof ends)[0], (typeof ends)[0]];
      const implementation = scratch.file("warren-wg");
      fs.writeFileSync(implementation, `#!/bin/sh\nexec ${process.execPath} ${PROGRAM} "$@"\n`, { mode: 0o755 });
      const files = ends.map((end, i) => {
        const file = scratch.file(`${end.device}.conf`);
        const other = ends[1 - i]!;
        const lines = [
          ...["[Interface]", `PrivateKey = ${end.keys.privateKey}`, `Address = 10.66.0.${i + 1}/24, fd66::${i + 1}/64`],
          ...(i === 1 ? ["ListenPort = 51820"] : []),
          ...["[Peer]", `PublicKey = ${other.keys.publicKey}`],
          i === 0 ? "AllowedIPs = 0.0.0.0/0\nEndpoint = 192.0.2.2:51820" : "AllowedIPs = 10.66.0.1/32, fd66::1/128",
        ];
        fs.writeFileSync(file, `${lines.join("\n")}\n`, { mode: 0o600 });
        scratch.defer(() => fs.rmSync(socketOf(end.device), { force: true }));
        return file;
      });
      const env = (i: number) => ({
        WG_QUICK_USERSPACE_IMPLEMENTATION: i === 0 ? implementation : peerPath("wireguard-go"),
      });
      const quick = (i: number, action: string) =>
        ends[i]!.namespace.run(["wg-quick", action, files[i]!], { env: env(i), mayFail: true });
      await b.ip("address", "add", "10.99.0.1/32", "dev", "lo");
      expect(await quick(1, "up")).toMatchObject({ code: 0 });
      const up = await quick(0, "up");
      if (up.code !== 0) throw new Error(up.stderr);
      // Through the tunnel, as everything is now; the tunnel's own packets go by the mark.
      expect(await ping(a, "10.66.0.2")).toEqual({ sent: 3, received: 3 });
      expect(await ping(a, "10.99.0.1")).toEqual({ sent: 3, received: 3 });
      expect((await run(["wg", "show", ours.device, "fwmark"])).stdout.trim()).toMatch(/^0x[0-9a-f]+$/);
      await run(["wg", "set", ours.device, "peer", theirs.keys.publicKey, "persistent-keepalive", "17"]);
      expect(await quick(0, "save")).toMatchObject({ code: 0 });
      expect(fs.readFileSync(files[0]!, "utf8")).toContain("PersistentKeepalive = 17");
      expect(await quick(0, "down")).toMatchObject({ code: 0 });
      await waitFor("its end", () => !fs.existsSync(socketOf(ours.device)));
      expect(await a.ip("link")).not.toContain(ours.device);
      expect(await quick(1, "down")).toMatchObject({ code: 0 });
    } finally {
      await scratch.dispose();
    }
  });
});
