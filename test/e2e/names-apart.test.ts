/** What keeps names apart: families of addresses, networks, and the resolvers of the machine itself. */
import * as fs from "node:fs";
import * as path from "node:path";
import { buildGo } from "../support/go";
import { Namespace } from "../support/namespace";
import { describeNeeding } from "../support/needs";
import { Program } from "../support/process";
import { useScratch } from "../support/scratch";
import { Machine } from "./machine";

const FAMILIES_NODE = `
const dns = require("node:dns/promises");
(async () => {
  console.log(await dns.resolve6("plain.internal").catch((e) => e.code), (await dns.resolve4("plain.internal")).length);
  console.log((await dns.lookup("plain", { all: true, verbatim: true })).length);
  console.log(await dns.lookup("plain", { family: 6 }).catch((e) => e.code));
})();`;

const FAMILIES_GO = `package main

import (
	"context"
	"fmt"
	"net"
)

func main() {
	r := &net.Resolver{PreferGo: true}
	_, err := r.LookupIP(context.Background(), "ip6", "plain.internal")
	fmt.Println(err != nil)
	for _, network := range []string{"ip4", "ip"} {
		ips, err := r.LookupIP(context.Background(), network, "plain")
		fmt.Println(len(ips), err)
	}
}
`;

describeNeeding(["linux", "root", "tun", "ip", "dig"], "a network of IPv4 only, beside another", () => {
  const scratch = useScratch();
  let machine: Machine;
  beforeAll(async () => {
    // Without a way out: what goes to the other network's addresses cannot meet somebody else who has them.
    const world = await Namespace.create(scratch, "n");
    machine = await new Machine(scratch, { before: ["ip", "netns", "exec", world.name] }).start();
    await machine.putNetwork("net", { cidr: "10.8.0.0/24" });
    await machine.putNetwork("other", { cidr: "10.9.0.0/24" });
    await machine.putApp("net", "plain");
    await machine.runApp("other", "secret");
    await machine.runApp("net", "plain");
  }, 60_000);

  it("asked for AAAA first, a name has nothing rather than not being there: dig", async () => {
    const said = await machine.exec("plain", ["dig", "+time=3", "+tries=1", "plain.internal", "AAAA"]);
    expect(said).toMatch(/status: NOERROR/);
    expect(said).toMatch(/ANSWER: 0, AUTHORITY: 1/);
  });

  it("the C library, which asks for both at once, has its IPv4 address", async () => {
    const { ipv4 } = await machine.instance("plain");
    expect(await machine.exec("plain", ["getent", "ahostsv4", "plain.internal"])).toContain(ipv4);
    expect(await machine.exec("plain", ["getent", "ahosts", "plain"])).toMatch(new RegExp(`^${ipv4}\\s`));
    expect(await machine.exec("plain", ["getent", "ahosts", "plain"])).not.toMatch(/^[0-9a-f]*:/m);
  });

  it("c-ares is told that there is no data, and has its IPv4 address", async () => {
    const said = await machine.exec("plain", machine.script("families", FAMILIES_NODE));
    expect(said).toMatch(/^ENODATA 1\n1\n(ENOTFOUND|EAI_NODATA)\n$/);
  });

  describeNeeding(["go"], "and Go's resolver", () => {
    it("has its IPv4 address", async () => {
      expect(await machine.exec("plain", [await buildGo(scratch, "families", FAMILIES_GO)])).toBe(
        "true\n1 <nil>\n1 <nil>\n",
      );
    }, 90_000);
  });

  it("the other network's .2 does not answer, nor is its name known", async () => {
    const ask = (server: string) =>
      machine.warren(["exec", "plain", "--", "dig", "+short", "+time=1", "+tries=1", `@${server}`, "secret.internal"], {
        mayFail: true,
      });
    expect(await machine.exec("secret", ["dig", "+short", "@10.9.0.2", "secret.internal"])).toMatch(
      /^10\.9\.0\.\d+\n$/,
    );
    for (const way of ["10.9.0.2", "10.9.0.1"]) {
      const { code, stdout } = await ask(way);
      expect([code, stdout]).toEqual([9, expect.not.stringMatching(/^10\./m)]);
    }
    expect((await ask("10.8.0.2")).stdout).toBe("");
  });
});

describeNeeding(["linux", "root", "tun", "curl"], "a machine with resolvers that listen on sockets", () => {
  const scratch = useScratch();
  const SOCKETS = [
    "nscd/socket",
    "avahi-daemon/socket",
    "dbus/system_bus_socket",
    "systemd/resolve/io.systemd.Resolve",
  ];
  /** The machine's /run: in it, somebody who writes down that he was asked, and says nothing. */
  const run = scratch.file("run");
  const log = scratch.file("asked");
  const through = [
    "unshare",
    "--mount",
    "--propagation",
    "private",
    "sh",
    "-c",
    `mount --bind ${run} /run && exec "$@"`,
    "sh",
  ];
  const machine = new Machine(scratch, { before: through });
  const asked = () => fs.readFileSync(log, "utf8").trim().split("\n").filter(Boolean);

  beforeAll(async () => {
    for (const socket of SOCKETS) fs.mkdirSync(path.join(run, path.dirname(socket)), { recursive: true });
    fs.writeFileSync(log, "");
    const listener = `
      const fs = require("node:fs");
      for (const at of ${JSON.stringify(SOCKETS)})
        require("node:net").createServer((socket) => {
          fs.appendFileSync(${JSON.stringify(log)}, at + "\\n");
          socket.on("error", () => undefined).destroy();
        }).listen(${JSON.stringify(run)} + "/" + at, () => { fs.chmodSync(${JSON.stringify(run)} + "/" + at, 0o666); console.log("listening"); });`;
    const resolvers = await Program.start(scratch, [process.execPath, "-e", listener]);
    await resolvers.said(/(listening\s+){4}/);
    await machine.start();
    await machine.putNetwork("net");
    await machine.runApp("net", "web");
  }, 60_000);

  it("keeps them from apps, whose C library asks the network's server alone", async () => {
    await machine.run(["getent", "hosts", "localhost.example"], { mayFail: true });
    expect(asked()).toContain("nscd/socket");
    const before = asked().length;
    expect(await machine.exec("web", ["getent", "hosts", "web.internal"])).toMatch(/^10\.1\.2\.\d+ /);
    expect(await machine.curl("web", "http://web:8080")).toBe("Hello from web!\n");
    for (const socket of SOCKETS) {
      await machine.run(["test", "-S", `/run/${socket}`]);
      const there = await machine.warren(["exec", "web", "--", "test", "-e", `/run/${socket}`], { mayFail: true });
      expect([socket, there.code]).toEqual([socket, 1]);
    }
    expect(asked()).toHaveLength(before);
  });
});
