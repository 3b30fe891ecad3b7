import * as fc from "fast-check";
import { WarrenError } from "../runtime/errors";
import { parseForward } from "./forward";

test.each([
  ["8080:api:80", "tcp", "127.0.0.1", 8080, "api:80"],
  ["0:api.internal:80", "tcp", "127.0.0.1", 0, "api.internal:80"],
  ["127.0.0.2:8080:10.1.2.5:80", "tcp", "127.0.0.2", 8080, "10.1.2.5:80"],
  ["[::1]:8080:[fd00::5]:80", "tcp", "::1", 8080, "[fd00::5]:80"],
  ["5353:laptop._peer:53/udp", "udp", "127.0.0.1", 5353, "laptop._peer:53"],
])("%s", (text, protocol, address, port, to) => {
  expect(parseForward(text)).toEqual({ protocol, local: { address, port }, to });
});

test.each([
  "",
  "8080",
  "api:80",
  "8080:api",
  "8080:api:0",
  "70000:api:80",
  "300.1.1.1:80:api:80",
  "8080:api:80/sctp",
  "x:api:80",
])("refuses %j with an example", (text) => {
  expect(() => parseForward(text)).toThrow(/no LOCAL:NAME:REMOTE: .* such as 8080:api:80/);
});

test("any text is read or refused, and what was read has ports that there are", () => {
  const part = fc.oneof(
    fc.constantFrom(":", "[", "]", "/udp", "/tcp", "api", "::1", "127.0.0.1", "80", "99999"),
    fc.string(),
  );
  fc.assert(
    fc.property(fc.array(part, { maxLength: 9 }), (parts) => {
      try {
        const { local, to } = parseForward(parts.join(""));
        expect(local.port).toBeLessThan(65_536);
        expect(to).toMatch(/:\d{1,5}$/);
      } catch (error) {
        expect(error).toBeInstanceOf(WarrenError);
      }
    }),
    { numRuns: 2000 },
  );
});
