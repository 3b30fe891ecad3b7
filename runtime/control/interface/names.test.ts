import { domainDoubt, domainFault, memberNameFault, regionFault } from "./names";

test.each([
  "internal",
  "fly.internal",
  "test",
  "corp",
  "home",
  "home.arpa",
  "attic.home.arpa",
  "lan",
  "alt",
  "eu.private",
])("the domain %s is kept for private use", (domain) => expect(domainDoubt(domain)).toBeUndefined());

test.each([
  "com",
  "acme.com",
  "dev",
  "host",
  "acme.host",
  "arpa",
  "in-addr.arpa",
  "nothome.arpa",
  "internal.example.org",
])("the domain %s hides public names", (domain) =>
  expect(domainDoubt(domain)).toMatch(/is not kept for private use: members do not reach public names under it/),
);

test.each(["local", "acme.local"])("the domain %s is multicast DNS's", (domain) =>
  expect(domainDoubt(domain)).toMatch(/multicast DNS \(RFC 6762\)/),
);

test("domains, regions and members that DNS gives a meaning of its own", () => {
  for (const domain of ["flycast", "x.flycast"]) expect(domainFault(domain)).toMatch(/service addresses/);
  for (const domain of ["localhost", "x.localhost"]) expect(domainFault(domain)).toMatch(/every machine's own/);
  for (const domain of ["internal", "flycast.internal", "local"]) expect(domainFault(domain)).toBeUndefined();
  for (const region of ["all", "global", "nearest", "of", "process", "regions", "vm", "vms"])
    expect(regionFault(region)).toMatch(new RegExp(`${region}\\.APP is a name of its own`));
  for (const region of ["ord", "local", "global1"]) expect(regionFault(region)).toBeUndefined();
  expect(memberNameFault("localhost")).toMatch(/every machine calls itself that/);
  expect(memberNameFault("local")).toBeUndefined();
});
