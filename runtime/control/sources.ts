/** Delivered source folders: gzipped tars, known by the sha256 of their bytes, unpacked into `sources/HASH`. */
import { createHash, randomBytes } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import type { Readable } from "node:stream";
import * as tar from "tar";
import { WarrenError } from "../errors";

/** Bytes of an upload, and of what it unpacks to: far beyond any program, and it keeps a mistake from filling the disk. */
const UPLOAD_LIMIT = 1024 ** 3;
const UNPACKED_LIMIT = 4 * 1024 ** 3;

/** Milliseconds that a source is kept after it was delivered or asked for: the member that refers to it is declared next. */
const GRACE = 10 * 60_000;

const HASH = /^[0-9a-f]{64}$/;
const TEMPORARY = ".incoming-";

/** The name of a source: its packer writes equal bytes for equal folders. */
export function sourceHash(packed: Uint8Array): string {
  return createHash("sha256").update(packed).digest("hex");
}

export class Sources {
  constructor(
    private readonly dir: string,
    private readonly now: () => number = Date.now,
  ) {
    fs.mkdirSync(dir, { recursive: true, mode: 0o711 });
    // What a daemon left behind that was killed in the middle.
    for (const name of fs.readdirSync(dir)) if (name.startsWith(TEMPORARY)) this.remove(name);
  }

  has(hash: string): boolean {
    return HASH.test(hash) && fs.existsSync(path.join(this.dir, hash));
  }

  /** @throws WarrenError WARREN_NOT_FOUND */
  need(hash: string): void {
    if (!this.has(hash))
      throw new WarrenError("WARREN_NOT_FOUND", `Source ${hash} is not here: deliver it first.`, {
        path: "sourceHash",
      });
    this.touch(hash);
  }

  /**
   * Takes an upload; one that is here already is only read to its end.
   * @throws WarrenError WARREN_INVALID_INPUT where the bytes have another hash or are no safe archive, WARREN_STORAGE
   */
  async put(hash: string, upload: Readable): Promise<void> {
    if (!HASH.test(hash))
      throw new WarrenError("WARREN_INVALID_INPUT", `"${hash}" is not a sha256 in hexadecimal.`, { path: "hash" });
    if (this.has(hash)) {
      this.touch(hash);
      // To its end: whoever is still sending when the answer comes sees a broken connection, not the answer.
      for await (const _ of upload);
      return;
    }
    const name = TEMPORARY + randomBytes(6).toString("hex");
    const temporary = path.join(this.dir, name);
    const unpacked = path.join(temporary, "unpacked");
    try {
      fs.mkdirSync(unpacked, { recursive: true, mode: 0o755 });
      const archive = path.join(temporary, "archive.tgz");
      const actual = await store(upload, archive);
      if (actual !== hash)
        throw new WarrenError("WARREN_INVALID_INPUT", `The delivered source has sha256 ${actual}, not ${hash}.`, {
          path: "hash",
        });
      await inspect(archive);
      await tar.extract({ file: archive, cwd: unpacked, strict: true, preserveOwner: false });
      openToReaders(unpacked);
      try {
        fs.renameSync(unpacked, path.join(this.dir, hash));
        this.touch(hash);
      } catch (error) {
        // Another delivery of the same folder was first.
        if (!this.has(hash)) throw error;
      }
    } catch (error) {
      throw deliveryError(error);
    } finally {
      this.remove(name);
    }
  }

  /** Removes what no member refers to, nor is about to. */
  keepOnly(used: ReadonlySet<string>): void {
    for (const name of fs.readdirSync(this.dir)) {
      if (!HASH.test(name) || used.has(name)) continue;
      if (fs.statSync(path.join(this.dir, name)).mtimeMs <= this.now() - GRACE) this.remove(name);
    }
  }

  private touch(hash: string): void {
    const at = this.now() / 1000;
    fs.utimesSync(path.join(this.dir, hash), at, at);
  }

  private remove(name: string): void {
    fs.rmSync(path.join(this.dir, name), { recursive: true, force: true });
  }
}

/** @returns the sha256 of the bytes */
async function store(upload: Readable, file: string): Promise<string> {
  const hash = createHash("sha256");
  let length = 0;
  const handle = await fs.promises.open(file, "wx", 0o600);
  try {
    for await (const chunk of upload) {
      length += chunk.length;
      if (length > UPLOAD_LIMIT)
        throw new WarrenError("WARREN_INVALID_INPUT", `The source is larger than ${UPLOAD_LIMIT} bytes packed.`, {
          path: "source",
        });
      hash.update(chunk);
      await handle.writeFile(chunk);
    }
  } finally {
    await handle.close();
  }
  return hash.digest("hex");
}

/** Nothing may be written or lead outside: no absolute paths, no `..`, no links out, no devices. */
async function inspect(archive: string): Promise<void> {
  let fault: string | undefined;
  let total = 0;
  await tar.list({
    file: archive,
    strict: true,
    onReadEntry: (entry) => {
      total += entry.size;
      fault ??= faultOf(entry.path, entry.type, entry.linkpath);
    },
  });
  if (total > UNPACKED_LIMIT) fault = `it unpacks to more than ${UNPACKED_LIMIT} bytes`;
  if (fault !== undefined)
    throw new WarrenError("WARREN_INVALID_INPUT", `The source cannot be unpacked: ${fault}.`, { path: "source" });
}

function faultOf(name: string, type: string, target: string | undefined): string | undefined {
  if (leaves(name)) return `${name} lies outside the folder`;
  if (type === "File" || type === "OldFile" || type === "ContiguousFile" || type === "Directory") return undefined;
  if (type !== "SymbolicLink") return `${name} is a ${type}: only files, folders and symbolic links are delivered`;
  if (target === undefined || target.startsWith("/") || leaves(path.posix.join(path.posix.dirname(name), target)))
    return `${name} links to ${target}, outside the folder`;
  if (climbsBehindName(target)) return `${name} links to ${target}, with ".." behind a name`;
  return undefined;
}

/** Behind a name that is a link itself, ".." is not what the text says: where `a/up` leads to "..", `a/up/..` lies outside. */
function climbsBehindName(target: string): boolean {
  const parts = target.split("/").filter((part) => part !== "" && part !== ".");
  return parts.lastIndexOf("..") > parts.findIndex((part) => part !== "..") && parts.some((part) => part !== "..");
}

function leaves(name: string): boolean {
  const normal = path.posix.normalize(name);
  return normal.startsWith("/") || normal === ".." || normal.startsWith("../");
}

/** Apps may run as another account: everything readable, folders and programs open, no set-user-id. */
function openToReaders(dir: string): void {
  fs.chmodSync(dir, 0o755);
  for (const entry of fs.readdirSync(dir, { withFileTypes: true })) {
    const full = path.join(dir, entry.name);
    if (entry.isDirectory()) openToReaders(full);
    else if (entry.isFile()) {
      const program = (fs.statSync(full).mode & 0o111) !== 0;
      fs.chmodSync(full, program ? 0o755 : 0o644);
    }
  }
}

function deliveryError(error: unknown): unknown {
  if (WarrenError.is(error)) return error;
  const code = (error as { code?: string }).code ?? "";
  if (code === "ENOSPC" || code === "EDQUOT")
    return new WarrenError(
      "WARREN_STORAGE",
      "The source cannot be stored: the disk is full. Free some space and run again.",
      {
        cause: error,
      },
    );
  if (code.startsWith("TAR_") || code.startsWith("Z_"))
    return new WarrenError("WARREN_INVALID_INPUT", `The source is not a gzipped tar (${(error as Error).message}).`, {
      path: "source",
      cause: error,
    });
  return error;
}
