/** Names as stock programs ask for them: from apps on the link tun, and from a peer of wg-quick. */
import * as fs from "node:fs";
import * as path from "node:path";
import { newKeyPair } from "../support/keys";
import { Namespace } from "../support/namespace";
import { describeNeeding } from "../support/needs";
import { run } from "../support/process";
import { peerPath } from "../support/repo";
import { useScratch } from "../support/scratch";
import { waitFor } from "../support/wait";
import { Machine } from "./machine";

const DUAL = { cidr: "10.1.2.0/24", ipv6Cidr: "fd00:1:2::/64" };

const NODE_PROGRAM = `
const dns = require("node:dns/promises");
(async () => {
  const [srv] = await dns.resolveSrv("_http._tcp.web.internal");
  console.log(JSON.stringify({
    srv: srv.port,
    target: (await dns.resolve4(srv.name)).length,
    regions: await dns.resolveTxt("regions.web.internal"),
    self: (await dns.resolve4(process.env.FLY_MACHINE_ID + ".vm." + process.env.FLY_APP_NAME + ".internal"))[0] === process.env.FLY_PRIVATE_IP,
    reverse: (await dns.reverse((await dns.resolve4("web.internal"))[0]))[0].split(".").slice(1).join("."),
    families: [...new Set((await dns.lookup("web", { all: true })).map((a) => a.family))].sort(),
    missing: await dns.resolve4("nobody.internal").catch((e) => e.code),
  }));
})();`;

const GO_PROGRAM = `package main

import (
	"context"
	"fmt"
	"net"
	"os"
)

func main() {
	r := &net.Resolver{PreferGo: true}
	ctx := context.Background()
	hosts, err := r.LookupHost(ctx, "web.internal")
	fmt.Println(len(hosts), err)
	short, err := r.LookupHost(ctx, "web")
	fmt.Println(len(short), err)
	texts, err := r.LookupTXT(ctx, "_apps.internal")
	fmt.Println(texts, err)
	_, srv, err := r.LookupSRV(ctx, "http", "tcp", "web.internal")
	fmt.Println(len(srv), srv[0].Port, err)
	names, err := r.LookupAddr(ctx, os.Getenv("FLY_PRIVATE_IP"))
	fmt.Println(names[0] == os.Getenv("FLY_MACHINE_ID")+".vm.asker.internal.", err)
	_, err = r.LookupHost(ctx, "nobody.internal")
	fmt.Println(err.(*net.DNSError).IsNotFound)
}
`;

describeNeeding(["linux", "root", "tun", "curl", "dig"], "names, asked by stock programs in an app", () => {
  const scratch = useScratch();
  const machine = new Machine(scratch);
  let addresses: string[];
  beforeAll(async () => {
    await machine.start();
    await machine.putNetwork("net", DUAL);
    await machine.runApp("net", "asker");
    await machine.runApp("net", "web", { regions: ["ord", "iad"] });
    addresses = (await machine.instances("web")).flatMap(({ ipv4, ipv6 }) => [ipv4!, ipv6!]).sort();
  }, 60_000);
  const dig = async (...args: string[]) =>
    (await machine.exec("asker", ["dig", "+time=3", "+tries=1", ...args])).trim().split("\n").filter(Boolean).sort();

  it("dig: UDP and TCP, both families, lists, services, and back from an address", async () => {
    expect(addresses).toHaveLength(4);
    const [v6, v4] = [addresses.filter((a) => a.includes(":")), addresses.filter((a) => !a.includes(":"))];
    for (const way of ["+notcp", "+tcp"]) {
      expect(await dig(way, "+short", "web.internal")).toEqual(v4);
      expect(await dig(way, "+short", "web.internal", "AAAA")).toEqual(v6);
      expect(await dig(way, "+short", "_apps.internal", "TXT")).toEqual(['"asker,web"']);
    }
    const [ord, iad] = await machine.instances("web");
    expect(await dig("+short", "ord.web.internal")).toEqual([ord!.ipv4]);
    expect(await dig("+short", "top1.nearest.of.web.internal")).toEqual([ord!.ipv4]);
    expect(await dig("+short", "vms.web.internal", "TXT")).toEqual([`"${ord!.id} ord,${iad!.id} iad"`]);
    expect(await dig("+short", "-x", iad!.ipv4!)).toEqual([`${iad!.id}.vm.web.internal.`]);
    expect(await dig("+short", "-x", iad!.ipv6!)).toEqual([`${iad!.id}.vm.web.internal.`]);
    expect(await dig("+short", "_8080._tcp.web.internal", "SRV")).toEqual(
      [ord!, iad!].map(({ id }) => `1 1 8080 ${id}.vm.web.internal.`).sort(),
    );
  });

  it("dig: what is not there, and what is not asked like that", async () => {
    const status = async (...args: string[]) => /status: (\w+)/.exec((await dig(...args)).join("\n"))?.[1];
    expect(await status("nobody.internal")).toBe("NXDOMAIN");
    expect(await status("web.internal", "MX")).toBe("NOERROR");
    expect(await status("web.internal", "CH", "TXT")).toBe("REFUSED");
    expect(await status("+opcode=NOTIFY", "web.internal")).toBe("NOTIMP");
    expect(await status("+edns=1", "+noednsnegotiation", "web.internal")).toBe("BADVERS");
    expect(await status("+norecurse", "www.example.com")).toBe("REFUSED");
  });

  it("the C library's resolver: whole names, the search list, both families, and names of addresses", async () => {
    const getent = async (...args: string[]) =>
      [...new Set((await machine.exec("asker", ["getent", ...args])).split("\n").map((line) => line.split(/\s+/)[0]))]
        .filter(Boolean)
        .sort();
    for (const name of ["web.internal", "web"]) expect(await getent("ahosts", name)).toEqual(addresses);
    expect(await getent("ahostsv6", "iad.web.internal")).toEqual([(await machine.instances("web"))[1]!.ipv6]);
    const { id, ipv4 } = (await machine.instances("web"))[0]!;
    expect(await machine.exec("asker", ["getent", "hosts", ipv4!])).toContain(`${id}.vm.web.internal`);
    // An app of several instances finds all of them by its own name.
    const own = await machine.exec("web", ["getent", "ahosts", "web.internal"]);
    for (const address of addresses) expect(own).toContain(address);
    expect(await getent("ahostsv4", "fly-local-6pn")).toEqual([(await machine.instance("asker")).ipv4]);
    const { stdout } = await machine.warren(["exec", "asker", "--", "getent", "hosts", "nobody"], { mayFail: true });
    expect(stdout).toBe("");
    expect(await machine.curl("asker", "http://web:8080")).toBe("Hello from web!\n");
    expect(await machine.exec("asker", ["curl", "-6", "-sS", "--max-time", "5", "http://web.internal:8080"])).toBe(
      "Hello from web!\n",
    );
  });

  it("a Node program, by c-ares and by the C library", async () => {
    const said = JSON.parse(await machine.exec("asker", machine.script("resolver", NODE_PROGRAM)));
    expect(said).toEqual({
      srv: 8080,
      target: 1,
      regions: [["ord,iad"]],
      self: true,
      reverse: expect.stringMatching(/^[01]\.vm\.web\.internal$/),
      families: [4, 6],
      missing: "ENOTFOUND",
    });
  });

  it("a new app has its name on every host within a second, and loses it with the app", async () => {
    const place = async (region: string) => (await machine.instances("web")).find((i) => i.region === region)!.slot;
    const slots = [await place("ord"), await place("iad")];
    const member = await machine.putApp("net", "late");
    const created = Date.now();
    const ask = async (instance: string, name: string) =>
      (await machine.exec("web", ["dig", "+short", "+time=1", "+tries=1", name], { instance })).trim();
    // The program that asks takes its time to start; the names are there before it comes to ask.
    for (const slot of slots) expect(await ask(slot, "late.internal")).toBe(member.addresses[0]!.ipv4);
    expect(Date.now() - created).toBeLessThan(10_000);
    await machine.client.deleteMember(member.id);
    for (const slot of slots) expect(await ask(slot, "late.internal")).toBe("");
  }, 30_000);

  it("warren dig asks the same, as this machine and as a member", async () => {
    const [ord, iad] = await machine.instances("web");
    const short = async (...args: string[]) =>
      (await machine.warren(["dig", "--short", ...args])).stdout.trim().split("\n").sort();
    expect(await short("web")).toEqual(addresses);
    expect(await short("web.internal", "A", "--as", "asker")).toEqual(addresses.filter((a) => !a.includes(":")));
    expect(await short(ord!.ipv4!)).toEqual([`${ord!.id}.vm.web.internal`]);
    const { stdout } = await machine.warren(["dig", "iad.web", "AAAA", "--json"]);
    expect(JSON.parse(stdout)).toEqual({
      network: "net",
      as: null,
      name: "iad.web.internal",
      status: "NOERROR",
      answers: [{ name: "iad.web.internal", type: "AAAA", ttl: 5, data: iad!.ipv6 }],
    });
    for (const [args, said] of [
      [["nobody"], /^warren: nobody\.internal does not exist in net: /],
      [["web", "MX"], /^warren: web\.internal exists, but has no MX record\.\n$/],
      [["web", "NOTHING"], /^warren: "NOTHING" is no type of record .* use A, AAAA/],
      [["web", "--as", "nobody"], /^warren: There is no app or peer "nobody": there are asker, web\.\n$/],
      [["web", "--network", "other"], /^warren: There is no network "other": there are net\.\n$/],
      [["a..b"], /^warren: "a\.\.b(\.internal)?" is no domain name/],
    ] as const) {
      const { code, stderr } = await machine.warren(["dig", ...args], { mayFail: true });
      expect([code, stderr]).toEqual([1, expect.stringMatching(said)]);
    }
  }, 30_000);

  describeNeeding(["go"], "and Go's own resolver", () => {
    it("finds hosts, texts, services and names of addresses", async () => {
      const source = scratch.file("main.go");
      fs.writeFileSync(source, GO_PROGRAM);
      const program = scratch.file("resolver");
      await run(["go", "build", "-o", program, source], {
        timeout: 60_000,
        env: { CGO_ENABLED: "0", GOFLAGS: "-mod=mod" },
      });
      fs.chmodSync(program, 0o755);
      expect((await machine.exec("asker", [program])).split("\n")).toEqual([
        "4 <nil>",
        "4 <nil>",
        "[asker,web] <nil>",
        "2 8080 <nil>",
        "true <nil>",
        "true",
        "",
      ]);
    }, 90_000);
  });
});

/** Writes down how it was called and what it was given. */
const RESOLVCONF = `#!/bin/sh
echo "resolvconf $*" >> "$WARREN_TEST_LOG"
case "$1" in -a) cat >> "$WARREN_TEST_LOG";; esac
`;

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
        const keys = newKeyPair();
        await machine.client.putMember("net", "laptop", {
          owner: machine.ownerOf("laptop"),
          name: "laptop",
          kind: "peer",
          addresses: [{ slot: "peer", ipv4: "10.1.2.50" }],
          peer: { publicKey: keys.publicKey, routes: [], dns, tags: {} },
        });
        const text = (await machine.warren(["config", "laptop"])).stdout.replace(
          /(# )?PrivateKey = .*/,
          `PrivateKey = ${keys.privateKey}`,
        );
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
