import { AddressRanges } from "./address-ranges";

const ranges = new AddressRanges(["10.1.2.0/24", "10.9.0.7/32", "fd00:0:1::/48"]);

test.each(["10.1.2.0", "10.1.2.255", "10.9.0.7", "fd00:0:1:ffff::1"])("%s lies inside", (address) => {
  expect(ranges.has(address)).toBe(true);
});

test.each(["10.1.3.0", "10.9.0.6", "fd00:0:2::1", "::1", "0.0.0.0"])("%s lies outside", (address) => {
  expect(ranges.has(address)).toBe(false);
});

test("of no range nothing is inside; of the whole world everything of its family", () => {
  expect(new AddressRanges([]).has("10.1.2.3")).toBe(false);
  const world = new AddressRanges(["0.0.0.0/0"]);
  expect([world.has("192.0.2.1"), world.has("fd00::1")]).toEqual([true, false]);
  const other = new AddressRanges(["::/0"]);
  expect([other.has("192.0.2.1"), other.has("fd00::1"), other.has("fe80::1%eth0")]).toEqual([false, true, true]);
});

test("an IPv4 address in the clothes of IPv6 is IPv6", () => {
  expect(ranges.has("::ffff:10.1.2.3")).toBe(false);
  expect(new AddressRanges(["::ffff:0:0/96"]).has("::ffff:10.1.2.3")).toBe(true);
});

test.each(["10.1.2.0", "10.1.2.0/", "10.1.2.0/33", "10.0.0.0/8/9", "fd00::/129", "ten/8"])(
  "%s is no range",
  (range) => {
    expect(() => new AddressRanges([range])).toThrow();
  },
);
