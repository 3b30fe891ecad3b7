import * as dgram from "node:dgram";
import * as fs from "node:fs";
import * as net from "node:net";
import * as os from "node:os";
import * as path from "node:path";
import * as dnsPacket from "dns-packet";
import { Forwarder, type ForwarderOptions } from "./forwarder";
import { dnsHandler } from "./handler";
import { parseResolvConf, ResolvConf } from "./resolv-conf";
import { data, edns, namesOf, query, read, view } from "./testing/ask";

test("resolv.conf: numeric servers, three at most, read again when it changes", () => {
  expect(parseResolvConf("# x\nnameserver 127.0.0.53\n nameserver ::1\nnameserver dns.example\nsearch a\n")).toEqual([
    "127.0.0.53",
    "::1",
  ]);
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "warren-dns-"));
  try {
    const file = path.join(dir, "resolv.conf");
    let time = 0;
    const conf = new ResolvConf(file, () => time);
    expect(conf.current()).toEqual([]);
    fs.writeFileSync(file, "nameserver 192.0.2.1\n");
    expect(conf.current()).toEqual([]);
    time += 1001;
    expect(conf.current()).toEqual(["192.0.2.1"]);
    fs.writeFileSync(file, "nameserver 192.0.2.1\nnameserver 192.0.2.2\n");
    time += 1001;
    expect(conf.current()).toEqual(["192.0.2.1", "192.0.2.2"]);
  } finally {
    fs.rmSync(dir, { recursive: true });
  }
});

describe("forwarder", () => {
  const closers: (() => void)[] = [];
  afterEach(() => {
    for (const close of closers.splice(0)) close();
  });

  /** A resolver on loopback, UDP and TCP on one port. */
  async function server(respond: (query: dnsPacket.Packet, tcp: boolean) => Buffer | undefined): Promise<string> {
    const tcp = net.createServer((socket) => {
      socket.on("error", () => {});
      socket.on("data", (chunk) => {
        const reply = respond(dnsPacket.decode(chunk.subarray(2)), true);
        if (reply === undefined) return;
        const length = Buffer.alloc(2);
        length.writeUInt16BE(reply.length);
        // In two pieces, as TCP may.
        socket.write(length);
        setImmediate(() => socket.write(reply));
      });
    });
    await new Promise<void>((resolve) => tcp.listen(0, "127.0.0.1", resolve));
    const port = (tcp.address() as net.AddressInfo).port;
    const udp = dgram.createSocket("udp4");
    udp.on("message", (message, from) => {
      const reply = respond(dnsPacket.decode(message), false);
      if (reply !== undefined) udp.send(reply, from.port, from.address);
    });
    await new Promise<void>((resolve) => udp.bind(port, "127.0.0.1", resolve));
    closers.push(() => {
      udp.close();
      tcp.close();
    });
    return `127.0.0.1#${port}`;
  }

  const reply = (to: dnsPacket.Packet, address: string, flags = 0) =>
    dnsPacket.encode({
      type: "response",
      id: to.id,
      flags,
      questions: to.questions,
      answers: flags & 0x0200 ? [] : [{ type: "A", name: to.questions![0]!.name, ttl: 60, data: address }],
    });

  function forwarder(servers: string[], more: Partial<ForwarderOptions> = {}): Forwarder {
    const made = new Forwarder({ servers: () => servers, timeout: 200, ...more });
    closers.push(() => made.close());
    return made;
  }

  test("the reply comes back under the asker's id", async () => {
    const ids: number[] = [];
    const s = await server((q) => {
      ids.push(q.id!);
      return reply(q, "192.0.2.7");
    });
    const f = forwarder([s]);
    for (let i = 0; i < 4; i++) {
      const got = read(await f.resolve(query("example.com", "A")));
      expect([got.id, data(got)]).toEqual([3, ["192.0.2.7"]]);
    }
    expect(new Set(ids).size).toBeGreaterThan(1);
  });

  test("a silent, a refusing and a closed server: the next is asked", async () => {
    const silent = await server(() => undefined);
    const refusing = await server((q) =>
      dnsPacket.encode({ type: "response", id: q.id, flags: 5, questions: q.questions }),
    );
    const good = await server((q) => reply(q, "192.0.2.8"));
    expect(
      data(read(await forwarder([silent, refusing, "127.0.0.1#1", good]).resolve(query("example.com", "A")))),
    ).toEqual(["192.0.2.8"]);
  });

  test("forged replies are not taken: another id, another question", async () => {
    const forged = await server((q) => reply({ ...q, id: (q.id! + 1) & 0xffff }, "192.0.2.9"));
    const other = await server((q) => reply({ ...q, questions: [{ type: "A", name: "evil.example" }] }, "192.0.2.9"));
    expect(read(await forwarder([forged, other]).resolve(query("example.com", "A"))).rcode).toBe("SERVFAIL");
  });

  test("a truncated reply is asked for again over TCP", async () => {
    const s = await server((q, tcp) => (tcp ? reply(q, "192.0.2.10") : reply(q, "", 0x0200)));
    const got = read(await forwarder([s]).resolve(query("example.com", "A")));
    expect([got.flag_tc, data(got)]).toEqual([false, ["192.0.2.10"]]);
  });

  test("no resolvers, or too many questions: SERVFAIL at once", async () => {
    expect(read(await forwarder([]).resolve(query("example.com", "A")))).toMatchObject({ rcode: "SERVFAIL", id: 3 });
    const silent = await server(() => undefined);
    const f = forwarder([silent], { maxInFlight: 1 });
    const first = f.resolve(query("example.org", "A"));
    expect(read(await f.resolve(query("example.com", "A"))).rcode).toBe("SERVFAIL");
    f.close();
    expect(read(await first).rcode).toBe("SERVFAIL");
  });

  test("the handler answers names of the network, forwards others, and cuts what is too long", async () => {
    const s = await server((q) =>
      dnsPacket.encode({
        type: "response",
        id: q.id,
        questions: q.questions,
        answers: Array.from({ length: 30 }, (_, i) => ({
          type: "A" as const,
          name: "long.example.com",
          ttl: 60,
          data: `192.0.2.${i}`,
        })),
      }),
    );
    const known = { names: namesOf(view), distance: () => 0, maxReply: 1232 };
    const handle = dnsHandler((id) => (id === "net/host" ? known : undefined), forwarder([s]));
    const from = { gateway: "net/host", from: "10.1.2.9" };
    expect(data(read((await handle({ ...from, message: query("ord.api.internal", "A") }))!))).toEqual(["10.1.2.4"]);
    const long = (await handle({ ...from, message: query("long.example.com", "A") }))!;
    expect(long.length).toBeLessThanOrEqual(512);
    expect(read(long)).toMatchObject({ flag_tc: true, answers: [] });
    const roomy = (await handle({ ...from, message: query("long.example.com", "A", edns(4096)) }))!;
    expect(read(roomy)).toMatchObject({ flag_tc: false });
    const whole = (await handle({ ...from, message: query("long.example.com", "A"), stream: true }))!;
    expect(read(whole).answers).toHaveLength(30);
    expect(await handle({ ...from, message: new Uint8Array(3) })).toBeUndefined();
    const gone = { gateway: "net/gone", from: "10.1.2.9" };
    expect(read((await handle({ ...gone, message: query("example.com", "A") }))!).rcode).toBe("SERVFAIL");
    expect(await handle({ ...gone, message: new Uint8Array(3) })).toBeUndefined();
  });

  test("equal questions are asked once, and each asker has its own id and spelling back", async () => {
    let asked = 0;
    const s = await server((q) => {
      asked++;
      return reply(q, "192.0.2.11");
    });
    const f = forwarder([s]);
    const replies = await Promise.all([
      f.resolve(query("example.com", "A")),
      f.resolve(query("eXample.com", "A", { id: 99 })),
      f.resolve(query("example.com", "AAAA")),
    ]);
    expect(asked).toBe(2);
    expect(read(replies[0]!)).toMatchObject({ id: 3, questions: [{ name: "example.com" }] });
    expect(read(replies[1]!)).toMatchObject({ id: 99, questions: [{ name: "eXample.com" }] });
  });

  test("a resolver that asks us in turn: no answer, and no more questions than one", async () => {
    let asked = 0;
    let f: Forwarder | undefined;
    const loop = await server((q) => {
      asked++;
      void f!.resolve(query(q.questions![0]!.name, "A"));
      return undefined;
    });
    f = forwarder([loop]);
    expect(read(await f.resolve(query("example.com", "A"))).rcode).toBe("SERVFAIL");
    expect(asked).toBe(1);
  });

  test("a server that was silent is asked last for a while", async () => {
    let asked = 0;
    let time = 0;
    const silent = await server(() => {
      asked++;
      return undefined;
    });
    const good = await server((q) => reply(q, "192.0.2.12"));
    const f = forwarder([silent, good], { now: () => time });
    for (let i = 0; i < 3; i++) await f.resolve(query("example.com", "A"));
    expect(asked).toBe(1);
    time += 30_001;
    await f.resolve(query("example.com", "A"));
    expect(asked).toBe(2);
  });
});
