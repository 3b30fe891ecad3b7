import { randomBytes } from "node:crypto";
import * as dgram from "node:dgram";
import * as fs from "node:fs";
import * as net from "node:net";
import * as os from "node:os";
import * as path from "node:path";
import * as dnsPacket from "dns-packet";
import { answer } from "./answer";
import { Forwarder } from "./forwarder";
import { dnsHandler } from "./handler";
import { parseResolvConf, ResolvConf } from "./resolv-conf";
import type { ZoneView } from "./zone";

const zone: ZoneView = {
  domain: "internal",
  apps: new Map([
    [
      "api",
      [
        { address: "10.1.2.4", healthy: true },
        { address: "fd00::4", healthy: true },
        { address: "10.1.2.5", healthy: false },
      ],
    ],
    [
      "down",
      [
        { address: "10.1.2.6", healthy: false },
        { address: "10.1.2.7", healthy: false },
      ],
    ],
    ["wide", Array.from({ length: 200 }, (_, i) => ({ address: `10.2.0.${i}`, healthy: true }))],
  ]),
  peers: new Map([["laptop", ["10.1.2.3"]]]),
};

function query(name: string, type: string, more: Partial<dnsPacket.Packet> = {}): Buffer {
  return dnsPacket.encode({
    type: "query",
    id: 4,
    flags: dnsPacket.RECURSION_DESIRED,
    questions: [{ name, type: type as dnsPacket.RecordType }],
    ...more,
  });
}

const edns = (size: number, version = 0): Partial<dnsPacket.Packet> => ({
  additionals: [
    {
      type: "OPT",
      name: ".",
      udpPayloadSize: size,
      extendedRcode: 0,
      ednsVersion: version,
      flags: 0,
      flag_do: false,
      options: [],
    },
  ] as unknown as dnsPacket.Answer[],
});

interface Read {
  readonly id: number;
  readonly rcode: string;
  readonly answers: { type: string; name: string; ttl: number; data: unknown }[];
  readonly authorities: { type: string; ttl: number }[];
  readonly additionals: { type: string }[];
  readonly flag_aa: boolean;
  readonly flag_tc: boolean;
  readonly flag_rd: boolean;
  readonly flag_ra: boolean;
}
const read = (message: Uint8Array): Read => dnsPacket.decode(Buffer.from(message)) as unknown as Read;

function ask(name: string, type: string, more: Partial<dnsPacket.Packet> = {}): Read {
  const outcome = answer(query(name, type, more), zone);
  if (outcome === undefined || !("reply" in outcome)) throw new Error(`no reply: ${JSON.stringify(outcome)}`);
  return read(outcome.reply);
}
const data = (reply: Read) => reply.answers.map((a) => a.data);

describe("answers", () => {
  test("APP.internal: healthy instances of the family that was asked for, TTL 5, authoritative", () => {
    const reply = ask("api.internal", "A");
    expect(reply.answers).toMatchObject([{ type: "A", name: "api.internal", ttl: 5, data: "10.1.2.4" }]);
    expect([reply.flag_aa, reply.flag_ra, reply.flag_rd, reply.rcode, reply.id]).toEqual([
      true,
      true,
      true,
      "NOERROR",
      4,
    ]);
    expect(data(ask("api.internal", "AAAA"))).toEqual(["fd00::4"]);
    expect(data(ask("api.internal", "ANY"))).toEqual(["10.1.2.4", "fd00::4"]);
  });

  test("letters of either case; the question comes back as it was written", () => {
    const outcome = answer(query("aPi.InTernal", "A"), zone) as { reply: Uint8Array };
    const reply = dnsPacket.decode(Buffer.from(outcome.reply));
    expect(reply.questions?.[0].name).toBe("aPi.InTernal");
    expect(reply.answers?.length).toBe(1);
  });

  test("all instances where none is healthy, another one first each time", () => {
    expect(data(ask("down.internal", "A"))).toEqual(["10.1.2.6", "10.1.2.7"]);
    expect(data(ask("down.internal", "A", { id: 5 }))).toEqual(["10.1.2.7", "10.1.2.6"]);
  });

  test("a peer has its name under _peer only", () => {
    expect(data(ask("laptop._peer.internal", "A"))).toEqual(["10.1.2.3"]);
    expect(ask("laptop.internal", "A").rcode).toBe("NXDOMAIN");
    expect(ask("_peer.internal", "A")).toMatchObject({ rcode: "NOERROR", answers: [] });
  });

  test("no such name: NXDOMAIN; a name without that type: nothing; both with a SOA of 5 seconds", () => {
    for (const [name, type, rcode] of [
      ["nope.internal", "A", "NXDOMAIN"],
      ["a.api.internal", "A", "NXDOMAIN"],
      ["down.internal", "AAAA", "NOERROR"],
      ["api.internal", "TXT", "NOERROR"],
      ["internal", "A", "NOERROR"],
    ])
      expect(ask(name, type)).toMatchObject({ rcode, answers: [], authorities: [{ type: "SOA", ttl: 5 }] });
    expect(ask("internal", "SOA").answers).toMatchObject([{ type: "SOA" }]);
  });

  test("other names are forwarded", () => {
    for (const name of ["example.com", "myinternal", "api.internal.example.com", "."])
      expect(answer(query(name, "A"), zone)).toEqual({ forward: true });
  });

  test("truncated at the asker's size, EDNS or not, and at ours", () => {
    const plain = answer(query("wide.internal", "A"), zone) as { reply: Uint8Array };
    expect(plain.reply.length).toBeLessThanOrEqual(512);
    expect(read(plain.reply)).toMatchObject({ flag_tc: true, additionals: [] });
    const wide = answer(query("wide.internal", "A", edns(1000)), zone) as { reply: Uint8Array };
    expect(wide.reply.length).toBeLessThanOrEqual(1000);
    expect(wide.reply.length).toBeGreaterThan(900);
    expect(read(wide.reply)).toMatchObject({ flag_tc: true, additionals: [{ type: "OPT" }] });
    const greedy = answer(query("wide.internal", "A", edns(65535)), zone) as { reply: Uint8Array };
    expect(greedy.reply.length).toBeLessThanOrEqual(1232);
  });

  test("EDNS of a version to come: BADVERS", () => {
    const reply = ask("api.internal", "A", edns(1232, 1));
    expect(reply.answers).toEqual([]);
    expect(reply.additionals).toMatchObject([{ type: "OPT", extendedRcode: 1 }]);
  });

  test("a response, a stub, an unknown operation, two questions, a damaged name", () => {
    const good = query("api.internal", "A");
    const response = Buffer.from(good);
    response[2] |= 0x80;
    expect(answer(response, zone)).toBeUndefined();
    expect(answer(good.subarray(0, 11), zone)).toBeUndefined();
    const status = Buffer.from(good);
    status[2] |= 2 << 3;
    expect(read((answer(status, zone) as { reply: Uint8Array }).reply).rcode).toBe("NOTIMP");
    const two = Buffer.from(good);
    two[5] = 2;
    expect(read((answer(two, zone) as { reply: Uint8Array }).reply)).toMatchObject({ rcode: "FORMERR", id: 4 });
    expect(read((answer(good.subarray(0, 16), zone) as { reply: Uint8Array }).reply).rcode).toBe("FORMERR");
  });

  test("random bytes never throw and are never taken for more than a query", () => {
    const good = query("api.internal", "A", edns(1232));
    for (let i = 0; i < 4000; i++) {
      const message = i % 2 ? randomBytes(i % 80) : Buffer.from(good);
      if (i % 2 === 0) for (let n = 0; n < 3; n++) message[randomBytes(1)[0] % message.length] = randomBytes(1)[0];
      const outcome = answer(message, zone);
      if (outcome !== undefined && "reply" in outcome) {
        expect(outcome.reply.length).toBeGreaterThanOrEqual(12);
        expect(outcome.reply[0]).toBe(message[0]);
      }
    }
  });
});

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
      answers: flags & 0x0200 ? [] : [{ type: "A", name: to.questions![0].name, ttl: 60, data: address }],
    });

  function forwarder(servers: string[], more: { timeout?: number; maxInFlight?: number } = {}): Forwarder {
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
      expect([got.id, data(got)]).toEqual([4, ["192.0.2.7"]]);
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
    expect(read(await forwarder([]).resolve(query("example.com", "A")))).toMatchObject({ rcode: "SERVFAIL", id: 4 });
    const silent = await server(() => undefined);
    const f = forwarder([silent], { maxInFlight: 1 });
    const first = f.resolve(query("example.com", "A"));
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
    const handle = dnsHandler((id) => (id === "net/host" ? zone : undefined), forwarder([s]));
    const from = { gateway: "net/host", from: "10.1.2.9" };
    expect(data(read((await handle({ ...from, message: query("api.internal", "A") }))!))).toEqual(["10.1.2.4"]);
    const long = (await handle({ ...from, message: query("long.example.com", "A") }))!;
    expect(long.length).toBeLessThanOrEqual(512);
    expect(read(long)).toMatchObject({ flag_tc: true, answers: [] });
    expect((await handle({ ...from, message: query("long.example.com", "A", edns(4096)) }))!.length).toBeGreaterThan(
      512,
    );
    expect(await handle({ ...from, message: new Uint8Array(3) })).toBeUndefined();
  });
});
