/** The daemon's and the keeper's log: one line an event, readable by people, rotated by size. */
import * as fs from "node:fs";

export type Log = (level: "info" | "warn" | "error", message: string, fields?: Record<string, unknown>) => void;

/** Bytes after which a log moves to `FILE.1`. */
const LIMIT = 5 * 1024 * 1024;

/** Never throws: a full disk must not stop the process that reports it. */
export function fileLog(file: string): Log {
  let size = -1;
  return (level, message, fields) => {
    const line = `${new Date().toISOString()} ${level} ${message}${format(fields)}\n`;
    try {
      if (size < 0) size = fs.statSync(file, { throwIfNoEntry: false })?.size ?? 0;
      if (size > LIMIT) {
        fs.renameSync(file, `${file}.1`);
        size = 0;
      }
      fs.appendFileSync(file, line, { mode: 0o600 });
      size += Buffer.byteLength(line);
    } catch {
      // Nowhere to say it.
    }
  };
}

function format(fields: Record<string, unknown> = {}): string {
  return Object.entries(fields)
    .map(
      ([key, value]) => ` ${key}=${typeof value === "string" && !/[\s"]/.test(value) ? value : JSON.stringify(value)}`,
    )
    .join("");
}
