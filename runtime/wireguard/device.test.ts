import { FakeNetwork } from "./testing/fake-network";

test("two devices exchange packets", () => {
  const net = new FakeNetwork();
  const a = net.node("192.0.2.1:1000");
  const b = net.node("192.0.2.2:2000");
  net.connect(a, "10.0.0.1/32", b, "10.0.0.2/32");
  expect(a.sendText("10.0.0.1", "10.0.0.2", "one")).toBe("staged");
  net.run(100);
  expect(b.texts).toEqual(["one"]);
  expect(b.sendText("10.0.0.2", "10.0.0.1", "two")).toBe("sent");
  net.run(100);
  expect(a.texts).toEqual(["two"]);
});
