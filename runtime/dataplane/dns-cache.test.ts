import { DnsCache } from "./dns-cache";

const question = (id: number, text = "one") => Buffer.concat([Buffer.from([id >> 8, id & 255]), Buffer.from(text)]);
const answer = (id: number, text: string) => Buffer.concat([Buffer.from([id >> 8, id & 255]), Buffer.from(text)]);
const find = (cache: DnsCache, asked: Uint8Array, gateway = "net/a") => cache.find(gateway, asked)?.toString();

test("the same question has the same answer under its own id, at the same gateway", () => {
  const cache = new DnsCache();
  cache.setGeneration(1);
  cache.keep("net/a", question(0x4142), answer(0x4142, "!reply"), { generation: 1 });
  expect(find(cache, question(0x4344))).toBe("CD!reply");
  expect(find(cache, question(0x4344, "two"))).toBeUndefined();
  expect(find(cache, question(0x4344), "net/b")).toBeUndefined();
});

test("what turns begins with another one each time", () => {
  const cache = new DnsCache();
  cache.setGeneration(1);
  cache.keep("net/a", question(0x4140), answer(0x4140, "<aabbcc>"), {
    generation: 1,
    turn: { at: 3, size: 2, count: 3 },
  });
  // 0x4141, 0x4142 and 0x4143 by three.
  expect([0x4141, 0x4142, 0x4143].map((id) => find(cache, question(id)))).toEqual([
    "AA<bbccaa>",
    "AB<ccaabb>",
    "AC<aabbcc>",
  ]);
});

test("nothing outlives its generation, nor what comes late, and nothing is kept before one is known", () => {
  const cache = new DnsCache();
  cache.keep("net/a", question(1), answer(1, "early"), { generation: 0 });
  expect(find(cache, question(1))).toBeUndefined();
  cache.setGeneration(1);
  cache.keep("net/a", question(1), answer(1, "kept"), { generation: 1 });
  cache.setGeneration(2);
  expect(find(cache, question(1))).toBeUndefined();
  cache.keep("net/a", question(1), answer(1, "late"), { generation: 1 });
  expect(find(cache, question(1))).toBeUndefined();
});

test("it begins anew when it is full, and keeps nothing of a size that no one needs", () => {
  const cache = new DnsCache();
  cache.setGeneration(1);
  for (let i = 0; i < 16_384; i++) cache.keep("net/a", question(i, `q${i}`), answer(i, "r"), { generation: 1 });
  expect(find(cache, question(0x4142, "q0"))).toBe("ABr");
  cache.keep("net/a", question(1, "one more"), answer(1, "r"), { generation: 1 });
  expect(find(cache, question(0x4142, "q0"))).toBeUndefined();
  expect(find(cache, question(0x4142, "one more"))).toBe("ABr");
  cache.keep("net/a", question(1, "x".repeat(400)), answer(1, "r"), { generation: 1 });
  cache.keep("net/a", question(1, "long"), answer(1, "r".repeat(4000)), { generation: 1 });
  expect([find(cache, question(1, "x".repeat(400))), find(cache, question(1, "long"))]).toEqual([undefined, undefined]);
});
