import { FakeNetwork } from "./testing/fake-network";
import { ipPacket } from "./testing/ip-packet";
import { connectedPair } from "./testing/pair";

describe("(c) 15: roaming", () => {
  test.each(["198.51.100.5:5555", "[2001:db8::5]:5555"])(
    "data from %s moves the endpoint, and answers follow",
    (place) => {
      const { net, a, b, ba, toA, toB } = connectedPair();
      a.moveTo(place);
      toB("moved");
      net.run(10);
      expect(ba.endpoint!.text).toBe(place);
      expect(b.events.at(-1)).toMatchObject({ type: "endpoint-roamed", peer: ba });
      toA("found");
      net.run(10);
      expect(a.texts).toEqual(["found"]);
    },
  );

  test("a keepalive does", () => {
    const { net, a, ab, ba } = connectedPair();
    a.moveTo("198.51.100.5:5555");
    a.device.transport.sendKeepalive(ab, net.clock.time);
    net.run(10);
    expect(ba.endpoint!.text).toBe("198.51.100.5:5555");
  });

  test("an initiation and a response do", () => {
    const { net, a, b, ab, ba } = connectedPair();
    net.run(6_000);
    a.moveTo("198.51.100.5:5555");
    a.device.initiate(ab);
    b.moveTo("198.51.100.6:6666");
    const lost = net.log.at(-1)!;
    net.inject(lost.bytes, a.at, b.at);
    net.run(10);
    expect(ba.endpoint!.text).toBe("198.51.100.5:5555");
    expect(ab.endpoint!.text).toBe("198.51.100.6:6666");
  });

  test("an authentic packet with a source that is not allowed does, though it is dropped", () => {
    const { net, a, b, ba } = connectedPair();
    a.moveTo("198.51.100.5:5555");
    a.send(ipPacket("10.0.0.77", "10.0.0.2", "spoofed"));
    net.run(10);
    expect(b.received).toEqual([]);
    expect(b.device.drops.source).toBe(1);
    expect(ba.endpoint!.text).toBe("198.51.100.5:5555");
  });

  test("a replayed or forged packet does not", () => {
    const { net, a, b, ba, toB } = connectedPair();
    toB("x");
    const { bytes } = net.log[0];
    net.run(10);
    net.inject(bytes, "198.51.100.66:6", b.at);
    const forged = bytes.slice();
    forged[20] ^= 1;
    net.inject(forged, "198.51.100.66:6", b.at);
    expect(ba.endpoint!.text).toBe(a.at.text);
    expect(b.texts).toEqual(["x"]);
  });

  test("the same address in another object is no move", () => {
    const { net, a, b, toB } = connectedPair();
    toB("x");
    net.filter = () => false;
    net.inject(net.log[0].bytes, a.at.text, b.at);
    expect(b.count("endpoint-roamed")).toBe(0);
    expect(b.texts).toEqual(["x"]);
  });

  test("one side need not know the other's address", () => {
    const net = new FakeNetwork();
    const a = net.node("192.0.2.1:1000");
    const b = net.node("192.0.2.2:2000");
    net.connect(a, "10.0.0.1/32", b, "10.0.0.2/32", { endpoints: "first" });
    expect(b.sendText("10.0.0.2", "10.0.0.1", "x")).toBe("no-endpoint");
    a.sendText("10.0.0.1", "10.0.0.2", "hello");
    net.run(10);
    expect(b.sendText("10.0.0.2", "10.0.0.1", "x")).toBe("sent");
    net.run(10);
    expect(a.texts).toEqual(["x"]);
  });
});
