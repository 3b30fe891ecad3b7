import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { type Asker, answer } from "./answer";
import type { Names } from "./names";
import { data, edns, namesOf, query, type Read, read, replyTo, texts, view } from "./testing/ask";

const names = namesOf(view);

function ask(name: string, type: string, asker?: Asker, of: Names = names): Read {
  return read(replyTo(query(name, type), of, asker));
}

describe("addresses", () => {
  test.each([
    ["api.internal", "A", ["10.1.2.5", "10.1.2.4"]],
    ["api.internal", "AAAA", ["fd00:1::5", "fd00:1::4"]],
    ["global.api.internal", "A", ["10.1.2.5", "10.1.2.4"]],
    ["app.process.api.internal", "A", ["10.1.2.5", "10.1.2.4"]],
    ["ord.api.internal", "A", ["10.1.2.4"]],
    ["iad.api.internal", "AAAA", ["fd00:1::5"]],
    ["a2.vm.api.internal", "A", ["10.1.2.6"]],
    ["web.role.kv._metadata.api.internal", "A", ["10.1.2.5", "10.1.2.4"]],
    ["front.tier.kv._metadata.api.internal", "A", ["10.1.2.5", "10.1.2.4"]],
    ["laptop._peer.internal", "A", ["10.1.2.3"]],
    ["laptop._peer.internal", "AAAA", ["fd00:1::3"]],
    ["_dns.internal", "A", ["10.1.2.2"]],
    ["_gateway.internal", "AAAA", ["fd00:1::1"]],
    ["ord._gateway.internal", "A", ["10.1.2.253"]],
    ["iad._gateway.internal", "A", ["10.1.2.252", "10.1.2.251"]],
    ["iad._gateway.internal", "AAAA", ["fd00:1::fc"]],
    ["api.flycast", "A", ["10.1.2.254"]],
    ["api.flycast", "AAAA", ["fd00:1::fe"]],
  ])("%s %s", (name, type, expected) => {
    const reply = ask(name, type);
    expect(reply).toMatchObject({
      rcode: "NOERROR",
      id: 3,
      flag_aa: true,
      flag_ra: true,
      flag_rd: true,
      flag_tc: false,
    });
    expect(reply.answers.map((a) => [a.name, a.type, a.class, a.ttl, a.data])).toEqual(
      expected.map((address) => [name, type, "IN", 5, address]),
    );
    expect(reply.authorities).toEqual([]);
  });

  test("all instances where none is healthy, of a region too; another one first each time", () => {
    expect(data(ask("down.internal", "A"))).toEqual(["10.1.2.8", "10.1.2.7"]);
    expect(data(read(replyTo(query("down.internal", "A", { id: 4 }), names)))).toEqual(["10.1.2.7", "10.1.2.8"]);
    const iadOnly = namesOf(view, ["mem_a.1"]);
    expect(data(ask("api.internal", "A", {}, iadOnly))).toEqual(["10.1.2.5"]);
    expect(data(ask("ord.api.internal", "A", {}, iadOnly))).toEqual(["10.1.2.6", "10.1.2.4"]);
  });

  test("what is healthy now is what counts", () => {
    const changing = namesOf(view);
    expect(data(ask("ord.api.internal", "A", {}, changing))).toEqual(["10.1.2.4"]);
    changing.setHealthy(new Set(["mem_a.2"]));
    expect(data(ask("ord.api.internal", "A", {}, changing))).toEqual(["10.1.2.6"]);
  });

  test("topN.nearest.of: nearest first from the asker's host, equals in their order, healthy ones only", () => {
    const near = (host: string): Asker => ({ distance: (other) => (other === host ? 0 : 20) });
    expect(data(ask("top1.nearest.of.api.internal", "A", near("host-iad")))).toEqual(["10.1.2.5"]);
    expect(data(ask("top1.nearest.of.api.internal", "A", near("host-ord")))).toEqual(["10.1.2.4"]);
    const all = namesOf(view, ["mem_a.0", "mem_a.1", "mem_a.2"]);
    expect(data(ask("top3.nearest.of.api.internal", "A", near("host-ord"), all))).toEqual([
      "10.1.2.4",
      "10.1.2.6",
      "10.1.2.5",
    ]);
    expect(data(ask("top3.nearest.of.api.internal", "A", near("host-iad"), all))).toEqual([
      "10.1.2.5",
      "10.1.2.4",
      "10.1.2.6",
    ]);
    expect(data(ask("top99.nearest.of.api.internal", "A"))).toEqual(["10.1.2.4", "10.1.2.5"]);
    const unreached: Asker = { distance: () => Number.POSITIVE_INFINITY };
    expect(data(ask("top2.nearest.of.api.internal", "A", unreached))).toEqual(["10.1.2.4", "10.1.2.5"]);
    for (const bad of ["top0", "top", "top-1", "top1x", "first"])
      expect(ask(`${bad}.nearest.of.api.internal`, "A").rcode).toBe("NXDOMAIN");
  });

  test("a domain of several labels, and one that ends like it", () => {
    const deep = namesOf({ ...view, domain: "corp.example.com" });
    expect(data(ask("ord.api.corp.example.com", "A", {}, deep))).toEqual(["10.1.2.4"]);
    expect(ask("api.corp.example.com", "TXT", {}, deep).authorities).toMatchObject([{ name: "corp.example.com" }]);
    expect(answer(query("api.example.com", "A"), deep)).toEqual({ forward: true });
    expect(answer(query("api.xcorp.example.com", "A"), deep)).toEqual({ forward: true });
  });
});

describe("lists, as Fly writes them", () => {
  test.each([
    ["vms.api.internal", ["a0 ord,a1 iad"]],
    ["all.vms.api.internal", ["a0 ord,a1 iad,a2 ord"]],
    ["regions.api.internal", ["ord,iad"]],
    ["all.regions.down.internal", ["iad,ord"]],
    ["_apps.internal", ["api,down,wide"]],
    ["_peer.internal", ["laptop"]],
  ])("%s", (name, expected) => {
    expect(texts(ask(name, "TXT"))).toEqual(expected);
  });

  test("_instances", () => {
    const few = namesOf({ ...view, apps: view.apps.slice(0, 2) });
    expect(texts(ask("_instances.internal", "TXT", {}, few))).toEqual([
      "instance=a0,app=api,ip=10.1.2.4,region=ord;instance=a1,app=api,ip=10.1.2.5,region=iad;" +
        "instance=d0,app=down,ip=10.1.2.7,region=iad;instance=d1,app=down,ip=10.1.2.8,region=ord",
    ]);
    expect(texts(ask("all._instances.internal", "TXT", {}, few))[0]).toContain("instance=a2,app=api,");
  });

  test("a long one is one record of several strings; one that fits no message ends with a whole entry", () => {
    const stream: Asker = { stream: true, maxReply: 65535 };
    const all = ask("all.vms.wide.internal", "TXT", stream);
    expect(all.answers).toHaveLength(1);
    expect(texts(all)[0]!.split(",")).toEqual(Array.from({ length: 200 }, (_, i) => `w${i} ord`));
    const apps = Array.from({ length: 5000 }, (_, i) => ({ ...view.apps[1]!, name: `an-app-with-a-name-${i}` }));
    const [text] = texts(ask("_apps.internal", "TXT", stream, namesOf({ ...view, apps })));
    expect(text!.length).toBeGreaterThan(63_000);
    for (const name of text!.split(",")) expect(name).toMatch(/^an-app-with-a-name-\d+$/);
  });

  test("nothing to list: the name exists all the same", () => {
    const empty = namesOf({ ...view, apps: [], peers: [] });
    for (const name of ["_apps", "_peer", "_instances", "all._instances"])
      expect(ask(`${name}.internal`, "TXT", {}, empty)).toMatchObject({ rcode: "NOERROR", answers: [] });
  });
});

describe("services", () => {
  test.each(["_8080._tcp.api.internal", "_8080._udp.api.internal", "_http._tcp.api.internal", "api.internal"])(
    "%s SRV",
    (name) => {
      const reply = ask(name, "SRV");
      expect(data(reply)).toEqual([
        { priority: 1, weight: 1, port: 8080, target: "a0.vm.api.internal" },
        { priority: 1, weight: 1, port: 8080, target: "a1.vm.api.internal" },
      ]);
      expect(reply.additionals.map((a) => [a.name, a.type, a.data])).toEqual([
        ["a0.vm.api.internal", "A", "10.1.2.4"],
        ["a0.vm.api.internal", "AAAA", "fd00:1::4"],
        ["a1.vm.api.internal", "A", "10.1.2.5"],
        ["a1.vm.api.internal", "AAAA", "fd00:1::5"],
      ]);
    },
  );

  test("none of another port or name, none of an app without a port", () => {
    for (const name of ["_9090._tcp.api.internal", "_smtp._tcp.api.internal", "_http._udp.api.internal"])
      expect(ask(name, "SRV").rcode).toBe("NXDOMAIN");
    expect(ask("down.internal", "SRV")).toMatchObject({ rcode: "NOERROR", answers: [] });
    expect(ask("_tcp.down.internal", "SRV").rcode).toBe("NXDOMAIN");
  });

  test("addresses of targets are left out where they do not fit, which is no truncation", () => {
    const wide = { ...view, apps: [{ ...view.apps[2]!, instances: view.apps[2]!.instances.slice(0, 8) }] };
    const reply = ask("wide.internal", "SRV", {}, namesOf(wide, []));
    expect([reply.answers.length, reply.additionals.length, reply.flag_tc]).toEqual([8, 0, false]);
  });
});

describe("names of addresses", () => {
  test.each([
    ["4.2.1.10.in-addr.arpa", "a0.vm.api.internal"],
    ["251.2.1.10.in-addr.arpa", "iad._gateway.internal"],
    ["3.2.1.10.in-addr.arpa", "laptop._peer.internal"],
    ["1.2.1.10.in-addr.arpa", "_gateway.internal"],
    ["2.2.1.10.in-addr.arpa", "_dns.internal"],
    ["254.2.1.10.in-addr.arpa", "api.flycast"],
    ["4.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.0.d.f.ip6.arpa", "a0.vm.api.internal"],
  ])("%s", (name, expected) => {
    expect(data(ask(name, "PTR"))).toEqual([expected]);
  });

  test("within the ranges we know what is not there; others are asked about the rest", () => {
    expect(ask("99.2.1.10.in-addr.arpa", "PTR")).toMatchObject({
      rcode: "NXDOMAIN",
      authorities: [{ name: "2.1.10.in-addr.arpa", type: "SOA" }],
    });
    expect(ask("2.1.10.in-addr.arpa", "SOA").answers).toMatchObject([{ type: "SOA", name: "2.1.10.in-addr.arpa" }]);
    expect(ask("0.0.0.0.0.0.0.0.1.0.0.0.0.0.d.f.ip6.arpa", "PTR").rcode).toBe("NOERROR");
    for (const name of [
      "1.10.in-addr.arpa",
      "4.3.1.10.in-addr.arpa",
      "256.2.1.10.in-addr.arpa",
      "x.2.1.10.in-addr.arpa",
      "in-addr.arpa",
      "04.2.1.10.in-addr.arpa",
    ])
      expect(answer(query(name, "PTR"), names)).toEqual({ forward: true });
  });

  test("a range that ends within a label: each of its addresses' networks is a zone", () => {
    const odd = namesOf({ ...view, ranges: ["10.4.0.0/22", "10.9.9.64/26"] });
    expect(ask("7.3.4.10.in-addr.arpa", "PTR", {}, odd).authorities).toMatchObject([{ name: "3.4.10.in-addr.arpa" }]);
    expect(answer(query("7.4.4.10.in-addr.arpa", "PTR"), odd)).toEqual({ forward: true });
    expect(ask("70.9.9.10.in-addr.arpa", "PTR", {}, odd)).toMatchObject({
      rcode: "NXDOMAIN",
      authorities: [{ name: "70.9.9.10.in-addr.arpa" }],
    });
    expect(answer(query("9.9.10.in-addr.arpa", "PTR"), odd)).toEqual({ forward: true });
  });
});

describe("no answer", () => {
  test.each([
    ["nope.internal", "NXDOMAIN", "internal"],
    ["a.api.internal", "NXDOMAIN", "internal"],
    ["lhr.api.internal", "NXDOMAIN", "internal"],
    ["laptop.internal", "NXDOMAIN", "internal"],
    ["nobody._peer.internal", "NXDOMAIN", "internal"],
    ["x._apps.internal", "NXDOMAIN", "internal"],
    ["a9.vm.api.internal", "NXDOMAIN", "internal"],
    ["d0.vm.api.internal", "NXDOMAIN", "internal"],
    ["web.tier.kv._metadata.api.internal", "NXDOMAIN", "internal"],
    ["down.flycast", "NXDOMAIN", "flycast"],
    ["nope.flycast", "NXDOMAIN", "flycast"],
    ["ord.api.flycast", "NXDOMAIN", "flycast"],
    ["internal", "NOERROR", "internal"],
    ["flycast", "NOERROR", "flycast"],
    ["vms.api.internal", "NOERROR", "internal"],
    ["vm.api.internal", "NOERROR", "internal"],
    ["nearest.of.api.internal", "NOERROR", "internal"],
    ["role.kv._metadata.api.internal", "NOERROR", "internal"],
    ["_tcp.api.internal", "NOERROR", "internal"],
  ])("%s A: %s under the SOA of %s", (name, rcode, apex) => {
    const reply = ask(name, "A");
    expect(reply).toMatchObject({ rcode, answers: [], flag_aa: true });
    expect(reply.authorities).toMatchObject([
      {
        type: "SOA",
        name: apex,
        ttl: 5,
        data: { mname: "_dns.internal", rname: "hostmaster.internal", serial: 7, minimum: 5 },
      },
    ]);
  });

  test("a family that an app does not have is nothing, not no name", () => {
    expect(ask("down.internal", "AAAA")).toMatchObject({
      rcode: "NOERROR",
      answers: [],
      authorities: [{ type: "SOA" }],
    });
    expect(ask("api.internal", "CNAME")).toMatchObject({ rcode: "NOERROR", answers: [] });
  });

  test("the domain's own records", () => {
    expect(ask("internal", "SOA").answers).toMatchObject([{ type: "SOA", name: "internal", ttl: 5 }]);
    expect(data(ask("internal", "NS"))).toEqual(["_dns.internal"]);
  });

  test("others are asked for other names, never for ours", () => {
    for (const name of [
      "example.com",
      "myinternal",
      "api.internal.example.com",
      ".",
      "nope",
      "lhr.api",
      "www.api",
      "fra.nope",
      "a.fra.api",
    ])
      expect(answer(query(name, "A"), names)).toEqual({ forward: true });
  });

  test("nor of an app in a region where it has no instance: there may be one tomorrow", () => {
    for (const name of ["iad.wide", "FRA.api"]) {
      expect(ask(name, "A")).toMatchObject({ rcode: "NXDOMAIN", answers: [], authorities: [], flag_aa: false });
      expect(ask(`${name}.internal`, "A").rcode).toBe("NXDOMAIN");
    }
  });

  // `iad.api` is asked for as it is before `iad.api.internal`, `api` after `api.internal`.
  test.each(["api", "_peer", "ord.api", "ORD.Api", "global.api", "top2.nearest.of.api", "a0.vm.api", "laptop._peer"])(
    "nobody else hears of %s, which a search list makes of one of ours",
    (name) => {
      expect(ask(name, "AAAA")).toMatchObject({ rcode: "NXDOMAIN", authorities: [], flag_aa: false });
      expect(ask(`${name}.internal`, "ANY").rcode).toBe("NOERROR");
    },
  );
});

describe("the wire", () => {
  test("letters of either case; the question comes back as it was written", () => {
    const reply = ask("aPi.InTernal", "A");
    expect(reply.questions).toMatchObject([{ name: "aPi.InTernal" }]);
    expect(data(reply)).toEqual(["10.1.2.5", "10.1.2.4"]);
    expect(ask("noPe.InTernal", "A").authorities).toMatchObject([{ name: "InTernal" }]);
  });

  test("byte by byte", () => {
    expect(Buffer.from(replyTo(query("ord.api.internal", "A"), names)).toString("hex")).toBe(
      "00038580000100010000000003" +
        "6f72640361706908696e7465726e616c0000010001" +
        "c00c00010001000000050004" +
        "0a010204",
    );
  });

  test("truncated at the asker's size, EDNS or not, and at ours; whole over a stream", () => {
    const plain = replyTo(query("wide.internal", "A"), names);
    expect(plain.length).toBeLessThanOrEqual(512);
    expect(plain.length).toBeGreaterThan(490);
    expect(read(plain)).toMatchObject({ flag_tc: true, additionals: [] });
    const wide = replyTo(query("wide.internal", "A", edns(1000)), names);
    expect(wide.length).toBeLessThanOrEqual(1000);
    expect(wide.length).toBeGreaterThan(980);
    expect(read(wide)).toMatchObject({ flag_tc: true, additionals: [{ type: "OPT" }] });
    expect(replyTo(query("wide.internal", "A", edns(65535)), names).length).toBeLessThanOrEqual(1232);
    expect(replyTo(query("wide.internal", "A", edns(65535)), names, { maxReply: 528 }).length).toBeLessThanOrEqual(528);
    const whole = read(replyTo(query("wide.internal", "A"), names, { stream: true, maxReply: 65535 }));
    expect([whole.answers.length, whole.flag_tc]).toEqual([200, false]);
  });

  test("a part begins with any of them, goes round, and names none twice", () => {
    const first = new Set<unknown>();
    for (let id = 0; id < 200; id++) {
      const addresses = data(read(replyTo(query("wide.internal", "A", { id }), names)));
      expect(new Set(addresses).size).toBe(addresses.length);
      expect(addresses[0]).toBe(`10.1.3.${id}`);
      first.add(addresses[0]);
    }
    expect(first.size).toBe(200);
  });

  test("EDNS: our size and the asker's DO bit; a version to come is BADVERS", () => {
    const reply = read(replyTo(query("api.internal", "A", edns(1232, 0, 0x8000)), names));
    expect(reply.additionals).toMatchObject([{ type: "OPT", udpPayloadSize: 1232, flag_do: true }]);
    const later = read(replyTo(query("api.internal", "A", edns(1232, 1)), names));
    expect(later).toMatchObject({ answers: [], additionals: [{ type: "OPT", extendedRcode: 1, flag_do: false }] });
  });

  test("ANY is answered with one type (RFC 8482)", () => {
    expect(new Set(ask("api.internal", "ANY").answers.map((a) => a.type))).toEqual(new Set(["A"]));
    expect(ask("nope.internal", "ANY").rcode).toBe("NXDOMAIN");
  });

  test("other classes, transfers and questions without recursion for others' names are refused", () => {
    const chaos = query("version.bind", "TXT", { questions: [{ name: "version.bind", type: "TXT", class: "CH" }] });
    expect(read(replyTo(chaos, names)).rcode).toBe("REFUSED");
    for (const type of ["AXFR", "IXFR"]) expect(ask("internal", type).rcode).toBe("REFUSED");
    expect(ask("example.com", "AXFR").rcode).toBe("REFUSED");
    expect(read(replyTo(query("example.com", "A", { flags: 0 }), names)).rcode).toBe("REFUSED");
    expect(data(read(replyTo(query("iad.api.internal", "A", { flags: 0 }), names)))).toEqual(["10.1.2.5"]);
  });

  test("a response, a stub, an unknown operation, two questions, damaged names and records", () => {
    const good = query("api.internal", "A", edns(1232));
    const changed = (change: (message: Buffer) => void): Buffer => {
      const message = Buffer.from(good);
      change(message);
      return message;
    };
    const rcode = (message: Uint8Array) => read(replyTo(message, names)).rcode;
    expect(
      answer(
        changed((m) => m.writeUInt8(m[2]! | 0x80, 2)),
        names,
      ),
    ).toBeUndefined();
    expect(answer(good.subarray(0, 11), names)).toBeUndefined();
    for (const opcode of [1, 2, 4, 5]) expect(rcode(changed((m) => m.writeUInt8(opcode << 3, 2)))).toBe("NOTIMP");
    expect(rcode(changed((m) => m.writeUInt16BE(2, 4)))).toBe("FORMERR");
    expect(rcode(changed((m) => m.writeUInt16BE(0, 4)))).toBe("FORMERR");
    expect(rcode(good.subarray(0, 16))).toBe("FORMERR");
    expect(rcode(good.subarray(0, 28))).toBe("FORMERR");
    expect(rcode(good.subarray(0, good.length - 1))).toBe("FORMERR");
    expect(rcode(changed((m) => m.writeUInt16BE(0xc00c, 12)))).toBe("FORMERR");
    expect(rcode(changed((m) => m.writeUInt8(64, 12)))).toBe("FORMERR");
    // Two OPT records; one that is not the root's.
    expect(rcode(changed((m) => m.writeUInt16BE(2, 10)))).toBe("FORMERR");
    const twice = Buffer.concat([good, good.subarray(good.length - 11)]);
    twice.writeUInt16BE(2, 10);
    expect(rcode(twice)).toBe("FORMERR");
    // 255 bytes of labels and a root.
    const long = Buffer.concat([good.subarray(0, 12), Buffer.alloc(256, "\x01a"), Buffer.from([0, 0, 1, 0, 1])]);
    long.writeUInt16BE(0, 10);
    expect(rcode(long)).toBe("FORMERR");
  });

  test("random and damaged bytes never throw, and bring back no more than they may", () => {
    const good = [
      query("api.internal", "A", edns(1232)),
      query("wide.internal", "SRV"),
      query("4.2.1.10.in-addr.arpa", "PTR"),
    ];
    const check = (message: Buffer) => {
      const outcome = answer(message, names);
      if (outcome === undefined || !("reply" in outcome)) return;
      const { reply } = outcome;
      expect(reply.length).toBeGreaterThanOrEqual(12);
      expect(reply.length).toBeLessThanOrEqual(1232);
      // Without EDNS the old bound holds.
      if (message[11] === 0) expect(reply.length).toBeLessThanOrEqual(512);
      expect([reply[0], reply[1], reply[2]! & 0x80]).toEqual([message[0], message[1], 0x80]);
      read(reply);
    };
    for (let i = 0; i < 3000; i++) check(randomBytes(i % 100));
    fc.assert(
      fc.property(
        fc.constantFrom(...good),
        fc.array(fc.tuple(fc.nat(60), fc.integer({ min: 0, max: 255 })), { maxLength: 4 }),
        fc.nat(60),
        (message, changes, cut) => {
          const damaged = Buffer.from(message.subarray(0, message.length - (cut % message.length)));
          for (const [at, value] of changes) if (at < damaged.length) damaged[at] = value;
          check(damaged);
        },
      ),
      { numRuns: 2000 },
    );
  });
});
