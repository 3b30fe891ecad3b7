/** The way out of apps in namespaces, from a machine to another that plays the internet: its servers, and its resolver. */
import * as fs from "node:fs";
import { connect, Namespace } from "../support/namespace";
import { describeNeeding, tunFor } from "../support/needs";
import { useScratch } from "../support/scratch";
import { waitFor } from "../support/wait";
import { Machine } from "./machine";

const HOST = "203.0.113.1";
const SERVER = "203.0.113.80";
const RESOLVER = "203.0.113.53";

/** Serves bytes and who asks over HTTP, and echoes datagrams. */
const INTERNET = `
require("node:http").createServer((q, a) => {
  if (q.url.startsWith("/bytes/")) a.end(Buffer.alloc(Number(q.url.slice(7)), "warren"));
  else a.end("the internet sees " + q.socket.remoteAddress + "\\n");
}).listen(8000, "${SERVER}");
const udp = require("node:dgram").createSocket("udp4");
udp.on("message", (m, i) => udp.send(m, i.port, i.address)).bind(8000, "${SERVER}", () => console.log("ready"));
`;

/** Knows the address of www.example.com, over UDP and TCP; over UDP it has more to say of long.example.com than fits. No other name exists. */
const NAMESERVER = `
const answer = (query, overUdp) => {
  const labels = [];
  let at = 12;
  for (; query[at]; at += query[at] + 1) labels.push(query.subarray(at + 1, at + 1 + query[at]).toString().toLowerCase());
  const end = at + 5, name = labels.join("."), type = query.readUInt16BE(at + 1);
  const known = name === "www.example.com" || name === "long.example.com";
  const cut = overUdp && name === "long.example.com";
  const has = known && type === 1 && !cut;
  const reply = Buffer.from(query.subarray(0, end));
  reply.writeUInt16BE(0x8180 | (cut ? 0x200 : 0) | (known ? 0 : 3), 2);
  reply.set([0, 1, 0, has ? 1 : 0, 0, 0, 0, 0], 4);
  const record = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, ${SERVER.split(".").join(", ")}]);
  return has ? Buffer.concat([reply, record]) : reply;
};
const udp = require("node:dgram").createSocket("udp4");
udp.on("message", (m, i) => udp.send(answer(m, true), i.port, i.address)).bind(53, "${RESOLVER}", () => console.log("ready"));
require("node:net").createServer((s) => s.once("data", (d) => {
  const reply = answer(d.subarray(2), false), length = Buffer.alloc(2);
  length.writeUInt16BE(reply.length);
  s.end(Buffer.concat([length, reply]));
})).listen(53, "${RESOLVER}");
`;

/** Sends datagrams of these sizes from one socket, one after another, and prints the sizes of the answers. */
const udpAsk = (port: number, sizes: readonly number[]) => [
  process.execPath,
  "-e",
  `const s = require("node:dgram").createSocket("udp4"), sizes = [${sizes}];
   const next = () => sizes.length === 0 ? s.close() : s.send(Buffer.alloc(sizes.shift()));
   s.on("message", (m) => { console.log(m.length); next(); });
   s.on("error", (e) => { console.log(e.code); s.close(); });
   s.connect(${port}, "${SERVER}", next);
   setTimeout(() => process.exit(1), 8000).unref();`,
];

describe.each(["root", "nobody"] as const)("an app in a namespace, as %s", (user) => {
  describeNeeding(["linux", "root", "ip", "curl", "ping", tunFor(user)], "with the internet beyond its machine", () => {
    const scratch = useScratch();
    let machine: Machine;
    beforeAll(async () => {
      const host = await Namespace.create(scratch, "h");
      const internet = await Namespace.create(scratch, "i");
      await connect(
        { namespace: host, device: "eth0", addresses: [`${HOST}/24`] },
        { namespace: internet, device: "eth0", addresses: [`${SERVER}/24`, `${RESOLVER}/24`] },
      );
      // As most distributions have it: every account may ping.
      await host.run(["sysctl", "-q", "-w", "net.ipv4.ping_group_range=0 2147483647"]);
      for (const script of [INTERNET, NAMESERVER]) {
        const server = await internet.start([process.execPath, "-e", script]);
        await waitFor("a server of the internet", () => server.stdout.includes("ready"));
      }
      const resolvConf = scratch.file("resolv.conf");
      fs.writeFileSync(resolvConf, `nameserver ${RESOLVER}\n`);
      const withResolvConf = [
        ...["unshare", "--mount", "--propagation", "private", "sh", "-c"],
        'mount --bind "$0" /etc/resolv.conf && exec "$@"',
        resolvConf,
      ];
      machine = new Machine(scratch, { user, before: ["ip", "netns", "exec", host.name, ...withResolvConf] });
      await machine.start();
      await machine.putNetwork("net");
      await machine.runApp("net", "free");
      expect((await machine.instance("free")).link).toBe("tun");
    }, 60_000);

    it("has connections there, as its machine; many bytes come whole, and a refusal is one", async () => {
      expect(await machine.curl("free", `http://${SERVER}:8000/`)).toBe(`the internet sees ${HOST}\n`);
      const bytes = await machine.curl("free", `http://${SERVER}:8000/bytes/3000000`);
      expect(bytes).toBe("warren".repeat(500_000));
      const refused = await machine.warren(["exec", "free", "--", "curl", "-sS", `http://${SERVER}:8001/`], {
        mayFail: true,
      });
      expect([refused.code, refused.stderr]).toEqual([7, expect.stringMatching(/refused|Couldn't connect/)]);
    }, 30_000);

    it("has datagrams of any size answered, is told where nobody listens, and may ping", async () => {
      const sizes = [0, 1, 1300, 9000, 60_000];
      expect(await machine.exec("free", udpAsk(8000, sizes))).toBe(`${sizes.join("\n")}\n`);
      expect(await machine.exec("free", udpAsk(8001, [1]))).toBe("ECONNREFUSED\n");
      expect(await machine.exec("free", ["ping", "-c", "1", "-W", "5", SERVER])).toContain("1 received");
    }, 30_000);

    it("has names of the internet from its machine's resolver, also those that need a connection", async () => {
      const seen = `the internet sees ${HOST}\n`;
      expect(await machine.curl("free", "http://www.example.com:8000/")).toBe(seen);
      expect(await machine.curl("free", "http://long.example.com:8000/")).toBe(seen);
      const code = `require("node:dns").resolve4("nowhere.example.com", (e, a) => console.log(e?.code ?? a))`;
      expect(await machine.exec("free", [process.execPath, "-e", code])).toBe("ENOTFOUND\n");
    }, 30_000);

    it("may ask a resolver of its own choice there, over UDP and TCP", async () => {
      const ask = `const dns = require("node:dns"); dns.setServers(["${RESOLVER}"]);
        const next = ([name, ...more]) => name && dns.resolve4(name, (e, a) => { console.log(e?.code ?? a.join()); next(more); });
        next(["www.example.com", "long.example.com", "nowhere.example.com"]);`;
      expect(await machine.exec("free", [process.execPath, "-e", ask])).toBe(`${SERVER}\n${SERVER}\nENOTFOUND\n`);
    });
  });
});
