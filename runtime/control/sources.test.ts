import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { Readable } from "node:stream";
import * as zlib from "node:zlib";
import * as tar from "tar";
import { Sources, sourceHash } from "./sources";

let dir: string;
let now: number;
let sources: Sources;
beforeEach(() => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), "warren-sources-"));
  now = Date.now();
  sources = new Sources(path.join(dir, "sources"), () => now);
});
afterEach(() => fs.rmSync(dir, { recursive: true, force: true }));

/** One ustar entry (POSIX.1-1988), for archives that no tool would write. */
function entry(name: string, type: string, link = "", content = ""): Buffer {
  const header = Buffer.alloc(512);
  const octal = (value: number, length: number) => `${value.toString(8).padStart(length - 1, "0")}\0`;
  header.write(name, 0);
  header.write(octal(0o4700, 8) + octal(0, 8) + octal(0, 8) + octal(content.length, 12) + octal(0, 12), 100);
  header.write("        ", 148);
  header.write(type, 156);
  header.write(link, 157);
  header.write("ustar\x0000", 257);
  const sum = header.reduce((a, b) => a + b, 0);
  header.write(octal(sum, 7), 148);
  const body = Buffer.alloc(Math.ceil(content.length / 512) * 512);
  body.write(content);
  return Buffer.concat([header, body]);
}

const archive = (...entries: Buffer[]) => zlib.gzipSync(Buffer.concat([...entries, Buffer.alloc(1024)]));
const put = (bytes: Buffer, hash = sourceHash(bytes)) => sources.put(hash, Readable.from([bytes]));
const at = (hash: string, ...parts: string[]) => path.join(dir, "sources", hash, ...parts);
const mode = (file: string) => fs.statSync(file).mode & 0o7777;

test("a folder arrives whole, readable for the app's account, once", async () => {
  const folder = path.join(dir, "program");
  fs.mkdirSync(path.join(folder, "lib"), { recursive: true, mode: 0o700 });
  fs.writeFileSync(path.join(folder, "run"), "#!/bin/sh\n", { mode: 0o700 });
  fs.writeFileSync(path.join(folder, "lib", "data"), "x".repeat(100_000), { mode: 0o600 });
  fs.symlinkSync("../run", path.join(folder, "lib", "link"));
  const file = path.join(dir, "a.tgz");
  await tar.create({ gzip: true, cwd: folder, file, portable: true }, ["."]);
  const bytes = fs.readFileSync(file);
  const hash = sourceHash(bytes);
  expect(sources.has(hash)).toBe(false);
  await put(bytes);
  await put(bytes);
  expect(fs.readdirSync(path.join(dir, "sources"))).toEqual([hash]);
  expect([mode(at(hash)), mode(at(hash, "lib")), mode(at(hash, "run")), mode(at(hash, "lib/data"))]).toEqual([
    0o755, 0o755, 0o755, 0o644,
  ]);
  expect(fs.readFileSync(at(hash, "lib/link"), "utf8")).toBe("#!/bin/sh\n");
});

test.each([
  ["an absolute path", entry("/etc/evil", "0", "", "x"), "outside the folder"],
  ["a path upwards", entry("a/../../evil", "0", "", "x"), "outside the folder"],
  ["a link out", entry("a/link", "2", "../../evil"), "outside the folder"],
  [
    "a link out through another link",
    Buffer.concat([entry("a/", "5"), entry("a/up", "2", ".."), entry("out", "2", "a/up/..")]),
    'with ".." behind a name',
  ],
  ["an absolute link", entry("link", "2", "/etc/passwd"), "outside the folder"],
  ["a hard link", entry("link", "1", "run"), "only files, folders and symbolic links"],
  ["a FIFO", entry("pipe", "6"), "only files, folders and symbolic links"],
])("%s is refused with nothing left", async (_, bad, why) => {
  const bytes = archive(entry("fine", "0", "", "x"), bad);
  await expect(put(bytes)).rejects.toMatchObject({
    code: "WARREN_INVALID_INPUT",
    message: expect.stringContaining(why),
  });
  expect(fs.readdirSync(path.join(dir, "sources"))).toEqual([]);
});

test("a second delivery of the same is read to its end before the answer", async () => {
  const bytes = archive(entry("./run", "0", "", "x"));
  await put(bytes);
  const again = Readable.from([bytes, bytes]);
  await sources.put(sourceHash(bytes), again);
  expect(again.readableEnded).toBe(true);
});

test("no set-user-id survives", async () => {
  const bytes = archive(entry("run", "0", "", "x"));
  await put(bytes);
  expect(mode(at(sourceHash(bytes), "run"))).toBe(0o755);
});

test("other bytes, no archive, and a broken upload are refused with nothing left", async () => {
  const good = archive(entry("a", "0", "", "x"));
  await expect(put(good, "0".repeat(64))).rejects.toMatchObject({ code: "WARREN_INVALID_INPUT", path: "hash" });
  await expect(put(good, "../../evil")).rejects.toMatchObject({ code: "WARREN_INVALID_INPUT", path: "hash" });
  await expect(put(Buffer.from("no archive"))).rejects.toMatchObject({ code: "WARREN_INVALID_INPUT" });
  await expect(put(good.subarray(0, good.length - 12))).rejects.toMatchObject({ code: "WARREN_INVALID_INPUT" });
  const broken = Readable.from(
    (function* () {
      yield good.subarray(0, 10);
      throw new Error("hung up");
    })(),
  );
  await expect(sources.put(sourceHash(good), broken)).rejects.toThrow("hung up");
  expect(fs.readdirSync(path.join(dir, "sources"))).toEqual([]);
});

test("what no member refers to is removed, but not what was delivered just now", async () => {
  const [a, b] = [archive(entry("a", "0", "", "x")), archive(entry("b", "0", "", "x"))];
  await put(a);
  await put(b);
  sources.keepOnly(new Set());
  expect([a, b].map((x) => sources.has(sourceHash(x)))).toEqual([true, true]);
  now += 3_600_000;
  sources.need(sourceHash(b));
  sources.keepOnly(new Set());
  expect([a, b].map((x) => sources.has(sourceHash(x)))).toEqual([false, true]);
  now += 3_600_000;
  sources.keepOnly(new Set([sourceHash(b)]));
  expect(sources.has(sourceHash(b))).toBe(true);
});
