import * as fc from "fast-check";
import { parseHostPort } from "./host-port";

test.each([
  ["api:80", "api", 80],
  ["api.internal.:65535", "api.internal.", 65_535],
  ["10.1.2.5:1", "10.1.2.5", 1],
  ["[fd00::4]:443", "fd00::4", 443],
])("%s", (text, host, port) => {
  expect(parseHostPort(text)).toEqual({ host, port });
});

test.each([
  "",
  ":80",
  "api",
  "api:",
  "api:0",
  "api:65536",
  "api:123456",
  "fd00::4:80",
  "[fd00::4]",
  "[api]:80",
  "a b:80",
  "a/b:80",
  "api:80 ",
])("%j is none", (text) => {
  expect(parseHostPort(text)).toBeUndefined();
});

test("any text is read or is none, and what was read says the same again", () => {
  const part = fc.oneof(
    fc.constantFrom("[", "]", ":", "api", "fd00::", "10.1.2.5", "80", "0", "65536", " ", "%"),
    fc.string(),
  );
  fc.assert(
    fc.property(fc.array(part, { maxLength: 6 }), (parts) => {
      const found = parseHostPort(parts.join(""));
      if (found === undefined) return;
      const { host, port } = found;
      expect(Number.isInteger(port) && port > 0 && port < 65_536).toBe(true);
      expect(parseHostPort(`${host.includes(":") ? `[${host}]` : host}:${port}`)).toEqual(found);
    }),
    { numRuns: 2000 },
  );
});
