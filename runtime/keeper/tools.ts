/** The programs of the system that the keeper runs, by absolute path: an app's PATH must not choose them. */
import * as fs from "node:fs";
import * as path from "node:path";
import { WarrenError } from "../errors";

/** Program → the Debian package that has it. */
const PACKAGES = { unshare: "util-linux", nsenter: "util-linux", setpriv: "util-linux", env: "coreutils" } as const;
export type Tool = keyof typeof PACKAGES;

const DIRECTORIES = ["/usr/bin", "/bin", "/usr/sbin", "/sbin", "/usr/local/bin"];
const found = new Map<Tool, string>();

/** @throws WarrenError WARREN_LINK_UNAVAILABLE naming the package. */
export function tool(name: Tool): string {
  const known = found.get(name);
  if (known) return known;
  for (const directory of [...DIRECTORIES, ...(process.env.PATH ?? "").split(":").filter((d) => path.isAbsolute(d))]) {
    const file = path.join(directory, name);
    try {
      fs.accessSync(file, fs.constants.X_OK);
      found.set(name, file);
      return file;
    } catch {
      // Not in this folder.
    }
  }
  throw new WarrenError(
    "WARREN_LINK_UNAVAILABLE",
    `The program ${name} is missing: install the package ${PACKAGES[name]}.`,
  );
}

/** As `tool`; undefined where the machine has none. */
export function toolIfAny(name: Tool): string | undefined {
  try {
    return tool(name);
  } catch {
    return undefined;
  }
}

export const TOOLS = Object.keys(PACKAGES) as readonly Tool[];
