/** Where stock peers were last seen, kept over restarts so that a new data plane can speak to them first. */
import * as fs from "node:fs";

/** Milliseconds by which writes are gathered: a roaming peer must not cost a write per packet. */
const DELAY = 500;

export class Endpoints {
  private known: Record<string, string>;
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly file: string) {
    this.known = read(file);
  }

  /** By `NETWORK_ID/HOST_ID/PUBLIC_KEY`. */
  get all(): Readonly<Record<string, string>> {
    return this.known;
  }

  learn(key: string, endpoint: string): void {
    if (this.known[key] === endpoint) return;
    this.known[key] = endpoint;
    this.timer ??= setTimeout(() => this.flush(), DELAY);
    this.timer.unref();
  }

  /** Forgets what is no longer desired. */
  retain(keys: ReadonlySet<string>): void {
    const gone = Object.keys(this.known).filter((key) => !keys.has(key));
    if (gone.length === 0) return;
    for (const key of gone) delete this.known[key];
    this.timer ??= setTimeout(() => this.flush(), DELAY);
    this.timer.unref();
  }

  /** Best effort: what is lost here costs one handshake from the other side. */
  flush(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    try {
      fs.writeFileSync(`${this.file}.new`, JSON.stringify(this.known), { mode: 0o600 });
      fs.renameSync(`${this.file}.new`, this.file);
    } catch {
      // A full disk; the next change tries again.
    }
  }
}

function read(file: string): Record<string, string> {
  try {
    const value: unknown = JSON.parse(fs.readFileSync(file, "utf8"));
    if (typeof value !== "object" || value === null) return {};
    return Object.fromEntries(
      Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === "string"),
    );
  } catch {
    return {};
  }
}
