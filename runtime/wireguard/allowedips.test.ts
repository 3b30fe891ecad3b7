import fc from "fast-check";
import { AllowedIps, formatPrefix, type Prefix, parsePrefix, prefixOf } from "./allowedips";
import { parseEndpoint } from "./endpoint";

const address = (text: string): Uint8Array => parseEndpoint(text.includes(":") ? `[${text}]:1` : `${text}:1`).address;
const lookup = (table: AllowedIps<string>, text: string): string | undefined => {
  const bytes = address(text);
  return bytes.length === 4 ? table.lookup4(bytes, 0) : table.lookup6(bytes, 0);
};
const tableOf = (...rows: [string, string][]): AllowedIps<string> => {
  const table = new AllowedIps<string>();
  for (const [range, value] of rows) table.insert(parsePrefix(range), value);
  return table;
};

test("(c) 16: the longest prefix wins, for IPv4 and IPv6 apart", () => {
  const table = tableOf(
    ["0.0.0.0/0", "all4"],
    ["10.0.0.0/8", "ten"],
    ["10.1.0.0/16", "ten-one"],
    ["10.1.2.3/32", "host"],
    ["::/0", "all6"],
    ["fd00::/16", "fd"],
    ["fd00:0:0:1::/64", "net"],
    ["fd00::1:0:0:0:5/128", "host6"],
  );
  expect(lookup(table, "9.9.9.9")).toBe("all4");
  expect(lookup(table, "10.2.2.3")).toBe("ten");
  expect(lookup(table, "10.1.2.4")).toBe("ten-one");
  expect(lookup(table, "10.1.2.3")).toBe("host");
  expect(lookup(table, "2001::1")).toBe("all6");
  expect(lookup(table, "fd00::9")).toBe("fd");
  expect(lookup(table, "fd00::1:0:0:0:6")).toBe("net");
  expect(lookup(table, "fd00::1:0:0:0:5")).toBe("host6");
});

test("(c) 16: host bits are masked off, and a bare address is one host", () => {
  expect(formatPrefix(parsePrefix("10.1.2.3/24"))).toBe("10.1.2.0/24");
  expect(formatPrefix(parsePrefix("fd00::abcd/112"))).toBe("fd00::/112");
  expect(formatPrefix(parsePrefix("255.255.255.255/0"))).toBe("0.0.0.0/0");
  expect(formatPrefix(parsePrefix("10.1.2.3"))).toBe("10.1.2.3/32");
  expect(formatPrefix(parsePrefix("fd00::1"))).toBe("fd00::1/128");
});

test("(c) 16: a range moves to who gets it last; removing a peer frees what it covered", () => {
  const table = tableOf(["10.0.0.0/24", "a"], ["10.0.0.9/32", "b"], ["10.0.0.77/24", "b"]);
  expect(lookup(table, "10.0.0.1")).toBe("b");
  expect(table.rangesOf("a")).toEqual([]);
  expect(table.rangesOf("b").map(formatPrefix)).toEqual(["10.0.0.0/24", "10.0.0.9/32"]);
  expect(table.remove(parsePrefix("10.0.0.0/24"), "a")).toBe(false);
  expect(table.remove(parsePrefix("10.0.0.0/24"), "b")).toBe(true);
  expect(lookup(table, "10.0.0.1")).toBeUndefined();
  expect(lookup(table, "10.0.0.9")).toBe("b");
  table.removeAll("b");
  expect(lookup(table, "10.0.0.9")).toBeUndefined();
});

test.each([
  "",
  "10.0.0.0/33",
  "fd00::/129",
  "10.0.0/8",
  "010.0.0.1/8",
  "host/8",
  "10.0.0.0/-1",
  "10.0.0.0/8/8",
  "::1%eth0",
])("refused as a range: %j", (text) => {
  expect(() => parsePrefix(text, "allowedIps[0]")).toThrow(
    expect.objectContaining({ code: "WARREN_INVALID_RANGE", path: "allowedIps[0]" }),
  );
});

/** A list that is searched from end to end. */
class Oracle {
  readonly rows: { bytes: Uint8Array; bits: number; value: string }[] = [];

  insert(bytes: Uint8Array, bits: number, value: string): void {
    this.remove(bytes, bits);
    this.rows.push({ bytes, bits, value });
  }

  remove(bytes: Uint8Array, bits: number, value?: string): boolean {
    const at = this.rows.findIndex(
      (row) =>
        row.bits === bits &&
        row.bytes.length === bytes.length &&
        matches(row.bytes, bytes, bits) &&
        (!value || row.value === value),
    );
    if (at >= 0) this.rows.splice(at, 1);
    return at >= 0;
  }

  lookup(bytes: Uint8Array): string | undefined {
    let best: { bits: number; value: string } | undefined;
    for (const row of this.rows)
      if (row.bytes.length === bytes.length && matches(row.bytes, bytes, row.bits) && (!best || row.bits > best.bits))
        best = row;
    return best?.value;
  }
}

function matches(a: Uint8Array, b: Uint8Array, bits: number): boolean {
  for (let i = 0; i < bits; i++) if ((a[i >> 3] ^ b[i >> 3]) & (128 >> (i & 7))) return false;
  return true;
}

// Few distinct bytes, so that ranges often share long beginnings.
const byte = fc.constantFrom(0, 1, 128, 129, 255);
const anyAddress = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }),
  fc.array(byte, { minLength: 4, maxLength: 4 }).map((b) => Uint8Array.from(b)),
  fc.array(byte, { minLength: 16, maxLength: 16 }).map((b) => Uint8Array.from(b)),
);
const range = anyAddress.chain((bytes) =>
  fc.record({ bytes: fc.constant(bytes), bits: fc.integer({ min: 0, max: bytes.length * 8 }) }),
);
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ op: fc.constant("insert" as const), range, value: fc.constantFrom("a", "b", "c") }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ op: fc.constant("remove" as const), range, value: fc.constantFrom("a", "b", "c") }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ op: fc.constant("removeAll" as const), range, value: fc.constantFrom("a", "b", "c") }),
  },
);

test("(c) 16: random operations against a list", () => {
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 60 }),
      fc.array(anyAddress, { minLength: 20, maxLength: 20 }),
      (steps, probes) => {
        const table = new AllowedIps<string>();
        const oracle = new Oracle();
        for (const { op, range, value } of steps) {
          const prefix: Prefix = prefixOf(range.bytes, range.bits);
          if (op === "insert") {
            table.insert(prefix, value);
            oracle.insert(range.bytes, range.bits, value);
          } else if (op === "remove")
            expect(table.remove(prefix, value)).toBe(oracle.remove(range.bytes, range.bits, value));
          else {
            table.removeAll(value);
            for (const row of oracle.rows.filter((r) => r.value === value)) oracle.remove(row.bytes, row.bits);
          }
        }
        for (const probe of [...probes, ...steps.map((s) => s.range.bytes)])
          expect(probe.length === 4 ? table.lookup4(probe, 0) : table.lookup6(probe, 0)).toBe(oracle.lookup(probe));
        for (const value of ["a", "b", "c"])
          expect(table.rangesOf(value).map(formatPrefix).sort()).toEqual(
            oracle.rows
              .filter((row) => row.value === value)
              .map((row) => formatPrefix(prefixOf(row.bytes, row.bits)))
              .sort(),
          );
      },
    ),
    { numRuns: 150 },
  );
});

test("parsing never fails otherwise than by saying so", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.ipV4(), fc.ipV6(), fc.stringMatching(/^[0-9a-f.:/]{0,40}$/)), (text) => {
      try {
        const prefix = parsePrefix(text);
        expect(parsePrefix(formatPrefix(prefix))).toEqual(prefix);
      } catch (error) {
        expect(error).toMatchObject({ code: "WARREN_INVALID_RANGE" });
      }
    }),
  );
});

test("(c) 20: 65,280 ranges of each family", () => {
  const table = new AllowedIps<number>();
  const at = (bytes: number[], i: number): Uint8Array => Uint8Array.from([...bytes, i >> 8, i & 255]);
  for (let i = 0; i < 65_280; i++) {
    table.insert(prefixOf(at([10, 7], i), 32), i);
    table.insert(prefixOf(at([0xfd, ...new Array(13).fill(0)], i), 128), i);
  }
  let wrong = 0;
  for (let i = 0; i < 65_280; i++) {
    if (table.lookup4(at([10, 7], i), 0) !== i) wrong++;
    if (table.lookup6(at([0xfd, ...new Array(13).fill(0)], i), 0) !== i) wrong++;
  }
  expect(wrong).toBe(0);
});
