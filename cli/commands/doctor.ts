/** `warren doctor`: looks at the whole machine and says what is missing, and what to do. Changes nothing. */
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import type { Status } from "../../runtime/control/interface/types";
import { selectAead } from "../../runtime/dataplane/select-aead";
import { parseResolvConf } from "../../runtime/dns/resolv-conf";
import { home } from "../../runtime/home";
import { checkTunLink } from "../../runtime/keeper/capabilities";
import { loadKernels } from "../../runtime/native/kernels";
import { NativeMemory } from "../../runtime/native/native-memory";
import { VERSION } from "../../runtime/version";
import { type Context, control, print, printJson } from "../context";
import * as check from "../doctor";

/** 64 KiB pages for a trial of the ciphers. */
const TRIAL_PAGES = 16;

/** Sets a non-zero exit where something is broken. */
export async function doctor({ json }: Context): Promise<void> {
  const folder = folderFacts(home().dir);
  const status = await currentStatus();
  const findings: check.Finding[] = [
    check.node(process.version),
    nativeCalls(),
    check.link(await reasonOf(checkTunLink)),
    check.folder(folder),
    check.clock(Date.now(), folder.newest),
    check.resolvers(parseResolvConf(readIfAny("/etc/resolv.conf"))),
    ...("failure" in status ? [{ check: "daemon", is: "broken" as const, detail: status.failure }] : []),
    ...("failure" in status ? [] : checksOf(status.status)),
  ];
  const sick = findings.some(({ is }) => is === "broken");
  if (json) printJson({ ok: !sick, findings });
  else for (const { check, is, detail } of findings) print(`${is.padEnd(6)}  ${check.padEnd(12)}  ${detail}`);
  if (sick) process.exitCode = 1;
}

function checksOf(status: Status | undefined): check.Finding[] {
  return [
    ...check.registry(status, VERSION),
    ...check.endpoints(status, boundUdpPorts(), ownAddresses()),
    ...check.mtu(status, deviceSizes()),
  ];
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

/** From proc(5): local ports stand in hexadecimal behind the second column's colon. */
function boundUdpPorts(): Set<number> {
  const lines = ["/proc/net/udp", "/proc/net/udp6"].flatMap((file) => readIfAny(file).split("\n").slice(1));
  return new Set(lines.map((line) => Number.parseInt(line.trim().split(/\s+/)[1]?.split(":")[1] ?? "", 16)));
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
