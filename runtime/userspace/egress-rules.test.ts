import { EgressRules, parseEgressAllow } from "./egress-rules";

const host = [
  { address: "192.168.7.9", cidr: "192.168.7.9/24" },
  { address: "203.0.113.5", cidr: "203.0.113.5/24" },
  { address: "fd12::9", cidr: "fd12::9/64" },
  { address: "fe80::1%eth0", cidr: "fe80::1/64" },
];

describe("where an app may go outside", () => {
  const rules = new EgressRules([], host);
  test.each([
    ["8.8.8.8", true],
    ["2606:4700::1111", true],
    ["203.0.113.6", true], // a neighbour in a public network is the internet
    ["10.9.9.9", true], // private, but none of this machine's networks
    ["203.0.113.5", false],
    ["192.168.7.1", false],
    ["fd12::1", false],
    ["127.0.0.1", false],
    ["127.9.9.9", false],
    ["0.0.0.0", false],
    ["::1", false],
    ["::", false],
    ["169.254.169.254", false],
    ["fd00:ec2::254", false],
    ["fe80::5", false],
    ["224.0.0.1", false],
    ["255.255.255.255", false],
    ["ff02::1", false],
    ["::ffff:169.254.169.254", false],
    ["64:ff9b::7f00:1", false],
    ["64:ff9b::808:808", true],
    ["64:ff9b:1::a9fe:a9fe", false], // local NAT64, with a /96
    ["64:ff9b:1:7f00:0:100::", false], // with a /48
    ["64:ff9b:2::1", true],
    ["2002:a9fe:a9fe::1", false],
    ["2002:7f00:1::", false],
    ["2001:0:a9fe:a9fe::1", false],
    ["2001:1::1", true],
    ["::127.0.0.1", false],
    ["2003::1", true],
    ["::ffff:8.8.8.8", true],
  ])("%s: %s", (address, open) => {
    expect(rules.allows(address)).toBe(open);
  });

  test("what a person opens is open, and nothing beside it", () => {
    const opened = new EgressRules(parseEgressAllow("192.168.7.0/28, 169.254.169.254"), host);
    expect(opened.allows("192.168.7.1")).toBe(true);
    expect(opened.allows("169.254.169.254")).toBe(true);
    expect(opened.allows("192.168.7.16")).toBe(false);
    expect(opened.allows("169.254.169.253")).toBe(false);
    const translated = new EgressRules(parseEgressAllow("64:ff9b:1:5::/64"), host);
    expect(translated.allows("64:ff9b:1:5::808:808")).toBe(true);
    expect(translated.allows("64:ff9b:1:6::808:808")).toBe(false);
  });

  test("a setting that is no list of ranges is refused, naming the part", () => {
    expect(parseEgressAllow("")).toEqual([]);
    expect(parseEgressAllow("10.0.0.7,fd00::/8")).toEqual(["10.0.0.7/32", "fd00::/8"]);
    for (const bad of ["10.0.0.0/33", "example.com", "10.0.0", "1.2.3.4/x"])
      expect(() => parseEgressAllow(`10.0.0.1,${bad}`)).toThrow(`WARREN_EGRESS_ALLOW has "${bad}"`);
  });
});
