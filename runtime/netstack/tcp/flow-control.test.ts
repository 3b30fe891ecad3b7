import { connected, Network, pattern, RST, sendAll } from "./testing/network";
import { MSS_1360, RawPeer } from "./testing/raw-peer";

test("a reader that stops stops the sender, whose memory stays bounded; nothing is lost when it goes on", () => {
  const network = new Network({ limits: { receiveBuffer: 200_000, sendBuffer: 100_000 } });
  const { client, server } = connected(network);
  server.reading = false;
  sendAll(client, pattern(2_000_000), 10_000);
  network.run(60_000);
  expect(server.connection.readableBytes).toBeLessThanOrEqual(131_072);
  expect(client.connection.stats().sendQueue).toBeLessThanOrEqual(110_000);
  expect(server.connection.stats().receiveWindow).toBe(0);
  server.reading = true;
  server.read();
  network.run(60_000);
  expect(server.received.equals(pattern(2_000_000))).toBe(true);
});

test("zero window: asked for with growing pauses for as long as the peer answers, and the connection lives", () => {
  const peer = new RawPeer();
  const { connection } = peer.accept(MSS_1360, { userTimeout: 30_000 }, 1000);
  connection.write(Buffer.alloc(5000));
  expect(peer.brief()).toEqual(["ACK 1:1+1000"]);
  peer.send({ seq: 1, ack: 1001, window: 0 });
  const times: number[] = [];
  const start = peer.network.now;
  for (let i = 0; i < 60_000; i++) {
    peer.network.run(10);
    for (const sent of peer.take()) {
      expect(sent).toMatchObject({ seq: 1000, length: 0 });
      times.push(Math.round((peer.network.now - start) / 10) * 10);
      peer.send({ seq: 1, ack: 1001, window: 0 });
    }
  }
  expect(times.slice(0, 4)).toEqual([200, 600, 1400, 3000]);
  expect(times[times.length - 1] - times[times.length - 2]).toBe(60_000);
  expect(connection.state).toBe("established");
  peer.send({ seq: 1, ack: 1001, window: 10_000 });
  expect(peer.brief()).toEqual(["ACK 1001:1+4000"]);
});

test("zero window: what a closed connection still has to send is not held for ever, however often the peer answers", () => {
  const peer = new RawPeer();
  const { connection } = peer.accept(MSS_1360, { userTimeout: 30_000 }, 1000);
  connection.write(Buffer.alloc(1 << 20));
  connection.close();
  let acked = 1001;
  peer.take();
  peer.send({ seq: 1, ack: acked, window: 0 });
  let resets = 0;
  const answer = (ack: number) => {
    for (const { flags } of peer.take()) {
      if (flags & RST) resets++;
      else peer.send({ seq: 1, ack, window: 0 });
    }
  };
  // As long as it takes something now and then it is served.
  for (let seconds = 0; seconds < 100; seconds++) {
    peer.run(1000);
    if (seconds % 20 === 0) peer.send({ seq: 1, ack: acked, window: 1000 });
    for (const { flags, seq, length } of peer.take()) {
      expect(flags & RST).toBe(0);
      acked = Math.max(acked, seq + length);
      peer.send({ seq: 1, ack: acked, window: 0 });
    }
  }
  expect(acked).toBeGreaterThan(4000);
  expect(connection.state).toBe("fin-wait-1");
  for (let seconds = 0; seconds < 100; seconds++) {
    peer.run(1000);
    answer(acked);
  }
  expect([resets, connection.state, peer.node.tcp.stats().memory]).toEqual([1, "closed", 0]);
});

test("zero window: a peer that does not answer at all is given up", () => {
  const peer = new RawPeer();
  const watcher = peer.accept(MSS_1360, { userTimeout: 30_000 }, 1000);
  watcher.connection.write(Buffer.alloc(5000));
  peer.take();
  peer.send({ seq: 1, ack: 1001, window: 0 });
  peer.run(100_000);
  expect(watcher.events).toEqual(["connected", "ETIMEDOUT", "closed"]);
});

test("zero window: what arrives all the same is not taken, but its acknowledgment is", () => {
  const peer = new RawPeer({ limits: { receiveBuffer: 2000 } });
  const watcher = peer.accept();
  watcher.reading = false;
  watcher.connection.write(Buffer.alloc(100));
  peer.take();
  peer.send({ seq: 1, ack: 1, payload: 2000 });
  expect(peer.take().pop()).toMatchObject({ ack: 2001, window: 0 });
  peer.send({ seq: 2001, ack: 101, payload: 1 });
  expect(peer.take().pop()).toMatchObject({ ack: 2001, window: 0 });
  expect(watcher.connection.stats()).toMatchObject({ bytesAcked: 100, receiveQueue: 2000 });
});

test("silly windows of the receiver: it opens in steps that are worth a segment, and never moves back", () => {
  const peer = new RawPeer({ limits: { receiveBuffer: 10_000 } });
  const watcher = peer.accept();
  watcher.reading = false;
  for (let i = 0; i < 10; i++) {
    peer.send({ seq: 1 + i * 1000, ack: 1, payload: 1000 });
    peer.take();
  }
  expect(watcher.connection.stats().receiveWindow).toBe(0);
  const edges: number[] = [];
  for (let chunk = watcher.connection.read(); chunk !== undefined; chunk = watcher.connection.read()) {
    for (const sent of peer.take()) edges.push(sent.ack + sent.window);
  }
  expect(edges.length).toBeGreaterThan(0);
  expect(edges.length).toBeLessThanOrEqual(6);
  expect(edges).toEqual([...edges].sort((a, b) => a - b));
});

test("silly windows of the sender: a small window is not filled with a small segment at once", () => {
  const peer = new RawPeer();
  const { connection } = peer.accept(MSS_1360, {}, 10_000);
  connection.write(Buffer.alloc(30_000));
  peer.take();
  peer.send({ seq: 1, ack: 9521, window: 300 });
  expect(peer.brief()).toEqual([]);
  // After a while it is taken for all there is (RFC 9293 section 3.8.6.2.1).
  peer.run(300);
  expect(peer.brief()).toEqual(["ACK 9521:1+300"]);
});

test("Nagle: with it small writes wait for the acknowledgment, without it they do not", () => {
  const peer = new RawPeer();
  const { connection } = peer.accept(MSS_1360, { noDelay: false });
  connection.write(Buffer.from("a"));
  expect(peer.brief()).toEqual(["ACK 1:1+1"]);
  connection.write(Buffer.from("b"));
  connection.write(Buffer.from("c"));
  expect(peer.brief()).toEqual([]);
  peer.send({ seq: 1, ack: 2 });
  expect(peer.brief()).toEqual(["ACK 2:1+2"]);
  connection.write(Buffer.from("d"));
  expect(peer.brief()).toEqual([]);
  connection.setNoDelay(true);
  expect(peer.brief()).toEqual(["ACK 4:1+1"]);
});

test("delayed acknowledgments: every second segment at once, a single one 40 ms later; joined segments are several", () => {
  const peer = new RawPeer();
  peer.accept();
  let seq = 1;
  const next = (payload: number, segment = 0) => {
    peer.send({ seq, ack: 1, payload, segment });
    seq += payload;
  };
  // The first segments are acknowledged at once, for the peer's slow start.
  for (let i = 0; i < 16; i++) {
    next(1000);
    expect(peer.take()).toHaveLength(1);
  }
  next(1000);
  expect(peer.take()).toHaveLength(0);
  next(1000);
  expect(peer.take()).toHaveLength(1);
  next(1000);
  peer.run(39);
  expect(peer.take()).toHaveLength(0);
  peer.run(1);
  expect(peer.take()).toMatchObject([{ ack: seq }]);
  next(20_000, 1000);
  expect(peer.take()).toMatchObject([{ ack: seq }]);
});

test("the receive window grows for a reader that keeps up, and not for one that does not", () => {
  const network = new Network({ whole: true });
  network.fate = () => ({ arrivals: [10] });
  const { client, server } = connected(network);
  sendAll(client, pattern(20_000_000), 60_000);
  network.run(5000);
  expect(server.received.length).toBe(20_000_000);
  expect(server.connection.stats().receiveWindow).toBeGreaterThan(1_000_000);

  const slow = new Network();
  slow.fate = () => ({ arrivals: [10] });
  const pair = connected(slow);
  pair.server.reading = false;
  sendAll(pair.client, pattern(3_000_000));
  slow.run(5000);
  // The window's scale rounds up by less than 2^7.
  expect(pair.server.connection.readableBytes).toBeLessThan(131_072 + 256);
});

test("a full link: nothing is lost, nothing is counted as sent, and all connections get their share", () => {
  const network = new Network({ whole: true });
  const first = connected(network);
  const listenerPort = 81;
  const received: number[] = [0, 0, 0];
  let index = 0;
  network.b.tcp.listen({
    port: listenerPort,
    onConnection: (connection) => {
      const mine = index++;
      connection.handlers = {
        readable: () => {
          for (let chunk = connection.read(); chunk !== undefined; chunk = connection.read()) {
            received[mine] += chunk.length;
          }
        },
      };
    },
  });
  const clients = [0, 1, 2].map(() => network.a.tcp.connect({ address: network.b.address, port: listenerPort }));
  network.run(100);
  expect(index).toBe(3);
  network.a.capacity = 0;
  for (const client of clients) client.write(pattern(1_000_000));
  network.run(1000);
  expect(clients.map((client) => client.stats().bytesSent)).toEqual([0, 0, 0]);
  for (let i = 0; i < 20; i++) {
    network.a.capacity = 2;
    network.a.tcp.drained();
    network.run(3);
  }
  for (const bytes of received) expect(bytes).toBeGreaterThan(0);
  network.a.capacity = Number.POSITIVE_INFINITY;
  network.a.tcp.drained();
  network.run(10_000);
  expect(received).toEqual([1_000_000, 1_000_000, 1_000_000]);
  expect(first.client.error).toBeUndefined();
});

test("super-segments in: what arrives joined is taken at once, cut at the window", () => {
  const peer = new RawPeer({ limits: { receiveBuffer: 60_000 } });
  const watcher = peer.accept();
  const bytes = pattern(65_000);
  peer.send({ seq: 1, ack: 1, payload: bytes, segment: 1360 });
  peer.take();
  expect(watcher.received.equals(bytes.subarray(0, 60_000))).toBe(true);
});

test("keepalive: probes after the silence, an answer ends them, no answer ends the connection", () => {
  const peer = new RawPeer({ limits: { keepAlive: 10_000 } });
  const watcher = peer.accept(MSS_1360);
  peer.run(10_100);
  expect(peer.brief()).toEqual(["ACK 0:1+0"]);
  peer.send({ seq: 1, ack: 1 });
  peer.run(9000);
  expect(peer.brief()).toEqual([]);
  peer.run(200_000);
  expect(peer.brief().filter((line) => line === "ACK 0:1+0")).toHaveLength(9);
  expect(watcher.events).toEqual(["connected", "ETIMEDOUT", "closed"]);
});
