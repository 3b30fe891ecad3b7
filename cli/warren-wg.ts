#!/usr/bin/env node
/**
 * The program `warren-wg`: a stand-alone WireGuard interface in user space, used as wireguard-go is. Without `-f` it starts itself once
 * more in the background and ends when that interface is there, or tells why it is not.
 */
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import { WarrenError } from "../runtime/errors";
import { closeInherited } from "../runtime/native/inherited";
import type { InterfaceSettings } from "../runtime/uapi/run-interface";
import { VERSION } from "../runtime/version";

const USAGE = "Usage: warren-wg [-f | --foreground] INTERFACE";
const HELP = `${USAGE}

A WireGuard interface in user space, to be set up with wg(8) or wg-quick(8); WG_QUICK_USERSPACE_IMPLEMENTATION=warren-wg makes
wg-quick use it. It ends when the interface is deleted (ip link delete INTERFACE), when its socket
/var/run/wireguard/INTERFACE.sock is removed, or at SIGTERM.

  -f, --foreground   stay in the foreground
  --version          print the version
  --help             print this

Environment: LOG_LEVEL (verbose, error or silent), WG_PROCESS_FOREGROUND=1 as -f, WG_TUN_FD and WG_UAPI_FD (descriptors of an
open TUN device and of a listening socket).
`;
/** The descriptor on which the process in the background tells how its start went. */
const READY_FD = 3;
const READY_VARIABLE = "WARREN_WG_READY_FD";

interface Arguments {
  readonly foreground: boolean;
  readonly name: string;
}

function parseArguments(words: readonly string[]): Arguments | "help" | "version" {
  if (words.includes("--help") || words.includes("-h")) return "help";
  if (words.includes("--version")) return "version";
  const names = words.filter((word) => word !== "-f" && word !== "--foreground");
  const option = names.find((word) => word.startsWith("-"));
  if (option !== undefined) throw invalid(`There is no option ${option}. ${USAGE}`);
  if (names.length !== 1) throw invalid(USAGE);
  const name = names[0] as string;
  // What the kernel takes (dev_valid_name), less what no path can have.
  if (!/^[^\s/:\0]+$/.test(name) || name === "." || name === "..")
    throw invalid(
      `${JSON.stringify(name)} is no interface name: use letters, digits and _ = + . - (wg0, for example).`,
    );
  if (Buffer.byteLength(name) > 15) throw invalid(`${name} is too long for an interface name: at most 15 characters.`);
  const foreground = names.length < words.length || process.env.WG_PROCESS_FOREGROUND === "1";
  return { foreground, name };
}

function invalid(message: string): WarrenError {
  return new WarrenError("WARREN_INVALID_INPUT", message);
}

function descriptor(variable: string): number | undefined {
  const text = process.env[variable];
  if (text === undefined || text === "") return undefined;
  if (/^\d{1,6}$/.test(text)) return Number(text);
  throw invalid(`${variable}=${text} is no descriptor number.`);
}

/** Starts this program again, apart from this one. Resolves when it is ready. */
function daemonize(name: string): Promise<void> {
  const { LOG_LEVEL: level } = process.env;
  // As wireguard-go does: whoever asks for a log gets it here, else nothing keeps the caller's pipes open.
  const output = level === undefined || level === "" || level === "silent" ? "ignore" : "inherit";
  const handed = (["WG_TUN_FD", "WG_UAPI_FD"] as const).flatMap((variable) => {
    const fd = descriptor(variable);
    return fd === undefined ? [] : [{ variable, fd }];
  });
  closeInherited(handed.map(({ fd }) => fd));
  const env: NodeJS.ProcessEnv = { ...process.env, [READY_VARIABLE]: String(READY_FD) };
  for (const [i, { variable }] of handed.entries()) env[variable] = String(READY_FD + 1 + i);
  const child = spawn(process.execPath, [...process.execArgv, fs.realpathSync(process.argv[1] as string), "-f", name], {
    detached: true,
    cwd: "/",
    env,
    stdio: ["ignore", output, output, "pipe", ...handed.map(({ fd }) => fd)],
  });
  return new Promise((resolve, reject) => {
    const pipe = child.stdio[READY_FD] as NodeJS.ReadableStream;
    let said = "";
    pipe.on("data", (text: Buffer) => {
      said += text.toString();
    });
    pipe.on("end", () => {
      if (said === "ready") {
        child.unref();
        resolve();
        return;
      }
      const failed = invalid(said || `The interface ${name} did not start; warren-wg -f ${name} shows more.`);
      // What it had made is gone when it is.
      if (child.exitCode !== null || child.signalCode !== null) reject(failed);
      else child.once("exit", () => reject(failed));
    });
    child.once("error", reject);
  });
}

/** Tells the process that waits in the foreground how the start went; undefined: nobody waits. */
function starter(): ((text: string) => void) | undefined {
  const fd = descriptor(READY_VARIABLE);
  if (fd === undefined) return undefined;
  delete process.env[READY_VARIABLE];
  return (text) => {
    try {
      fs.writeSync(fd, text);
      fs.closeSync(fd);
    } catch {
      // It did not wait.
    }
  };
}

async function main(): Promise<void> {
  const parsed = parseArguments(process.argv.slice(2));
  if (parsed === "help") process.stdout.write(HELP);
  else if (parsed === "version") process.stdout.write(`warren-wg ${VERSION}\n`);
  else if (!parsed.foreground) await daemonize(parsed.name);
  else {
    const tell = starter();
    const settings: InterfaceSettings = {
      name: parsed.name,
      logLevel: process.env.LOG_LEVEL,
      tunFd: descriptor("WG_TUN_FD"),
      uapiFd: descriptor("WG_UAPI_FD"),
    };
    try {
      const { runInterface } = await import("../runtime/uapi/run-interface.js");
      await runInterface(settings);
      tell?.("ready");
    } catch (error) {
      tell?.((error as Error).message);
      throw error;
    }
  }
}

main().catch((error: Error) => {
  process.stderr.write(`warren-wg: ${WarrenError.is(error) ? error.message : (error.stack ?? error.message)}\n`);
  // Also where something that was started keeps the process alive.
  process.exit(1);
});
