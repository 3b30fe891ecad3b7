/** Whether this machine can do link `tun`: found out by trying, and explained where it cannot. */
import { execFile } from "node:child_process";
import * as fs from "node:fs";
import { promisify } from "node:util";
import { WarrenError } from "../errors";
import { libc, O_RDWR } from "../native/libc";
import { isPrivileged } from "./privilege";
import { TOOLS, tool } from "./tools";

const run = promisify(execFile);

/** Settings that forbid user namespaces: file under /proc/sys, the value that forbids, and the remedy. */
const SETTINGS = [
  ["kernel/apparmor_restrict_unprivileged_userns", "1", "sysctl kernel.apparmor_restrict_unprivileged_userns=0"],
  ["kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"],
  ["user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=10000"],
  ["user/max_net_namespaces", "0", "sysctl user.max_net_namespaces=10000"],
  ["user/max_mnt_namespaces", "0", "sysctl user.max_mnt_namespaces=10000"],
] as const;

type ReadSetting = (name: string) => string | undefined;

const readSetting: ReadSetting = (name) => {
  try {
    return fs.readFileSync(`/proc/sys/${name}`, "utf8").trim();
  } catch {
    return undefined;
  }
};

/** The sentence for namespaces or a device that could not be made. @param detail what the failing program said. */
export function explainSetupFailure(detail: string, privileged: boolean, read: ReadSetting = readSetting): WarrenError {
  const remedies = SETTINGS.filter(([name, forbids]) => read(name) === forbids).map(([, , remedy]) => remedy);
  const why = detail.split("\n")[0];
  const remedy =
    remedies.length > 0
      ? `as root run "${remedies.join(" && ")}"`
      : privileged
        ? "in a container, allow CAP_SYS_ADMIN and CAP_NET_ADMIN, mount(2) and the device /dev/net/tun"
        : "run Warren as root, or allow unprivileged user namespaces (in a container, also by its seccomp profile)";
  return new WarrenError(
    "WARREN_LINK_UNAVAILABLE",
    `Apps cannot get a network namespace with a TUN device on this machine (${why}): ${remedy}.`,
  );
}

/**
 * Resolves where link `tun` works.
 * @throws WarrenError WARREN_LINK_UNAVAILABLE saying what is missing and what to do.
 */
export async function checkTunLink(): Promise<void> {
  const c = libc();
  for (const name of TOOLS) tool(name);
  try {
    c.close(c.open("/dev/net/tun", O_RDWR));
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const remedy =
      code === "ENOENT"
        ? 'as root run "modprobe tun", or start the container with --device /dev/net/tun'
        : code === "EACCES" || code === "EPERM"
          ? 'as root run "chmod 0666 /dev/net/tun", or run Warren as root'
          : 'as root run "modprobe tun"';
    throw new WarrenError("WARREN_LINK_UNAVAILABLE", `The device /dev/net/tun cannot be opened (${code}): ${remedy}.`, {
      cause,
    });
  }
  const privileged = isPrivileged();
  const user = privileged ? [] : ["--user", "--map-current-user", "--keep-caps"];
  try {
    await run(tool("unshare"), ["--net", "--mount", ...user, tool("env"), "true"], { timeout: 10_000, env: {} });
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string };
    throw explainSetupFailure(stderr?.trim() || message, privileged);
  }
}
