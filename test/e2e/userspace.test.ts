/** Apps on the link userspace, alone and beside others. */
import * as dgram from "node:dgram";
import { once } from "node:events";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import { dialControl } from "../../provider/dial";
import { Namespace } from "../support/namespace";
import { describeNeeding } from "../support/needs";
import { useScratch } from "../support/scratch";
import { sleep, waitFor } from "../support/wait";
import { WITHOUT_CAPABILITIES, WITHOUT_KOFFI, WITHOUT_TUN } from "../support/without";
import { Machine, type MachineOptions, read } from "./machine";

/** Says hello over HTTP, sends and takes many bytes, and echoes datagrams; on loopback only. */
const SERVER = `
const http = require("node:http"), dgram = require("node:dgram"), crypto = require("node:crypto");
http.createServer((q, a) => {
  if (q.method === "POST") {
    const hash = crypto.createHash("sha256");
    q.on("data", (d) => hash.update(d)).on("end", () => a.end(hash.digest("hex")));
  } else if (q.url.startsWith("/bytes/")) a.end(Buffer.alloc(Number(q.url.slice(7)), "warren"));
  else a.end("Hello from " + process.env.FLY_APP_NAME + "!\\n");
}).listen(process.env.PORT, process.env.LISTEN ?? "127.0.0.1");
const udp = dgram.createSocket("udp4");
udp.on("message", (m, i) => udp.send(m, i.port, i.address)).bind(process.env.PORT, "127.0.0.1");
if (process.env.EXTRA) require("node:net").createServer((s) => s.end("extra")).listen(process.env.EXTRA, "127.0.0.1");
`;

/** Sends a datagram of that size and says how many bytes came back. */
const udpAsk = (address: string, port: number, size: number) => [
  process.execPath,
  "-e",
  `const s = require("node:dgram").createSocket("udp4");
   s.on("message", (m) => { console.log(m.length); s.close(); });
   s.on("error", (e) => { console.log(e.code); s.close(); });
   s.connect(${port}, "${address}", () => s.send(Buffer.alloc(${size})));
   setTimeout(() => process.exit(1), 5000).unref();`,
];

/** Sends datagrams of these sizes by its proxy's UDP ASSOCIATE, one after another, and prints the sizes of the answers. */
const socksUdpAsk = (host: string, port: number, sizes: readonly number[]) => [
  process.execPath,
  "-e",
  `const net = require("node:net"), dgram = require("node:dgram"), { once } = require("node:events");
   const proxy = new URL(process.env.WARREN_PROXY), host = Buffer.from("${host}");
   const lengthOf = (text) => String.fromCharCode(text.length) + text;
   (async () => {
     const control = net.connect(proxy.port, proxy.hostname);
     for (const message of ["\\x05\\x01\\x02", "\\x01" + lengthOf(proxy.username) + lengthOf(proxy.password)]) {
       control.write(message, "latin1");
       await once(control, "data");
     }
     control.write(Buffer.from([5, 3, 0, 1, 0, 0, 0, 0, 0, 0]));
     const relay = (await once(control, "data"))[0].readUInt16BE(8);
     const socket = dgram.createSocket("udp4");
     const head = Buffer.concat([Buffer.from([0, 0, 0, 3, host.length]), host, Buffer.from([${port} >> 8, ${port} & 255])]);
     for (const size of [${sizes}]) {
       socket.send([head, Buffer.alloc(size)], relay, "127.0.0.1");
       console.log((await once(socket, "message"))[0].length - 10);
     }
     process.exit();
   })();
   setTimeout(() => process.exit(1), 8000).unref();`,
];

/** A connection of a Node program that knows nothing of proxies. */
const nodeAsk = (host: string, port: number) => [
  process.execPath,
  "-e",
  `require("node:http").get("http://${host}:${port}/", (r) => r.pipe(process.stdout)).on("error", (e) => console.log(e.code))`,
];

/** An address of this machine that apps on the link userspace may reach here. */
const WORLD = "127.0.0.9";

const MACHINES: readonly { title: string; options: MachineOptions; reason: string }[] = [
  {
    title: "as root",
    options: { env: { WARREN_LINK: "userspace", WARREN_EGRESS_ALLOW: WORLD } },
    reason: "WARREN_LINK=userspace",
  },
  {
    title: "as nobody, without capabilities, /dev/net/tun and koffi",
    options: {
      env: { WARREN_EGRESS_ALLOW: WORLD },
      user: "nobody",
      before: [...WITHOUT_TUN, ...WITHOUT_KOFFI],
      through: WITHOUT_CAPABILITIES,
    },
    reason: "koffi",
  },
];

describe.each(MACHINES)("two apps that both say 8080, $title", ({ options, reason }) => {
  describeNeeding(["linux", "root", "curl"], "on the link userspace", () => {
    const scratch = useScratch();
    const machine = new Machine(scratch, options);
    const spec = (region: string, env: Record<string, string> = {}) => ({
      regions: [region],
      command: machine.script("both", SERVER),
      env,
    });
    beforeAll(async () => {
      await machine.start();
      await machine.putNetwork("net");
      await machine.putApp("net", "east", spec("ord", { EXTRA: "18441" }));
      await machine.runApp("net", "west", spec("iad"));
      await machine.runApp("net", "east", spec("ord", { EXTRA: "18441" }));
    }, 60_000);

    it("reach each other by address and by name with stock curl, through a tunnel", async () => {
      const east = (await machine.instance("east")).ipv4;
      const west = (await machine.instance("west")).ipv4;
      expect(await machine.curl("east", `http://${west}:8080`)).toBe("Hello from west!\n");
      expect(await machine.curl("west", `http://${east}:8080`)).toBe("Hello from east!\n");
      expect(await machine.curl("east", "http://west.internal:8080")).toBe("Hello from west!\n");
      expect(await machine.curl("east", "http://west:8080")).toBe("Hello from west!\n");
      expect(await machine.curl("east", "http://east.internal:8080")).toBe("Hello from east!\n");
      const { tunnels } = await machine.client.status();
      for (const tunnel of tunnels) expect(tunnel).toMatchObject({ latestHandshake: expect.any(String) });
    });

    it("also from a Node program that knows nothing of it, and a refusal is one there too", async () => {
      expect(await machine.exec("east", nodeAsk("west.internal", 8080))).toBe("Hello from west!\n");
      expect(await machine.exec("east", nodeAsk("west.internal", 81))).toBe("ECONNREFUSED\n");
      expect(await machine.exec("east", nodeAsk("nobody.internal", 81))).toBe("ENOTFOUND\n");
    });

    it("say so in status, with the reason", async () => {
      const status = await machine.client.status();
      expect(status.link).toBe("userspace");
      expect(status.linkReason).toContain(reason);
      expect(status.instances.map(({ link }) => link)).toEqual(["userspace", "userspace"]);
      expect((await machine.warren(["status"])).stdout).toContain(`link userspace (`);
    });

    it("have their stacks' counters in status: packets, connections, and what was lost and why", async () => {
      const before = await stackOf("east");
      await machine.curl("west", "http://east.internal:8080");
      const refused = await machine.warren(["exec", "west", "--", "curl", "-sS", "-p", "http://east.internal:81/"], {
        mayFail: true,
      });
      expect(refused.code).not.toBe(0);
      const after = await stackOf("east");
      expect(after.packetsIn).toBeGreaterThan(before.packetsIn + 5);
      expect(after.packetsOut).toBeGreaterThan(before.packetsOut + 5);
      expect(after.lost).not.toHaveProperty("tcp memory");
      const { stacks } = JSON.parse((await machine.warren(["status", "--json"])).stdout) as {
        stacks: { id: string }[];
      };
      expect(stacks.map(({ id }) => id)).toEqual(
        expect.arrayContaining([after.id, "outside", expect.stringMatching(/^net_\w+\/.*\/stack$/)]),
      );
    });

    it("carry many bytes both ways unchanged, over SOCKS5 too", async () => {
      const size = 5_000_000;
      const sum = `${process.execPath} -e 'const h=require("crypto").createHash("sha256");process.stdin.on("data",(d)=>h.update(d)).on("end",()=>console.log(h.digest("hex")))'`;
      const bytes = `${process.execPath} -e 'process.stdout.write(Buffer.alloc(${size},"warren"))'`;
      const down = `curl -sS --max-time 30 --noproxy "" -x $WARREN_PROXY http://west.internal:8080/bytes/${size} | ${sum}`;
      const up = `${bytes} | curl -sS --max-time 30 -T - -X POST http://west.internal:8080/`;
      const whole = (await machine.exec("east", ["sh", "-c", `${bytes} | ${sum}`])).trim();
      expect((await machine.exec("east", ["sh", "-c", down])).trim()).toBe(whole);
      expect((await machine.exec("east", ["sh", "-c", up])).trim()).toBe(whole);
    });

    it("have other ports where their own processes listen, and nothing else of the machine's loopback", async () => {
      const east = (await machine.instance("east")).ipv4!;
      const through = (port: number) => ["sh", "-c", `curl -sS --http0.9 -p --max-time 5 http://${east}:${port}/ 2>&1`];
      expect(await machine.exec("west", through(18441))).toBe("extra");
      const foreign = Number(new URL(await proxyOf("east")).port);
      const refused = await machine.warren(["exec", "west", "--", ...through(foreign)], { mayFail: true });
      expect(refused.code).not.toBe(0);
      expect(refused.stdout).toMatch(/502|refused/i);
    });

    it("keep proxies apart: without an app's own password nobody speaks for it", async () => {
      const { port } = new URL(await proxyOf("east"));
      const ask = `curl -sS -o /dev/null -w '%{http_code}' -x http://warren:guess@127.0.0.1:${port} http://west.internal:8080/`;
      expect(await machine.exec("west", ["sh", "-c", ask])).toBe("407");
      expect(machine.log()).not.toContain(new URL(await proxyOf("east")).password);
      expect(JSON.stringify(await machine.client.status())).not.toContain(new URL(await proxyOf("east")).password);
    });

    it("keep them apart from each other too: one app's password opens no other's proxy", async () => {
      const east = new URL(await proxyOf("east"));
      const west = new URL(await proxyOf("west"));
      const code = async (scheme: string, { password }: URL) => {
        const proxy = `${scheme}://warren:${password}@127.0.0.1:${east.port}`;
        const ask = `curl -sS -o /dev/null -w '%{http_code}' -x ${proxy} http://west.internal:8080/ || true`;
        return machine.exec("west", ["sh", "-c", ask]);
      };
      expect(await code("http", west)).toBe("407");
      expect(await code("socks5h", west)).toBe("000");
      expect([await code("http", east), await code("socks5h", east)]).toEqual(["200", "200"]);
    });

    it("send datagrams through it, of any size that one has", async () => {
      const sizes = [0, 1, 1300, 9000, 60_000];
      expect(await machine.exec("east", socksUdpAsk("west.internal", 8080, sizes))).toBe(`${sizes.join("\n")}\n`);
    });

    it("reach the world outside through it, where that is open, with connections and datagrams", async () => {
      const web = http.createServer((_request, response) => response.end("the world")).listen(0, WORLD);
      await once(web, "listening");
      const { port } = web.address() as AddressInfo;
      const echo = dgram.createSocket("udp4").bind(port, WORLD);
      echo.on("message", (data, from) => echo.send(data, from.port, from.address));
      try {
        const ask = (address: string) => [
          ...["sh", "-c"],
          `curl -sS --max-time 5 --noproxy "" -x $HTTP_PROXY http://${address}:${port}/`,
        ];
        expect(await machine.exec("east", ask(WORLD))).toBe("the world");
        expect(await machine.exec("east", ask("127.0.0.8"))).toBe(`127.0.0.8:${port} is closed to this app.\n`);
        expect(await machine.exec("east", socksUdpAsk(WORLD, port, [5, 9000]))).toBe("5\n9000\n");
      } finally {
        web.close();
        echo.close();
      }
    });

    it("cannot reach the machine's metadata service through it", async () => {
      const ask = `curl -sS -o /dev/null -w '%{http_code}' --max-time 5 http://169.254.169.254/`;
      expect(await machine.exec("east", ["sh", "-c", ask])).toBe("403");
    });

    it("are dialled by this machine, with the gateway's own address", async () => {
      const ask = async (to: string) => {
        const socket = await dialControl(machine.home.controlSocket, { network: "net", to });
        socket.end("GET / HTTP/1.0\r\n\r\n");
        let text = "";
        for await (const chunk of socket) text += chunk;
        return text;
      };
      expect(await ask("east.internal:8080")).toContain("Hello from east!");
      expect(await ask(`${(await machine.instance("west")).ipv4}:8080`)).toContain("Hello from west!");
      await expect(ask("west.internal:9")).rejects.toMatchObject({ code: "WARREN_UNREACHABLE", errno: "ECONNREFUSED" });
      await expect(ask("nobody.internal:9")).rejects.toMatchObject({ code: "WARREN_NOT_FOUND", errno: "ENOTFOUND" });
    });

    it("cost next to nothing while nothing happens: the daemon sleeps", async () => {
      const daemon = await machine.daemonPid();
      // Of all its threads, in ticks of 10 ms (proc_pid_stat(5)).
      const used = () => {
        const fields = read(`/proc/${daemon}/stat`).split(") ")[1]!.split(" ");
        return Number(fields[11]) + Number(fields[12]);
      };
      // The best of three: what went before may still be tidied up.
      const costs: number[] = [];
      for (let i = 0; i < 3; i++) {
        const before = used();
        await sleep(2000);
        costs.push(used() - before);
      }
      // A loop that never sleeps has 200.
      expect(Math.min(...costs)).toBeLessThan(30);
    }, 20_000);

    it("live on with their ports and proxies when the daemon is killed", async () => {
      const before = { proxy: await proxyOf("east"), pids: (await machine.instances("east")).map(({ pid }) => pid) };
      const daemon = await machine.daemonPid();
      process.kill(daemon, "SIGKILL");
      await waitFor("another daemon", async () => (await machine.daemonPid()) !== daemon);
      await waitFor("the way through", async () => {
        const said = await machine.curl("east", "http://west.internal:8080", { seconds: 2 }).catch(() => "");
        return said === "Hello from west!\n";
      });
      expect((await machine.instances("east")).map(({ pid }) => pid)).toEqual(before.pids);
      expect(await proxyOf("east")).toBe(before.proxy);
    }, 40_000);

    it("leave nothing when they are deleted", async () => {
      const pids = machine.appProcesses();
      expect(pids.length).toBeGreaterThanOrEqual(2);
      for (const member of await machine.client.members()) await machine.client.deleteMember(member.id);
      expect(machine.appProcesses()).toEqual([]);
    });

    const stackOf = async (app: string) => {
      const { id } = await machine.instance(app);
      return (await machine.client.status()).stacks!.find((stack) => stack.id === id)!;
    };
    const proxyOf = async (app: string) => (await machine.exec(app, ["sh", "-c", "echo $WARREN_PROXY"])).trim();
  });
});

describeNeeding(["linux", "root", "tun", "curl"], "an app that listens beyond loopback", () => {
  const scratch = useScratch();
  const machine = new Machine(scratch, { env: { WARREN_LINK: "userspace" } });
  beforeAll(async () => {
    await machine.start();
    await machine.putNetwork("net");
  }, 30_000);
  const exposed = () => ({ command: machine.script("exposed", SERVER), env: { LISTEN: "0.0.0.0" } });

  it("is said to whoever brings it up, and in status", async () => {
    const { id } = await machine.putApp("net", "open", exposed());
    const { ready, warnings } = await machine.client.ready(id, 20);
    expect(ready).toBe(true);
    expect(warnings).toEqual([
      expect.stringMatching(/^open \(ord\/0\) listens on 0\.0\.0\.0:\d+, beyond loopback: .*requireLoopback/),
    ]);
    expect((await machine.warren(["status"])).stdout).toContain(`warning: ${warnings[0]}`);
  });

  it("has failed with requireLoopback, and its process has ended", async () => {
    const { id } = await machine.putApp("net", "strict", { ...exposed(), requireLoopback: true });
    const { failed } = await machine.client.ready(id, 20);
    expect(failed).toMatch(/^instance ord\/0 of strict is failed: it listens on 0\.0\.0\.0:\d+, beyond loopback/);
    await waitFor("the end of its process", async () => (await machine.instance("strict")).pid === undefined, {
      timeout: 25_000,
    });
    const mended = await machine.putApp("net", "strict", { ...exposed(), env: {}, requireLoopback: true });
    expect(await machine.client.ready(mended.id, 20)).toMatchObject({ ready: true, warnings: [] });
  }, 80_000);

  it("is found out also where it begins to listen when it has been ready for a while", async () => {
    const later = `${SERVER}\nsetTimeout(() => require("node:net").createServer().listen(0, "0.0.0.0"), 3000);`;
    const command = machine.script("later", later);
    const [warned, refused] = [
      await machine.putApp("net", "later", { command }),
      await machine.putApp("net", "later-strict", { command, requireLoopback: true }),
    ];
    for (const { id } of [warned, refused])
      expect(await machine.client.ready(id, 20)).toMatchObject({ ready: true, warnings: [] });
    const beyond = /listens on 0\.0\.0\.0:\d+, beyond loopback/;
    // It is looked for every 30 s.
    await waitFor(
      "the refusal and the warning",
      async () => {
        const { failed } = await machine.client.ready(refused.id, 0);
        const { ready, warnings } = await machine.client.ready(warned.id, 0);
        return beyond.test(failed ?? "") && ready && warnings.some((warning) => beyond.test(warning));
      },
      { timeout: 60_000 },
    );
  }, 110_000);
});

describeNeeding(["linux", "root", "tun", "curl"], "a host on the link userspace and one on tun", () => {
  const scratch = useScratch();
  const machine = new Machine(scratch, { env: { WARREN_LINK: "ord=userspace,iad=tun" } });
  beforeAll(async () => {
    await machine.start();
    await machine.putNetwork("net");
    await machine.putApp("net", "east", { regions: ["ord"], command: machine.script("both", SERVER) });
    const everywhere = { LISTEN: "0.0.0.0" };
    await machine.runApp("net", "west", { regions: ["iad"], command: machine.script("both", SERVER), env: everywhere });
    await machine.runApp("net", "east", { regions: ["ord"], command: machine.script("both", SERVER) });
  }, 60_000);

  it("talk to each other: TCP both ways, UDP of any size, echo, a refusal", async () => {
    const { ipv4: east, link } = await machine.instance("east");
    const west = await machine.instance("west");
    expect([link, west.link]).toEqual(["userspace", "tun"]);
    expect(await machine.curl("east", "http://west.internal:8080")).toBe("Hello from west!\n");
    expect(await machine.curl("west", "http://east.internal:8080")).toBe("Hello from east!\n");
    expect((await machine.curl("west", "http://east.internal:8080/bytes/3000000")).length).toBe(3_000_000);
    for (const size of [1, 1300, 30_000])
      expect(await machine.exec("west", udpAsk(east!, 8080, size))).toBe(`${size}\n`);
    expect(await machine.exec("west", udpAsk(east!, 8081, 1))).toBe("ECONNREFUSED\n");
    expect(await machine.exec("west", ["ping", "-c", "1", "-W", "5", east!])).toContain("1 received");
    const refused = await machine.warren(["exec", "west", "--", "curl", "-sS", `http://${east}:81/`], {
      mayFail: true,
    });
    expect(refused.stderr).toMatch(/refused|Couldn't connect/);
  }, 30_000);
});

describeNeeding(["linux", "root", "tun", "curl", "ping"], "apps in namespaces", () => {
  const scratch = useScratch();
  /** An address of the machine itself, which is closed unless it is opened. */
  const OPENED = "198.51.100.7";
  const CLOSED = "198.51.100.8";
  let machine: Machine;
  beforeAll(async () => {
    const world = await Namespace.create(scratch, "o");
    for (const address of [OPENED, CLOSED]) await world.addAddress("lo", `${address}/32`);
    await world.start([process.execPath, "-e", `process.env.PORT = "8000"; process.env.LISTEN = "0.0.0.0"; ${SERVER}`]);
    const echo = `const s = require("node:dgram").createSocket("udp4");
      s.on("message", (m, i) => s.send(m, i.port, i.address)).bind(8000, "${OPENED}");`;
    await world.start([process.execPath, "-e", echo]);
    machine = new Machine(scratch, {
      before: ["ip", "netns", "exec", world.name],
      env: { WARREN_EGRESS_ALLOW: OPENED },
    });
    await machine.start();
    await machine.putNetwork("net");
    await machine.runApp("net", "free");
    await machine.runApp("net", "shut", { egress: false });
  }, 60_000);

  it("reach the world outside their network, where that is open to them", async () => {
    const free = (url: string) =>
      machine.warren(["exec", "free", "--", "curl", "-sS", "--max-time", "5", url], { mayFail: true });
    expect((await free(`http://${OPENED}:8000/`)).stdout).toContain("Hello from");
    expect((await free(`http://${OPENED}:8000/bytes/3000000`)).stdout.length).toBe(3_000_000);
    expect((await free(`http://${OPENED}:8001/`)).stderr).toMatch(/Couldn't connect|refused/);
    for (const address of [CLOSED, "169.254.169.254"]) expect((await free(`http://${address}:8000/`)).code).toBe(7);
  });

  it("reach it with datagrams and echo requests too; where nobody listens, and where it is closed, they are told so", async () => {
    for (const size of [1, 1300, 20_000])
      expect(await machine.exec("free", udpAsk(OPENED, 8000, size))).toBe(`${size}\n`);
    expect(await machine.exec("free", udpAsk(OPENED, 8002, 1))).toBe("ECONNREFUSED\n");
    expect(await machine.exec("free", udpAsk(CLOSED, 8000, 1))).toMatch(/^(ECONNREFUSED|EHOSTUNREACH|EACCES)\n$/);
    const ping = (address: string) =>
      machine.warren(["exec", "free", "--", "ping", "-c", "1", "-W", "5", address], { mayFail: true });
    expect((await ping(OPENED)).stdout).toContain("1 received");
    const closed = await ping(CLOSED);
    expect([closed.code, closed.stdout]).toEqual([1, expect.stringMatching(/0 received/)]);
    expect(closed.stdout).toMatch(/prohibited|filtered/i);
  }, 40_000);

  it("reach a bound of theirs: that is counted in status, and said in the log", async () => {
    // Each datagram comes from a port of its own, to one who answers.
    const flood = `const dgram = require("node:dgram"); let left = 700;
      const next = () => {
        if (left-- === 0) process.exit();
        const s = dgram.createSocket("udp4");
        s.send("x", 8000, "${OPENED}", () => { s.close(); setImmediate(next); });
      };
      next();`;
    await machine.exec("free", [process.execPath, "-e", flood]);
    await waitFor("the count", async () => {
      const { stacks } = await machine.client.status();
      return stacks!.some(({ id, lost }) => id.endsWith("/stack") && (lost["datagram pairs evicted"] ?? 0) > 0);
    });
    await waitFor(
      "the word in the log",
      () => /warn a bound was reached .*datagram pairs evicted/.test(machine.log()),
      {
        timeout: 20_000,
      },
    );
  }, 40_000);

  it("with egress: false have no way out at all", async () => {
    const argv = ["exec", "shut", "--", "curl", "-sS", "--max-time", "5", `http://${OPENED}:8000/`];
    expect((await machine.warren(argv, { mayFail: true })).code).toBe(7);
    expect(await machine.exec("shut", ["ip", "route"])).not.toContain("default");
  });

  it("ask names over TCP too", async () => {
    const ask = `const net = require("node:net"); 
      const name = ["free", "internal"].map((p) => Buffer.concat([Buffer.from([p.length]), Buffer.from(p)]));
      const body = Buffer.concat([Buffer.from("123401000001000000000000", "hex"), ...name, Buffer.from("0000010001", "hex")]);
      const length = Buffer.alloc(2); length.writeUInt16BE(body.length);
      const s = net.connect(53, "10.1.2.2", () => s.write(Buffer.concat([length, body])));
      s.once("data", (d) => { console.log([...d.subarray(-4)].join(".")); s.destroy(); });`;
    const { ipv4 } = await machine.instance("free");
    expect(await machine.exec("free", [process.execPath, "-e", ask])).toBe(`${ipv4}\n`);
  });
});
