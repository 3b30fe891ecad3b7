/** The host's resolvers, from /etc/resolv.conf, read again when that changes. */
import * as fs from "node:fs";
import { isIP } from "node:net";

/** resolv.conf(5): more are ignored. */
const MAX_SERVERS = 3;
/** Milliseconds between two looks at the file. */
const LOOK_INTERVAL = 1000;

export function parseResolvConf(text: string): string[] {
  const servers: string[] = [];
  for (const line of text.split("\n")) {
    const match = /^\s*nameserver\s+(\S+)/.exec(line);
    if (match !== null && isIP(match[1].split("%")[0]) !== 0) servers.push(match[1]);
  }
  return servers.slice(0, MAX_SERVERS);
}

export class ResolvConf {
  private servers: readonly string[] = [];
  private version = "";
  private lookedAt = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly file = "/etc/resolv.conf",
    private readonly now: () => number = () => performance.now(),
  ) {}

  /** Numeric addresses; none where the file is missing or names none. */
  current(): readonly string[] {
    if (this.now() - this.lookedAt < LOOK_INTERVAL) return this.servers;
    this.lookedAt = this.now();
    try {
      const stat = fs.statSync(this.file);
      const version = `${stat.ino} ${stat.mtimeMs} ${stat.size}`;
      if (version !== this.version) {
        this.servers = parseResolvConf(fs.readFileSync(this.file, "utf8"));
        this.version = version;
      }
    } catch {
      // A file that is being replaced, or a machine without resolvers: nothing to ask.
      this.servers = [];
      this.version = "";
    }
    return this.servers;
  }
}
