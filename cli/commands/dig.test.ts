import * as dnsPacket from "dns-packet";
import { readAnswer } from "./dig";

const reply = (answers: dnsPacket.Answer[]) => dnsPacket.encode({ type: "response", answers });

test("an answer's records, with nothing in them that steers a terminal", () => {
  const answer = readAnswer(
    "x.example",
    reply([
      { type: "A", name: "x.example", ttl: 5, data: "192.0.2.1" },
      { type: "TXT", name: "x\u001b[2J.example", data: "\u009b1mbold" },
    ]),
  );
  expect(answer.status).toBe("NOERROR");
  expect(answer.records[0]).toEqual({ name: "x.example", type: "A", ttl: 5, data: "192.0.2.1" });
  expect(answer.records[1]!.name).toBe("x\\027[2J.example");
  expect(JSON.stringify(answer)).not.toMatch(/\p{Cc}|\\u00[0189]/u);
});

test.each([
  ["nothing", new Uint8Array(0)],
  ["half a header", new Uint8Array(5)],
  ["a record that is not there", Buffer.from("000081800000000100000000", "hex")],
  ["a name that points at itself", Buffer.from("000081800000000100000000c00c00010001000000050004", "hex")],
])("%s is a sentence, not a stack trace", (_what, message) => {
  expect(() => readAnswer("x.example", message)).toThrow(
    expect.objectContaining({ code: "WARREN_UNREACHABLE", message: expect.stringContaining("x.example") }),
  );
});
