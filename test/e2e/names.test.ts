/** Names as stock programs in an app ask for them, on the link tun. */
import { machineId } from "../../runtime/machine-id";
import { buildGo } from "../support/go";
import { describeNeeding } from "../support/needs";
import { useScratch } from "../support/scratch";
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

/** Stays, and says when (milliseconds since 1970) a name was first answered with an address, and when first without one again. */
const WATCH_PROGRAM = `
const socket = require("node:dgram").createSocket("udp4");
const name = Buffer.concat([...process.argv[2].split("."), ""].map((l) => Buffer.from(String.fromCharCode(l.length) + l)));
let there = false;
socket.on("message", (reply) => {
  const answers = reply.readUInt16BE(6) > 0;
  if (answers !== there) console.log(answers ? "there" : "gone", Date.now());
  there = answers;
});
console.log("asking");
let id = 0;
setInterval(() => {
  const head = Buffer.from([id >> 8, id & 255, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
  id = (id + 1) & 0xffff;
  socket.send(Buffer.concat([head, name, Buffer.from([0, 1, 0, 1])]), 53, "10.1.2.2");
}, 20);`;

/** What a machine needs beyond the second that is promised, where it is busy with other tests: milliseconds. */
const SLACK = 1000;

describeNeeding(["linux", "root", "tun", "curl", "dig"], "names, asked by stock programs in an app", () => {
  const scratch = useScratch();
  const machine = new Machine(scratch);
  let addresses: string[];
  beforeAll(async () => {
    await machine.start();
    await machine.putNetwork("net", DUAL);
    await machine.putPeer("net", "laptop", "10.1.2.50");
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
    expect(await dig("+short", "vms.web.internal", "TXT")).toEqual([
      `"${machineId(ord!.id)} ord,${machineId(iad!.id)} iad"`,
    ]);
    expect(await dig("+short", "-x", iad!.ipv4!)).toEqual([`${machineId(iad!.id)}.vm.web.internal.`]);
    expect(await dig("+short", "-x", iad!.ipv6!)).toEqual([`${machineId(iad!.id)}.vm.web.internal.`]);
    expect(await dig("+short", "_8080._tcp.web.internal", "SRV")).toEqual(
      [ord!, iad!].map(({ id }) => `1 1 8080 ${machineId(id)}.vm.web.internal.`).sort(),
    );
  });

  it("dig: everything else that Fly has", async () => {
    const [ord, iad] = await machine.instances("web");
    const asker = await machine.instance("asker");
    const v4 = [ord!.ipv4!, iad!.ipv4!].sort();
    expect(await dig("+short", "global.web.internal")).toEqual(v4);
    expect(await dig("+short", "app.process.web.internal")).toEqual(v4);
    expect(await dig("+short", `${machineId(iad!.id)}.vm.web.internal`)).toEqual([iad!.ipv4]);
    expect(await dig("+short", "regions.web.internal", "TXT")).toEqual(['"ord,iad"']);
    expect(await dig("+short", "_peer.internal", "TXT")).toEqual(['"laptop"']);
    expect(await dig("+short", "laptop._peer.internal")).toEqual(["10.1.2.50"]);
    const [text] = await dig("+short", "_instances.internal", "TXT");
    // dig shows a text in pieces of 255 bytes.
    expect(text!.replaceAll('" "', "").slice(1, -1).split(";")).toEqual(
      (
        [
          [asker, "asker"],
          [ord!, "web"],
          [iad!, "web"],
        ] as const
      ).map(([{ id, ipv4, region }, app]) => `instance=${machineId(id)},app=${app},ip=${ipv4},region=${region}`),
    );
    const { service } = (await machine.client.members({ network: "net" })).find(({ name }) => name === "web")!;
    expect(await dig("+short", "web.flycast")).toEqual([service!.ipv4]);
    expect(await dig("+short", "web.flycast", "AAAA")).toEqual([service!.ipv6]);
    expect(await dig("+short", "-x", service!.ipv4!)).toEqual(["web.flycast."]);
    const own = await dig("+short", "iad._gateway.internal");
    expect(own).toEqual([expect.stringMatching(/^10\.1\.2\.\d+$/)]);
    expect(await dig("+short", "-x", own[0]!)).toEqual(["iad._gateway.internal."]);
  });

  it("dig: what is not there, and what is not asked like that", async () => {
    const status = async (...args: string[]) => /status: (\w+)/.exec((await dig(...args)).join("\n"))?.[1];
    expect(await status("nobody.internal")).toBe("NXDOMAIN");
    expect(await status("web.internal", "MX")).toBe("NOERROR");
    expect(await status("web.internal", "CH", "TXT")).toBe("REFUSED");
    expect(await status("+opcode=NOTIFY", "web.internal")).toBe("NOTIMP");
    expect(await status("+edns=1", "+noednsnegotiation", "web.internal")).toBe("BADVERS");
    expect(await status("+norecurse", "www.example.com")).toBe("REFUSED");
    // A search list makes these of `web.internal` and `iad.web.internal`; nobody else hears of them.
    expect(await status("web")).toBe("NXDOMAIN");
    expect(await status("iad.web")).toBe("NXDOMAIN");
  });

  it("the C library's resolver: whole names, the search list, both families, and names of addresses", async () => {
    const getent = async (...args: string[]) =>
      [...new Set((await machine.exec("asker", ["getent", ...args])).split("\n").map((line) => line.split(/\s+/)[0]))]
        .filter(Boolean)
        .sort();
    for (const name of ["web.internal", "web"]) expect(await getent("ahosts", name)).toEqual(addresses);
    expect(await getent("ahostsv6", "iad.web.internal")).toEqual([(await machine.instances("web"))[1]!.ipv6]);
    const { id, ipv4 } = (await machine.instances("web"))[0]!;
    expect(await machine.exec("asker", ["getent", "hosts", ipv4!])).toContain(`${machineId(id)}.vm.web.internal`);
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
      reverse: "vm.web.internal",
      families: [4, 6],
      missing: "ENOTFOUND",
    });
  });

  it("a new app has its name on every host within a second of its create, and loses it with the app", async () => {
    const watch = machine.script("watch", WATCH_PROGRAM);
    const slots = (await machine.instances("web")).map(({ slot }) => slot);
    expect(slots).toEqual(["ord/0", "iad/0"]);
    const watchers = await Promise.all(
      slots.map((slot) => machine.startWarren(["exec", "--instance", slot, "web", "--", ...watch, "late.internal"])),
    );
    for (const watcher of watchers) await watcher.said(/^asking$/m);
    const when = async (word: string) =>
      Promise.all(
        watchers.map(async (watcher) => Number((await watcher.said(new RegExp(`^${word} (\\d+)$`, "m")))[1])),
      );
    const { id } = await machine.putApp("net", "late");
    const created = Date.now();
    for (const first of await when("there")) expect(first - created).toBeLessThan(1000 + SLACK);
    await machine.client.deleteMember(id);
    const deleted = Date.now();
    for (const last of await when("gone")) expect(last - deleted).toBeLessThan(1000 + SLACK);
  }, 40_000);

  it("warren dig asks the same, as this machine and as a member", async () => {
    const [ord, iad] = await machine.instances("web");
    const short = async (...args: string[]) =>
      (await machine.warren(["dig", "--short", ...args])).stdout.trim().split("\n").sort();
    expect(await short("web")).toEqual(addresses);
    expect(await short("web.internal", "A", "--as", "asker")).toEqual(addresses.filter((a) => !a.includes(":")));
    const near = ["top1.nearest.of.web", "A", "--as", "web", "--instance"];
    expect(await short(...near, "ord/0")).toEqual([ord!.ipv4]);
    expect(await short(...near, "iad")).toEqual([iad!.ipv4]);
    expect(await short(ord!.ipv4!)).toEqual([`${machineId(ord!.id)}.vm.web.internal`]);
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
      [["web", "--as", "nobody"], /^warren: There is no app or peer "nobody": there are asker, laptop, web\.\n$/],
      [["web", "--network", "other"], /^warren: There is no network "other": there are net\.\n$/],
      [["web", "--instance", "iad"], /^warren: --instance says which one of an app asks: name the app with --as\.\n$/],
      [
        ["web", "--as", "web", "--instance", "fra"],
        /^warren: web has no instance "fra"; its instances: ord\/0, iad\/0\.\n$/,
      ],
      [["a..b"], /^warren: "a\.\.b(\.internal)?" is no domain name/],
    ] as const) {
      const { code, stderr } = await machine.warren(["dig", ...args], { mayFail: true });
      expect([code, stderr]).toEqual([1, expect.stringMatching(said)]);
    }
  }, 30_000);

  describeNeeding(["go"], "and Go's own resolver", () => {
    it("finds hosts, texts, services and names of addresses", async () => {
      const program = await buildGo(scratch, "resolver", GO_PROGRAM);
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
