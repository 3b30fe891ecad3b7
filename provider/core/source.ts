/** A source folder as one file: the same folder gives the same bytes, on every machine and at any time. */
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { pipeline } from "node:stream/promises";
import * as tar from "tar";
import { WarrenError } from "../../runtime/errors";

/** Never part of a program, and different on every machine. */
const LEFT_OUT = new Set([".git", ".hg", ".svn"]);

export interface PackedSource {
  readonly file: string;
  /** sha256 of the file, in hex: the name under which control keeps it. */
  readonly hash: string;
  remove(): Promise<void>;
}

/**
 * Packs a folder into a temporary file: entries in the order of their names, without times, owners, and modes beyond
 * executable or not.
 * @throws WarrenError WARREN_INVALID_INPUT when it is no folder that can be read.
 */
export async function packSource(folder: string): Promise<PackedSource> {
  const entries = await list(folder);
  const dir = await fs.promises.mkdtemp(path.join(os.tmpdir(), "warren-source-"));
  const remove = () => fs.promises.rm(dir, { recursive: true, force: true });
  try {
    const file = path.join(dir, "source.tar.gz");
    const pack = tar.create(
      {
        cwd: folder,
        // Level 0 stores: zlib's output at other levels may change with the version of Node, and with it the hash.
        gzip: { level: 0 },
        portable: true,
        noMtime: true,
        noDirRecurse: true,
        follow: false,
        onWriteEntry: (entry) => {
          // portable fixes owner and gzip's header; of the mode only "may be run" says something about the program.
          if (entry.stat)
            entry.stat.mode =
              (entry.stat.mode & ~0o777) | (entry.stat.isDirectory() || entry.stat.mode & 0o100 ? 0o755 : 0o644);
        },
      },
      entries,
    );
    await pipeline(pack, fs.createWriteStream(file));
    const hash = createHash("sha256");
    await pipeline(fs.createReadStream(file), hash);
    return { file, hash: hash.digest("hex"), remove };
  } catch (error) {
    await remove();
    throw refuse(folder, error);
  }
}

export async function sourceHash(folder: string): Promise<string> {
  const packed = await packSource(folder);
  await packed.remove();
  return packed.hash;
}

/** Relative paths of all that is in the folder, folders before what is in them; links as links. */
async function list(folder: string): Promise<string[]> {
  const out: string[] = [];
  const walk = async (relative: string) => {
    const entries = await fs.promises.readdir(path.join(folder, relative), { withFileTypes: true });
    entries.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
    for (const entry of entries) {
      if (LEFT_OUT.has(entry.name)) continue;
      const name = path.posix.join(relative, entry.name);
      if (entry.isDirectory()) {
        out.push(`./${name}`);
        await walk(name);
      } else if (entry.isFile() || entry.isSymbolicLink()) out.push(`./${name}`);
    }
  };
  try {
    await walk("");
  } catch (error) {
    throw refuse(folder, error);
  }
  // An archive must hold something.
  return out.length > 0 ? out : ["."];
}

function refuse(folder: string, cause: unknown): WarrenError {
  if (WarrenError.is(cause)) return cause;
  return new WarrenError(
    "WARREN_INVALID_INPUT",
    `The source folder ${folder} cannot be read (${(cause as Error).message}): name a folder, relative to the program's.`,
    { path: "source", cause },
  );
}
