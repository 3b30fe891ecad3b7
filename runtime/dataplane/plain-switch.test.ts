/** A wire between one device and its peers. */
import type { SendResult } from "../wireguard/types";
import { PlainSwitch } from "./plain-switch";
import { packet, TestLink, udp } from "./testing/switch-world";

const DATA = udp(9, Uint8Array.from([1, 2, 3]));
const FAR = "10.0.0.20";

function wire(result?: SendResult) {
  const sent: Uint8Array[] = [];
  let time = 0;
  const take = (buf: Uint8Array, off: number, len: number): SendResult => {
    if (result !== undefined) return result;
    sent.push(buf.slice(off, off + len));
    return "sent";
  };
  const plain = new PlainSwitch<string>({
    tunnel: {
      place: () => 128,
      send: take,
      sendTo: (_peer, buf, off, len) => take(buf, off, len),
      destinationOf: () => (result === "no-peer" ? undefined : "peer"),
      sourceOf: () => "peer",
      isGateway: () => false,
    },
    scratch: new Uint8Array(4096),
    scratchOffset: 64,
    now: () => time,
  });
  const link = new TestLink("device", []);
  plain.setLinks([link]);
  const from = (bytes: Uint8Array): void => {
    const buf = new Uint8Array(bytes.length + 256);
    buf.set(bytes, 128);
    plain.fromLink(link, buf, 128, bytes.length);
  };
  return {
    plain,
    link,
    sent,
    from,
    later: (ms: number) => {
      time += ms;
    },
  };
}

test("what the device sends goes to the peers, from whatever address, also to many", () => {
  const w = wire();
  const packets = [
    packet("10.0.0.3", FAR, 17, DATA),
    packet("192.0.2.77", FAR, 17, DATA),
    packet("fd00::0003", "fd00::0020", 17, DATA),
    packet("10.0.0.3", "224.0.0.251", 17, DATA),
  ];
  for (const bytes of packets) w.from(bytes);
  expect(w.sent).toEqual(packets);
  expect([w.link.rx, w.link.got.length]).toEqual([4, 0]);
});

test("what peers send goes to the device, as long as it is there", () => {
  const w = wire();
  const bytes = packet(FAR, "203.0.113.9", 17, DATA, 1);
  w.plain.fromPeer("peer", bytes, 0, bytes.length);
  expect([w.link.got, w.link.tx]).toEqual([[bytes], 1]);
  w.link.up = false;
  w.plain.fromPeer("peer", bytes, 0, bytes.length);
  w.plain.setLinks([]);
  w.plain.fromPeer("peer", bytes, 0, bytes.length);
  w.plain.fromPeer("peer", bytes, 0, 7);
  expect(w.plain.drops).toMatchObject({ "no-route": 1, malformed: 1 });
  expect(w.link.drops["link-down"]).toBe(1);
});

test.each(["no-peer", "no-endpoint"] as const)("%s is told at once, in the name of the address asked for", (result) => {
  const w = wire(result);
  w.from(packet("10.0.0.3", FAR, 17, DATA));
  w.from(packet("fd00::0003", "fd00::0020", 17, DATA));
  expect(w.link.drops[result]).toBe(2);
  const [v4, v6] = w.link.got as [Uint8Array, Uint8Array];
  expect([...v4.slice(12, 22)]).toEqual([10, 0, 0, 20, 10, 0, 0, 3, 3, 1]);
  expect([v6[23], v6[39], v6[40], v6[41]]).toEqual([0x20, 3, 1, 3]);
});

test("errors are bounded, and none is made about an error or a packet to many", () => {
  const w = wire("no-peer");
  w.from(packet("10.0.0.3", FAR, 1, Uint8Array.from([3, 1, 0, 0, 0, 0, 0, 0])));
  w.from(packet("10.0.0.3", "224.0.0.251", 17, DATA));
  expect(w.link.got).toEqual([]);
  for (let i = 0; i < 1000; i++) w.from(packet("10.0.0.3", FAR, 17, DATA));
  expect(w.link.got.length).toBe(50);
  w.later(100);
  for (let i = 0; i < 1000; i++) w.from(packet("10.0.0.3", FAR, 17, DATA));
  expect(w.link.got.length).toBe(60);
});

test("an unfinished packet goes part by part, and counts by its parts where nobody has its destination", () => {
  for (const [result, sent, dropped] of [[undefined, 3, 0] as const, ["no-peer" as const, 0, 3] as const]) {
    const w = wire(result);
    const part = packet("10.0.0.3", FAR, 6, new Uint8Array(1000));
    const big = packet("10.0.0.3", FAR, 6, new Uint8Array(3000));
    const buf = new Uint8Array(8192);
    buf.set(big, 4096);
    let made = 0;
    const next = (at: number): number => {
      if (made++ === 3) return 0;
      buf.set(part, at);
      return part.length;
    };
    w.plain.fromLink(w.link, buf, 4096, big.length, { count: 3, largest: part.length, next });
    expect([w.sent.length, w.link.drops["no-peer"], w.link.rx]).toEqual([sent, dropped, 3]);
  }
});
