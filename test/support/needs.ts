/** What a test needs of the machine. Where that is missing the test is skipped, and the reason stands in its name for the reporter. */
import { spawnSync } from "node:child_process";
import { accessSync, constants, existsSync, statSync } from "node:fs";
import { release } from "node:os";
import * as path from "node:path";
import { hasToolchain, type PeerName, peerPath, peers, ROOT } from "./repo";
import { AS_NOBODY } from "./without";

export type Need =
  | "root"
  | "nobody"
  | "linux"
  | "tun"
  | "tun-for-all"
  | "uso"
  | "ip"
  | "nft"
  | "wg"
  | "wg-quick"
  | "iperf3"
  | "curl"
  | "dig"
  | "openresolv"
  | "ping"
  | "tcpdump"
  | "go"
  | PeerName;

/** The need of apps in namespaces whose keeper runs as this account. */
export const tunFor = (user: string): Need => (user === "root" ? "tun" : "tun-for-all");

const packages: Partial<Record<Need, string>> = {
  ip: "iproute2",
  nft: "nftables",
  wg: "wireguard-tools",
  "wg-quick": "wireguard-tools",
  iperf3: "iperf3",
  curl: "curl",
  dig: "bind9-dnsutils",
  ping: "iputils-ping",
  tcpdump: "tcpdump",
};

interface Missing {
  readonly reason: string;
  /** True: the gate installs it, so its absence there is a fault. */
  readonly avoidable: boolean;
}

function missing(need: Need): Missing | undefined {
  switch (need) {
    case "linux":
      return process.platform === "linux" ? undefined : { reason: "needs Linux", avoidable: false };
    case "root":
      return process.getuid?.() === 0 ? undefined : { reason: "needs root", avoidable: false };
    case "nobody":
      return nobodyReads(ROOT)
        ? undefined
        : { reason: "needs root, and a repository that nobody can read", avoidable: false };
    case "tun":
      return existsSync("/dev/net/tun") ? undefined : { reason: "needs /dev/net/tun", avoidable: false };
    case "tun-for-all":
      return existsSync("/dev/net/tun") && (statSync("/dev/net/tun").mode & 0o006) === 0o006
        ? undefined
        : { reason: "needs /dev/net/tun open to all accounts: chmod 0666 /dev/net/tun", avoidable: true };
    case "uso":
      return linuxIsAtLeast(6, 2)
        ? undefined
        : { reason: "needs Linux 6.2, whose TUN devices take segments of UDP", avoidable: false };
    case "openresolv":
      return existsSync("/lib/resolvconf/libc") && findProgram("resolvconf")
        ? undefined
        : { reason: "needs openresolv (Debian package openresolv)", avoidable: true };
    case "go":
      return findProgram("go") ? undefined : { reason: "needs Go", avoidable: false };
    case "wireguard-go":
    case "boringtun":
    case "onetun":
    case "go-forwarder":
      if (existsSync(peerPath(need))) return undefined;
      return hasToolchain(need)
        ? { reason: `needs ${need}: npm run peers builds it`, avoidable: true }
        : { reason: `needs ${need}, which is built with ${peers[need].toolchain}`, avoidable: false };
    default:
      if (findProgram(need)) return undefined;
      return { reason: `needs ${need} (Debian package ${packages[need]})`, avoidable: true };
  }
}

function linuxIsAtLeast(major: number, minor: number): boolean {
  const [ours, oursMinor] = release().split(".").map(Number);
  return ours! > major || (ours === major && oursMinor! >= minor);
}

/** Not where it lies in root's home, for instance. */
export function nobodyReads(folder: string): boolean {
  const [setpriv, ...rest] = [...AS_NOBODY, "ls", folder];
  return process.getuid?.() === 0 && spawnSync(setpriv!, rest).status === 0;
}

/** The full path of a program on the PATH or in the system folders that an unprivileged PATH may lack. */
export function findProgram(name: string): string | undefined {
  for (const folder of [...(process.env.PATH ?? "").split(path.delimiter), "/usr/local/go/bin", "/usr/sbin", "/sbin"]) {
    const file = path.join(folder, name);
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // Not here.
    }
  }
  return undefined;
}

/**
 * `describe`, skipped with a printed reason where the machine lacks something. In the gate (CI=true), which installs what can be
 * installed, a need that could have been met is a failure instead.
 */
export function describeNeeding(needs: readonly Need[], name: string, body: () => void): void {
  const lacks = needs.map(missing).filter((m) => m !== undefined);
  if (lacks.length === 0) {
    describe(name, body);
    return;
  }
  const fault = process.env.CI === "true" && lacks.find((m) => m.avoidable);
  if (fault)
    describe(name, () => {
      it("finds what it needs", () => {
        throw new Error(`${fault.reason}; this run installs it, so its absence is a fault`);
      });
    });
  else describe.skip(`${name} (skipped: ${lacks.map((m) => m.reason).join("; ")})`, body);
}

export function describeRoot(name: string, body: () => void): void {
  describeNeeding(["linux", "root"], name, body);
}
