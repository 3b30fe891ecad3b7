/**
 * wireguard-go's own test, `tests/netns.sh`, with `warren-wg` in its place: transport over both families, big MTUs, roaming, the
 * crypto-routing filter, NAT, sticky source addresses, and thousands of allowed IPs through the UAPI socket.
 */
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { describeNeeding, findProgram } from "../support/needs";
import { run } from "../support/process";
import { peers, ROOT } from "../support/repo";
import { Scratch } from "../support/scratch";

const PROGRAM = path.join(ROOT, "dist", "cli", "warren-wg.js");

/** Where Go keeps the sources that the peer was built from. */
function findScript(): string | undefined {
  const go = findProgram("go");
  if (go === undefined) return undefined;
  const cache = spawnSync(go, ["env", "GOMODCACHE"], { encoding: "utf8" }).stdout.trim();
  const file = path.join(cache, `golang.zx2c4.com/wireguard@v${peers["wireguard-go"].version}`, "tests", "netns.sh");
  return fs.existsSync(file) ? file : undefined;
}

/** Without what machines often lack (ncat, iptables, the kernel's log), with less data, and under names of this test. */
function adapted(script: string, id: string): string {
  const listen = /exec 4< <\(n1 ncat[\s\S]*?kill \$nmap_pid\n/;
  const changes: readonly (readonly [string | RegExp, string])[] = [
    [/wg-test-\$\$/g, id],
    [/^.*message_cost.*\n/gm, ""],
    [/ -Z -n 1G/g, " -n 5M"],
    // A first handshake may take longer where other tests run beside this one.
    [/-W 1 /g, "-W 5 "],
    [listen, "n2 ping -c 1 -W 5 192.168.241.1\n"],
    [listen, "! n2 ping -c 1 -W 1 192.168.241.1 || false\n"],
    [
      /iptables -t nat -A POSTROUTING -s (\S+) -d (\S+) -j SNAT --to (\S+)/,
      "nft 'table ip nat { chain p { type nat hook postrouting priority 100; ip saddr $1 ip daddr $2 snat to $3; }; }'",
    ],
    ["iptables -t nat -F", "nft flush ruleset"],
    [/^declare -A objects[\s\S]*?^\[\[ \$alldeleted -eq 1 \]\]$/m, ""],
  ];
  return changes.reduce((text, [from, to]) => {
    const next = text.replace(from, to);
    if (next === text) throw new Error(`the script has no ${from} any more`);
    return next;
  }, script);
}

const script = findScript();
const name = "netns.sh of wireguard-go (root, wireguard-go)";
if (script === undefined)
  describe.skip(`${name} (skipped: needs wireguard-go's sources, which Go fetches to build it)`, () =>
    it("passes", () => {}));
else
  describeNeeding(["linux", "root", "tun", "ip", "wg", "ping", "iperf3", "nft", "wireguard-go"], name, () => {
    it("passes", async () => {
      const scratch = new Scratch();
      try {
        const file = scratch.file("netns.sh");
        fs.writeFileSync(file, adapted(fs.readFileSync(script, "utf8"), scratch.id));
        const program = scratch.file("program");
        fs.writeFileSync(program, `#!/bin/sh\nexec ${process.execPath} ${PROGRAM} "$@" >/dev/null 2>&1\n`, {
          mode: 0o755,
        });
        scratch.defer(async () => {
          for (const end of ["0", "1", "2"])
            await run(["ip", "netns", "del", `${scratch.id}-${end}`], { mayFail: true });
        });
        // Its interfaces are wg0, wg1 and wg2, and so are their sockets: in a folder that only they see.
        const inside = "mkdir -p /var/run/wireguard && mount -t tmpfs none /var/run/wireguard && exec bash -x $0 $1";
        const { stdout } = await run(["unshare", "-m", "bash", "-c", inside, file, program], {
          timeout: 110_000,
          env: scratch.env,
        });
        expect(stdout).toContain("ip netns del");
      } finally {
        await scratch.dispose();
      }
    }, 120_000);
  });
