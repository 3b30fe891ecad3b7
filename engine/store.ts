import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { EngineError, messageOf } from "./errors";
import { checkDeploymentFile, type DeploymentFile } from "./state";

const PRIVATE_FILE = 0o600;
const PRIVATE_FOLDER = 0o700;

/** The files of one stack: `<stateDir>/<project>/<stack>.json`, its lock, and the folder's generated passphrase. */
export class StackFiles {
  readonly stateFile: string;
  readonly lockFile: string;
  readonly passphraseFile: string;

  constructor(stateDir: string, project: string, stack: string) {
    const folder = path.join(path.resolve(stateDir), project);
    this.stateFile = path.join(folder, `${stack}.json`);
    this.lockFile = path.join(folder, `${stack}.lock`);
    this.passphraseFile = path.join(path.resolve(stateDir), "passphrase");
  }

  /** Undefined where the stack was never deployed. */
  read(): DeploymentFile | undefined {
    let text: string;
    try {
      text = fs.readFileSync(this.stateFile, "utf8");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw new EngineError("ENGINE_STATE", `${this.stateFile} cannot be read: ${messageOf(error)}`, { cause: error });
    }
    let parsed: unknown;
    try {
      parsed = JSON.parse(text);
    } catch (cause) {
      throw new EngineError("ENGINE_STATE", `${this.stateFile} is not JSON: ${messageOf(cause)}`, { cause });
    }
    return checkDeploymentFile(parsed, this.stateFile);
  }

  /** Replaces the file in one step: after a crash it is the old one or the new one. */
  async write(file: DeploymentFile): Promise<void> {
    const temporary = `${this.stateFile}.${process.pid}.tmp`;
    try {
      fs.mkdirSync(path.dirname(this.stateFile), { recursive: true, mode: PRIVATE_FOLDER });
      const handle = await fs.promises.open(temporary, "w", PRIVATE_FILE);
      try {
        await handle.writeFile(`${JSON.stringify(file, null, 4)}\n`);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await fs.promises.rename(temporary, this.stateFile);
    } catch (cause) {
      await fs.promises.rm(temporary, { force: true });
      throw new EngineError("ENGINE_STATE", `${this.stateFile} cannot be written: ${messageOf(cause)}`, { cause });
    }
  }

  /** The passphrase of stacks for which none was set; made on first use. */
  generatedPassphrase(): string {
    try {
      fs.mkdirSync(path.dirname(this.passphraseFile), { recursive: true, mode: PRIVATE_FOLDER });
      // Written beside and linked into place: of two processes that start together, both read what one of them wrote.
      const temporary = `${this.passphraseFile}.${randomBytes(6).toString("hex")}`;
      if (!fs.existsSync(this.passphraseFile)) {
        fs.writeFileSync(temporary, `${randomBytes(24).toString("base64url")}\n`, { mode: PRIVATE_FILE, flag: "wx" });
        try {
          fs.linkSync(temporary, this.passphraseFile);
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
        } finally {
          fs.rmSync(temporary, { force: true });
        }
      }
      return fs.readFileSync(this.passphraseFile, "utf8").trim();
    } catch (cause) {
      throw new EngineError("ENGINE_STATE", `${this.passphraseFile} cannot be used: ${messageOf(cause)}`, { cause });
    }
  }

  /** @throws EngineError ENGINE_LOCKED while another live process holds it. */
  lock(): StackLock {
    return StackLock.take(this.lockFile);
  }
}

interface LockHolder {
  pid: number;
  /** Tells a process from a later one of the same pid; empty where the system does not say. */
  started: string;
}

/** When the process started, in clock ticks since boot (field 22 of /proc/PID/stat). */
function startOf(pid: number): string {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
  } catch {
    return "";
  }
}

function isAlive(holder: LockHolder): boolean {
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
  }
  const started = startOf(holder.pid);
  return started === "" || holder.started === "" || started === holder.started;
}

/** An abandoned take-over (its process died within microseconds) is forgotten after this time. */
const TAKEOVER_STALE_MS = 10_000;

/** A file that names the process that works on the stack. */
export class StackLock {
  readonly #file: string;
  readonly #content: string;

  private constructor(file: string, content: string) {
    this.#file = file;
    this.#content = content;
  }

  static take(file: string): StackLock {
    const self: LockHolder = { pid: process.pid, started: startOf(process.pid) };
    const content = JSON.stringify({ ...self, token: randomBytes(8).toString("hex") });
    try {
      fs.mkdirSync(path.dirname(file), { recursive: true, mode: PRIVATE_FOLDER });
      if (!StackLock.#create(file, content)) StackLock.#takeOver(file, content);
    } catch (cause) {
      if (EngineError.is(cause)) throw cause;
      throw new EngineError("ENGINE_STATE", `${file} cannot be written: ${messageOf(cause)}`, { cause });
    }
    return new StackLock(file, content);
  }

  static #create(file: string, content: string): boolean {
    const temporary = `${file}.${randomBytes(6).toString("hex")}`;
    fs.writeFileSync(temporary, content, { mode: PRIVATE_FILE });
    try {
      // A link appears with its content, so nobody ever reads a half-written lock.
      fs.linkSync(temporary, file);
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      return false;
    } finally {
      fs.rmSync(temporary, { force: true });
    }
  }

  /** One process at a time may judge and remove a dead one's lock, else two could both take it over. */
  static #takeOver(file: string, content: string): void {
    const guard = `${file}.takeover`;
    try {
      if (Date.now() - fs.statSync(guard).mtimeMs > TAKEOVER_STALE_MS) fs.rmdirSync(guard);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
    try {
      fs.mkdirSync(guard);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      throw new EngineError("ENGINE_LOCKED", `Another process is just taking over ${file}: try again.`);
    }
    try {
      const holder = readHolder(file);
      if (holder !== undefined && isAlive(holder)) {
        throw new EngineError(
          "ENGINE_LOCKED",
          `Process ${holder.pid} is working on this stack: wait until it ends (lock: ${file}).`,
        );
      }
      fs.rmSync(file, { force: true });
      if (!StackLock.#create(file, content)) {
        throw new EngineError("ENGINE_LOCKED", `Another process has just taken ${file}: try again.`);
      }
    } finally {
      fs.rmdirSync(guard);
    }
  }

  release(): void {
    try {
      if (fs.readFileSync(this.#file, "utf8") === this.#content) fs.rmSync(this.#file, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
  }
}

/** Undefined for a lock that is gone or unreadable, which only a damaged disk leaves behind. */
function readHolder(file: string): LockHolder | undefined {
  try {
    const { pid, started } = JSON.parse(fs.readFileSync(file, "utf8")) as Partial<LockHolder>;
    return typeof pid === "number" ? { pid, started: String(started ?? "") } : undefined;
  } catch {
    return undefined;
  }
}
