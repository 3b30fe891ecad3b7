/** An app's log: appended, rotated, and never a reason for the app to stop. */
import * as fs from "node:fs";
import * as path from "node:path";
import { stripVTControlCharacters } from "node:util";

const TAIL_BYTES = 8192;
const TAIL_LINES = 20;

export interface LogIo {
  write(fd: number, data: Buffer): number;
  now(): number;
}

const realIo: LogIo = { write: (fd, data) => fs.writeSync(fd, data), now: Date.now };

/** Milliseconds between attempts while the disk refuses. */
const RETRY_AFTER = 1000;

/**
 * Writes are synchronous: what an app said before its end is in the file, in order, and nothing is buffered without bound.
 * Where the disk is full output is dropped and counted, with one warning; it goes on when there is room.
 */
export class LogFile {
  private fd: number | undefined;
  private size = 0;
  private lost = 0;
  private retryAt = 0;

  constructor(
    readonly file: string,
    private readonly limit: number,
    private readonly warn: (message: string) => void,
    private readonly io: LogIo = realIo,
  ) {}

  append(data: Buffer): void {
    if (this.lost > 0 && this.io.now() < this.retryAt) {
      this.lost += data.length;
      return;
    }
    try {
      if (this.lost > 0) {
        this.put(Buffer.from(`[warren: ${this.lost} bytes of output were lost here: the log could not be written]\n`));
        this.lost = 0;
      }
      this.put(data);
    } catch (error) {
      if (this.lost === 0)
        this.warn(`output of ${this.file} is dropped until it can be written: ${(error as Error).message}`);
      this.lost += data.length;
      this.retryAt = this.io.now() + RETRY_AFTER;
      this.close();
    }
  }

  close(): void {
    if (this.fd === undefined) return;
    fs.closeSync(this.fd);
    this.fd = undefined;
  }

  private put(data: Buffer): void {
    if (this.fd !== undefined && this.size > 0 && this.size + data.length > this.limit) this.rotate();
    this.fd ??= this.open();
    for (let at = 0; at < data.length; ) {
      const written = this.io.write(this.fd, data.subarray(at));
      at += written;
      this.size += written;
    }
  }

  private open(): number {
    fs.mkdirSync(path.dirname(this.file), { recursive: true, mode: 0o700 });
    const fd = fs.openSync(this.file, "a", 0o600);
    this.size = fs.fstatSync(fd).size;
    return fd;
  }

  private rotate(): void {
    this.close();
    if (fs.existsSync(`${this.file}.1`)) fs.renameSync(`${this.file}.1`, `${this.file}.2`);
    fs.renameSync(this.file, `${this.file}.1`);
  }
}

/** The last lines of a run's output. */
export class Tail {
  private bytes: Buffer = Buffer.alloc(0);

  append(data: Buffer): void {
    const all = Buffer.concat([this.bytes, data.subarray(-TAIL_BYTES)]);
    // A copy, so that a large chunk is not kept alive by its end.
    this.bytes = Buffer.from(all.subarray(-TAIL_BYTES));
  }

  /** Without what would steer the terminal of whoever reads the error message: an app must not write to the screen of root. */
  text(): string {
    const plain = stripVTControlCharacters(this.bytes.toString("utf8")).replace(/(?![\n\t])\p{Cc}/gu, "");
    return plain.trimEnd().split("\n").slice(-TAIL_LINES).join("\n");
  }
}
