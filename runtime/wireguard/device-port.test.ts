import { FakeNetwork } from "./testing/fake-network";

function shared(count: number) {
  const net = new FakeNetwork();
  const { port, nodes } = net.port("192.0.2.100:51820", count);
  const clients = nodes.map((node, i) => {
    const client = net.node(`192.0.2.${i + 1}:1000`);
    net.connect(client, "10.0.0.2/32", node, "10.0.0.1/32", { endpoints: "first" });
    return client;
  });
  return { net, port, nodes, clients };
}

test("devices behind one port: initiations by MAC1, the rest by index, with equal ranges inside", () => {
  const { net, nodes, clients } = shared(5);
  clients.forEach((client, i) => {
    client.sendText("10.0.0.2", "10.0.0.1", `for ${i}`);
  });
  net.run(100);
  expect(nodes.map((node) => node.texts)).toEqual([["for 0"], ["for 1"], ["for 2"], ["for 3"], ["for 4"]]);
  nodes.forEach((node, i) => {
    expect(node.sendText("10.0.0.1", "10.0.0.2", `back ${i}`)).toBe("sent");
  });
  net.run(100);
  expect(clients.map((client) => client.texts)).toEqual([["back 0"], ["back 1"], ["back 2"], ["back 3"], ["back 4"]]);
});

test("a device behind the port can initiate, and gets its response and its cookie", () => {
  const { net, port, nodes, clients } = shared(3);
  const client = clients[1];
  client.device.load.raise(net.clock.time);
  nodes[1].device.updatePeer(client.device.publicKey, { endpoint: client.at });
  nodes[1].sendText("10.0.0.1", "10.0.0.2", "first");
  net.run(100);
  expect(nodes.map((node) => node.count("cookie-received"))).toEqual([0, 1, 0]);
  net.run(6_000);
  expect(client.texts).toEqual(["first"]);
  expect(port.nextTimer()).toBeGreaterThan(net.clock.time);
});

test("a removed device gets nothing, the others go on; what is for nobody is counted", () => {
  const { net, port, nodes, clients } = shared(2);
  port.remove(nodes[0].device);
  nodes[0].device.close();
  for (const client of clients) client.sendText("10.0.0.2", "10.0.0.1", "x");
  net.run(100);
  expect(nodes.map((node) => node.texts)).toEqual([[], ["x"]]);
  expect(port.drops.mac1).toBe(1);
  net.inject(
    Uint8Array.from({ length: 40 }, (_, i) => (i === 0 ? 4 : 0)),
    clients[0].at,
    nodes[1].at,
  );
  net.inject(new Uint8Array(10), clients[0].at, nodes[1].at);
  expect(port.drops).toMatchObject({ "unknown-index": 1, "malformed-message": 1 });
});

test("a device with another index table is refused", () => {
  const { net, port } = shared(1);
  expect(() => port.add(net.node("192.0.2.50:1").device)).toThrow("index table");
});

test("load on the port is load for each of its devices", () => {
  const { net, port, clients } = shared(2);
  port.load.raise(net.clock.time);
  for (const client of clients) client.sendText("10.0.0.2", "10.0.0.1", "x");
  net.run(100);
  expect(clients.map((client) => client.count("cookie-received"))).toEqual([1, 1]);
});

test("forged initiations cost a bounded search; who had an initiation lately is found all the same, others later", () => {
  const { net, port, nodes, clients } = shared(200);
  let looked = 0;
  for (const { device } of nodes) {
    const check = device.checkMac1.bind(device);
    device.checkMac1 = (message) => {
      looked++;
      return check(message);
    };
  }
  net.run(1_000);
  const send = (i: number, text: string) => clients[i].sendText("10.0.0.2", "10.0.0.1", text);
  send(199, "first");
  net.run(100);
  const forged = new Uint8Array(148);
  forged[0] = 1;
  const before = looked;
  for (let i = 0; i < 2_000; i++) net.inject(forged, clients[0].at, nodes[0].at);
  expect(looked - before).toBeLessThan(2_000 * 8 + 20_001);
  expect(port.drops.mac1).toBe(2_000);
  // Its device was found by search before, so now it is among the first.
  const newcomer = net.node("192.0.2.250:1000");
  net.connect(newcomer, "10.0.0.2/32", nodes[199], "10.0.0.1/32", { endpoints: "first" });
  newcomer.sendText("10.0.0.2", "10.0.0.1", "recent");
  send(150, "others");
  net.run(100);
  expect([nodes[199].texts, nodes[150].texts]).toEqual([["first", "recent"], []]);
  net.run(6_000);
  expect(nodes[150].texts).toEqual(["others"]);
});
