import { TcpError, type TcpSyn } from ".";
import { connected, Network, pattern, RST, SYN, Watcher } from "./testing/network";
import { RawPeer } from "./testing/raw-peer";

describe("transparent mode: a SYN waits for its answer", () => {
  const open = () => {
    const network = new Network();
    const syns: TcpSyn[] = [];
    network.b.tcp.onSyn = (syn) => syns.push(syn);
    const client = new Watcher(network.a.tcp.connect({ address: Uint8Array.of(93, 184, 216, 34), port: 443 }));
    network.run(500);
    return { network, syns, client };
  };

  test("accept answers with the address that was asked for; data flows", () => {
    const { network, syns, client } = open();
    expect(syns).toHaveLength(1);
    expect([...syns[0].local, syns[0].localPort]).toEqual([93, 184, 216, 34, 443]);
    expect(client.events).toEqual([]);
    // The client asks again meanwhile: it is the same SYN.
    network.run(3000);
    expect(syns).toHaveLength(1);
    const accepted = syns[0].accept();
    if (accepted === undefined) throw new Error("the SYN is gone");
    const server = new Watcher(accepted);
    accepted.write(Buffer.from("hello"));
    network.run(5000);
    expect(client.received.toString()).toBe("hello");
    expect(server.events).toEqual(["connected"]);
    expect(syns[0].open).toBe(false);
    expect(syns[0].accept()).toBeUndefined();
  });

  test("refuse: the client sees it at once", () => {
    const { network, syns, client } = open();
    syns[0].refuse();
    network.run(2);
    expect(client.events).toEqual(["ECONNREFUSED", "closed"]);
    expect(network.b.tcp.stats()).toMatchObject({ pendingSyns: 0, connections: 0 });
  });

  test("drop: no answer; the client's next try is a new SYN", () => {
    const { network, syns } = open();
    syns[0].drop();
    network.run(3000);
    expect(syns.length).toBeGreaterThan(1);
  });

  test("the client gives up: whoever connects in its name hears of it", () => {
    const peer = new RawPeer();
    let gone = 0;
    peer.node.tcp.onSyn = (syn) => {
      syn.onGone = () => gone++;
    };
    peer.send({ flags: SYN, seq: 0 });
    peer.send({ flags: RST, seq: 7 });
    expect(gone).toBe(0);
    peer.send({ flags: RST, seq: 1 });
    expect(gone).toBe(1);
    expect(peer.node.tcp.stats().pendingSyns).toBe(0);
  });
});

describe("ports and listeners", () => {
  test("a listener for one address comes before one for all", () => {
    const network = new Network();
    const { tcp, address } = network.b;
    const hits: string[] = [];
    tcp.listen({ port: 80, onConnection: () => hits.push("any") });
    tcp.listen({ port: 80, address, onConnection: () => hits.push("one") });
    expect(() => tcp.listen({ port: 80, onConnection: () => {} })).toThrow(
      expect.objectContaining({ code: "EADDRINUSE" }),
    );
    network.a.tcp.connect({ address, port: 80 });
    network.a.tcp.connect({ address: Uint8Array.of(10, 0, 0, 99), port: 80 });
    network.run(100);
    expect(hits).toEqual(["one", "any"]);
  });

  test("port 0 picks a free one; a closed listener refuses, and what it accepted stays", () => {
    const network = new Network();
    const { client, server } = connected(network);
    const listener = network.b.tcp.listen({ port: 0, onConnection: () => {} });
    expect(listener.port).toBeGreaterThanOrEqual(49_152);
    listener.close();
    const late = new Watcher(network.a.tcp.connect({ address: network.b.address, port: listener.port }));
    network.run(10);
    expect(late.error?.code).toBe("ECONNREFUSED");
    client.connection.write(Buffer.from("x"));
    network.run(100);
    expect(server.received.toString()).toBe("x");
  });

  test("ephemeral ports and initial sequence numbers cannot be guessed from those before", () => {
    const network = new Network();
    network.a.keep = true;
    const ports: number[] = [];
    const sequences: number[] = [];
    for (let i = 0; i < 200; i++) {
      ports.push(network.a.tcp.connect({ address: network.b.address, port: 80 }).localPort);
    }
    network.flush();
    for (const { bytes } of network.a.sent) sequences.push(bytes.readUInt32BE(4));
    expect(new Set(ports).size).toBe(200);
    const steps = ports.slice(1).map((port, i) => Math.abs(port - ports[i]));
    expect(steps.filter((step) => step < 16).length).toBeLessThan(10);
    const sorted = [...sequences].sort((a, b) => a - b);
    expect(sorted[199] - sorted[0]).toBeGreaterThan(2 ** 31);
    for (const port of ports) expect(port).toBeGreaterThanOrEqual(49_152);
  });

  test("all ports to a destination taken: EADDRNOTAVAIL; an own port taken: EADDRINUSE; no way there: EHOSTUNREACH", () => {
    const network = new Network();
    const { tcp } = network.a;
    const remote = { address: network.b.address, port: 80 };
    tcp.connect(remote, { port: 4000 });
    expect(() => tcp.connect(remote, { port: 4000 })).toThrow(expect.objectContaining({ code: "EADDRINUSE" }));
    expect(() => tcp.connect({ address: new Uint8Array(16), port: 80 })).toThrow(
      expect.objectContaining({ code: "EHOSTUNREACH" }),
    );
    for (let i = 0; i < 16_384; i++) tcp.connect(remote);
    expect(() => tcp.connect(remote)).toThrow(expect.objectContaining({ code: "EADDRNOTAVAIL" }));
    tcp.connect({ address: network.b.address, port: 81 });
    tcp.close();
    expect(tcp.stats().connections).toBe(0);
  });
});

test("10,000 connections opened, used and closed leave nothing", () => {
  const network = new Network({ whole: true });
  network.b.tcp.listen({
    port: 80,
    onConnection: (connection) => {
      connection.handlers = {
        readable: () => {
          for (let chunk = connection.read(); chunk !== undefined; chunk = connection.read()) connection.write(chunk);
          if (connection.readEnded) connection.end();
        },
      };
    },
  });
  let closed = 0;
  let answered = 0;
  for (let round = 0; round < 10; round++) {
    for (let i = 0; i < 1000; i++) {
      const connection = network.a.tcp.connect({ address: network.b.address, port: 80 });
      connection.handlers = {
        connected: () => connection.write(Buffer.from("ping")),
        readable: () => {
          for (let chunk = connection.read(); chunk !== undefined; chunk = connection.read()) {
            if (chunk.toString() === "ping") answered++;
          }
          connection.end();
        },
        closed: () => closed++,
      };
    }
    network.run(50);
  }
  expect({ closed, answered }).toEqual({ closed: 10_000, answered: 10_000 });
  // The side that closed first remembers as many as its limit allows.
  expect(network.a.tcp.stats()).toMatchObject({ connections: 0, timeWait: 8192, memory: 0, opened: 10_000 });
  expect(network.b.tcp.stats()).toMatchObject({
    connections: 0,
    timeWait: 0,
    memory: 0,
    accepted: 10_000,
    halfOpen: 0,
  });
  network.run(70_000);
  expect(network.a.tcp.stats().timeWait).toBe(0);
  expect(network.a.tcp.timers.size + network.b.tcp.timers.size).toBe(0);
  expect(network.next()).toBe(Number.POSITIVE_INFINITY);
}, 30_000);

test("an idle connection sets no timer, and holds no buffers a few seconds after its last data", () => {
  const network = new Network();
  const { client, server } = connected(network);
  client.connection.write(pattern(500_000));
  network.run(1000);
  expect(server.received.length).toBe(500_000);
  network.run(10_000);
  expect(network.a.tcp.stats().memory).toBe(0);
  expect(network.b.tcp.stats().memory).toBe(0);
  expect(network.next()).toBe(Number.POSITIVE_INFINITY);
  client.connection.write(pattern(1000));
  network.run(100);
  expect(server.received.length).toBe(501_000);
});

test("close: every connection and waiting SYN ends, the peers see resets", () => {
  const network = new Network();
  const { client, server } = connected(network);
  network.b.tcp.close();
  network.run(10);
  expect(server.error).toEqual(new TcpError("ECONNABORTED", "the network stack was closed"));
  expect(client.error?.code).toBe("ECONNRESET");
  expect(network.b.tcp.stats()).toMatchObject({ connections: 0, listeners: 0 });
});

test("a handler that throws does not keep the others from their events", () => {
  const network = new Network();
  const { client, server } = connected(network);
  const second = new Watcher(network.a.tcp.connect({ address: network.b.address, port: 80 }));
  network.run(10);
  server.connection.handlers.readable = () => {
    throw new Error("of the user");
  };
  client.connection.write(Buffer.from("x"));
  second.connection.write(Buffer.from("y"));
  expect(() => network.run(10)).toThrow("of the user");
  second.connection.end();
  network.run(10);
  expect(second.connection.state).toBe("fin-wait-2");
});
