import * as fc from "fast-check";
import { parseBasic } from "./http-proxy";

const encoded = (text: string | Uint8Array) => Buffer.from(text as string).toString("base64");

describe("the header Proxy-Authorization", () => {
  test("gives back any user without a colon, and any password", () => {
    const user = fc.string({ unit: "grapheme" }).filter((text) => !text.includes(":"));
    const scheme = fc.constantFrom("Basic ", "basic ", "BASIC \t");
    fc.assert(
      fc.property(scheme, user, fc.string({ unit: "grapheme" }), (basic, user, password) => {
        expect(parseBasic(basic + encoded(`${user}:${password}`))).toEqual({ user, password });
      }),
    );
  });

  test.each([
    undefined,
    "",
    "Basic",
    "Basic ",
    "Bearer dTpw",
    "Basic dTpw x",
    " Basic dTpw",
    `Basic ${encoded("user")}`,
  ])("%p says nobody", (header) => expect(parseBasic(header)).toBeUndefined());

  test("of any text is what it decodes to, or nobody", () => {
    const any = fc.oneof(
      fc.string(),
      fc.string().map((text) => `Basic ${text}`),
      fc.uint8Array().map((bytes) => `Basic ${encoded(bytes)}`),
    );
    fc.assert(
      fc.property(any, (header) => {
        const said = parseBasic(header);
        if (said === undefined) return;
        expect(said.user).not.toContain(":");
        const token = header.replace(/^basic\s+/i, "");
        expect(Buffer.from(token, "base64").toString()).toBe(`${said.user}:${said.password}`);
      }),
      { numRuns: 2000 },
    );
  });
});
