import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import * as tar from "tar";
import { packSource, sourceHash } from "./source";

let dir: string;
beforeEach(() => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), "warren-test-"));
});
afterEach(() => fs.rmSync(dir, { recursive: true, force: true }));

function folder(name: string, order: "up" | "down"): string {
  const root = path.join(dir, name);
  fs.mkdirSync(path.join(root, "lib", "deep"), { recursive: true });
  const files = { "b.js": "b", "a.js": "a", "lib/deep/c.js": "c" };
  const entries = Object.entries(files);
  for (const [file, text] of order === "up" ? entries : entries.reverse())
    fs.writeFileSync(path.join(root, file), text);
  fs.writeFileSync(path.join(root, "run"), "#!/bin/sh\n", { mode: order === "up" ? 0o755 : 0o700 });
  fs.symlinkSync("a.js", path.join(root, "link.js"));
  fs.mkdirSync(path.join(root, ".git"));
  fs.writeFileSync(path.join(root, ".git", "HEAD"), name);
  return root;
}

it("gives one hash for one content, whatever its times, modes, order of writing and place", async () => {
  const one = folder("one", "up");
  const two = folder("two", "down");
  fs.utimesSync(path.join(two, "a.js"), 1000, 1000);
  fs.chmodSync(path.join(two, "b.js"), 0o600);
  expect(await sourceHash(one)).toBe(await sourceHash(two));
  // A contract: a new release must not make a change out of code that did not change.
  expect(await sourceHash(one)).toBe("8ef7fee0dd539fbba33ff5cffff2d1b1268e360ef6655b195c4bb57ce2d5a407");
  fs.chmodSync(path.join(two, "b.js"), 0o700);
  expect(await sourceHash(one)).not.toBe(await sourceHash(two));
});

it("packs what unpacks to the same, and leaves nothing behind", async () => {
  const before = fs.readdirSync(os.tmpdir()).filter((f) => f.startsWith("warren-source-"));
  const packed = await packSource(folder("one", "up"));
  const out = path.join(dir, "out");
  fs.mkdirSync(out);
  await tar.extract({ file: packed.file, cwd: out });
  expect(fs.readdirSync(out, { recursive: true }).sort()).toEqual(
    ["a.js", "b.js", "lib", "lib/deep", "lib/deep/c.js", "link.js", "run"].sort(),
  );
  expect(fs.statSync(path.join(out, "run")).mode & 0o111).not.toBe(0);
  await packed.remove();
  const after = fs.readdirSync(os.tmpdir()).filter((f) => f.startsWith("warren-source-"));
  expect(after.filter((f) => !before.includes(f))).toEqual([]);
});

it("packs an empty folder, and refuses what is none", async () => {
  const empty = path.join(dir, "empty");
  fs.mkdirSync(empty);
  expect(await sourceHash(empty)).toMatch(/^[0-9a-f]{64}$/);
  await expect(sourceHash(path.join(dir, "nowhere"))).rejects.toMatchObject({
    code: "WARREN_INVALID_INPUT",
    path: "source",
  });
});
