/** `warren doctor`: looks at the whole machine and says what is missing, and what to do. Changes nothing. */
import * as dns from "node:dns/promises";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { Status } from "../../runtime/control/interface/types";
import { selectAead } from "../../runtime/dataplane/select-aead";
import { parseResolvConf } from "../../runtime/dns/resolv-conf";
import { home } from "../../runtime/home";
import { checkTunLink } from "../../runtime/keeper/capabilities";
import { clockIsKept } from "../../runtime/native/clock";
import { loadKernels } from "../../runtime/native/kernels";
import { NativeMemory } from "../../runtime/native/native-memory";
import { socketsOf } from "../../runtime/userspace/listeners";
import { VERSION } from "../../runtime/version";
import { type Context, control, print, printJson } from "../context";
import * as check from "../doctor";

/** 64 KiB pages for a trial of the ciphers. */
const TRIAL_PAGES = 16;
/** Milliseconds. */
const LOOK_UP_TIMEOUT = 3000;

/** Sets a non-zero exit where something is broken. */
export async function doctor({ json }: Context): Promise<void> {
  const folder = folderFacts(home().dir);
  const status = await currentStatus();
  const findings: check.Finding[] = [
    check.node(process.version),
    nativeCalls(),
    check.link(await reasonOf(checkTunLink)),
    check.folder(folder),
    check.clock(Date.now(), folder.newest, clockIsKept()),
    check.resolvers(parseResolvConf(readIfAny("/etc/resolv.conf"))),
    ...("failure" in status ? [{ check: "daemon", is: "broken" as const, detail: status.failure }] : []),
    ...("failure" in status ? [] : await checksOf(status.status)),
  ];
  const sick = findings.some(({ is }) => is === "broken");
  if (json) printJson({ ok: !sick, findings });
  else for (const { check, is, detail } of findings) print(`${is.padEnd(6)}  ${check.padEnd(12)}  ${detail}`);
  if (sick) process.exitCode = 1;
}

async function checksOf(status: Status | undefined): Promise<check.Finding[]> {
  const facts = {
    holders: portHolders(status?.pid),
    own: ownAddresses(),
    resolved: await addressesOf(check.endpointNames(status)),
  };
  return [...check.registry(status, VERSION), ...check.endpoints(status, facts), ...check.mtu(status, deviceSizes())];
}

async function currentStatus(): Promise<{ status: Status | undefined } | { failure: string }> {
  try {
    const client = await control();
    try {
      return { status: await client?.status() };
    } finally {
      await client?.close();
    }
  } catch (error) {
    return { failure: (error as Error).message };
  }
}

function nativeCalls(): check.Finding {
  let memory: NativeMemory | undefined;
  let why: string | undefined;
  try {
    memory = new NativeMemory(TRIAL_PAGES);
  } catch (error) {
    why = (error as Error).message;
  }
  const { name } = selectAead(process.env.WARREN_AEAD, memory, memory && loadKernels(memory));
  return check.native(why, name);
}

async function reasonOf(attempt: () => Promise<void>): Promise<string | undefined> {
  try {
    await attempt();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

function folderFacts(dir: string): check.FolderFacts {
  try {
    const { bavail, bsize } = fs.statfsSync(dir);
    const files = fs.readdirSync(dir).map((name) => fs.lstatSync(path.join(dir, name)).mtimeMs);
    return {
      dir,
      exists: true,
      writable: isWritable(dir),
      free: bavail * bsize,
      newest: Math.max(0, ...files),
    };
  } catch (error) {
    const exists = (error as NodeJS.ErrnoException).code !== "ENOENT";
    return { dir, exists, writable: false, free: 0, newest: 0 };
  }
}

function isWritable(dir: string): boolean {
  try {
    fs.accessSync(dir, fs.constants.W_OK | fs.constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function readIfAny(file: string): string {
  try {
    return fs.readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

/** Of the UDP ports in the daemon's network namespace. From proc(5): hexadecimal ports behind a colon, and the inode of each socket. */
function portHolders(daemon: number | undefined): Map<number, check.PortHolder> {
  // A daemon has sockets: where none can be seen it is not there, or not for our eyes.
  const its = socketsOf(daemon === undefined ? [] : [daemon]);
  const holders = new Map<number, check.PortHolder>();
  for (const file of ["udp", "udp6"])
    for (const line of readIfAny(`/proc/${daemon ?? "self"}/net/${file}`)
      .split("\n")
      .slice(1)) {
      const columns = line.trim().split(/\s+/);
      const port = Number.parseInt(columns[1]?.split(":")[1] ?? "", 16);
      if (Number.isNaN(port) || holders.get(port) === "daemon") continue;
      holders.set(port, its.size === 0 ? "hidden" : its.has(columns[9]!) ? "daemon" : "other");
    }
  return holders;
}

/** Of host names; none where there are none within some seconds. */
async function addressesOf(names: readonly string[]): Promise<Map<string, readonly string[]>> {
  const look = async (name: string): Promise<readonly string[]> => {
    const late = pause(LOOK_UP_TIMEOUT, [], { ref: false });
    const found = dns.lookup(name, { all: true }).then((all) => all.map(({ address }) => address));
    return Promise.race([found, late]).catch(() => []);
  };
  return new Map(await Promise.all(names.map(async (name) => [name, await look(name)] as const)));
}

function ownAddresses(): Set<string> {
  return new Set(
    Object.values(os.networkInterfaces())
      .flatMap((list) => list ?? [])
      .map(({ address }) => address),
  );
}

function deviceSizes(): Map<string, number> {
  const up = Object.entries(os.networkInterfaces()).filter(([, list]) => list?.some(({ internal }) => !internal));
  return new Map(
    up.flatMap(([name]) => {
      const size = Number(readIfAny(`/sys/class/net/${name}/mtu`));
      return size > 0 ? [[name, size] as const] : [];
    }),
  );
}
