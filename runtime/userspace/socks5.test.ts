import * as fc from "fast-check";
import * as socks from "./socks5";

const bytes = (...parts: (number | string)[]) =>
  Buffer.concat(parts.map((part) => (typeof part === "string" ? Buffer.from(part) : Buffer.from([part]))));

describe("SOCKS5 messages", () => {
  test("a greeting has the methods that the client can do", () => {
    expect(socks.parseGreeting(bytes(5, 2, 0, 2, 99))).toEqual({ value: [0, 2], length: 4 });
    expect(socks.parseGreeting(bytes(5, 2, 0))).toBe("more");
    expect(socks.parseGreeting(bytes(4, 1, 0))).toBe("bad");
  });

  test("a password comes with its user (RFC 1929)", () => {
    expect(socks.parsePassword(bytes(1, 2, "me", 3, "pwd"))).toEqual({
      value: { user: "me", password: "pwd" },
      length: 8,
    });
    expect(socks.parsePassword(bytes(1, 2, "me", 3, "pw"))).toBe("more");
    expect(socks.parsePassword(bytes(5, 1))).toBe("bad");
  });

  test.each([
    ["IPv4", bytes(5, 1, 0, 1, 10, 1, 2, 5, 31, 144), { command: 1, host: "10.1.2.5", port: 8080 }],
    ["a name", bytes(5, 1, 0, 3, 5, "a.int", 0, 80), { command: 1, host: "a.int", port: 80 }],
    ["IPv6", bytes(5, 3, 0, 4, 0xfd, ...new Array(14).fill(0), 4, 0, 53), { command: 3, host: "fd00::4", port: 53 }],
  ])("a request names its destination by %s", (_kind, message, value) => {
    expect(socks.parseRequest(message)).toEqual({ value, length: message.length });
    for (let cut = 1; cut < message.length; cut++) expect(socks.parseRequest(message.subarray(0, cut))).toBe("more");
  });

  test("an address of an unknown type, an empty name and one with blanks are refused", () => {
    expect(socks.parseRequest(bytes(5, 1, 0, 9, 1, 1, 1, 1, 0, 80))).toBe("bad");
    expect(socks.parseRequest(bytes(5, 1, 0, 3, 0, 0, 80))).toBe("bad");
    expect(socks.parseRequest(bytes(5, 1, 0, 3, 3, "a b", 0, 80))).toBe("bad");
  });

  test("replies and datagram headers are what RFC 1928 shows", () => {
    expect(socks.reply(0, { host: "127.0.0.1", port: 258 })).toEqual(bytes(5, 0, 0, 1, 127, 0, 0, 1, 1, 2));
    expect(socks.reply(5)).toEqual(bytes(5, 5, 0, 1, 0, 0, 0, 0, 0, 0));
    const header = socks.datagramHeader({ host: "fd00::4", port: 53 });
    expect(socks.parseDatagram(Buffer.concat([header, Buffer.from("x")]))).toEqual({
      value: { host: "fd00::4", port: 53 },
      length: header.length,
    });
    expect(socks.parseDatagram(bytes(0, 0, 1, 1, 1, 1, 1, 1, 0, 53))).toBe("bad");
  });

  test("any bytes are read within their bounds", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (buf) => {
        for (const parse of [socks.parseGreeting, socks.parsePassword, socks.parseRequest, socks.parseDatagram]) {
          const parsed = parse(buf);
          if (typeof parsed !== "string") expect(parsed.length).toBeLessThanOrEqual(buf.length);
        }
      }),
    );
  });
});
