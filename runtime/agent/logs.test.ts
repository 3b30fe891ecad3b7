import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { readLog } from "./logs";

let dir: string;
beforeEach(() => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), "warren-logs-"));
});
afterEach(() => fs.rmSync(dir, { recursive: true }));

async function collect(lines: number): Promise<string> {
  let text = "";
  const options = { lines, follow: false, signal: new AbortController().signal };
  for await (const chunk of readLog(path.join(dir, "a.log"), options)) text += chunk;
  return text;
}

test("gives the last lines, whatever the size of the file", async () => {
  const all = Array.from({ length: 20_000 }, (_, i) => `line ${i}`);
  fs.writeFileSync(path.join(dir, "a.log"), `${all.join("\n")}\n`);
  expect(await collect(2)).toBe("line 19998\nline 19999\n");
  expect((await collect(15_000)).split("\n")).toHaveLength(15_001);
  expect(await collect(30_000)).toBe(`${all.join("\n")}\n`);
  expect(await collect(0)).toBe("");
});

test("a log that is not there yet is empty", async () => {
  expect(await collect(10)).toBe("");
});

test("follows what is added and goes on in the new file after a rotation", async () => {
  const file = path.join(dir, "a.log");
  fs.writeFileSync(file, "one\n");
  const stop = new AbortController();
  let text = "";
  const reader = (async () => {
    for await (const chunk of readLog(file, { lines: 10, follow: true, signal: stop.signal })) text += chunk;
  })();
  const sees = async (wanted: string) => {
    for (let i = 0; i < 100 && text !== wanted; i++) await new Promise((resolve) => setTimeout(resolve, 20));
    expect(text).toBe(wanted);
  };
  await sees("one\n");
  fs.appendFileSync(file, "two\n");
  await sees("one\ntwo\n");
  fs.appendFileSync(file, "three\n");
  fs.renameSync(file, `${file}.1`);
  fs.writeFileSync(file, "four\n");
  await sees("one\ntwo\nthree\nfour\n");
  stop.abort();
  await reader;
});
