import * as fc from "fast-check";
import { WarrenError } from "../runtime/errors";
import { parseTarget } from "./target";
import { parseWgConfig } from "./wg-config";

const KEY = Buffer.alloc(32, 7).toString("base64");
const OTHER = Buffer.alloc(32, 9).toString("base64");

const text = `[Interface]
PrivateKey = ${KEY}
Address = 10.1.2.3/24, fd00::3/64
MTU = 1380
DNS = 10.1.2.2, ~internal, internal
PostUp = echo hello

[Peer]
PublicKey = ${OTHER}  # the gateway
AllowedIPs = 10.1.2.0/24, fd00::/64
Endpoint = vpn.example.com:51820
PersistentKeepalive = 25
`;

test("a peer's config", () => {
  expect(parseWgConfig(text)).toEqual({
    privateKey: KEY,
    addresses: ["10.1.2.3", "fd00::3"],
    dns: ["10.1.2.2"],
    searchDomains: ["internal"],
    mtu: 1380,
    listenPort: 0,
    peers: [
      {
        publicKey: OTHER,
        allowedIps: ["10.1.2.0/24", "fd00::/64"],
        endpoint: "vpn.example.com:51820",
        persistentKeepalive: 25,
      },
    ],
  });
});

test.each([
  ["", /no \[Interface\] section/],
  ["hello", /line 1 is neither/],
  [text.replace(`PrivateKey = ${KEY}`, "# PrivateKey = (yours)"), /has no PrivateKey: put in the key/],
  [text.replace(KEY, "abc"), /key in line 2 is not 32 bytes/],
  [text.replace("10.1.2.3/24", "10.1.2.300/24"), /line 3 has "10.1.2.300\/24"/],
  [text.replace("MTU = 1380", "MTU = 99"), /line 4 has "99" where a number from 576 to 65535/],
  [text.replace("MTU", "MTO"), /line 4 has an unknown key in \[Interface\]/],
  [text.replace("vpn.example.com:51820", "vpn.example.com"), /Endpoint in line 11/],
  [text.replace(/\[Peer\][\s\S]*/, ""), /no \[Peer\] section/],
  [`${text}[Interface]\n`, /second \[Interface\]/],
])("refuses what cannot be used, naming the line", (bad, message) => {
  expect(() => parseWgConfig(bad)).toThrow(message);
});

test("no error repeats a key", () => {
  const secret = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlYw";
  expect(() => parseWgConfig(text.replace(KEY, secret))).toThrow(expect.not.stringContaining(secret));
});

test.each([
  ["api.internal:8080", "api.internal", 8080],
  ["api:80", "api", 80],
  ["_apps.internal:53", "_apps.internal", 53],
  ["10.1.2.5:8080", "10.1.2.5", 8080],
  ["[fd00::5]:443", "fd00::5", 443],
])("target %s", (target, host, port) => {
  expect(parseTarget(target)).toEqual({ host, port });
});

test.each(["", "api", "api:", "api:0", "api:70000", "fd00::5:443", "[fd00::zz]:1", "-x:1", "a b:1"])(
  "no target: %j",
  (target) => {
    expect(() => parseTarget(target)).toThrow(/write a name or an address and a port/);
  },
);

test("whatever a config is made of, it is read or refused with a line, and no key is repeated", () => {
  const lines = text.split("\n");
  const line = fc.oneof(
    fc.constantFrom(...lines),
    fc.constantFrom(
      "[Peer]",
      "[Interface]",
      "[",
      "=",
      "Address = /",
      "Address = 1.2.3.4/33",
      "MTU = 1e3",
      "Endpoint = [::]:1",
      "\u0000",
    ),
    fc.string(),
    fc
      .tuple(fc.constantFrom("Address", "AllowedIPs", "DNS", "Endpoint", "MTU", "PrivateKey"), fc.string())
      .map((pair) => pair.join(" = ")),
  );
  fc.assert(
    fc.property(fc.array(line, { maxLength: 25 }), (parts) => {
      try {
        const config = parseWgConfig(parts.join("\n"));
        expect(config.addresses.length).toBeGreaterThan(0);
        expect(config.peers.length).toBeGreaterThan(0);
      } catch (error) {
        expect(error).toBeInstanceOf(WarrenError);
        expect((error as Error).message).not.toContain(KEY);
      }
    }),
    { numRuns: 1000 },
  );
});
