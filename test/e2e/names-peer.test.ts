/** Names as a peer of wg-quick asks for them. */
import * as fs from "node:fs";
import * as path from "node:path";
import { Namespace } from "../support/namespace";
import { describeNeeding } from "../support/needs";
import { peerPath } from "../support/repo";
import { useScratch } from "../support/scratch";
import { waitFor } from "../support/wait";
import { Machine } from "./machine";

/** Writes down how it was called and what it was given. */
const RESOLVCONF = `#!/bin/sh
echo "resolvconf $*" >> "$WARREN_TEST_LOG"
case "$1" in -a) cat >> "$WARREN_TEST_LOG";; esac
`;

/** What a machine had before. */
const OWN = "nameserver 192.0.2.53\n";

const RESOLVECTL = `#!/bin/sh
echo "resolvectl $*" >> "$WARREN_TEST_LOG"
`;

describeNeeding(
  ["linux", "root", "tun", "ip", "dig", "wg-quick", "wireguard-go"],
  "names, asked by a peer of wg-quick",
  () => {
    const scratch = useScratch();

    it.each(["split", "all"] as const)(
      "dns: %s: resolvconf is told the server, and it answers the peer alone",
      async (dns) => {
        const namespace = await Namespace.create(scratch, dns[0]!);
        const machine = await new Machine(scratch, {
          folder: dns,
          through: ["ip", "netns", "exec", namespace.name],
        }).start();
        await machine.putNetwork("net");
        await machine.runApp("net", "east");
        const privateKey = await machine.putPeer("net", "laptop", "10.1.2.50", dns);
        const text = await machine.peerConfig("laptop", privateKey);
        const device = scratch.device();
        const file = scratch.file(`${device}.conf`);
        fs.writeFileSync(file, text, { mode: 0o600 });
        const programs = scratch.file(`bin-${dns}`);
        fs.mkdirSync(programs);
        fs.writeFileSync(path.join(programs, "resolvconf"), RESOLVCONF, { mode: 0o755 });
        fs.writeFileSync(path.join(programs, "resolvectl"), RESOLVECTL, { mode: 0o755 });
        const log = scratch.file(`${dns}.log`);
        const env = {
          PATH: `${programs}:${process.env.PATH}`,
          WARREN_TEST_LOG: log,
          WG_QUICK_USERSPACE_IMPLEMENTATION: peerPath("wireguard-go"),
          LOG_LEVEL: "silent",
        };
        const dig = (...args: string[]) =>
          namespace.run(["dig", "+short", "+time=1", "+tries=1", "@10.1.2.2", ...args], { mayFail: true });
        // Outside the tunnel nobody hears of it.
        expect((await dig("east.internal")).code).not.toBe(0);
        scratch.defer(() => fs.rmSync(`/var/run/wireguard/${device}.sock`, { force: true }));
        await namespace.run(["wg-quick", "up", file], { env });
        await waitFor("an answer", async () => (await dig("east.internal")).stdout === "10.1.2.3\n");
        expect((await dig("+tcp", "laptop._peer.internal")).stdout).toBe("10.1.2.50\n");
        expect((await dig("-x", "10.1.2.50")).stdout).toBe("laptop._peer.internal.\n");
        await namespace.run(["wg-quick", "down", file], { env });
        const told = fs.readFileSync(log, "utf8");
        expect(told).toContain(`resolvconf -a ${device} -m 0 -x\nnameserver 10.1.2.2\nsearch internal\n`);
        // What resolvconf made of that is taken back for split, in the way of systemd-resolved.
        const routed = `resolvectl domain ${device} internal ~internal ~flycast\n`;
        if (dns === "split") expect(told.indexOf(routed)).toBeGreaterThan(told.indexOf("search internal"));
        else expect(told).not.toContain("resolvectl");
        expect(told).toContain(`resolvconf -d ${device} -f\n`);
        expect((await dig("east.internal")).code).not.toBe(0);
      },
      60_000,
    );
  },
);

/** With a /run and files in /etc of its own: openresolv writes where it would on any machine, and this one keeps what it has. */
const WITH_OPENRESOLV = `set -e
mount -t tmpfs none /run
mount --bind "$2/resolv.conf" /etc/resolv.conf
mount --bind "$2/resolvconf.conf" /etc/resolvconf.conf
wg-quick up "$1" >&2
cat /etc/resolv.conf
for name in east.internal east laptop._peer.internal east.flycast; do getent ahostsv4 "$name" | head -n 1 | cut -d " " -f 1; done
getent hosts nobody.internal || echo none
wg-quick down "$1" >&2
cat /etc/resolv.conf`;

describeNeeding(
  ["linux", "root", "tun", "ip", "wg-quick", "wireguard-go", "openresolv"],
  "names, asked by a peer of wg-quick that has openresolv",
  () => {
    const scratch = useScratch();

    it.each(["all", "split"] as const)(
      "dns: %s: the C library finds members by the network's server, and the machine's own again afterwards",
      async (dns) => {
        const namespace = await Namespace.create(scratch, dns[0]!);
        const before = ["ip", "netns", "exec", namespace.name];
        const machine = await new Machine(scratch, { folder: dns, before }).start();
        await machine.putNetwork("net");
        const { service } = await machine.runApp("net", "east");
        const text = await machine.peerConfig("laptop", await machine.putPeer("net", "laptop", "10.1.2.50", dns));
        const etc = scratch.file(`etc-${dns}`);
        fs.mkdirSync(etc);
        fs.writeFileSync(path.join(etc, "resolv.conf"), OWN);
        fs.writeFileSync(path.join(etc, "resolvconf.conf"), `resolv_conf=${path.join(etc, "resolv.conf")}\n`);
        const file = path.join(etc, `${scratch.device()}.conf`);
        fs.writeFileSync(file, text, { mode: 0o600 });
        const argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", WITH_OPENRESOLV, "sh", file, etc];
        const env = { WG_QUICK_USERSPACE_IMPLEMENTATION: peerPath("wireguard-go"), LOG_LEVEL: "silent" };
        const { stdout } = await namespace.run(argv, { env, timeout: 40_000 });
        expect(stdout).toBe(
          [
            ...["# Generated by resolvconf", "search internal", "nameserver 10.1.2.2"],
            ...["10.1.2.3", "10.1.2.3", "10.1.2.50", service!.ipv4, "none"],
            OWN,
          ].join("\n"),
        );
      },
      60_000,
    );
  },
);
