import { connected, Network, pattern, RST, withoutOptions } from "./testing/network";
import { MSS_1360, RawPeer, SACK_OK, sackOf, stamps } from "./testing/raw-peer";

/** An established connection of which the peer's side is written by hand; segments of 1000 bytes, 10 ms of round trip. */
function established(options: number[] = [...SACK_OK]) {
  const peer = new RawPeer();
  const watcher = peer.accept([2, 4, 0x03, 0xe8, ...options]);
  const { connection } = watcher;
  // One exchange, so that there is a round-trip time.
  connection.write(Buffer.alloc(1000));
  peer.take();
  peer.network.run(10);
  peer.send({ seq: 1, ack: 1001 });
  peer.take();
  return { peer, watcher, connection, sack: (...ranges: [number, number][]) => sackOf(peer.iss, ...ranges) };
}

test("SACK: three segments beyond a gap show the loss, and only the gap is sent again", () => {
  const { peer, connection, sack } = established();
  connection.write(Buffer.alloc(8000));
  peer.take();
  peer.network.run(10);
  peer.send({ seq: 1, ack: 1001, options: sack([2001, 3001]) });
  expect(peer.brief()).toEqual([]);
  peer.send({ seq: 1, ack: 1001, options: sack([2001, 5001]) });
  expect(peer.brief()).toEqual(["ACK 1001:1+1000"]);
  expect(connection.stats().fastRecoveries).toBe(1);
  peer.network.run(10);
  peer.send({ seq: 1, ack: 9001 });
  expect(connection.stats()).toMatchObject({ bytesRetransmitted: 1000, retransmissionTimeouts: 0, bytesInFlight: 0 });
});

test.each<[string, [number, number][], number]>([
  [
    "of parts of segments",
    [
      [2002, 3001],
      [3001, 4000],
      [4500, 5900],
      [9001, 9500],
    ],
    0,
  ],
  ["of a segment", [[2001, 3001]], 1000],
  ["of one with parts of its neighbours", [[2500, 4999]], 1000],
  ["of the last, which is shorter", [[9001, 9501]], 500],
  ["of the end of one that was acknowledged in part", [[1501, 2001]], 0],
  ["of one behind one that was acknowledged in part", [[2001, 3001]], 1000],
])("SACK is believed of whole segments as they were on the wire: %s", (name, ranges, believed) => {
  const { peer, connection, sack } = established();
  connection.write(Buffer.alloc(8500));
  expect(peer.brief()).toEqual(["ACK 1001:1+8500"]);
  if (name.includes("in part")) peer.send({ seq: 1, ack: 1401 });
  const before = connection.stats().bytesInFlight;
  peer.send({ seq: 1, ack: name.includes("in part") ? 1401 : 1001, options: sack(...ranges) });
  expect(before - connection.stats().bytesInFlight).toBe(believed);
});

test("SACK of what was sent again in smaller segments, for the path has become narrower", () => {
  const { peer, connection, sack } = established();
  connection.write(Buffer.alloc(4000));
  peer.take();
  peer.node.mtu = 640;
  peer.node.tcp.pathMtuChanged(peer.network.b.address);
  expect(peer.take()).toMatchObject([{ seq: 1001, length: 4000, segment: 600 }]);
  peer.network.run(10);
  peer.send({ seq: 1, ack: 1001, options: sack([2201, 2801]) });
  expect(connection.stats().bytesInFlight).toBe(3400);
  peer.send({ seq: 1, ack: 1001, options: sack([2201, 5001]) });
  expect(peer.brief()).toEqual(["ACK 1001:1+600", "ACK 1601:1+600"]);
  peer.network.run(10);
  peer.send({ seq: 1, ack: 5001 });
  expect(connection.stats()).toMatchObject({ bytesInFlight: 0, retransmissionTimeouts: 0 });
});

test("RACK: a lost retransmission is seen without a time-out", () => {
  const { peer, connection, sack } = established();
  connection.write(Buffer.alloc(6000));
  peer.take();
  peer.network.run(10);
  peer.send({ seq: 1, ack: 1001, options: sack([2001, 7001]) });
  expect(peer.brief()).toEqual(["ACK 1001:1+1000"]);
  connection.write(Buffer.alloc(3000));
  peer.network.run(1);
  const sent = peer.brief();
  expect(sent.length).toBeGreaterThan(0);
  peer.network.run(11);
  peer.send({ seq: 1, ack: 1001, options: sack([2001, 8001]) });
  expect(peer.brief()).toContain("ACK 1001:1+1000");
  expect(connection.stats().retransmissionTimeouts).toBe(0);
});

test("RACK: a little reordering is no loss", () => {
  const { peer, connection, sack } = established();
  connection.write(Buffer.alloc(4000));
  peer.take();
  peer.network.run(10);
  peer.send({ seq: 1, ack: 1001, options: sack([2001, 3001]) });
  peer.network.run(1);
  peer.send({ seq: 1, ack: 3001 });
  peer.send({ seq: 1, ack: 5001 });
  peer.network.run(1000);
  expect(peer.brief()).toEqual([]);
  expect(connection.stats()).toMatchObject({ bytesRetransmitted: 0, fastRecoveries: 0 });
});

test("tail loss probe: the last segment goes again after two round trips, before any time-out", () => {
  const { peer, connection } = established();
  connection.write(Buffer.alloc(3000));
  peer.take();
  peer.network.run(30);
  expect(peer.brief()).toEqual(["ACK 3001:1+1000"]);
  expect(connection.stats().retransmissionTimeouts).toBe(0);
});

test("retransmission time-out: doubles each time, one segment only, and gives up after the user timeout", () => {
  const peer = new RawPeer();
  const watcher = peer.accept(MSS_1360, { userTimeout: 20_000 });
  watcher.connection.write(Buffer.alloc(5000));
  peer.take();
  const times: number[] = [];
  const start = peer.network.now;
  for (let i = 0; i < 60_000; i += 10) {
    peer.network.run(10);
    for (const sent of peer.take()) {
      if (sent.flags & RST) continue;
      expect(sent.seq).toBe(1);
      expect(sent.length).toBeLessThanOrEqual(1360);
      times.push(peer.network.now - start);
    }
  }
  // The handshake took 10 ms, so the shortest time-out holds: 200, 400, 800 ms ...
  expect(times).toEqual([200, 600, 1400, 3000, 6200, 12_600]);
  expect(watcher.events).toEqual(["connected", "ETIMEDOUT", "closed"]);
});

test("a peer that vanishes in the middle of a transfer: ETIMEDOUT, and nothing is left", () => {
  const network = new Network();
  const { client } = connected(network, { userTimeout: 30_000 });
  client.connection.write(pattern(1_000_000));
  network.run(2);
  network.fate = () => ({ arrivals: [] });
  network.run(100_000);
  expect(client.events).toContain("ETIMEDOUT");
  expect(network.a.tcp.stats()).toMatchObject({ connections: 0, memory: 0 });
});

test("Eifel: a time-out that was none is undone when the answer to the first transmission comes", () => {
  const { peer, connection } = established([...SACK_OK, ...stamps(1000, 0)]);
  connection.write(Buffer.alloc(5000));
  const [first] = peer.take();
  const before = connection.stats().congestionWindow;
  const stamp = Buffer.from(first.options).readUInt32BE(4);
  peer.network.run(1500);
  expect(peer.take().length).toBeGreaterThan(0);
  expect(connection.stats().retransmissionTimeouts).toBeGreaterThan(0);
  peer.send({ seq: 1, ack: 5001, options: stamps(1002, stamp) });
  expect(connection.stats().congestionWindow).toBeGreaterThanOrEqual(before);
});

test("without SACK: three duplicate acknowledgments, then NewReno's partial acknowledgments", () => {
  const { peer, connection } = established([]);
  connection.write(Buffer.alloc(8000));
  peer.take();
  peer.network.run(10);
  for (let i = 0; i < 2; i++) peer.send({ seq: 1, ack: 1001 });
  expect(peer.brief()).toEqual([]);
  peer.send({ seq: 1, ack: 1001 });
  expect(peer.brief()).toEqual(["ACK 1001:1+1000"]);
  peer.send({ seq: 1, ack: 4001 });
  expect(peer.brief()).toContain("ACK 4001:1+1000");
  peer.send({ seq: 1, ack: 9001 });
  expect(connection.stats()).toMatchObject({ retransmissionTimeouts: 0, fastRecoveries: 1, bytesRetransmitted: 2000 });
});

test("the receiver gave up what it had reported (RFC 2018 section 8): it is sent again after a time-out", () => {
  const { peer, connection, sack } = established();
  connection.write(Buffer.alloc(3000));
  peer.take();
  peer.send({ seq: 1, ack: 1001, options: sack([2001, 4001]) });
  peer.network.run(5);
  peer.send({ seq: 1, ack: 2001 });
  peer.take();
  peer.network.run(5000);
  expect(peer.brief()).toContain("ACK 2001:1+1000");
  expect(connection.stats().bytesInFlight).toBeGreaterThan(0);
});

test("duplicates are reported (RFC 2883), and ranges out of order in the order in which they came (RFC 2018)", () => {
  const { peer } = established();
  const edges = () => {
    const bytes = Buffer.from(peer.take().pop()?.options ?? []);
    const found: number[] = [];
    for (let at = 4; at < bytes.length; at += 4) found.push((bytes.readUInt32BE(at) - peer.irs) | 0);
    return found;
  };
  peer.send({ seq: 1, ack: 1001, payload: 100 });
  peer.take();
  peer.send({ seq: 1, ack: 1001, payload: 100 });
  expect(edges()).toEqual([1, 101]);
  peer.send({ seq: 201, ack: 1001, payload: 100 });
  expect(edges()).toEqual([201, 301]);
  peer.send({ seq: 401, ack: 1001, payload: 100 });
  expect(edges()).toEqual([401, 501, 201, 301]);
  peer.send({ seq: 301, ack: 1001, payload: 50 });
  expect(edges()).toEqual([201, 351, 401, 501]);
  peer.send({ seq: 201, ack: 1001, payload: 50 });
  expect(edges().slice(0, 2)).toEqual([201, 251]);
});

test("the path takes less than it did: what is under way is cut and sent again, without a lower congestion window", () => {
  const network = new Network();
  network.a.keep = true;
  const { client } = connected(network);
  client.connection.write(pattern(14_000));
  network.fate = () => ({ arrivals: [] });
  network.run(1);
  const [{ bytes }] = network.a.sent.slice(-1);
  const window = client.connection.stats().congestionWindow;
  const args = [network.a.address, network.b.address, client.connection.localPort, 80] as const;
  const outside = (bytes.readUInt32BE(4) - 1_000_000) >>> 0;
  expect(network.a.tcp.icmpError("too-big", ...args, outside)).toBe(false);
  expect(network.a.tcp.icmpError("too-big", ...args, bytes.readUInt32BE(4))).toBe(true);
  network.a.sent.length = 0;
  network.a.mtu = 600;
  network.a.tcp.pathMtuChanged(network.b.address);
  network.fate = () => ({ arrivals: [1] });
  network.run(2000);
  for (const packet of network.a.sent) {
    expect(packet.segment === 0 ? packet.bytes.length : packet.segment + 32).toBeLessThanOrEqual(580);
  }
  expect(client.connection.stats()).toMatchObject({ bytesAcked: 14_000, retransmissionTimeouts: 0 });
  expect(client.connection.stats().congestionWindow).toBeGreaterThanOrEqual(window);
});

test("black hole: where full segments vanish without a word, smaller ones get through", () => {
  const network = new Network({ mtu: 1420 });
  const { client, server } = connected(network);
  network.fate = (packet) => ({ arrivals: packet.bytes.length > 1260 ? [] : [5] });
  client.connection.write(pattern(50_000));
  network.run(60_000);
  expect(server.received.length).toBe(50_000);
});

test("ICMP unreachable ends a connection attempt, and never an established connection", () => {
  const peer = new RawPeer();
  const watcher = peer.open();
  const [{ sourcePort }] = peer.take();
  const args = [peer.node.address, peer.network.b.address, sourcePort, peer.peerPort] as const;
  expect(peer.node.tcp.icmpError("unreachable", ...args, (peer.iss + 1) >>> 0)).toBe(false);
  expect(peer.node.tcp.icmpError("unreachable", ...args, peer.iss)).toBe(true);
  peer.take();
  expect(watcher.events).toEqual(["EHOSTUNREACH", "closed"]);

  const other = new RawPeer();
  const { connection } = other.accept();
  connection.write(Buffer.from("x"));
  other.take();
  other.node.tcp.icmpError("refused", other.node.address, other.network.b.address, 80, 5000, (other.iss + 1) >>> 0);
  expect(connection.state).toBe("established");
});

test.each([
  ["with SACK and timestamps", []],
  ["without SACK", [4]],
  ["without timestamps", [8]],
  ["without either", [4, 8]],
] as const)("a burst of losses in a long transfer is repaired without a time-out, %s", (_name, without) => {
  const network = new Network();
  network.alter = withoutOptions(...without);
  let n = 0;
  network.fate = (packet) => ({ arrivals: packet.bytes.length > 500 && [300, 301, 350].includes(++n) ? [] : [10] });
  const { client, server } = connected(network);
  client.connection.write(pattern(900_000));
  network.run(30_000);
  expect(server.received.length).toBe(900_000);
  expect(client.connection.stats()).toMatchObject({ retransmissionTimeouts: 0, fastRecoveries: 1 });
});
