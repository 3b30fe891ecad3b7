/** Which registry this is: see docs/decisions/0002-registry-id.md. */
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as os from "node:os";

/** `reg_` and 16 hexadecimal digits. @param dir the state folder, which must exist */
export function deriveRegistryId(dir: string): string {
  const parts = [machineId(), os.hostname(), String(process.getuid?.() ?? 0), fs.realpathSync(dir)];
  return `reg_${createHash("sha256").update(parts.join("\0")).digest("hex").slice(0, 16)}`;
}

/** Empty where the machine has none (some containers): hostname, user and folder tell them apart then. */
function machineId(): string {
  for (const file of ["/etc/machine-id", "/var/lib/dbus/machine-id"]) {
    try {
      return fs.readFileSync(file, "utf8").trim();
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code !== "ENOENT" && code !== "EACCES") throw error;
    }
  }
  return "";
}
