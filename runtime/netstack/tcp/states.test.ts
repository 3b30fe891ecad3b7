import { ACK, FIN, RST, SYN } from "./testing/network";
import { MSS_1360, RawPeer } from "./testing/raw-peer";

/** RFC 9293 section 3.3.2, figure 5: every transition, on the wire. Numbers are relative: the SYN is 0. */
describe("states of a connection", () => {
  let peer: RawPeer;
  beforeEach(() => {
    peer = new RawPeer();
  });

  test("CLOSED to SYN-SENT to ESTABLISHED: active open", () => {
    const { connection, events } = peer.open();
    expect(connection.state).toBe("syn-sent");
    expect(peer.brief()).toEqual(["SYN 0:0+0"]);
    peer.send({ flags: SYN | ACK, seq: 0, ack: 1, options: MSS_1360 });
    expect(connection.state).toBe("established");
    expect(peer.brief()).toEqual(["ACK 1:1+0"]);
    expect(events).toEqual(["connected"]);
  });

  test("SYN-SENT to ESTABLISHED while the SYN waits for the link to be sent again: it is not", () => {
    const { connection } = peer.open();
    peer.take();
    peer.node.capacity = 0;
    peer.run(1100);
    peer.send({ flags: SYN | ACK, seq: 0, ack: 1, options: MSS_1360 });
    expect(connection.state).toBe("established");
    expect(peer.brief()).toEqual([]);
    peer.node.capacity = Number.POSITIVE_INFINITY;
    peer.node.tcp.drained();
    expect(peer.brief()).toEqual(["ACK 1:1+0"]);
  });

  test("LISTEN to SYN-RECEIVED to ESTABLISHED: passive open", () => {
    const accepted: string[] = [];
    peer.node.tcp.listen({ port: 80, onConnection: (c) => accepted.push(c.state) });
    peer.send({ flags: SYN, seq: 0 });
    expect(peer.brief()).toEqual(["SYN,ACK 0:1+0"]);
    expect(peer.node.tcp.stats().halfOpen).toBe(1);
    expect(accepted).toEqual([]);
    peer.send({ seq: 1, ack: 1 });
    peer.take();
    expect(accepted).toEqual(["established"]);
    expect(peer.node.tcp.stats().halfOpen).toBe(0);
  });

  test("SYN-SENT to SYN-RECEIVED to ESTABLISHED: simultaneous open", () => {
    const { connection } = peer.open();
    peer.take();
    peer.send({ flags: SYN, seq: 0, options: MSS_1360 });
    expect(connection.state).toBe("syn-received");
    expect(peer.brief()).toEqual(["SYN,ACK 0:1+0"]);
    peer.send({ flags: SYN | ACK, seq: 0, ack: 1 });
    expect(connection.state).toBe("established");
    connection.write(Buffer.from("x"));
    expect(peer.brief()).toEqual(["ACK 1:1+1"]);
  });

  test("simultaneous open, where the plain acknowledgment comes first", () => {
    const { connection } = peer.open();
    peer.take();
    peer.send({ flags: SYN, seq: 0 });
    peer.take();
    peer.send({ seq: 1, ack: 1 });
    expect(connection.state).toBe("established");
  });

  test.each(["last-ack", "closing"])(
    "%s to CLOSED by a reset: what has arrived may still be read, then comes the end",
    (state) => {
      const watcher = peer.accept();
      const { connection } = watcher;
      watcher.reading = false;
      peer.send({ seq: 1, payload: 1000 });
      if (state === "last-ack") peer.send({ seq: 1001, flags: ACK | FIN });
      peer.take();
      connection.write(Buffer.from("enough"));
      connection.end();
      peer.take();
      if (state === "closing") peer.send({ seq: 1001, flags: ACK | FIN, ack: 7 });
      else peer.send({ seq: 1002, ack: 7 });
      peer.take();
      expect(connection.state).toBe(state);
      peer.send({ seq: 1002, flags: RST });
      peer.take();
      expect([connection.state, connection.readableBytes, connection.readEnded]).toEqual(["closed", 1000, false]);
      expect(watcher.events).not.toContain("closed");
      watcher.read();
      peer.take();
      expect([watcher.received.length, connection.readEnded]).toEqual([1000, true]);
      expect(watcher.events.slice(-2)).toEqual(["end", "closed"]);
      expect(peer.node.tcp.stats()).toMatchObject({ connections: 0, memory: 0 });
    },
  );

  test("SYN-SENT to CLOSED: the peer refuses", () => {
    const watcher = peer.open();
    peer.take();
    peer.send({ flags: RST | ACK, seq: 0, ack: 1 });
    expect(watcher.connection.state).toBe("closed");
    peer.take();
    expect(watcher.events).toEqual(["ECONNREFUSED", "closed"]);
    expect(peer.node.tcp.stats().connections).toBe(0);
  });

  test("SYN-SENT stays: a RST or SYN-ACK for another SYN", () => {
    const { connection } = peer.open();
    peer.take();
    peer.send({ flags: RST | ACK, seq: 0, ack: 2 });
    peer.send({ flags: RST | ACK, seq: 0, ack: 0 });
    peer.send({ flags: RST, seq: 0 });
    expect(peer.brief()).toEqual([]);
    peer.send({ flags: SYN | ACK, seq: 0, ack: 7 });
    expect(peer.take()).toMatchObject([{ flags: RST }]);
    peer.send({ flags: ACK, seq: 0, ack: 1 });
    expect(peer.brief()).toEqual([]);
    expect(connection.state).toBe("syn-sent");
  });

  test("SYN-SENT to CLOSED: nobody answers", () => {
    const watcher = peer.open({ connectTimeout: 10_000 });
    peer.run(20_000);
    expect(peer.brief()).toEqual(["SYN 0:0+0", "SYN 0:0+0", "SYN 0:0+0", "SYN 0:0+0"]);
    expect(watcher.events).toEqual(["ETIMEDOUT", "closed"]);
  });

  test("SYN-RECEIVED back to LISTEN: RST, or no answer", () => {
    peer.node.tcp.listen({ port: 80, onConnection: () => {} });
    peer.send({ flags: SYN, seq: 0 });
    peer.take();
    peer.send({ flags: RST, seq: 1 });
    expect(peer.node.tcp.stats()).toMatchObject({ halfOpen: 0, connections: 0 });
    peer.send({ flags: SYN, seq: 0 });
    peer.run(130_000);
    const sent = peer.brief();
    expect(sent.filter((line) => line === "SYN,ACK 0:1+0").length).toBe(6);
    expect(peer.node.tcp.stats()).toMatchObject({ halfOpen: 0, connections: 0 });
    peer.send({ flags: SYN, seq: 0 });
    expect(peer.brief()).toEqual(["SYN,ACK 0:1+0"]);
  });

  test("SYN-RECEIVED stays: the SYN again is answered again, a wrong acknowledgment with a RST", () => {
    peer.node.tcp.listen({ port: 80, onConnection: () => {} });
    peer.send({ flags: SYN, seq: 0 });
    peer.take();
    peer.send({ flags: SYN, seq: 0 });
    expect(peer.brief()).toEqual(["SYN,ACK 0:1+0"]);
    peer.send({ seq: 1, ack: 9 });
    expect(peer.take()).toMatchObject([{ flags: RST }]);
    expect(peer.node.tcp.stats().halfOpen).toBe(1);
  });

  test("ESTABLISHED to FIN-WAIT-1 to FIN-WAIT-2 to TIME-WAIT to CLOSED: this side closes first", () => {
    const { connection, events } = peer.accept();
    connection.end();
    expect(connection.state).toBe("fin-wait-1");
    expect(peer.brief()).toEqual(["FIN,ACK 1:1+0"]);
    peer.send({ seq: 1, ack: 2 });
    expect(connection.state).toBe("fin-wait-2");
    peer.take();
    expect(events).toEqual(["connected", "finished"]);
    peer.send({ seq: 1, ack: 2, payload: 5 });
    peer.send({ flags: FIN | ACK, seq: 6, ack: 2 });
    expect(connection.state).toBe("time-wait");
    expect(peer.brief()).toEqual(["ACK 2:7+0"]);
    expect(events).toEqual(["connected", "finished", "end", "closed"]);
    expect(peer.node.tcp.stats()).toMatchObject({ connections: 0, timeWait: 1 });
    peer.run(61_000);
    expect(peer.node.tcp.stats().timeWait).toBe(0);
    expect(peer.node.tcp.nextTimer()).toBe(Number.POSITIVE_INFINITY);
  });

  test("FIN-WAIT-1 to TIME-WAIT at once: FIN with the acknowledgment of ours", () => {
    const { connection } = peer.accept();
    connection.end();
    peer.take();
    peer.send({ flags: FIN | ACK, seq: 1, ack: 2 });
    expect(connection.state).toBe("time-wait");
    expect(peer.brief()).toEqual(["ACK 2:2+0"]);
  });

  test("FIN-WAIT-1 to CLOSING to TIME-WAIT: simultaneous close", () => {
    const { connection, events } = peer.accept();
    connection.end();
    peer.take();
    peer.send({ flags: FIN | ACK, seq: 1, ack: 1 });
    expect(connection.state).toBe("closing");
    expect(peer.brief()).toEqual(["ACK 2:2+0"]);
    peer.send({ seq: 2, ack: 2 });
    expect(connection.state).toBe("time-wait");
    peer.take();
    expect(events).toEqual(["connected", "end", "finished", "closed"]);
  });

  test("ESTABLISHED to CLOSE-WAIT to LAST-ACK to CLOSED: the peer closes first", () => {
    const { connection, events } = peer.accept();
    peer.send({ flags: FIN | ACK, seq: 1, ack: 1 });
    expect(connection.state).toBe("close-wait");
    expect(peer.brief()).toEqual(["ACK 1:2+0"]);
    connection.write(Buffer.from("still talking"));
    expect(peer.brief()).toEqual(["ACK 1:2+13"]);
    peer.send({ seq: 2, ack: 14 });
    connection.end();
    expect(connection.state).toBe("last-ack");
    expect(peer.brief()).toEqual(["FIN,ACK 14:2+0"]);
    peer.send({ seq: 2, ack: 15 });
    expect(connection.state).toBe("closed");
    peer.take();
    expect(events).toEqual(["connected", "end", "finished", "closed"]);
    expect(peer.node.tcp.stats()).toMatchObject({ connections: 0, timeWait: 0 });
  });

  test("TIME-WAIT answers the FIN again, and waits anew", () => {
    const { connection } = peer.accept();
    connection.end();
    peer.take();
    peer.send({ flags: FIN | ACK, seq: 1, ack: 2 });
    peer.take();
    peer.run(50_000);
    peer.send({ flags: FIN | ACK, seq: 1, ack: 2 });
    expect(peer.brief()).toEqual(["ACK 2:2+0"]);
    peer.run(50_000);
    expect(peer.node.tcp.stats().timeWait).toBe(1);
    peer.run(11_000);
    expect(peer.node.tcp.stats().timeWait).toBe(0);
  });

  test("TIME-WAIT is not cut short by a RST (RFC 1337), nor by an old SYN", () => {
    const { connection } = peer.accept();
    peer.node.tcp.listen({ port: 80, onConnection: () => {} });
    connection.end();
    peer.take();
    peer.send({ flags: FIN | ACK, seq: 1, ack: 2 });
    peer.take();
    peer.send({ flags: RST, seq: 2 });
    peer.send({ flags: SYN, seq: -5 });
    expect(peer.brief()).toEqual(["ACK 2:2+0"]);
    expect(peer.node.tcp.stats()).toMatchObject({ timeWait: 1, connections: 0 });
  });

  test("TIME-WAIT gives way to a new SYN with a later sequence number, beyond the numbers of the old connection", () => {
    const { connection } = peer.accept();
    peer.node.tcp.listen({ port: 80, onConnection: () => {} });
    connection.end();
    peer.take();
    peer.send({ flags: FIN | ACK, seq: 1, ack: 2 });
    peer.take();
    const old = peer.iss;
    peer.send({ flags: SYN, seq: 1000 });
    expect(peer.take()).toMatchObject([{ flags: SYN | ACK, ack: 1001 }]);
    expect((peer.iss - old) | 0).toBe(2 + 65_537);
    expect(peer.node.tcp.stats()).toMatchObject({ timeWait: 0, halfOpen: 1 });
  });

  test.each(["established", "fin-wait-1", "fin-wait-2", "close-wait"] as const)(
    "%s to CLOSED: RST of the peer",
    (state) => {
      const watcher = peer.accept();
      const { connection } = watcher;
      let next = 1;
      if (state.startsWith("fin-wait")) connection.end();
      peer.take();
      if (state === "fin-wait-2") peer.send({ seq: 1, ack: 2 });
      if (state === "close-wait") {
        peer.send({ flags: FIN | ACK, seq: 1, ack: 1 });
        next = 2;
      }
      peer.take();
      expect(connection.state).toBe(state);
      peer.send({ flags: RST, seq: next });
      expect(peer.brief()).toEqual([]);
      expect(connection.state).toBe("closed");
      expect(watcher.events.slice(-2)).toEqual(["ECONNRESET", "closed"]);
    },
  );

  test("LAST-ACK to CLOSED: a RST of the peer, which has everything, is an end like any other", () => {
    const watcher = peer.accept();
    peer.send({ flags: FIN | ACK, seq: 1, ack: 1 });
    watcher.connection.end();
    peer.take();
    peer.send({ flags: RST, seq: 2 });
    peer.take();
    expect(watcher.events).toEqual(["connected", "end", "closed"]);
  });

  test("abort sends a RST from any state, and the connection is gone", () => {
    const { connection, events } = peer.accept();
    connection.abort();
    expect(peer.brief()).toEqual(["RST,ACK 1:1+0"]);
    expect(events).toEqual(["connected", "closed"]);
    expect(connection.write(Buffer.from("x"))).toBe(false);
    connection.end();
    connection.abort();
    expect(peer.brief()).toEqual([]);
  });

  test("half-close: the other direction goes on as long as it likes", () => {
    const watcher = peer.accept();
    watcher.connection.end();
    peer.take();
    peer.send({ seq: 1, ack: 2 });
    for (let i = 0; i < 100; i++) {
      peer.send({ seq: 1 + i * 100, ack: 2, payload: 100 });
      peer.run(1000);
    }
    expect(watcher.received.length).toBe(10_000);
    expect(watcher.connection.state).toBe("fin-wait-2");
  });

  test("close: unread data is answered with a RST (RFC 2525)", () => {
    const watcher = peer.accept();
    watcher.reading = false;
    peer.send({ seq: 1, ack: 1, payload: 10 });
    peer.take();
    watcher.connection.close();
    expect(peer.brief()).toEqual(["RST,ACK 1:11+0"]);
    expect(watcher.events).toEqual(["connected", "closed"]);
  });

  test("close: data that comes later is answered with a RST", () => {
    const watcher = peer.accept();
    watcher.connection.close();
    expect(peer.brief()).toEqual(["FIN,ACK 1:1+0"]);
    peer.send({ seq: 1, ack: 2, payload: 10 });
    expect(peer.take()).toMatchObject([{ flags: RST | ACK }]);
    expect(peer.node.tcp.stats().drops["after-close"]).toBe(1);
    expect(peer.node.tcp.stats().connections).toBe(0);
  });

  test("close: FIN-WAIT-2 does not wait for ever", () => {
    const watcher = peer.accept();
    watcher.connection.close();
    peer.take();
    peer.send({ seq: 1, ack: 2 });
    peer.run(61_000);
    expect(watcher.events).toContain("closed");
    expect(peer.node.tcp.stats()).toMatchObject({ connections: 0, timeWait: 1 });
  });

  describe("close: a FIN-WAIT-2 of which TIME-WAIT is left", () => {
    beforeEach(() => {
      peer.accept().connection.close();
      peer.take();
      peer.send({ seq: 1, ack: 2 });
      peer.run(61_000);
      peer.take();
      expect(peer.node.tcp.stats()).toMatchObject({ connections: 0, timeWait: 1 });
    });

    test("acknowledges the peer's FIN, and again, and waits from then on", () => {
      peer.run(50_000);
      for (let i = 0; i < 2; i++) {
        peer.send({ flags: FIN | ACK, seq: 1, ack: 2 });
        expect(peer.brief()).toEqual(["ACK 2:2+0"]);
        peer.run(50_000);
      }
      expect(peer.node.tcp.stats().timeWait).toBe(1);
      // Behind the FIN nothing is new.
      peer.send({ seq: 2, ack: 2, payload: 10 });
      expect(peer.brief()).toEqual(["ACK 2:2+0"]);
      peer.run(11_000);
      expect(peer.node.tcp.stats().timeWait).toBe(0);
    });

    test.each([0, FIN])("answers data with a RST (flags %d)", (flags) => {
      peer.send({ flags: ACK | flags, seq: 1, ack: 2, payload: 10 });
      expect(peer.brief()).toEqual(["RST,ACK 2:1+0"]);
      expect(peer.node.tcp.stats()).toMatchObject({ timeWait: 0, drops: { "after-close": 1 } });
    });

    test("answers what is old, outside the window or forged with what it expects, and does not wait longer for it", () => {
      peer.run(50_000);
      peer.send({ seq: -9, ack: 2, payload: 10 });
      peer.send({ seq: 1_000_000, ack: 2, payload: 10 });
      peer.send({ flags: FIN | ACK, seq: -5, ack: 2 });
      peer.send({ flags: FIN | ACK, seq: 1, ack: 3 });
      expect(peer.brief()).toEqual(new Array(4).fill("ACK 2:1+0"));
      peer.send({ seq: 1, ack: 2 });
      expect(peer.brief()).toEqual([]);
      peer.run(11_000);
      expect(peer.node.tcp.stats().timeWait).toBe(0);
    });
  });

  test("end before the handshake is complete: data and FIN follow it", () => {
    const { connection } = peer.open();
    connection.write(Buffer.from("hello"));
    connection.end();
    expect(peer.brief()).toEqual(["SYN 0:0+0"]);
    peer.send({ flags: SYN | ACK, seq: 0, ack: 1, options: MSS_1360 });
    expect(peer.brief()).toEqual(["FIN,ACK 1:1+5"]);
    expect(connection.state).toBe("fin-wait-1");
  });

  test("data and FIN right behind the SYN-ACK, in one round", () => {
    const watcher = peer.open();
    peer.take();
    peer.send({ flags: SYN | ACK, seq: 0, ack: 1, options: MSS_1360 });
    peer.send({ flags: FIN | ACK, seq: 1, ack: 1, payload: 700 });
    expect(peer.brief()).toEqual(["ACK 1:702+0"]);
    expect(watcher.events).toEqual(["connected", "end"]);
    expect(watcher.received.length).toBe(700);
  });

  test("a dead port is refused at once, with the numbers that RFC 9293 section 3.10.7.1 gives", () => {
    peer.send({ flags: SYN, seq: 0 });
    expect(peer.take()).toMatchObject([{ flags: RST | ACK, ack: 1, window: 0 }]);
    peer.iss = 1000;
    peer.send({ flags: ACK, seq: 5, ack: 77, payload: 3 });
    const [reset] = peer.take();
    expect(reset).toMatchObject({ flags: RST, seq: 1077 });
    peer.send({ flags: RST, seq: 5 });
    peer.send({ flags: FIN, seq: 5 });
    expect(peer.take()).toMatchObject([{ flags: RST | ACK, ack: 6 }]);
    expect(peer.node.tcp.stats().drops["no-connection"]).toBe(3);
  });
});
