import { seededRandom } from "../../test/support/programs/random";
import { addSum, checksum, putU16, u16 } from "../dataplane/inet";
import { faultOf } from "../dataplane/testing/pcap";
import { addressBytes } from "./address";
import type { Echo, EchoAnswer } from "./icmp";
import type { NetworkErrorCode } from "./options";
import type { Stack } from "./stack";
import type { TcpConnection } from "./tcp";
import { fragmentsOf, HERE, icmpPacket, ipPacket, Lab, THERE, udpPacket } from "./testing/lab";

const DATA = Uint8Array.of(1, 2, 3, 4, 5);
const STRANGER = { 4: "203.0.113.7", 6: "2001:db8::7" } as const;

const echoRequest = (family: 4 | 6, data: Uint8Array = DATA, addresses = {}): Uint8Array =>
  icmpPacket(family, family === 4 ? 8 : 128, 0, Uint8Array.of(0, 9, 0, 1, ...data), addresses);

/** An ICMP error from `from` that quotes a packet. */
function errorAbout(
  quoted: Uint8Array,
  type: number,
  code: number,
  detail = 0,
  from?: string,
  to?: string,
): Uint8Array {
  const family = quoted[0] >>> 4 === 4 ? 4 : 6;
  const body = new Uint8Array(4 + Math.min(quoted.length, 500));
  putU16(body, 2, detail);
  body.set(quoted.subarray(0, 500), 4);
  return icmpPacket(family, type, code, body, { from, to });
}

const headerOf = (packet: Uint8Array): number => (packet[0] >>> 4 === 4 ? 20 : 40);
/** Type and code of an ICMP packet. */
const icmpOf = (packet: Uint8Array): number[] => [...packet.subarray(headerOf(packet), headerOf(packet) + 2)];

describe.each([4, 6] as const)("a stack's IPv%s", (family) => {
  const [bigType, bigCode] = family === 4 ? [3, 4] : [2, 0];
  const portUnreachable = family === 4 ? [3, 3] : [1, 4];

  it("answers echo requests with what they carried", () => {
    const lab = new Lab();
    const [reply] = lab.input(echoRequest(family));
    expect(reply).toHaveLength(headerOf(reply) + 8 + DATA.length);
    expect(icmpOf(reply)).toEqual([family === 4 ? 0 : 129, 0]);
    expect([...reply.subarray(-DATA.length)]).toEqual([...DATA]);
    expect(faultOf(reply, 1500)).toBeUndefined();
  });

  it("answers no more of them than it may", () => {
    const lab = new Lab({ limits: { echoRepliesPerSecond: 10 } });
    for (let i = 0; i < 30; i++) lab.input(echoRequest(family));
    expect(lab.sent).toHaveLength(10);
    lab.now += 500;
    for (let i = 0; i < 30; i++) lab.input(echoRequest(family));
    expect(lab.sent).toHaveLength(15);
    expect(lab.drops).toEqual({ rate: 45 });
  });

  it("drops and counts what cannot be right", () => {
    const lab = new Lab();
    const loopback = family === 4 ? "127.0.0.1" : "::1";
    const unspecified = family === 4 ? "0.0.0.0" : "::";
    const multicast = family === 4 ? "224.0.0.5" : "ff02::1";
    for (const from of [HERE[family], loopback, unspecified, multicast]) lab.input(echoRequest(family, DATA, { from }));
    for (const to of [STRANGER[family], `${family === 4 ? "10.0.0." : "fd00::"}9`])
      lab.input(echoRequest(family, DATA, { to }));
    for (const to of [multicast, ...(family === 4 ? ["255.255.255.255"] : [])])
      lab.input(echoRequest(family, DATA, { to }));
    const damaged = echoRequest(family);
    damaged[damaged.length - 1] ^= 1;
    lab.input(damaged);
    lab.input(udpPacket(family, [5, 0], DATA));
    lab.input(Uint8Array.of(family << 4));
    expect(lab.drops).toEqual({
      "martian-source": 4,
      "not-ours": 2,
      multicast: family === 4 ? 2 : 1,
      checksum: 1,
      "no-socket": 1,
      malformed: 1,
    });
    expect(lab.sent.map(icmpOf)).toEqual([portUnreachable]);
  });

  it("tells of ports and protocols that nobody has, at a bounded rate, and never about an error or to nobody", () => {
    const lab = new Lab({ limits: { icmpErrorsPerSecond: 5 } });
    const [unreachable] = lab.input(udpPacket(family, [5, 9], DATA));
    expect(icmpOf(unreachable)).toEqual(portUnreachable);
    const [protocol] = lab.input(ipPacket({ family, protocol: 99, payload: DATA.slice(0, 4) }));
    expect(protocol).toBeUndefined();
    const [other] = lab.input(ipPacket({ family, protocol: 99, payload: new Uint8Array(20) }));
    expect(icmpOf(other)).toEqual(family === 4 ? [3, 2] : [4, 1]);
    if (family === 6) expect(other[40 + 7]).toBe(6);
    lab.input(errorAbout(unreachable, bigType, bigCode, 100));
    expect(lab.drops["icmp-invalid"]).toBe(1);
    for (let i = 0; i < 10; i++) lab.input(udpPacket(family, [5, 9], DATA));
    expect(lab.sent).toHaveLength(5);
    expect(lab.drops.rate).toBe(7);
  });

  it("refuses a TCP connection to a dead port at once", () => {
    const lab = new Lab();
    const syn = new Uint8Array(20);
    putU16(syn, 0, 4000);
    putU16(syn, 2, 81);
    syn[12] = 0x50;
    syn[13] = 2;
    const packet = ipPacket({ family, protocol: 6, payload: syn });
    const at = headerOf(packet);
    const sum = addSum(6 + 20, packet, family === 4 ? 12 : 8, family === 4 ? 8 : 32);
    putU16(packet, at + 16, checksum(addSum(sum, packet, at, 20)));
    const [reset] = lab.input(packet);
    expect(reset[headerOf(reset) + 13]).toBe(0x14);
    expect(faultOf(reset, 1500)).toBeUndefined();
  });

  it("reassembles what is for it, and tells where the rest did not come", () => {
    const lab = new Lab();
    const got: number[] = [];
    lab.stack.bindUdp({ port: 7 }, { onDatagram: (_from, _to, data) => got.push(data.length) });
    const big = udpPacket(family, [5, 7], new Uint8Array(5000).fill(3));
    for (const part of fragmentsOf(big, 1000).reverse()) lab.input(part);
    expect(got).toEqual([5000]);
    lab.input(fragmentsOf(big, 1000, 78)[0]);
    expect(lab.stack.usage.reassemblies).toBe(1);
    expect(lab.stack.nextTimer()).toBe(30_000);
    const [error] = lab.advance(30_000);
    expect(icmpOf(error)).toEqual([family === 4 ? 11 : 3, 1]);
    // Not ours: not even looked at.
    lab.input(fragmentsOf(udpPacket(family, [5, 7], DATA, { to: STRANGER[family] }), 8)[0]);
    expect(lab.stack.usage.reassemblies).toBe(0);
  });

  it("sends datagrams in fragments of the size that a router told, if it tells about one that was sent", () => {
    const lab = new Lab();
    const errors: NetworkErrorCode[] = [];
    const socket = lab.stack.bindUdp({}, { onDatagram: () => {}, onError: (code) => errors.push(code) });
    const to = { address: STRANGER[family], port: 53 };
    const data = new Uint8Array(1400).fill(7);
    socket.send(data, to);
    expect(lab.sent.map((packet) => packet.length)).toEqual([headerOf(lab.sent[0]) + 1408]);
    const [sent] = lab.sent;
    const forged = sent.slice();
    forged[headerOf(forged) + 6] ^= 1;
    lab.input(errorAbout(forged, bigType, bigCode, 1300));
    lab.input(errorAbout(udpPacket(family, [1, 2], data, { from: HERE[family] }), bigType, bigCode, 1300));
    expect([lab.drops["icmp-invalid"], lab.stack.usage.paths]).toEqual([2, 0]);
    lab.input(errorAbout(sent, bigType, bigCode, 1300));
    expect([errors, lab.stack.usage.paths]).toEqual([["EMSGSIZE"], 1]);
    lab.sent.length = 0;
    socket.send(data, to);
    expect(lab.sent.map((packet) => packet.length <= 1300)).toEqual([true, true]);
    // Nothing is so small, and what was told once is forgotten in the end.
    lab.input(errorAbout(sent, bigType, bigCode, 40));
    lab.sent.length = 0;
    socket.send(data, to);
    expect(lab.sent[0].length).toBeGreaterThan(family === 4 ? 500 : 1200);
    lab.advance(600_000);
    expect(lab.stack.usage.paths).toBe(0);
  });

  it("does not take the word of whoever got a datagram for the way to another", () => {
    const lab = new Lab();
    const socket = lab.stack.bindUdp({}, { onDatagram: () => {} });
    socket.send(new Uint8Array(1400), { address: STRANGER[family], port: 53 });
    const [sent] = lab.sent;
    const forged = sent.slice();
    forged.set(addressBytes(THERE[family], "to"), family === 4 ? 16 : 24);
    lab.input(errorAbout(forged, bigType, bigCode, 1300, STRANGER[family]));
    expect([lab.drops["icmp-invalid"], lab.stack.usage.paths]).toEqual([1, 0]);
    lab.input(errorAbout(sent, bigType, bigCode, 1300, STRANGER[family]));
    expect([lab.drops["icmp-invalid"], lab.stack.usage.paths]).toEqual([1, 1]);
  });

  it("tells its connections what a datagram or an echo request found out about the path", () => {
    const learn = [
      (stack: Stack) =>
        stack.bindUdp({}, { onDatagram: () => {} }).send(new Uint8Array(1400), { address: THERE[family], port: 9 }),
      (stack: Stack) => stack.ping(THERE[family], { onReply: () => {}, onError: () => {} }, { payload: 1400 }),
    ];
    for (const send of learn) {
      const near = new Lab({ segments: false, schedule: () => {} });
      const far = new Lab({ segments: false, schedule: () => {}, addresses: [THERE[family]] });
      const exchange = (): void => {
        near.stack.roundEnd();
        while (near.sent.length + far.sent.length > 0) {
          for (const packet of near.sent.splice(0)) far.input(packet);
          for (const packet of far.sent.splice(0)) near.input(packet);
        }
      };
      let got = 0;
      const readable = (accepted: TcpConnection): void => {
        for (let data = accepted.read(); data !== undefined; data = accepted.read()) got += data.length;
      };
      far.stack.tcp.listen({
        port: 80,
        onConnection: (accepted) => {
          accepted.handlers = { readable: () => readable(accepted) };
        },
      });
      const connection = near.stack.tcp.connect({ address: addressBytes(THERE[family], "to"), port: 80 });
      exchange();
      connection.write(new Uint8Array(20_000));
      near.stack.roundEnd();
      const lost = near.sent.splice(0);
      expect(Math.max(...lost.map((packet) => packet.length))).toBeGreaterThan(1300);
      send(near.stack);
      const [asked] = near.sent.splice(0);
      const again = near.input(errorAbout(asked, bigType, bigCode, 1300));
      expect(again.length).toBeGreaterThan(lost.length);
      expect(Math.max(...again.map((packet) => packet.length))).toBeLessThanOrEqual(1300);
      // What the router says of the segments that came to it before is no news.
      expect(near.input(errorAbout(lost[0], bigType, bigCode, 1300))).toEqual([]);
      // The clock stands still: no timer has its share in this.
      exchange();
      expect(got).toBe(20_000);
    }
  });

  it("hears of its datagrams' ports, hosts and walls, and of nobody else's", () => {
    const lab = new Lab();
    const errors: (readonly [NetworkErrorCode, string | undefined])[] = [];
    const socket = lab.stack.bindUdp(
      { port: 700 },
      { onDatagram: () => {}, onError: (code, to) => errors.push([code, to?.address]) },
    );
    socket.connect({ address: STRANGER[family], port: 53 });
    socket.send(DATA);
    const [sent] = lab.sent;
    const codes =
      family === 4
        ? [
            [3, 3],
            [3, 1],
            [3, 13],
            [11, 0],
          ]
        : [
            [1, 4],
            [1, 3],
            [1, 1],
            [3, 0],
          ];
    for (const [type, code] of codes) lab.input(errorAbout(sent, type, code));
    const address = STRANGER[family];
    expect(errors).toEqual([
      ["ECONNREFUSED", address],
      ["EHOSTUNREACH", address],
      ["ECONNREFUSED", address],
      ["EHOSTUNREACH", address],
    ]);
    lab.input(
      errorAbout(
        udpPacket(family, [700, 54], DATA, { from: HERE[family], to: STRANGER[family] }),
        codes[0][0],
        codes[0][1],
      ),
    );
    lab.input(
      errorAbout(
        udpPacket(family, [700, 53], DATA, { from: THERE[family], to: STRANGER[family] }),
        codes[0][0],
        codes[0][1],
      ),
    );
    lab.input(icmpPacket(family, codes[0][0], codes[0][1], new Uint8Array(9)));
    expect([errors.length, lab.drops["icmp-invalid"]]).toEqual([4, 3]);
  });

  it("pings: the reply has to bring back what was sent", () => {
    const lab = new Lab();
    const heard: (number | string)[] = [];
    const handler = { onReply: (time: number) => heard.push(time), onError: (code: string) => heard.push(code) };
    const reply = (request: Uint8Array, change = -1): Uint8Array => {
      const body = request.slice(headerOf(request) + 4);
      if (change >= 0) body[change] ^= 1;
      return icmpPacket(family, family === 4 ? 0 : 129, 0, body, { from: STRANGER[family] });
    };
    lab.stack.ping(STRANGER[family], handler);
    const [request] = lab.sent;
    lab.now = 20;
    for (const change of [0, 3, 4, 11]) lab.input(reply(request, change));
    expect(heard).toEqual([]);
    lab.input(reply(request));
    lab.input(reply(request));
    expect([heard, lab.drops["icmp-invalid"]]).toEqual([[20], 5]);

    lab.stack.ping(STRANGER[family], handler, { timeout: 1000 });
    lab.stack.ping(STRANGER[family], handler, { timeout: 2000 }).cancel();
    lab.stack.ping(STRANGER[family], handler, { timeout: 3000 });
    lab.input(errorAbout(lab.sent[3], family === 4 ? 3 : 1, 1));
    expect(heard).toEqual([20, family === 4 ? "EHOSTUNREACH" : "ECONNREFUSED"]);
    expect(lab.stack.nextTimer()).toBe(1020);
    lab.advance(1000);
    expect(heard[2]).toBe("ETIMEDOUT");
    expect(lab.stack.usage.pings).toBe(0);
    lab.stack.ping(STRANGER[family], handler);
    lab.stack.close();
    expect(heard.slice(3)).toEqual(["ECONNABORTED"]);
  });

  it("knows sockets by address, peer and port, the closest one first", () => {
    const lab = new Lab();
    const got: string[] = [];
    const handler = (name: string) => ({ onDatagram: () => got.push(name) });
    lab.stack.bindUdp({ port: 7 }, handler("any"));
    lab.stack.bindUdp({ port: 7, address: HERE[family] }, handler("own"));
    const deliver = (from: number): void => {
      lab.input(udpPacket(family, [from, 7], DATA));
    };
    deliver(1);
    expect(() => lab.stack.bindUdp({ port: 7 }, handler(""))).toThrow("EADDRINUSE");
    expect(() => lab.stack.bindUdp({ port: 7, address: HERE[family] }, handler(""))).toThrow("EADDRINUSE");
    expect(() => lab.stack.bindUdp({ address: STRANGER[family] }, handler(""))).toThrow("EADDRNOTAVAIL");
    const peer = lab.stack.bindUdp({ port: 8 }, handler("peer"));
    peer.connect({ address: THERE[family], port: 1 });
    lab.input(udpPacket(family, [1, 8], DATA));
    lab.input(udpPacket(family, [2, 8], DATA));
    expect(got).toEqual(["own", "peer"]);
    expect(lab.drops).toEqual({ "no-socket": 1 });
  });

  it("takes several datagrams joined as one packet apart", () => {
    const lab = new Lab();
    const got: number[] = [];
    lab.stack.bindUdp({ port: 7 }, { onDatagram: (_from, _to, data) => got.push(data.length) });
    const joined = udpPacket(family, [5, 7], new Uint8Array(2500));
    joined[headerOf(joined) + 6] ^= 0xff;
    lab.stack.input(joined, 0, joined.length, 1000);
    expect(got).toEqual([1000, 1000, 500]);
  });

  it("loses an address with all that holds on to it", () => {
    const lab = new Lab();
    const errors: NetworkErrorCode[] = [];
    const socket = lab.stack.bindUdp(
      { address: HERE[family], port: 7 },
      { onDatagram: () => {}, onError: (code) => errors.push(code) },
    );
    lab.stack.setAddresses([family === 4 ? HERE[6] : HERE[4]]);
    expect(errors).toEqual(["EADDRNOTAVAIL"]);
    expect(() => socket.send(DATA, { address: THERE[family], port: 1 })).toThrow("EADDRNOTAVAIL");
    lab.input(echoRequest(family));
    expect(lab.drops).toEqual({ "not-ours": 1 });
    expect(() => lab.stack.ping(THERE[family], { onReply: () => {}, onError: () => {} })).toThrow("EHOSTUNREACH");
  });

  it("counts what the link had no room for, and goes on", () => {
    const lab = new Lab();
    const socket = lab.stack.bindUdp({ port: 7 }, { onDatagram: () => {} });
    lab.room = false;
    expect(socket.send(DATA, { address: THERE[family], port: 1 })).toBe(false);
    lab.input(echoRequest(family));
    expect(lab.drops).toEqual({ "output-full": 2 });
    lab.room = true;
    lab.stack.drained();
    expect(socket.send(DATA, { address: THERE[family], port: 1 })).toBe(true);
  });

  describe("that is transparent", () => {
    it("hands over datagrams to any host, and answers for it", () => {
      const lab = new Lab({ transparent: true });
      const heard: unknown[] = [];
      lab.stack.onDatagram = (from, to, data) => {
        heard.push([from, to, data.length]);
        if (to.port === 53) lab.stack.sendDatagram(to, from, data);
        else lab.stack.rejectDatagram(from, to, "admin");
      };
      const to = STRANGER[family];
      const [answer] = lab.input(udpPacket(family, [700, 53], DATA, { to }));
      expect(heard).toEqual([[{ address: THERE[family], port: 700 }, { address: to, port: 53 }, 5]]);
      expect([u16(answer, headerOf(answer)), u16(answer, headerOf(answer) + 2)]).toEqual([53, 700]);
      expect(faultOf(answer, 1500)).toBeUndefined();
      const [rejection] = lab.input(udpPacket(family, [700, 54], DATA, { to }));
      expect(icmpOf(rejection)).toEqual(family === 4 ? [3, 13] : [1, 1]);
      const quoted = rejection.subarray(headerOf(rejection) + 8);
      expect([u16(quoted, headerOf(quoted)), u16(quoted, headerOf(quoted) + 2)]).toEqual([700, 54]);
      lab.stack.onDatagram = undefined;
      expect(lab.input(udpPacket(family, [700, 53], DATA, { to })).map(icmpOf)).toEqual([portUnreachable]);
    });

    it("hands over echo requests to any host, to be answered once, later too", () => {
      const lab = new Lab({ transparent: true });
      const asked: [Echo, EchoAnswer][] = [];
      lab.input(echoRequest(family, DATA, { to: STRANGER[family] }));
      expect(lab.drops).toEqual({ "not-ours": 1 });
      lab.stack.onEcho = (echo, answer) => asked.push([{ ...echo, data: echo.data.slice() }, answer]);
      lab.input(echoRequest(family, DATA, { to: STRANGER[family] }));
      expect(asked[0][0]).toMatchObject({ from: THERE[family], to: STRANGER[family], id: 9, sequence: 1 });
      asked[0][1].reply(asked[0][0].data);
      asked[0][1].reject("host");
      expect(lab.sent.map(icmpOf)).toEqual([[family === 4 ? 0 : 129, 0]]);
      lab.input(echoRequest(family, DATA, { to: STRANGER[family] }));
      asked[1][1].reject("host");
      expect(lab.sent.slice(1).map(icmpOf)).toEqual([family === 4 ? [3, 1] : [1, 3]]);
    });

    it("never takes packets to nobody or to this machine", () => {
      const lab = new Lab({ transparent: true });
      for (const to of family === 4
        ? ["127.0.0.1", "224.0.0.1", "255.255.255.255", "0.0.0.0"]
        : ["::1", "ff02::1", "::"])
        lab.input(udpPacket(family, [1, 2], DATA, { to }));
      expect(lab.drops).toEqual({ multicast: family === 4 ? 4 : 3 });
    });
  });
});

describe("a stack", () => {
  it("refuses options that cannot be right", () => {
    expect(() => new Lab({ addresses: ["10.0.0.300"] })).toThrow("addresses[0]");
    expect(() => new Lab({ addresses: ["127.0.0.1"] })).toThrow("no address of a single host");
    expect(() => new Lab({ addresses: ["fe80::1%eth0"] })).toThrow("carries a zone");
    expect(() => new Lab({ addresses: ["::ffff:1.2.3.4"] })).toThrow("IPv4-mapped");
    expect(() => new Lab({ mtu: 576 })).toThrow("mtu: 576");
    expect(new Lab({ mtu: 576, addresses: [HERE[4]] }).stack.addresses).toEqual([HERE[4]]);
    const { stack } = new Lab();
    expect(() => stack.bindUdp({ port: 70_000 }, { onDatagram: () => {} })).toThrow("port: 70000");
    const socket = stack.bindUdp({}, { onDatagram: () => {} });
    expect(() => socket.send(new Uint8Array(65_508), { address: THERE[4], port: 1 })).toThrow("EMSGSIZE");
    expect(() => socket.send(DATA, { address: "name.internal", port: 1 })).toThrow("resolve names first");
    expect(() => socket.send(DATA, { address: THERE[4], port: 0 })).toThrow("port: 0");
    expect(() => socket.send(DATA)).toThrow("EADDRNOTAVAIL");
    expect(() => stack.sendDatagram({ address: STRANGER[4], port: 1 }, { address: THERE[4], port: 1 }, DATA)).toThrow(
      "EADDRNOTAVAIL",
    );
  });

  it("has a limit of sockets and of echo requests", () => {
    const { stack } = new Lab({ limits: { udpSockets: 2, pings: 1 } });
    const nothing = { onDatagram: () => {}, onReply: () => {}, onError: () => {} };
    stack.bindUdp({}, nothing);
    const second = stack.bindUdp({}, nothing);
    expect(() => stack.bindUdp({}, nothing)).toThrow("ENOBUFS");
    second.close();
    stack.bindUdp({}, nothing);
    stack.ping(THERE[4], nothing);
    expect(() => stack.ping(THERE[4], nothing)).toThrow("ENOBUFS");
  });

  it("says so when it is used after its end, and takes nothing any more", () => {
    const lab = new Lab();
    lab.stack.close();
    lab.stack.close();
    expect(lab.input(echoRequest(4))).toEqual([]);
    expect(() => lab.stack.bindUdp({}, { onDatagram: () => {} })).toThrow("closed stack");
    expect(lab.stack.nextTimer()).toBe(Number.POSITIVE_INFINITY);
  });

  it("with nothing to do has no timer", () => {
    expect(new Lab().stack.nextTimer()).toBe(Number.POSITIVE_INFINITY);
  });

  it("reaches itself, with fragments of nothing and a UDP echo", () => {
    const run: (() => void)[] = [];
    const lab = new Lab({ schedule: (work) => run.push(work) });
    const got: number[] = [];
    const echo = lab.stack.bindUdp({ port: 7 }, { onDatagram: (from, _to, data) => echo.send(data, from) });
    const socket = lab.stack.bindUdp({}, { onDatagram: (_from, _to, data) => got.push(data.length) });
    socket.send(new Uint8Array(60_000), { address: HERE[6], port: 7 });
    while (run.length > 0) run.shift()?.();
    expect(got).toEqual([60_000]);
    expect(lab.sent).toEqual([]);
  });

  it("survives whatever comes, in bounds", () => {
    const random = seededRandom(21);
    const lab = new Lab({ transparent: true, schedule: () => {} });
    const { stack } = lab;
    stack.onDatagram = (from, to, data) => stack.sendDatagram(to, from, data);
    stack.onEcho = (echo, answer) => answer.reply(echo.data);
    stack.bindUdp({ port: 7 }, { onDatagram: () => {} });
    stack.tcp.listen({ port: 80, onConnection: () => {} });
    stack.tcp.onSyn = (syn) => void syn.accept();
    const tcp = (family: 4 | 6): Uint8Array => {
      const payload = new Uint8Array(44);
      putU16(payload, 0, 4000 + random() * 10);
      putU16(payload, 2, random() < 0.5 ? 80 : 81);
      payload[12] = 0xa0;
      payload[13] = random() * 64;
      payload.set([2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7], 20);
      return ipPacket({ family, protocol: 6, payload });
    };
    const makers = [
      tcp,
      (family: 4 | 6) => udpPacket(family, [1 + random() * 10, random() < 0.5 ? 7 : 9], DATA),
      (family: 4 | 6) => echoRequest(family),
      (family: 4 | 6) =>
        errorAbout(
          udpPacket(family, [7, 9], DATA, { from: HERE[family], to: THERE[family] }),
          random() * 5,
          random() * 5,
          random() * 2000,
        ),
      (family: 4 | 6) =>
        fragmentsOf(udpPacket(family, [5, 7], new Uint8Array(64)), 8, random() * 9)[Math.floor(random() * 9)],
    ];
    for (let i = 0; i < 10_000; i++) {
      const family = random() < 0.5 ? 4 : 6;
      const packet = makers[Math.floor(random() * makers.length)](family);
      for (let changes = Math.floor(random() * 4); changes > 0; changes--)
        packet[Math.floor(random() * packet.length)] = random() * 256;
      // As joined, checksums of the transport are not looked at: more gets through.
      const segment = random() < 0.5 ? 1 + Math.floor(random() * 100) : 0;
      if (family === 4 && random() < 0.8) {
        putU16(packet, 10, 0);
        putU16(packet, 10, checksum(addSum(0, packet, 0, Math.min(packet.length, (packet[0] & 15) * 4))));
      }
      stack.input(packet, 0, random() < 0.1 ? Math.floor(random() * packet.length) : packet.length, segment);
      if (i % 16 === 0) stack.roundEnd();
      if (i % 100 === 0) lab.advance(50);
      lab.sent.length = 0;
    }
    const { reassemblies, paths } = stack.usage;
    expect(reassemblies).toBeLessThanOrEqual(64);
    expect(paths).toBeLessThanOrEqual(1024);
    lab.advance(3_600_000);
    lab.advance(3_600_000);
    stack.close();
    expect(stack.tcp.stats()).toMatchObject({ connections: 0, halfOpen: 0, pendingSyns: 0, memory: 0 });
  });
});
