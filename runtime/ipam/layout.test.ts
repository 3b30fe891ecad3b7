import { WarrenError } from "../errors";
import { formatAddress, parseAddress } from "./address";
import { rangeChange } from "./change";
import { defaultCidr } from "./default-cidr";
import { capacity, issuable, layout, pinned } from "./layout";
import { subtract } from "./range";

const space = (cidr: string | undefined, reserved: string[] = [], ipv6Cidr?: string) => ({
  name: "net",
  cidr,
  ipv6Cidr,
  reserved,
});

function refusal(call: () => unknown): { code: string; message: string; path?: string } {
  try {
    call();
  } catch (error) {
    if (WarrenError.is(error)) return { code: error.code, message: error.message, path: error.path };
    throw error;
  }
  throw new Error("it was accepted");
}

describe("addresses", () => {
  test.each([
    ["10.1.2.3", "10.1.2.3"],
    ["255.255.255.254", "255.255.255.254"],
    ["FD00:0:0::0001", "fd00::1"],
    ["fd12:3456:789a::", "fd12:3456:789a::"],
  ])("%s is %s", (text, canonical) => {
    const { family, value } = parseAddress(text, "ip");
    expect(formatAddress(family, value)).toBe(canonical);
  });

  test.each([
    ["10.1.2", "is not an IPv4 or IPv6 address"],
    ["10.1.2.256", "is not an IPv4 or IPv6 address"],
    ["0x0a.1.2.3", "is not an IPv4 or IPv6 address"],
    ["167838211", "is not an IPv4 or IPv6 address"],
    ["", "is not an IPv4 or IPv6 address"],
    ["fe80::1%eth0", "carries a zone"],
    ["::ffff:10.1.2.3", "write 10.1.2.3"],
    ["::ffff:a01:203", "write 10.1.2.3"],
  ])("%s is refused: %s", (text, why) => {
    expect(refusal(() => parseAddress(text, "ip"))).toMatchObject({
      code: "WARREN_INVALID_INPUT",
      path: "ip",
      message: expect.stringContaining(why),
    });
  });
});

describe("ranges", () => {
  test.each([
    ["10.1.2.5/24", "write 10.1.2.0/24"],
    ["fd00::5/64", "write fd00::/64"],
    ["10.1.2.0", "is not a range in CIDR notation"],
    ["10.1.2.0/33", "prefix beyond /32"],
    ["10.1.2.0/024", "is not a range in CIDR notation"],
    ["10.1.2.0/30", "the smallest that fits is 10.1.2.0/29"],
    ["10.1.2.0/31", "the smallest that fits is 10.1.2.0/29"],
    ["10.1.2.7/32", "the smallest that fits is 10.1.2.0/29"],
    ["fd00::2/127", "the smallest that fits is fd00::/126"],
    ["fd00::7/128", "the smallest that fits is fd00::4/126"],
    ["127.0.0.0/16", "loopback"],
    ["224.0.0.0/24", "multicast"],
    ["0.0.0.0/0", "this network"],
    ["fe80::/64", "link-local"],
    ["::ffff:0:0/96", "IPv4-mapped"],
    ["::ffff:0a01:0200/120", "IPv4-mapped"],
    ["fe80::%eth0/64", "zone"],
  ])("%s is refused: %s", (cidr, why) => {
    expect(refusal(() => layout(space(cidr)))).toMatchObject({
      code: "WARREN_INVALID_RANGE",
      path: "cidr",
      message: expect.stringContaining(why),
    });
  });

  test("families are told apart", () => {
    expect(refusal(() => layout(space("fd00::/64", [], "fd01::/64"))).path).toBe("ipv6Cidr");
    expect(refusal(() => layout(space(undefined, [], "10.1.2.0/24"))).message).toContain("give it as cidr");
    expect(refusal(() => layout(space(undefined))).message).toContain("has no range");
    expect(layout(space("10.1.2.0/24", [], "fd00::/64")).families.map((f) => f.family)).toEqual([4, 6]);
  });

  test.each([
    ["10.1.2.0/29", "10.1.2.1", "10.1.2.2", "10.1.2.3", "10.1.2.6", 4n],
    ["10.1.2.0/24", "10.1.2.1", "10.1.2.2", "10.1.2.3", "10.1.2.254", 252n],
    ["10.0.0.0/8", "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.255.255.254", 16_777_212n],
    ["fd00::/126", "fd00::1", "fd00::2", "fd00::3", "fd00::3", 1n],
    ["fd00::/64", "fd00::1", "fd00::2", "fd00::3", "fd00::ffff:ffff:ffff:ffff", 2n ** 64n - 3n],
  ])("%s", (cidr, gateway, dns, first, last, count) => {
    const [f] = layout(space(cidr)).families;
    const text = (value: bigint) => formatAddress(f.family, value);
    expect([text(f.gateway), text(f.dns), text(f.issuable.first), text(f.issuable.last), capacity(f)]).toEqual([
      gateway,
      dns,
      first,
      last,
      count,
    ]);
  });

  test("reserved addresses, ranges and spans", () => {
    const [f] = layout(space("10.1.2.0/24", ["10.1.2.0/30", "10.1.2.5", "10.1.2.100-10.1.2.250", "10.1.2.6"])).families;
    const spans = issuable(f).map((s) => `${formatAddress(4, s.first)}-${formatAddress(4, s.last)}`);
    expect(spans).toEqual(["10.1.2.4-10.1.2.4", "10.1.2.7-10.1.2.99", "10.1.2.251-10.1.2.254"]);
    for (const [bad, why] of [
      ["10.1.3.1", "is not inside"],
      ["fd00::1", "is not inside"],
      ["10.1.2.9/28", "write 10.1.2.0/28"],
      ["10.1.2.9-10.1.2.3", "FIRST-LAST"],
      ["ten", "is not an IPv4"],
    ])
      expect(refusal(() => layout(space("10.1.2.0/24", ["10.1.2.9", bad])))).toMatchObject({
        code: "WARREN_INVALID_INPUT",
        path: "reserved[1]",
        message: expect.stringContaining(why),
      });
  });

  test.each([
    ["10.1.2.0", "WARREN_ADDRESS_RESERVED", "network address"],
    ["10.1.2.1", "WARREN_ADDRESS_RESERVED", "gateway"],
    ["10.1.2.2", "WARREN_ADDRESS_RESERVED", "DNS"],
    ["10.1.2.255", "WARREN_ADDRESS_RESERVED", "broadcast"],
    ["10.1.2.9", "WARREN_ADDRESS_RESERVED", "reserved"],
    ["10.1.3.1", "WARREN_ADDRESS_OUTSIDE", "10.1.2.0/24"],
    ["fd01::1", "WARREN_ADDRESS_OUTSIDE", "fd00::/64"],
    ["fd00::", "WARREN_ADDRESS_RESERVED", "anycast"],
    ["nine", "WARREN_INVALID_INPUT", "nine"],
  ])("pinned %s: %s", (text, code, why) => {
    const net = layout(space("10.1.2.0/24", ["10.1.2.9"], "fd00::/64"));
    expect(refusal(() => pinned(net, text, "ip"))).toMatchObject({ code, message: expect.stringContaining(why) });
  });

  test("subtract leaves what no hole covers", () => {
    const spans = (text: string) =>
      text
        .split(" ")
        .filter(Boolean)
        .map((s) => s.split("-").map(BigInt))
        .map(([first, last]) => ({ first, last }));
    expect(subtract(spans("0-9 20-29"), spans("3-4 4-5 8-22 29-40"))).toEqual(spans("0-2 6-7 23-28"));
    expect(subtract(spans("5-5"), spans("0-9"))).toEqual([]);
    expect(subtract(spans("0-9"), [])).toEqual(spans("0-9"));
  });
});

test("what a change of range means", () => {
  const change = (from: string, to: string, v6from?: string, v6to?: string) =>
    rangeChange(space(from, [], v6from), space(to, [], v6to));
  expect(change("10.1.2.0/24", "10.1.2.0/24")).toBe("same");
  expect(change("10.1.2.0/24", "10.1.2.0/23")).toBe("grow");
  expect(change("10.1.2.0/24", "10.1.2.0/25")).toBe("shrink");
  expect(change("10.1.3.0/24", "10.1.2.0/23")).toBe("replace");
  expect(change("10.1.2.0/24", "10.1.2.0/24", undefined, "fd00::/64")).toBe("replace");
  expect(change("10.1.2.0/24", "10.1.2.0/23", "fd00::/64", "fd00::/96")).toBe("shrink");
});

test("the default range is a /24 by the name's hash, apart from those taken", () => {
  expect(defaultCidr("my-private-network", [])).toBe("10.166.50.0/24");
  const first = defaultCidr("a", []);
  const second = defaultCidr("a", [first, "fd00::/64"]);
  expect(second).not.toBe(first);
  expect(defaultCidr("a", ["10.0.0.0/8"])).toBe(first);
  for (let i = 0; i < 200; i++) expect(defaultCidr(`n${i}`, [])).toMatch(/^10\.(12[89]|1[3-9]\d|2\d\d)\.\d+\.0\/24$/);
});
