/** Reads an instance's log file: the last lines, then what is added, also over a rotation. */
import * as fs from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

/** Milliseconds between looks at a followed file. */
const POLL = 200;
/** Bytes read at a time. */
const CHUNK = 64 * 1024;
/** Bytes searched backwards for the wanted number of lines. */
const MAX_TAIL = 4 * 1024 * 1024;

export interface LogOptions {
  readonly lines: number;
  readonly follow: boolean;
  readonly signal: AbortSignal;
}

export async function* readLog(file: string, { lines, follow, signal }: LogOptions): AsyncGenerator<Buffer> {
  let handle = await open(file);
  let position = 0;
  try {
    if (handle) {
      const tail = await lastLines(handle, lines);
      position = tail.end;
      if (tail.data.length > 0) yield tail.data;
    }
    while (follow && !signal.aborted) {
      if (handle) {
        const buffer = Buffer.allocUnsafe(CHUNK);
        const { bytesRead } = await handle.read(buffer, 0, CHUNK, position);
        if (bytesRead > 0) {
          position += bytesRead;
          yield buffer.subarray(0, bytesRead);
          continue;
        }
      }
      // At the end of this file: has it been rotated away?
      const next = await fs.promises.stat(file).catch(() => undefined);
      if (next && (!handle || (await handle.stat()).ino !== next.ino)) {
        await handle?.close();
        handle = await open(file);
        position = 0;
        continue;
      }
      await sleep(POLL, undefined, { signal }).catch(() => undefined);
    }
  } finally {
    await handle?.close();
  }
}

async function open(file: string): Promise<fs.promises.FileHandle | undefined> {
  return fs.promises.open(file, "r").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
}

async function lastLines(handle: fs.promises.FileHandle, lines: number): Promise<{ data: Buffer; end: number }> {
  const end = (await handle.stat()).size;
  let start = end;
  let data = Buffer.alloc(0);
  while (start > 0 && end - start < MAX_TAIL) {
    const size = Math.min(CHUNK, start);
    const buffer = Buffer.allocUnsafe(size);
    const { bytesRead } = await handle.read(buffer, 0, size, start - size);
    start -= size;
    data = Buffer.concat([buffer.subarray(0, bytesRead), data]);
    const from = startOfLastLines(data, lines);
    if (from > 0) return { data: data.subarray(from), end };
  }
  return { data: data.subarray(startOfLastLines(data, lines)), end };
}

/** 0 when the buffer has no more than that many lines. */
function startOfLastLines(data: Buffer, lines: number): number {
  if (lines <= 0) return data.length;
  let at = data.length - 1;
  for (let i = 0; i < lines; i++) {
    at = data.lastIndexOf(10, at - 1);
    if (at < 0) return 0;
  }
  return at + 1;
}
