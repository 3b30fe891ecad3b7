/**
 * The program that the keeper runs inside new namespaces (through unshare). It makes there what can only be made from inside: the TUN
 * device, the mounts, and sockets of that network namespace. It hands all of it and the namespaces themselves over as descriptors
 * (see DESCRIPTORS in `setup-protocol.ts`) on descriptor 3, and ends. The keeper does the rest from outside.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import * as native from "../native/libc";
import { ADDRESSES_V6, DESCRIPTORS, type SetupAnswer, type SetupOrder } from "./setup-protocol";

/** Folders of the sockets through which a program would ask the host's resolver; resolved answers on the system bus too. */
const HOST_RESOLVERS = [
  ...["/run/nscd", "/var/run/nscd", "/run/systemd/resolve", "/run/avahi-daemon", "/run/dbus", "/var/run/dbus"],
];
const ANY_GROUP = "0 2147483647";

const c = native.libc();

function writeSysctl(name: string, ...values: string[]): void {
  for (const value of values)
    try {
      fs.writeFileSync(`/proc/sys/net/${name}`, value);
      return;
    } catch {
      // Read-only /proc/sys, or no such setting on this kernel: comforts, not needs. The next value may be allowed.
    }
}

function mountTmpfs(source: string, target: string): void {
  c.mount(source, target, "tmpfs", native.MS_NOSUID | native.MS_NODEV, "mode=755,size=1m");
}

/** Empty folders over those of the host's resolvers. @returns the folders that are hidden, resolved. */
function hideResolvers(mark: string): string[] {
  const hidden: string[] = [];
  for (const folder of HOST_RESOLVERS) {
    let real: string;
    try {
      real = fs.realpathSync(folder);
    } catch {
      continue;
    }
    if (hidden.includes(real)) continue;
    mountTmpfs(mark, real);
    hidden.push(real);
  }
  return hidden;
}

/** Where a symbolic link leads, also when nothing is there; undefined where a folder on the way is missing. */
function linkTarget(file: string): string | undefined {
  let at = file;
  for (let hops = 0; hops < 40; hops++) {
    let folder: string;
    try {
      folder = fs.realpathSync(path.dirname(at));
    } catch {
      return undefined;
    }
    at = path.join(folder, path.basename(at));
    try {
      at = path.resolve(folder, fs.readlinkSync(at));
    } catch {
      return at;
    }
  }
  return undefined;
}

/** /etc as a folder of our own, in which all but `own` leads to the host's: for a host where a file to cover is missing. */
function replaceEtc(staging: string, own: readonly string[]): void {
  const etc = path.join(staging, "etc");
  const behind = path.join(etc, ".host");
  fs.mkdirSync(behind, { recursive: true });
  for (const name of fs.readdirSync("/etc")) {
    if (own.includes(name)) continue;
    let target = `.host/${name}`;
    try {
      // A relative link keeps its text: it is resolved from /etc, not from .host.
      target = fs.readlinkSync(path.join("/etc", name));
    } catch {
      // No link: leads to the host's entry.
    }
    fs.symlinkSync(target, path.join(etc, name));
  }
  for (const name of own) fs.symlinkSync(`.warren/${name}`, path.join(etc, name));
  fs.mkdirSync(path.join(etc, ".warren"));
  c.mount("/etc", behind, null, native.MS_BIND | native.MS_REC, null);
  c.mount(path.join(staging, "files"), path.join(etc, ".warren"), null, native.MS_BIND, null);
  c.mount(etc, "/etc", null, native.MS_BIND | native.MS_REC, null);
}

/** Puts the sandbox's own name-service files in place. @returns a descriptor of the folder that holds them. */
function mountEtc(order: SetupOrder): number {
  const hidden = hideResolvers(order.mark);
  const staging = ["/tmp", "/run", "/mnt", "/var"].find((folder) => fs.existsSync(folder));
  if (staging === undefined) throw new Error("there is no /tmp, /run, /mnt or /var to mount on");
  mountTmpfs(order.mark, staging);
  const files = path.join(staging, "files");
  fs.mkdirSync(files);
  for (const [name, text] of Object.entries(order.files)) fs.writeFileSync(path.join(files, name), text);
  const folder = c.open(files, native.O_PATH);
  const pending: string[] = [];
  for (const name of Object.keys(order.files)) {
    const target = linkTarget(path.join("/etc", name));
    if (target !== undefined && !fs.existsSync(target) && hidden.includes(path.dirname(target)))
      fs.writeFileSync(target, "");
    // A target under the staging folder is covered by it just now.
    if (target === undefined || !fs.existsSync(target) || target.startsWith(`${staging}/`)) pending.push(name);
    else c.mount(path.join(files, name), target, null, native.MS_BIND, null);
  }
  // A missing nsswitch.conf means files and dns to every C library.
  if (pending.some((name) => name !== "nsswitch.conf")) replaceEtc(staging, pending);
  c.umount(staging, native.MNT_DETACH);
  return folder;
}

/**
 * Keys, other apps' logs and secrets, and the sockets through which more apps are started: an app of the same account as the keeper could
 * open them all. Delivered sources, and what is none of the keeper's, stay. Folders as a whole, since a file that is covered alone shows
 * again when it is replaced.
 */
function hidePrivate({ mark, privateFolders, privateNames, readOnlyNames }: SetupOrder): void {
  for (const folder of privateFolders) {
    const real = fs.realpathSync(folder);
    if (real === "/") continue;
    const shown = fs
      .readdirSync(real, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && !privateNames.includes(entry.name))
      .map(({ name }) => ({ name, descriptor: c.open(path.join(real, name), native.O_PATH) }));
    mountTmpfs(mark, real);
    for (const { name, descriptor } of shown) {
      const target = path.join(real, name);
      fs.mkdirSync(target);
      c.mount(`/proc/self/fd/${descriptor}`, target, null, native.MS_BIND | native.MS_REC, null);
      c.close(descriptor);
      if (readOnlyNames.includes(name)) makeReadOnly(target);
    }
    makeReadOnly(real);
  }
}

/** Flags that a mount brings from outside may not be taken from it in a user namespace. */
function makeReadOnly(target: string): void {
  const flags = native.MS_REMOUNT | native.MS_BIND | native.MS_RDONLY | native.MS_NOSUID | native.MS_NODEV;
  try {
    c.mount("none", target, null, flags, null);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EPERM") throw error;
    c.mount("none", target, null, flags | native.MS_NOEXEC, null);
  }
}

function main(): void {
  const order = JSON.parse(fs.readFileSync(0, "utf8")) as SetupOrder;
  const hasV6 = fs.existsSync("/proc/sys/net/ipv6");
  if (hasV6) for (const scope of ["all", "default"]) writeSysctl(`ipv6/conf/${scope}/disable_ipv6`, "0");
  // Everyone in the namespace may ping and listen on any port: it is its own machine. A user namespace maps only this group.
  const group = process.getegid!();
  writeSysctl("ipv4/ping_group_range", ANY_GROUP, `${group} ${group}`);
  writeSysctl("ipv4/ip_unprivileged_port_start", "0");
  const probe4 = c.socket(native.AF_INET, native.SOCK_STREAM, 0, true);
  // Without IPv6 a second IPv4 socket takes the place, so that the positions stay.
  const probe6 = c.socket(hasV6 ? native.AF_INET6 : native.AF_INET, native.SOCK_STREAM, 0, true);
  const netlink = c.socket(native.AF_NETLINK, native.SOCK_RAW, native.NETLINK_ROUTE);
  const tun = c.openTun(order.device, order.vnetHeader);
  const answer: SetupAnswer = { index: c.interfaceIndex(probe4, order.device), flags: hasV6 ? ADDRESSES_V6 : 0 };
  const etc = mountEtc(order);
  hidePrivate(order);
  const space = (name: string) => c.open(`/proc/self/ns/${name}`, native.O_RDONLY);
  const all = { tun, probe4, probe6, netlink, etc, net: space("net"), mnt: space("mnt"), user: space("user") };
  c.sendDescriptors(
    3,
    Buffer.from(JSON.stringify(answer)),
    DESCRIPTORS.map((name) => all[name]),
  );
}

try {
  main();
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
}
